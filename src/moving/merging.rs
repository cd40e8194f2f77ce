//! Whole tickets: all files of one into another, or some files of one into a new one. Each file moves by
//! itself, so what was killed is ended by the same command, and a file that cannot be moved keeps none
//! of the others.

use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::source::path_of_file;
use super::{MoveWish, Moved, Moving, note_of_ticket};
use crate::audit::Kind;
use crate::model::rights::Denied;
use crate::model::{ArtifactId, FileName, Identifier, Reference, SharePath, TicketStatus, Time};
use crate::namespace::tree::is_from_support;
use crate::records::proofs::Proved;
use crate::records::{closings, entries, moves, tickets};
use crate::repo::Error;
use crate::repo::tickets::{existing_ticket, mark_logins_changed};
use crate::tickets::ticket_people::PeopleChanges;
use crate::tickets::{NewTicket, TicketDetails, TicketLine};

/// Files that are read at once.
const PAGE: u32 = 1000;

/// A file that was not moved.
#[derive(Debug, Clone, Serialize)]
pub struct NotMoved {
    /// The artifact's id.
    pub id: String,
    /// Why, as a sentence.
    pub why: String,
}

/// What merging a ticket into another came to.
#[derive(Debug, Clone, Serialize)]
pub struct Merged {
    /// The ticket whose files went.
    pub from: String,
    /// The ticket that they went into.
    pub into: String,
    /// What was moved by this command.
    pub moved: Vec<Moved>,
    /// What was not.
    pub left: Vec<NotMoved>,
    /// Whether the ticket is closed, and points to the other one: not while something is left.
    pub closed: bool,
}

/// What splitting a ticket came to.
pub struct Split {
    /// The new ticket.
    pub ticket: TicketLine,
    /// Its token, which is shown this once.
    pub token: Zeroizing<String>,
    /// What was moved.
    pub moved: Vec<Moved>,
    /// What was not.
    pub left: Vec<NotMoved>,
}

impl Moving {
    /// Moves all files of a ticket into another one and closes it with a pointer to that. What stands
    /// there under the same path already makes a file go below `merged-REF/`.
    ///
    /// # Errors
    /// A sentence if a ticket does not exist, is closed or held, or is another organisation's and nobody
    /// said that it may; or if the records fail. A file that cannot be moved is no error: it is
    /// reported.
    pub async fn merge(&self, from: &Identifier, into: &Identifier, other: bool) -> Result<Merged, Error> {
        let mut conn = self.repo.records.read().await?;
        let source = existing_ticket(&mut conn, from).await?;
        let target = existing_ticket(&mut conn, into).await?;
        self.check_pair(&mut conn, &source, &target, other).await?;
        drop(conn);
        let (mut moved, mut left, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = moves::files(&mut *self.repo.records.read().await?, source.share, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for id in page {
                match self.move_aside(id, &source.reference, into, other).await {
                    Ok(done) => moved.push(done),
                    Err(error) => left.push(NotMoved { id: id.to_string(), why: error.to_string() }),
                }
            }
        }
        let closed = left.is_empty() && self.close_merged(from, into).await?;
        Ok(Merged { from: from.to_string(), into: into.to_string(), moved, left, closed })
    }

    /// Moves a file under its path, or below a directory that is named after its ticket where something
    /// stands there.
    async fn move_aside(
        &self,
        id: ArtifactId,
        from: &Identifier,
        to: &Identifier,
        to_other_organisation: bool,
    ) -> Result<Moved, Error> {
        let wish = MoveWish { path: None, to_other_organisation };
        let mut conn = self.repo.records.read().await?;
        let path = path_of_file(&self.repo, &mut conn, id).await?;
        let is_taken = self.is_taken(&mut conn, to, &path).await?;
        drop(conn);
        let path = if is_taken { Some(aside(from, &path)?) } else { None };
        self.move_artifact(id, to, &MoveWish { path, ..wish }).await
    }

    /// Closes a ticket that has no file in sight any more, whatever the policy wants. False if something
    /// came meanwhile.
    async fn close_merged(&self, from: &Identifier, into: &Identifier) -> Result<bool, Error> {
        let prover = &**self.repo.keys.proofs();
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), from).await?;
        ticket.check(prover)?;
        if !moves::files(tx.conn(), ticket.share, None, 1).await?.is_empty() {
            return Ok(false);
        }
        let now = Time::now();
        moves::set_merged(tx.conn(), ticket.share, into, now).await?;
        note_of_ticket(tx.conn(), Kind::TicketMerged, from, &json!({ "into": into.as_str() })).await?;
        if ticket.status != TicketStatus::Closed {
            closings::remove(tx.conn(), ticket.share).await?;
            tickets::set_status(tx.conn(), prover, from, TicketStatus::Closed, now).await?;
            mark_logins_changed(tx.conn()).await?;
            note_of_ticket(tx.conn(), Kind::TicketClosed, from, &json!({})).await?;
        }
        self.repo.failpoints.hit("merge.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("merge.after-commit");
        Ok(true)
    }

