//! What the audit trail can tell of, and who did it. The texts stand in the records and in the
//! chain of the trail (`docs/audit.md`): a text that has been written once never changes.

use super::Identifier;
use super::state::words;

words!(
    /// What happened. The page `docs/audit.md` says of each kind when it is written, by whom, and
    /// what else its row holds.
    Kind, "kind of event" {
        /// `tacdrop serve` started.
        ServerStarted = "server.started",
        /// `tacdrop serve` ended in order.
        ServerStopped = "server.stopped",
        /// Somebody logged in.
        LoginAccepted = "login.accepted",
        /// The last session of a login ended.
        LoginEnded = "login.ended",
        /// Logins were refused; counted.
        LoginRefused = "login.refused",
        /// Requests were refused by a rule; counted.
        AccessRefused = "access.refused",
        /// A directory was listed; counted.
        DirectoryListed = "directory.listed",
        /// A directory was made.
        DirectoryMade = "directory.made",
        /// A directory was removed.
        DirectoryRemoved = "directory.removed",
        /// A file was opened for writing.
        UploadOpened = "upload.opened",
        /// A second handle was opened on an upload that goes on.
        UploadJoined = "upload.joined",
        /// An upload was closed with bytes missing.
        UploadIncomplete = "upload.incomplete",
        /// An upload ended without its CLOSE.
        UploadCut = "upload.cut",
        /// An upload ended without a change.
        UploadUnchanged = "upload.unchanged",
        /// An upload was closed whole.
        ArtifactAvailable = "artifact.available",
        /// The manifest of a version was sealed again in the form of today.
        ArtifactResealed = "artifact.resealed",
        /// A version was opened for reading.
        ArtifactOpened = "artifact.opened",
        /// Reading a version ended.
        ArtifactRead = "artifact.read",
        /// A file was taken out of sight, with all its versions.
        ArtifactWithdrawn = "artifact.withdrawn",
        /// A withdrawn file came back.
        ArtifactRestored = "artifact.restored",
        /// A file or a directory was renamed or moved.
        ArtifactRenamed = "artifact.renamed",
        /// Recovery corrected which versions a file points at.
        ArtifactCorrected = "artifact.corrected",
        /// What no path led to was put at the root of its share.
        EntryReattached = "entry.reattached",
        /// A file went to another ticket.
        ArtifactMovedOut = "artifact.moved-out",
        /// A file came from another ticket.
        ArtifactMovedIn = "artifact.moved-in",
        /// A version of a file that came from another ticket.
        VersionMoved = "version.moved",
        /// An unfinished version was given up.
        VersionDiscarded = "version.discarded",
        /// What is stored of a version is not what was sealed.
        VersionDamaged = "version.damaged",
        /// An unfinished version lost objects and can be continued from further in front.
        VersionShortened = "version.shortened",
        /// The key of a version was destroyed.
        VersionShredded = "version.shredded",
        /// A receipt was opened.
        ReceiptOpened = "receipt.opened",
        /// A notice was handed over.
        NoticeDelivered = "notice.delivered",
        /// A notice had nothing left to speak of.
        NoticeVoid = "notice.void",
        /// A notice is to be tried again.
        NoticeRetried = "notice.retried",
        /// A notice goes to somebody else, or to another address.
        NoticeReaddressed = "notice.readdressed",
        /// A notice waits, as its recipient is disabled.
        NoticeHeld = "notice.held",
        /// A notice need not be delivered.
        NoticeDismissed = "notice.dismissed",
        /// An organisation was added.
        OrganisationAdded = "organisation.added",
        /// What is said of an organisation changed.
        OrganisationChanged = "organisation.changed",
        /// An organisation's customers may no longer log in.
        OrganisationDisabled = "organisation.disabled",
        /// They may again.
        OrganisationEnabled = "organisation.enabled",
        /// An organisation was removed.
        OrganisationRemoved = "organisation.removed",
        /// An engineer was added.
        EngineerAdded = "engineer.added",
        /// An engineer got a key.
        EngineerKeyAdded = "engineer.key-added",
        /// An engineer lost a key.
        EngineerKeyRemoved = "engineer.key-removed",
        /// What is said of an engineer changed.
        EngineerChanged = "engineer.changed",
        /// An engineer is away for some days.
        EngineerAway = "engineer.away",
        /// An engineer is not away any more.
        EngineerBack = "engineer.back",
        /// An engineer may log in again.
        EngineerEnabled = "engineer.enabled",
        /// An engineer was removed.
        EngineerRemoved = "engineer.removed",
        /// An engineer may no longer log in.
        EngineerDisabled = "engineer.disabled",
        /// A team was added.
        TeamAdded = "team.added",
        /// A team has other members, or another address.
        TeamChanged = "team.changed",
        /// A team was removed.
        TeamRemoved = "team.removed",
        /// A contact was added.
        ContactAdded = "contact.added",
        /// What is known of a contact was changed.
        ContactChanged = "contact.changed",
        /// A contact may no longer log in.
        ContactDisabled = "contact.disabled",
        /// A disabled contact may log in again.
        ContactEnabled = "contact.enabled",
        /// A contact was removed.
        ContactRemoved = "contact.removed",
        /// A contact got a key.
        ContactKeyAdded = "contact.key-added",
        /// A contact lost a key.
        ContactKeyRemoved = "contact.key-removed",
        /// A contact got another password, or none.
        ContactPasswordSet = "contact.password-set",
        /// A ticket was opened.
        TicketOpened = "ticket.opened",
        /// A ticket got one more token.
        TicketTokenAdded = "ticket.token-added",
        /// A token of a ticket was ended.
        TicketTokenEnded = "ticket.token-ended",
        /// A ticket got a new main token.
        TicketTokenReplaced = "ticket.token-replaced",
        /// A ticket went to another engineer.
        TicketAssigned = "ticket.assigned",
        /// Who sees a ticket, what its customers may do, or who is told of it was changed.
        TicketPeopleChanged = "ticket.people-changed",
        /// An item of a ticket's checklist is there.
        TicketTicked = "ticket.ticked",
        /// An item of a ticket's checklist is not there after all.
        TicketUnticked = "ticket.unticked",
        /// One of two sides wants a ticket closed.
        TicketCloseAgreed = "ticket.close-agreed",
        /// What is said of a ticket changed.
        TicketChanged = "ticket.changed",
        /// A ticket was closed.
        TicketClosed = "ticket.closed",
        /// All files of a ticket went into another one.
        TicketMerged = "ticket.merged",
        /// A closed ticket was opened again.
        TicketReopened = "ticket.reopened",
        /// Nothing of a ticket may be removed from now on.
        TicketHeld = "ticket.held",
        /// A ticket's hold is over.
        TicketReleased = "ticket.released",
        /// A ticket is about to be shredded: it can no longer be stopped.
        TicketShredBegun = "ticket.shred-begun",
        /// A ticket was shredded: its keys and its rows are gone.
        TicketShredded = "ticket.shredded",
        /// The encrypted objects of a shredded ticket are off the disk.
        TicketObjectsRemoved = "ticket.objects-removed",
        /// Recovery corrected the sums of a ticket.
        TicketRecounted = "ticket.recounted",
        /// The key encryption key was replaced.
        KeyRotated = "key.rotated",
        /// The keys of a share were replaced.
        ShareKeyRotated = "share-key.rotated",
        /// Objects that nobody needs were removed.
        StoreSwept = "store.swept",
        /// Objects that no row knows were given up.
        StoreStrays = "store.strays",
        /// Recovery changed something.
        StoreRecovered = "store.recovered",
        /// A backup was taken.
        BackupTaken = "backup.taken",
        /// Secrets of the server were replaced on purpose.
        SecretReplaced = "secret.replaced",
        /// A row that does not say what tacdrop wrote was refused.
        RowRefused = "row.refused",
    }
);

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The server, of its own accord.
    Server,
    /// Whoever uses the command line: the shell account.
    Operator,
    /// Who logged in under this name: with a ticket's token, with a key, or with a password.
    Login(Identifier),
    /// Nobody whom the records know.
    Unknown,
}

