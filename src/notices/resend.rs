//! What operators do about notices that did not arrive: try again, send elsewhere, or let be.

use serde::Serialize;
use serde_json::json;

use super::Notices;
use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{Audience, Identifier, NoticeId, NoticeState, Time};
use crate::records::Conn;
use crate::records::notices::{self, NoticeRow};
use crate::repo::Error;
use crate::repo::tickets::{check_address, check_enabled};

/// What was done about a notice, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct NoticeChange {
    /// The notice.
    pub id: String,
    /// Its ticket.
    pub ticket: String,
    /// Where it stands now.
    pub state: NoticeState,
}

/// Where a notice goes instead.
#[derive(Debug, Clone)]
pub enum NewAddress {
    /// To a mail address, for the same engineer.
    Mail(String),
    /// To another engineer.
    Engineer(Identifier),
}

impl Notices {
    /// Has notices tried again at once: these, or all that ended without being delivered. Nothing
    /// happens if one of them cannot be.
    ///
    /// # Errors
    /// If one is not there or was delivered, or the records fail.
    pub async fn retry(&self, ids: Option<&[NoticeId]>) -> Result<Vec<NoticeChange>, Error> {
        let mut tx = self.repo.records.begin().await?;
        let rows = match ids {
            None => notices::ended_undelivered(tx.conn()).await?,
            Some(ids) => {
                let mut rows = Vec::with_capacity(ids.len());
                for id in ids {
                    rows.push(undelivered(tx.conn(), *id).await?);
                }
                rows
            }
        };
        let now = Time::now();
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            notices::retry(tx.conn(), row.id, now).await?;
            note(tx.conn(), Kind::NoticeRetried, row, json!({})).await?;
            changes.push(change(row, NoticeState::Pending));
        }
        tx.commit().await?;
        Ok(changes)
    }

    /// Sends a notice elsewhere, at once.
    ///
    /// # Errors
    /// If it is not there, was delivered, or is for a customer, the address is none, the engineer is not there or
    /// disabled, or the records fail.
    pub async fn readdress(&self, id: NoticeId, to: &NewAddress) -> Result<NoticeChange, Error> {
        let mut tx = self.repo.records.begin().await?;
        let row = undelivered(tx.conn(), id).await?;
        if row.audience != Audience::Engineers {
            return Err(Error::operator(format!(
                "notice {id} is for a customer and goes to nobody else; 'tacdrop contact edit ID --email ADDRESS' changes where \
                 a contact reads its mail, and 'tacdrop notice dismiss {id}' ends the notice"
            )));
        }
        let prover = &**self.repo.keys.proofs();
        // The trail says who gets it, and not an address: that is a person's.
        let detail = match to {
            NewAddress::Mail(address) => {
                check_address(address)?;
                notices::readdress(tx.conn(), prover, (id, &row.ticket), &row.recipient, Some(address)).await?;
                json!({ "engineer": row.recipient.as_str(), "other_address": true })
            }
            NewAddress::Engineer(engineer) => {
                check_enabled(tx.conn(), engineer).await?;
                notices::readdress(tx.conn(), prover, (id, &row.ticket), engineer, None).await?;
                json!({ "engineer": engineer.as_str(), "other_address": false })
            }
        };
        notices::retry(tx.conn(), id, Time::now()).await?;
        note(tx.conn(), Kind::NoticeReaddressed, &row, detail).await?;
        tx.commit().await?;
        Ok(change(&row, NoticeState::Pending))
    }

    /// Ends a notice that need not be delivered any more.
    ///
    /// # Errors
    /// If it is not there or was delivered, or the records fail.
    pub async fn dismiss(&self, id: NoticeId) -> Result<NoticeChange, Error> {
        let mut tx = self.repo.records.begin().await?;
        let row = undelivered(tx.conn(), id).await?;
        notices::dismiss(tx.conn(), id).await?;
        note(tx.conn(), Kind::NoticeDismissed, &row, json!({})).await?;
        tx.commit().await?;
        Ok(change(&row, NoticeState::Dismissed))
    }
}

async fn undelivered(conn: &mut Conn, id: NoticeId) -> Result<NoticeRow, Error> {
    match notices::by_id(conn, id).await? {
        None => Err(Error::operator(format!("there is no notice {id}; 'tacdrop notice list' shows all"))),
        Some(row) if row.state == NoticeState::Delivered => {
            Err(Error::operator(format!("notice {id} was delivered; there is nothing left to do about it")))
        }
        Some(row) => Ok(row),
    }
}

async fn note(conn: &mut Conn, kind: Kind, row: &NoticeRow, detail: serde_json::Value) -> Result<(), Error> {
    let subject = Subject { actor: &Actor::Operator, ticket: Some(&row.ticket), id: Some(*row.id.as_bytes()) };
    Ok(audit::write(conn, kind, subject, &detail).await?)
}

fn change(row: &NoticeRow, state: NoticeState) -> NoticeChange {
    NoticeChange { id: row.id.to_string(), ticket: row.ticket.to_string(), state }
}
