//! Places that are there without lying in the share: `.versions`, where engineers reach every
//! available version of a file, and `.receipts`, with a signed receipt and a checksum for each
//! file.
//!
//! Both show the share's tree a second time. They resolve, and their directories can be listed by
//! name, but no listing of `/` shows them: a client that mirrors a share would fetch everything
//! twice. Nothing in them can be changed.
//!
//! ```text
//! .versions/PATH/N            version N of the file PATH; engineers only, for others there is no such place
//! .receipts/PATH.receipt      what the server states about its current version, signed
//! .receipts/PATH.sha256       its digest, as `sha256sum -c` takes it
//! .receipts/allowed_signers   the key to check receipts with, as `ssh-keygen -Y verify` takes it
//! ```

mod listing;
mod receipts;

pub use crate::content::receipt::{Receipt, SignedReceipt, Witness};
pub use receipts::ReceiptKey;

pub(crate) use listing::VirtualListing;

use serde_json::json;

use crate::access::{Download, Listing, ShareSession};
use crate::audit;
use crate::content::damage::report_damage;
use crate::content::receipt::vouch;
use crate::content::sealed::{check_belongs, current_version, sealed_facts};
use crate::digests::Digested;
use crate::login::rights::Grant;
use crate::model::rights::{Operation, Rights, Side};
use crate::model::{DirectoryId, FileName, Refusal, Time};
use crate::namespace::history::number_for_people;
use crate::namespace::tree::{ResolvedPath, ShareContext, VIRTUAL, Way, way_of};
use crate::namespace::{PublicAddress, address};
use crate::records::entries::EntryRow;
use crate::records::version_chain::{self, ChainVersion};
use crate::records::versions::VersionRow;
use crate::records::{Conn, versions};
use crate::repo::{Attributes, Error, PlaceKind, Repo};

const RECEIPT: &[u8] = b".receipt";
const CHECKSUM: &[u8] = b".sha256";
const SIGNERS: &[u8] = b"allowed_signers";

const DIRECTORY_MODE: u32 = 0o550;
const FILE_MODE: u32 = 0o440;

/// Which of the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    Versions,
    Receipts,
}

impl Tree {
    /// Whether a name is one that such a place has.
    pub(crate) fn is_one(name: &FileName) -> bool {
        VIRTUAL.iter().any(|word| *word == name.as_bytes())
    }

    /// The place that a path leads into, and the names below it. `names` are those below the
    /// share's root.
    pub(crate) fn of(names: &[FileName], is_engineer: bool) -> Option<(Self, &[FileName])> {
        let (first, below) = names.split_first()?;
        match first.as_bytes() {
            b".receipts" => Some((Self::Receipts, below)),
            b".versions" if is_engineer => Some((Self::Versions, below)),
            _ => None,
        }
    }
}

/// What stands in one of the places.
pub(crate) struct VirtualPlace {
    context: ShareContext,
    tree: Tree,
    thing: Thing,
    rights: Rights,
}

enum Thing {
    /// A directory of the share, shown again; without names for the place itself.
    Directory { id: DirectoryId, modified: Time, names: Vec<FileName> },
    /// A file of the share, shown as the directory of its versions.
    Versions { file: [u8; 16], newest: Box<ChainVersion> },
    /// A version.
    Version(Box<VersionRow>),
    /// Says something about a version.
    Text { text: Text, version: Box<VersionRow> },
    /// Who signs.
    Signers { line: String, modified: Time },
}

/// What is said about a version.
pub(crate) enum Text {
    Receipt(Box<Receipt>),
    Checksum(Vec<u8>),
}

impl Text {
    fn length(&self) -> usize {
        match self {
            Self::Receipt(receipt) => receipt.signed_length(),
            Self::Checksum(line) => line.len(),
        }
    }

