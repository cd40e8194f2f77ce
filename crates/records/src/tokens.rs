//! The tokens of tickets.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof, time_field};
use super::tickets::{self, Ticket};
use super::{Conn, RecordsError, bytes_as, text_as, unsigned};
use tacdrop_model::{Identifier, Time, TokenId, TokenKind};

/// A token of a ticket, without the token itself.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its id, by which people name it.
    pub id: TokenId,
    /// The ticket that it opens.
    pub ticket: Identifier,
    /// What an operator calls it.
    pub label: Option<String>,
    /// What it allows.
    pub kind: TokenKind,
    /// Whether it is the one that the ticket was opened with, or that took its place.
    pub main: bool,
    /// The keyed hash of the token.
    pub verifier: [u8; 32],
    /// When it was made.
    pub created_at: Time,
    /// From when on it opens nothing.
    pub valid_until: Time,
    /// Whether each login makes it valid for longer, until the ticket is closed.
    pub renews: bool,
    /// When an operator ended it.
    pub ended_at: Option<Time>,
    /// When somebody last logged in with it, and from where; a minute late at most.
    pub last_used: Option<(Time, String)>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Token {
    /// Whether it opens its ticket at this moment.
    pub fn is_valid(&self, now: Time) -> bool {
        self.ended_at.is_none() && now < self.valid_until
    }
}

impl Proved for Token {
    const TABLE: &'static str = "ticket_token";
    const LABEL: &'static str = "proof of ticket's token, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let ended_at = time_field(self.ended_at);
        read(&[
            self.id.as_bytes(),
            self.ticket.as_str().as_bytes(),
            self.kind.as_str().as_bytes(),
            &[u8::from(self.main)],
            &self.verifier,
            &self.valid_until.millis().to_be_bytes(),
            &[u8::from(self.renews)],
            &ended_at,
        ])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        format!("{} {}", self.ticket, self.id)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, ticket, label, kind, main, verifier, created_at, valid_until, renews, ended_at, last_used_at, \
             last_used_from, proof FROM ticket_token ",
            $rest
        )
    };
}

fn token(row: &SqliteRow) -> Result<Token, RecordsError> {
    let used_at = row.try_get::<Option<i64>, _>("last_used_at")?.map(Time::from_millis);
    let used_from: Option<String> = row.try_get("last_used_from")?;
    Ok(Token {
        id: bytes_as(row, "ticket_token", "id")?,
        ticket: text_as(row, "ticket_token", "ticket")?,
        label: row.try_get("label")?,
        kind: text_as(row, "ticket_token", "kind")?,
        main: row.try_get::<i64, _>("main")? != 0,
        verifier: bytes_as(row, "ticket_token", "verifier")?,
        created_at: Time::from_millis(row.try_get("created_at")?),
        valid_until: Time::from_millis(row.try_get("valid_until")?),
        renews: row.try_get::<i64, _>("renews")? != 0,
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(Time::from_millis),
        last_used: used_at.zip(used_from),
        proof: proof(row, "proof"),
    })
}

/// Writes a new token down, with its proof.
pub async fn add(conn: &mut Conn, prover: &dyn Prover, new: &Token) -> Result<(), RecordsError> {
    let text = "INSERT INTO ticket_token (id, ticket, label, kind, main, verifier, created_at, valid_until, renews, \
         ended_at, proof) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    ask!(
        text,
        new.id,
        new.ticket.as_str(),
        new.label.as_deref(),
        new.kind.as_str(),
        new.main,
        &new.verifier[..],
        new.created_at,
        new.valid_until,
        new.renews,
        new.ended_at,
        new.prove(prover)
    )
    .run(conn)
    .await
}

/// All tokens of a ticket that can be read, also those that have ended, oldest first.
pub async fn of_ticket(conn: &mut Conn, ticket: &Identifier) -> Result<Vec<Token>, RecordsError> {
    ask!(select!("WHERE ticket = $1 ORDER BY created_at, id"), ticket).readable(conn, "ticket_token", token).await
}