    /// Opens a ticket with the people of another one, and moves files of that there.
    ///
    /// # Errors
    /// A sentence if the ticket does not exist or is closed, an id is none of a file of its, the new
    /// reference is taken, or the records fail. A file that cannot be moved is no error: it is reported.
    pub async fn split(&self, from: &Identifier, new: &Reference, files: &[ArtifactId]) -> Result<Split, Error> {
        let mut conn = self.repo.records.read().await?;
        let ticket = existing_ticket(&mut conn, from).await?;
        ticket.check(&**self.repo.keys.proofs())?;
        self.check_takes(&mut conn, &ticket).await?;
        for id in files {
            let row = entries::by_id(&mut conn, id.as_bytes()).await?;
            if !row.is_some_and(|row| row.share == ticket.share && !row.is_directory) {
                return Err(Error::operator(format!(
                    "{id} is no artifact of ticket {from}, so nothing was done; 'tacdrop artifact list {from} --json' shows \
                     the ids"
                )));
            }
        }
        drop(conn);
        let people = self.tickets.people(from).await?;
        let known = |word: &String| word.parse().map_err(|_| Error::operator("a name in the records is none"));
        let people = PeopleChanges {
            visibility: Some(people.visibility),
            contacts: people.contacts.iter().map(known).collect::<Result<_, _>>()?,
            affected: people.affected.as_ref().map(known).transpose()?.map(Some),
            team: people.team.as_ref().map(known).transpose()?.map(Some),
            watchers: people.watchers,
            drop_box: Some(people.drop_box),
            denied: Some(people.denied.iter().fold(Denied::default(), |all, right| all.with(*right, true))),
            mail: Some(people.mail),
            ..PeopleChanges::default()
        };
        let details = TicketDetails {
            shown: Some(new.clone()),
            kind: Some(ticket.kind),
            serial: ticket.serial,
            deadline: ticket.deadline,
            people,
        };
        let wanted = NewTicket {
            reference: new.name().clone(),
            organisation: ticket.organisation,
            engineer: ticket.engineer,
            title: ticket.title,
            priority: ticket.priority,
            language: ticket.language,
            device: ticket.device,
        };
        let (line, token) = self.tickets.open_ticket_with(wanted, details).await?;
        let (mut moved, mut left) = (Vec::new(), Vec::new());
        for id in files {
            match self.move_artifact(*id, new.name(), &MoveWish::default()).await {
                Ok(done) => moved.push(done),
                Err(error) => left.push(NotMoved { id: id.to_string(), why: error.to_string() }),
            }
        }
        Ok(Split { ticket: line, token, moved, left })
    }

    /// The ticket that a closed one was merged into, if it was.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn merged_into(&self, reference: &Identifier) -> Result<Option<String>, Error> {
        let mut conn = self.repo.records.read().await?;
        let share = existing_ticket(&mut conn, reference).await?.share;
        Ok(moves::merged_into(&mut conn, share).await?.map(|into| into.to_string()))
    }
}

/// Where a file of a merged ticket goes whose path is taken.
fn aside(from: &Identifier, path: &SharePath) -> Result<SharePath, Error> {
    let directory = FileName::new(format!("merged-{from}").as_bytes());
    let directory = directory.map_err(|_| Error::operator("the ticket's reference makes no name"))?;
    let (support, rest) = path.names().split_at(usize::from(path.names().first().is_some_and(is_from_support)));
    Ok(SharePath::from_names([support, &[directory], rest].concat()))
}
