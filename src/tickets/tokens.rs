//! The tokens of a ticket: several, each with a label, a kind and an end of its own.

use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Tickets, line, note};
use crate::audit::Kind;
use crate::login::tokens::MOST;
use crate::model::{Identifier, LastDay, Time, TokenId, TokenKind};
use crate::records::tickets::{self, Ticket};
use crate::records::tokens::{self, Token};
use crate::records::{Conn, RecordsError};
use crate::repo::Error;
use crate::repo::tickets::{existing_ticket, mark_logins_changed};
use crate::vault;

/// Digits of a token's id that people must type at least.
const LEAST_DIGITS: usize = 4;

/// A token of a ticket, for people and programs. The token itself is shown once, when it is made.
#[derive(Debug, Clone, Serialize)]
pub struct TokenLine {
    /// Its id.
    pub id: String,
    /// What an operator calls it.
    pub label: Option<String>,
    /// What it allows.
    pub kind: TokenKind,
    /// Whether it is the one that the ticket was opened with, or that took its place.
    pub main: bool,
    /// `valid`, `expired` or `ended`.
    pub state: &'static str,
    /// When it was made.
    pub created_at: Time,
    /// From when on it opens nothing, if it is not renewed.
    pub valid_until: Time,
    /// Whether each login makes it valid for longer, until the ticket is closed.
    pub renews: bool,
    /// When it was ended.
    pub ended_at: Option<Time>,
    /// When somebody last logged in with it; a minute late at most.
    pub last_used_at: Option<Time>,
    /// From where.
    pub last_used_from: Option<String>,
}

impl From<Token> for TokenLine {
    fn from(row: Token) -> Self {
        let state = match row.ended_at {
            Some(_) => "ended",
            None if row.is_valid(Time::now()) => "valid",
            None => "expired",
        };
        let (last_used_at, last_used_from) = row.last_used.unzip();
        Self {
            id: row.id.to_string(),
            label: row.label,
            kind: row.kind,
            main: row.main,
            state,
            created_at: row.created_at,
            valid_until: row.valid_until,
            renews: row.renews,
            ended_at: row.ended_at,
            last_used_at,
            last_used_from,
        }
    }
}

/// What a new token needs.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    /// What an operator calls it.
    pub label: Option<String>,
    /// Its last day, in UTC; none: it is valid as long as tokens are, and renewed.
    pub until: Option<LastDay>,
    /// What it allows; none: all that the ticket's customer may do.
    pub kind: Option<TokenKind>,
}

impl Tickets {
    /// A token for a ticket, and its row to be.
    pub(super) fn make_token(
        &self,
        ticket: &Identifier,
        kind: TokenKind,
        main: bool,
    ) -> Result<(Token, Zeroizing<String>), Error> {
        let token = vault::token::new_token()?;
        let now = Time::now();
        let row = Token {
            id: TokenId::from_bytes(vault::random::array()?),
            ticket: ticket.clone(),
            label: None,
            kind,
            main,
            verifier: self.repo.keys.token().hash(ticket.as_str(), &token),
            created_at: now,
            valid_until: now.plus(self.repo.settings.token_validity),
            renews: true,
            ended_at: None,
            last_used: None,
            proof: Default::default(),
        };
        Ok((row, token))
    }