/// Those of a ticket that nobody has ended, in no order; at most `most`. A login asks it, and SQLite
/// makes a table for what it sorts.
pub async fn in_force(conn: &mut Conn, ticket: &str, most: usize) -> Result<Vec<Token>, RecordsError> {
    ask!(select!("WHERE ticket = $1 AND ended_at IS NULL LIMIT $2 + 0"), ticket, most)
        .readable(conn, "ticket_token", token)
        .await
}

/// How many tokens of a ticket nobody has ended.
pub async fn count_in_force(conn: &mut Conn, ticket: &Identifier) -> Result<u64, RecordsError> {
    ask!("SELECT COUNT(*) AS n FROM ticket_token WHERE ticket = $1 AND ended_at IS NULL", ticket)
        .one(conn, |row| unsigned(row, "ticket_token", "n"))
        .await
}

/// The token with this id.
pub async fn by_id(conn: &mut Conn, id: TokenId) -> Result<Option<Token>, RecordsError> {
    ask!(select!("WHERE id = $1"), id).maybe(conn, token).await
}

/// All tokens that can be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<Token>, RecordsError> {
    ask!(select!("ORDER BY ticket, created_at, id")).readable(conn, "ticket_token", token).await
}

/// Gives a token's row the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &Token) -> Result<(), RecordsError> {
    ask!("UPDATE ticket_token SET proof = $2 WHERE id = $1", row.id, row.prove(prover)).run(conn).await
}

/// Ends a token, as it stands in a row whose proof the caller has checked or does not want.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn end(conn: &mut Conn, prover: &dyn Prover, row: &Token, now: Time) -> Result<(), RecordsError> {
    row.check(prover)?;
    let ended = Token { ended_at: Some(now), ..row.clone() };
    let text = "UPDATE ticket_token SET ended_at = $2, proof = $3 WHERE id = $1";
    ask!(text, row.id, ended.ended_at, ended.prove(prover)).run(conn).await
}

/// Removes all tokens of a ticket that is being shredded: nobody comes in any more.
pub async fn remove_all(conn: &mut Conn, ticket: &Identifier) -> Result<(), RecordsError> {
    ask!("DELETE FROM ticket_token WHERE ticket = $1", ticket).run(conn).await
}

/// Writes down that somebody logged in with a token, and until when it is valid by that.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn used(
    conn: &mut Conn,
    prover: &dyn Prover,
    row: &Token,
    (now, from): (Time, &str),
    valid_until: Time,
) -> Result<(), RecordsError> {
    row.check(prover)?;
    let used = Token { valid_until, ..row.clone() };
    let text =
        "UPDATE ticket_token SET last_used_at = $2, last_used_from = $3, valid_until = $4, proof = $5 WHERE id = $1";
    ask!(text, row.id, now, from, valid_until, used.prove(prover)).run(conn).await
}

/// The hash of no token at all.
pub const NO_TOKEN: [u8; 32] = [0; 32];

/// Moves the token that a ticket of before has in its own row into a row of its own, whose id is that
/// of the share: nobody else bears it. The ticket's row gets the proof of what it says then. Whether
/// there was one. Whoever calls answers for what the ticket's row says.
pub async fn move_out(
    conn: &mut Conn,
    prover: &dyn Prover,
    ticket: &Ticket,
    valid_until: Time,
) -> Result<bool, RecordsError> {
    if ticket.token_hash == NO_TOKEN {
        return Ok(false);
    }
    let id = TokenId::from_bytes(*ticket.share.as_bytes());
    let kind = if ticket.device { TokenKind::Device } else { TokenKind::Plain };
    let moved = Token {
        id,
        ticket: ticket.reference.clone(),
        label: None,
        kind,
        main: true,
        verifier: ticket.token_hash,
        created_at: ticket.opened_at,
        valid_until,
        renews: true,
        ended_at: None,
        last_used: None,
        proof: Proof::default(),
    };
    add(conn, prover, &moved).await?;
    let left = Ticket { token_hash: NO_TOKEN, ..ticket.clone() };
    tickets::put(conn, prover, &left).await?;
    Ok(true)
}