impl Actor {
    /// Whether a name, written in whatever case, would stand in the trail for somebody else than
    /// the login.
    pub fn is_reserved(name: &Identifier) -> bool {
        [Self::Server, Self::Operator].iter().any(|other| other.as_str().eq_ignore_ascii_case(name.as_str()))
    }

    /// The word for it in records and JSON.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Server => "server",
            Self::Operator => "operator",
            Self::Login(name) => name.as_str(),
            Self::Unknown => "-",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The first cells of the table of kinds, without their backticks.
    fn rows() -> Vec<&'static str> {
        let page = include_str!("../../../docs/audit.md");
        let table = page.split("\n|---|---|---|\n").nth(1).expect("the page has a table of three columns");
        let table = table.lines().take_while(|line| line.starts_with('|'));
        table.map(|line| line.split('|').nth(1).unwrap_or_default().trim().trim_matches('`')).collect()
    }

    #[test]
    fn the_page_has_a_row_of_each_kind_and_of_nothing_else() {
        let (rows, kinds) = (rows(), Kind::ALL.iter().map(|kind| kind.as_str()));
        let (on_the_page, there) = (BTreeSet::from_iter(rows.iter().copied()), BTreeSet::from_iter(kinds));
        assert_eq!(rows.len(), on_the_page.len(), "docs/audit.md has a kind twice");
        let lacking: Vec<_> = there.difference(&on_the_page).collect();
        assert!(lacking.is_empty(), "docs/audit.md lacks {lacking:?}");
        let unknown: Vec<_> = on_the_page.difference(&there).collect();
        assert!(unknown.is_empty(), "nothing writes {unknown:?}, which docs/audit.md has");
    }

    #[test]
    fn no_login_is_called_as_the_server_or_the_operator() {
        for (name, reserved) in [
            ("server", true),
            ("Operator", true),
            ("SERVER", true),
            ("server2", false),
            ("operators", false),
            ("anna", false),
        ] {
            assert_eq!(Actor::is_reserved(&name.parse().unwrap()), reserved, "{name}");
        }
        // No name can be the word for nobody.
        assert!(Actor::Unknown.as_str().parse::<Identifier>().is_err());
    }

    /// Programs and people split these texts, and print them without quotes.
    #[test]
    fn each_kind_is_a_thing_and_what_happened_to_it() {
        for kind in Kind::ALL {
            let parts: Vec<_> = kind.as_str().split('.').collect();
            let is_word =
                |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            assert!(parts.len() == 2 && parts.iter().all(is_word), "{kind}");
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }
}
