//! Who tells the trail what: logins and their end, what sessions open and read, and what they are
//! refused.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::access::ShareSession;
use crate::audit::Subject;
use crate::audit::aggregate::EventKey;
use crate::model::audit::Kind;
use crate::model::{DirectoryId, Identifier, Refusal, SharePath, refusal};
use crate::records::{Conn, people, tickets};
use crate::repo::Error;

/// Refusals that somebody who looks after the house wants to know of. That there is no such file is
/// none.
const fn counts(refusal: Refusal) -> bool {
    use Refusal::{DiskFull, FileTooLarge, QuotaExceeded};
    use Refusal::{TooManyChanges, TooManyHandles, TooManyNames, TooScattered};
    matches!(refusal.kind(), refusal::Kind::Denied)
        || matches!(refusal, DiskFull | FileTooLarge | QuotaExceeded)
        || matches!(refusal, TooManyChanges | TooManyHandles | TooManyNames | TooScattered)
}

impl ShareSession {
    /// Where this session comes from.
    pub(crate) fn from(&self) -> IpAddr {
        self.login().0.from
    }

    /// Appends an event of this session inside the transaction that it tells of.
    pub(crate) async fn note(
        &self,
        conn: &mut Conn,
        kind: Kind,
        ticket: &Identifier,
        id: [u8; 16],
    ) -> Result<(), Error> {
        let subject = Subject { actor: &self.login().actor(), ticket: Some(ticket), id: Some(id) };
        let mut detail = json!({});
        self.login().0.add_origin(&mut detail);
        Ok(crate::audit::write(conn, kind, subject, &detail).await?)
    }

    /// An event of this session that waits to be written: nobody waits for its commit.
    pub(crate) fn enqueue(&self, kind: Kind, ticket: &Identifier, id: [u8; 16], detail: Value) {
        self.login().0.enqueue(kind, Some(ticket), Some(id), detail);
    }

    /// Counts a look into a directory.
    pub(crate) fn note_listing(&self, ticket: &Identifier, directory: DirectoryId) {
        self.access().trail.count_listing(EventKey {
            kind: Kind::DirectoryListed,
            actor: self.login().actor(),
            ticket: Some(ticket.clone()),
            id: Some(*directory.as_bytes()),
            from: self.from().to_string(),
            more: None,
        });
    }

    /// Passes on what came of a request; if it was refused by a rule, that is counted.
    pub(crate) async fn record_refusal<T>(
        &self,
        path: &SharePath,
        outcome: Result<T, impl Into<Refusal>>,
    ) -> Result<T, Refusal> {
        let refusal = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error.into(),
        };
        if counts(refusal) {
            let ticket = match self.login().0.ticket() {
                Some(own) => Some(own.clone()),
                None => self.ticket_named_by(path).await,
            };
            self.access().trail.count_refusal(EventKey {
                kind: Kind::AccessRefused,
                actor: self.login().actor(),
                ticket,
                id: None,
                from: self.from().to_string(),
                more: Some(("why", refusal.as_str().to_owned())),
            });
        }
        Err(refusal)
    }

    /// The ticket that an engineer's path leads to. What is no ticket stays out: it may be the name
    /// of a file.
    async fn ticket_named_by(&self, path: &SharePath) -> Option<Identifier> {
        let name = str::from_utf8(path.names().first()?.as_bytes()).ok()?;
        let mut conn = self.repo().records.read().await.ok()?;
        let name = people::login_name(&mut conn, name).await.ok()??;
        Some(tickets::by_reference(&mut conn, &name.name).await.ok()??.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_each_word_that_an_entry_can_give_as_its_reason() {
        let page = include_str!("../../docs/audit.md");
        let (_, listed) = page.split_once("`why` of `access.refused` is one of").expect("the page lists the words");
        let (listed, _) = listed.split_once(". ").expect("the list ends");
        let listed: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
        let counted = Refusal::ALL.iter().filter(|refusal| counts(**refusal)).map(|refusal| refusal.as_str());
        assert_eq!(listed, counted.collect::<Vec<_>>());
    }
}
