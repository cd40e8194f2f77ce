//! Tickets that both sides must close, and which of them want that.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof, time_field};
use super::{Conn, RecordsError, bytes_as};
use tacdrop_model::{ShareId, Side, Time};

/// Who wants a ticket closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingRow {
    /// Its share.
    pub share: ShareId,
    /// Since when the engineer does.
    pub engineer_at: Option<Time>,
    /// Since when the customer does.
    pub contact_at: Option<Time>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl ClosingRow {
    /// Whether both sides do.
    pub const fn is_agreed(&self) -> bool {
        self.engineer_at.is_some() && self.contact_at.is_some()
    }
}

impl Proved for ClosingRow {
    const TABLE: &'static str = "closing";
    const LABEL: &'static str = "proof of closing, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.share.as_bytes(), &time_field(self.engineer_at), &time_field(self.contact_at)])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.share.to_string()
    }
}

fn closing(row: &SqliteRow) -> Result<ClosingRow, RecordsError> {
    let maybe = |column| Ok::<_, RecordsError>(row.try_get::<Option<i64>, _>(column)?.map(Time::from_millis));
    Ok(ClosingRow {
        share: bytes_as(row, "closing", "share_id")?,
        engineer_at: maybe("engineer_at")?,
        contact_at: maybe("contact_at")?,
        proof: proof(row, "proof"),
    })
}

/// Writes down that a side wants a ticket closed; says who does now.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed the row before.
pub async fn agree(
    conn: &mut Conn,
    prover: &dyn Prover,
    share: ShareId,
    side: Side,
    now: Time,
) -> Result<ClosingRow, RecordsError> {
    let mut row = match of_share(conn, share).await? {
        Some(row) => {
            row.check(prover)?;
            row
        }
        None => ClosingRow { share, engineer_at: None, contact_at: None, proof: Proof::default() },
    };
    let at = match side {
        Side::Engineer => &mut row.engineer_at,
        Side::Contact => &mut row.contact_at,
    };
    *at = at.or(Some(now));
    row.proof = row.prove(prover);
    remove(conn, share).await?;
    let text = "INSERT INTO closing (share_id, engineer_at, contact_at, proof) VALUES ($1, $2, $3, $4)";
    ask!(text, share, row.engineer_at, row.contact_at, row.proof).run(conn).await?;
    Ok(row)
}

/// Forgets who wants a ticket closed.
pub async fn remove(conn: &mut Conn, share: ShareId) -> Result<(), RecordsError> {
    ask!("DELETE FROM closing WHERE share_id = $1", share).run(conn).await
}

/// Who wants a ticket closed, if anybody does.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Option<ClosingRow>, RecordsError> {
    ask!("SELECT share_id, engineer_at, contact_at, proof FROM closing WHERE share_id = $1", share)
        .maybe(conn, closing)
        .await
}

/// All rows that can be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<ClosingRow>, RecordsError> {
    ask!("SELECT share_id, engineer_at, contact_at, proof FROM closing ORDER BY share_id")
        .readable(conn, "closing", closing)
        .await
}

/// Gives a row the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &ClosingRow) -> Result<(), RecordsError> {
    ask!("UPDATE closing SET proof = $2 WHERE share_id = $1", row.share, row.prove(prover)).run(conn).await
}