    /// The text itself, once what it states was compared with what was sealed.
    async fn into_bytes(
        self,
        session: &ShareSession,
        context: &ShareContext,
        version: &VersionRow,
    ) -> Result<Vec<u8>, Error> {
        let repo = session.repo();
        let vouched = async {
            let mut conn = repo.records.read().await?;
            match self {
                Self::Receipt(mut receipt) => {
                    vouch(repo, &mut conn, &context.keys, version, &mut receipt).await?;
                    Ok(receipt.signed(repo.keys.receipts()).into_bytes())
                }
                Self::Checksum(line) => {
                    sealed_facts(repo, &mut conn, &context.keys, version).await?;
                    Ok(line)
                }
            }
        };
        let vouched = vouched.await;
        if let Err(error) = &vouched {
            report_damage(repo, error, version.id, &context.ticket).await;
        }
        vouched
    }
}

/// The two texts about a version, unless it is not available.
pub(crate) struct Texts {
    receipt: Text,
    checksum: Text,
    version: VersionRow,
}

impl Texts {
    /// About the current version of the file `row`, to which `way` leads.
    async fn of_file(
        repo: &Repo,
        conn: &mut Conn,
        context: &ShareContext,
        way: &Way,
        row: &EntryRow,
        address: &PublicAddress,
    ) -> Result<Option<Self>, Error> {
        let Some((name, _)) = way.steps().last().filter(|_| !row.is_directory) else { return Ok(None) };
        let Some(version) = current_version(repo, conn, row).await? else { return Ok(None) };
        let number = number_for_people(conn, row, &version).await?;
        let Some(receipt) = Receipt::of(&context.ticket, way, number, &version, address) else {
            return Ok(None);
        };
        let checksum = Text::Checksum(receipt.checksum_line(name));
        Ok(Some(Self { receipt: Text::Receipt(Box::new(receipt)), checksum, version }))
    }
}

impl VirtualPlace {
    /// What stands at `names` below the place; what this login may not know of does not exist.
    pub(crate) async fn find(
        session: &ShareSession,
        conn: &mut Conn,
        context: ShareContext,
        tree: Tree,
        names: &[FileName],
        rights: Rights,
    ) -> Result<Self, Error> {
        let found = match tree {
            Tree::Versions => find_version(session.repo(), conn, &context, names).await,
            Tree::Receipts => find_receipt(session, conn, &context, names).await,
        };
        let thing = found.map_err(|error| match error {
            // A file above other names: not worth a sentence of its own where nothing can be made
            // anyway.
            Error::Refused(Refusal::NotDirectory) => Refusal::NoSuchFile.into(),
            other => other,
        })?;
        // In a drop box there are receipts of what the login itself has sent.
        if rights.sees_own_only()
            && let Thing::Text { version, .. } = &thing
            && !session.login().0.sent().has(version.artifact.as_bytes())
        {
            return Err(Refusal::NoSuchFile.into());
        }
        Ok(Self { context, tree, thing, rights })
    }

    /// What the table of rights is asked about reading something here.
    fn reading(&self) -> Operation {
        match self.tree {
            Tree::Versions => Operation::ReadVersions,
            Tree::Receipts => Operation::ReadReceipt,
        }
    }

    fn grant(&self, session: &ShareSession) -> Result<Grant, Refusal> {
        self.rights.check(self.reading(), Side::Customer)?;
        Ok(session.grant(&self.context.ticket, self.rights, (self.reading(), Side::Customer)))
    }

    pub(crate) fn context(&self) -> &ShareContext {
        &self.context
    }

    pub(crate) fn attributes(&self) -> Attributes {
        match &self.thing {
            Thing::Directory { modified, .. } => Attributes::directory(DIRECTORY_MODE, *modified),
            Thing::Versions { newest, .. } => Attributes::directory(DIRECTORY_MODE, newest.came_at()),
            Thing::Version(version) => file_attributes(version.length, received(version)),
            Thing::Text { text, version } => file_attributes(text.length() as u64, received(version)),
            Thing::Signers { line, modified } => file_attributes(line.len() as u64, *modified),
        }
    }