    /// Gives a ticket a new main token: the old one dies, and its sessions end within a second. Other
    /// tokens of the ticket stay as they are.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn new_token(&self, reference: &Identifier) -> Result<Zeroizing<String>, Error> {
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), reference).await?;
        let (row, token) = self.make_token(reference, main_kind(&ticket), true)?;
        let mut ended = Vec::new();
        for old in tokens::of_ticket(tx.conn(), reference).await?.iter().filter(|old| old.main) {
            if old.ended_at.is_some() {
                continue;
            }
            self.end_one(tx.conn(), old).await?;
            ended.push(old.id.to_string());
        }
        tokens::add(tx.conn(), self.prover(), &row).await?;
        tickets::logins_changed(tx.conn(), self.prover(), reference).await?;
        mark_logins_changed(tx.conn()).await?;
        let detail = json!({ "token": row.id.to_string(), "kind": row.kind, "ended": ended });
        note(tx.conn(), Kind::TicketTokenReplaced, Some(reference), detail).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// Gives a ticket one more token. It is shown this once; only its keyed hash is kept.
    ///
    /// # Errors
    /// If there is no such ticket, its last day is over, the label does not stand on one line, the
    /// ticket has as many tokens as it may, or the records fail.
    pub async fn add_token(
        &self,
        reference: &Identifier,
        new: NewToken,
    ) -> Result<(TokenLine, Zeroizing<String>), Error> {
        if let Some(day) = new.until.filter(|day| day.is_over(Time::now())) {
            return Err(Error::operator(format!("it is too late: {day} is over")));
        }
        let label = new.label.map(|text| line("label", text)).transpose()?;
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), reference).await?;
        if tokens::count_in_force(tx.conn(), reference).await? >= MOST as u64 {
            return Err(Error::operator(format!(
                "ticket {reference} has {MOST} tokens already; 'tacdrop ticket token end {reference} ID' ends one"
            )));
        }
        let (mut row, token) = self.make_token(reference, new.kind.unwrap_or(main_kind(&ticket)), false)?;
        row.label = label;
        if let Some(day) = new.until {
            (row.valid_until, row.renews) = (day.end(), false);
        }
        tokens::add(tx.conn(), self.prover(), &row).await?;
        let until = new.until.map(|_| row.valid_until.millis());
        let detail = json!({ "token": row.id.to_string(), "kind": row.kind, "until": until });
        note(tx.conn(), Kind::TicketTokenAdded, Some(reference), detail).await?;
        tx.commit().await?;
        Ok((row.into(), token))
    }

    /// All tokens of a ticket, oldest first.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn tokens(&self, reference: &Identifier) -> Result<Vec<TokenLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        existing_ticket(&mut conn, reference).await?;
        Ok(tokens::of_ticket(&mut conn, reference).await?.into_iter().map(TokenLine::from).collect())
    }

    /// Ends a token of a ticket, named by the first digits of its id; its sessions end within a
    /// second, and those of other tokens go on.
    ///
    /// # Errors
    /// If there is no such ticket or token, the digits name several, it has ended already, or the
    /// records fail.
    pub async fn end_token(&self, reference: &Identifier, digits: &str) -> Result<TokenLine, Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_ticket(tx.conn(), reference).await?;
        let rows = tokens::of_ticket(tx.conn(), reference).await?;
        let digits = digits.to_ascii_lowercase();
        let named: Vec<_> = rows.iter().filter(|row| row.id.to_string().starts_with(&digits)).collect();
        let row = match named[..] {
            [one] if digits.len() >= LEAST_DIGITS => one,
            [_, _, ..] if digits.len() >= LEAST_DIGITS => {
                return Err(Error::operator(format!(
                    "{digits} begins the ids of {} tokens; type more of it",
                    named.len()
                )));
            }
            _ => {
                return Err(Error::operator(format!(
                    "ticket {reference} has no token {digits}; 'tacdrop ticket token list {reference}' shows their ids, of \
                     which {LEAST_DIGITS} digits are enough"
                )));
            }
        };
        if row.ended_at.is_some() {
            return Err(Error::operator(format!("token {} has ended already", row.id)));
        }
        self.end_one(tx.conn(), row).await?;
        tickets::logins_changed(tx.conn(), self.prover(), reference).await?;
        mark_logins_changed(tx.conn()).await?;
        note(tx.conn(), Kind::TicketTokenEnded, Some(reference), json!({ "token": row.id.to_string() })).await?;
        let ended = tokens::by_id(tx.conn(), row.id).await?.unwrap_or_else(|| row.clone());
        tx.commit().await?;
        Ok(ended.into())
    }

    /// Ends a token. One that somebody else has changed lets nobody in, and keeps nobody from making
    /// another one.
    async fn end_one(&self, conn: &mut Conn, row: &Token) -> Result<(), Error> {
        match tokens::end(conn, self.prover(), row, Time::now()).await {
            Err(error @ RecordsError::Unproved { .. }) if row.main => {
                tracing::error!(%error, "a token was changed from outside, and stays as it is");
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// What the main token of a ticket allows.
pub(super) fn main_kind(ticket: &Ticket) -> TokenKind {
    if ticket.device { TokenKind::Device } else { TokenKind::Plain }
}
