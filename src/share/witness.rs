//! Who tells the trail what: logins and their end, what sessions open and read, and what they are refused.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::audit::tally::Counted;
use crate::audit::{Note, Subject};
use crate::model::audit::{Actor, Kind};
use crate::model::{DirectoryId, Network, Refusal, SharePath, Word, refusal};
use crate::records::{Conn, people, tickets};
use crate::repo::Error;
use crate::share::login::LoginState;
use crate::share::{Shares, View};

/// Refusals that somebody who looks after the house wants to know of. That there is no such file is none.
const fn counts(refusal: Refusal) -> bool {
    use Refusal::{DiskFull, FileTooLarge, QuotaExceeded, TooManyHandles, TooManyNames, TooScattered};
    matches!(refusal.kind(), refusal::Kind::Denied)
        || matches!(refusal, DiskFull | FileTooLarge | QuotaExceeded | TooManyHandles | TooManyNames | TooScattered)
}

impl Shares {
    /// A login that is refused is counted: by user if the records know that name, and by network. What only a stranger
    /// typed is not kept: people type passwords there.
    pub(crate) async fn refuse_login(&self, user: &str, by: &'static str, from: IpAddr) {
        let kind = async { people::login_kind(&mut *self.0.records.read().await?, user).await }.await;
        let kind = kind.ok().flatten();
        let known: Option<Word> = kind.as_ref().and_then(|_| user.parse().ok());
        let ticket = known.clone().filter(|_| kind.as_deref() == Some("ticket"));
        let actor = known.map_or(Actor::Unknown, Actor::Login);
        let more = Some(("by", by.to_owned()));
        let from = Network::source(from).to_string();
        self.0.trail.count_refusal(Counted { kind: Kind::LoginRefused, actor, ticket, id: None, from, more });
    }
}

impl LoginState {
    /// Says in an event where it came from, and by which listener if that is the one with weak encryption.
    pub(crate) fn sign(&self, detail: &mut Value) {
        detail["from"] = Value::String(self.from.to_string());
        if self.transport.is_weak() {
            detail["transport"] = Value::String(self.transport.to_string());
        }
    }

    /// An event of this login that waits to be written.
    pub(crate) fn jot(&self, kind: Kind, ticket: Option<&Word>, id: Option<[u8; 16]>, mut detail: Value) {
        self.sign(&mut detail);
        self.trail.jot(Note::new(kind, Actor::Login(self.user.clone()), ticket, id, detail));
    }

    /// The ticket that it is about, if it is about one only.
    pub(crate) fn ticket(&self) -> Option<&Word> {
        matches!(self.who, crate::share::login::Who::Ticket { .. }).then_some(&self.user)
    }
}

impl Drop for LoginState {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs();
        self.jot(Kind::LoginEnded, self.ticket(), Some(self.id), json!({ "seconds": seconds }));
    }
}

impl View {
    /// Where this session comes from.
    pub(crate) fn from(&self) -> IpAddr {
        self.login().0.from
    }

    /// Appends an event of this session inside the transaction that it tells of.
    pub(crate) async fn note(&self, conn: &mut Conn, kind: Kind, ticket: &Word, id: [u8; 16]) -> Result<(), Error> {
        let subject = Subject { actor: &self.login().actor(), ticket: Some(ticket), id: Some(id) };
        let mut detail = json!({});
        self.login().0.sign(&mut detail);
        Ok(crate::audit::write(conn, kind, subject, &detail).await?)
    }

    /// An event of this session that waits to be written: nobody waits for its commit.
    pub(crate) fn jot(&self, kind: Kind, ticket: &Word, id: [u8; 16], detail: Value) {
        self.login().0.jot(kind, Some(ticket), Some(id), detail);
    }

    /// Counts a look into a directory.
    pub(crate) fn saw(&self, ticket: &Word, directory: DirectoryId) {
        self.house().trail.count_listing(Counted {
            kind: Kind::DirectoryListed,
            actor: self.login().actor(),
            ticket: Some(ticket.clone()),
            id: Some(*directory.as_bytes()),
            from: self.from().to_string(),
            more: None,
        });
    }

    /// Passes on what came of a request; if it was refused by a rule, that is counted.
    pub(crate) async fn heard<T>(
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
            self.house().trail.count_refusal(Counted {
                kind: Kind::AccessRefused,
                actor: self.login().actor(),
                ticket,
                id: None,
                from: self.from().to_string(),
                more: Some(("why", format!("{refusal:?}"))),
            });
        }
        Err(refusal)
    }

    /// The ticket that an engineer's path leads to. What is no ticket stays out: it may be the name of a file.
    async fn ticket_named_by(&self, path: &SharePath) -> Option<Word> {
        let name = str::from_utf8(path.names().first()?.as_bytes()).ok()?;
        let mut conn = self.house().records.read().await.ok()?;
        Some(tickets::by_reference(&mut conn, name).await.ok()??.reference)
    }
}