    /// Opens a directory.
    pub(crate) fn list(self, session: &ShareSession) -> Result<Listing, Error> {
        self.rights.check(Operation::List, Side::Customer)?;
        if self.rights.sees_own_only() {
            return Err(Refusal::NoListing.into());
        }
        let (owner, grant) = (self.context.ticket.clone(), self.grant(session)?);
        let listing = match self.thing {
            Thing::Directory { id, names, modified } => {
                let signers = (self.tree == Tree::Receipts && names.is_empty()).then(|| signers_line(session));
                let signers = signers.map(|line| file_attributes(line.len() as u64, modified));
                VirtualListing::of_directory(self.context, self.tree, id, &names, signers)
            }
            Thing::Versions { file, .. } => VirtualListing::of_versions(owner, file),
            Thing::Version(_) | Thing::Text { .. } | Thing::Signers { .. } => {
                return Err(Refusal::NotDirectory.into());
            }
        };
        Ok(Listing::of_virtual(session.clone(), grant, listing))
    }

    /// Opens a file.
    pub(crate) async fn open(self, session: &ShareSession) -> Result<Download, Error> {
        let (attributes, grant) = (self.attributes(), self.grant(session)?);
        match self.thing {
            Thing::Directory { .. } | Thing::Versions { .. } => Err(Refusal::IsDirectory.into()),
            Thing::Version(version) => Download::of_version(session, grant, &self.context, &version, attributes).await,
            Thing::Text { text, version } => {
                let bytes = text.into_bytes(session, &self.context, &version).await?;
                session.enqueue(audit::Kind::ReceiptOpened, &self.context.ticket, *version.id.as_bytes(), json!({}));
                Ok(Download::of_text(session, grant, bytes, attributes))
            }
            Thing::Signers { line, .. } => Ok(Download::of_text(session, grant, line.into_bytes(), attributes)),
        }
    }

    /// What digests of this are digests of.
    pub(crate) async fn digested(self, session: &ShareSession) -> Result<Digested, Error> {
        self.rights.check(self.reading(), Side::Customer)?;
        match self.thing {
            Thing::Directory { .. } | Thing::Versions { .. } => Err(Refusal::IsDirectory.into()),
            Thing::Version(version) => Ok(Digested::Version(self.context.share(), self.context.ticket, version)),
            Thing::Text { text, version } => {
                Ok(Digested::Text(text.into_bytes(session, &self.context, &version).await?))
            }
            Thing::Signers { line, .. } => Ok(Digested::Text(line.into_bytes())),
        }
    }
}

async fn find_version(
    repo: &Repo,
    conn: &mut Conn,
    context: &ShareContext,
    names: &[FileName],
) -> Result<Thing, Error> {
    let missing = || Error::Refused(Refusal::NoSuchFile);
    match ResolvedPath::find(conn, context.clone(), names).await {
        Ok(resolved) => {
            let row = resolved.existing()?;
            if row.is_directory {
                return directory(row, names);
            }
            let newest = version_chain::newest(conn, &row.id).await?.ok_or_else(missing)?;
            Ok(Thing::Versions { file: row.id, newest: Box::new(newest) })
        }
        // A name below a file: the number of a version.
        Err(Error::Refused(Refusal::NotDirectory)) => {
            let (last, above) = names.split_last().ok_or_else(missing)?;
            let number = version_number(last).ok_or_else(missing)?;
            let resolved = ResolvedPath::find(conn, context.clone(), above).await?;
            let file = resolved.existing()?.id;
            let past = version_chain::numbered(conn, &file, number).await?.ok_or_else(missing)?;
            check_belongs(repo, conn, &file, past.artifact.as_bytes()).await?;
            Ok(Thing::Version(Box::new(versions::by_id(conn, past.id).await?.ok_or_else(missing)?)))
        }
        Err(other) => Err(other),
    }
}

async fn find_receipt(
    session: &ShareSession,
    conn: &mut Conn,
    context: &ShareContext,
    names: &[FileName],
) -> Result<Thing, Error> {
    if let [only] = names
        && only.as_bytes() == SIGNERS
    {
        let root = ResolvedPath::find(conn, context.clone(), &[]).await?;
        return Ok(Thing::Signers { line: signers_line(session), modified: root.existing()?.modified_at });
    }
    if let Some((last, above)) = names.split_last()
        && let Some((file, suffix)) = described(last)
    {
        let path = [above, &[file]].concat();
        if let Some(texts) = texts_at(session.repo(), conn, context, &path).await? {
            let text = if suffix == RECEIPT { texts.receipt } else { texts.checksum };
            return Ok(Thing::Text { text, version: Box::new(texts.version) });
        }
    }
    let resolved = ResolvedPath::find(conn, context.clone(), names).await?;
    let row = resolved.existing()?;
    if row.is_directory { directory(row, names) } else { Err(Refusal::NoSuchFile.into()) }
}

/// The texts about the file at `names`, if there is one with an available version.
async fn texts_at(
    repo: &Repo,
    conn: &mut Conn,
    context: &ShareContext,
    names: &[FileName],
) -> Result<Option<Texts>, Error> {
    let resolved = match ResolvedPath::find(conn, context.clone(), names).await {
        Err(Error::Refused(Refusal::NoSuchFile | Refusal::NotDirectory)) => return Ok(None),
        other => other?,
    };
    let Some(row) = resolved.entry.filter(|row| !row.is_directory) else { return Ok(None) };
    // The names as they are recorded: what a client typed may be composed otherwise.
    let way = way_of(conn, &context.keys, &row.id).await?;
    let address = address(repo, conn).await?;
    Texts::of_file(repo, conn, context, &way, &row, &address).await
}

/// The address that receipts name.
async fn address(repo: &Repo, conn: &mut Conn) -> Result<PublicAddress, Error> {
    Ok(address::recorded(conn, &repo.keys).await?.unwrap_or_else(PublicAddress::unknown))
}

fn directory(row: &EntryRow, names: &[FileName]) -> Result<Thing, Error> {
    Ok(Thing::Directory { id: DirectoryId::from_bytes(row.id), modified: row.modified_at, names: names.to_vec() })
}

/// The file that a name in `.receipts` speaks of, and what kind of text it is.
fn described(name: &FileName) -> Option<(FileName, &'static [u8])> {
    [RECEIPT, CHECKSUM]
        .into_iter()
        .find_map(|suffix| FileName::new(name.as_bytes().strip_suffix(suffix)?).ok().map(|file| (file, suffix)))
}

/// A version's number as `.versions` shows it: decimal, from 1 on, without sign or leading zero.
fn version_number(name: &FileName) -> Option<u64> {
    let number: u64 = str::from_utf8(name.as_bytes()).ok()?.parse().ok()?;
    (number > 0 && number.to_string().as_bytes() == name.as_bytes()).then_some(number)
}

fn file_attributes(size: u64, modified: Time) -> Attributes {
    Attributes { kind: PlaceKind::File, size, mode: FILE_MODE, modified }
}

/// When a version became available; every available one has it.
fn received(version: &VersionRow) -> Time {
    version.received_at.unwrap_or(Time::from_millis(0))
}

fn signers_line(session: &ShareSession) -> String {
    let keys = &session.repo().keys;
    ReceiptKey::new(&keys.receipts().public(), keys.past_receipts()).allowed_signers + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_version_has_one_name() {
        for (text, number) in [("1", 1), ("10", 10), ("18446744073709551615", u64::MAX)] {
            assert_eq!(version_number(&name(text)), Some(number));
        }
        for text in ["0", "01", "+1", "-1", " 1", "1 ", "1.0", "x", "99999999999999999999", "\u{661}"] {
            assert_eq!(version_number(&name(text)), None, "{text}");
        }
    }

    #[test]
    fn what_a_name_in_receipts_speaks_of() {
        let file = |text: &str| described(&name(text)).map(|(file, suffix)| (file.to_string(), suffix));
        assert_eq!(file("a.receipt"), Some(("a".to_owned(), RECEIPT)));
        assert_eq!(file("a.receipt.sha256"), Some(("a.receipt".to_owned(), CHECKSUM)));
        assert_eq!(file("...receipt"), None, "'..' is no name");
        for text in [".receipt", ".sha256", "a", "a.receipts", "a.SHA256"] {
            assert_eq!(file(text), None, "{text}");
        }
    }
}
