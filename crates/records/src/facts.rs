//! Facts about this installation: a name and a value each.

use sqlx::Row;

use super::ask::ask;
use super::{Conn, RecordsError};
use tacdrop_model::HouseId;

/// The fact that holds the house's id.
const HOUSE: &str = "house";

/// The facts that say whether the journal may still hold a key that was taken away: how often one
/// was, and at which of these the journal was emptied last.
const JOURNAL_OWED: &str = "journal_owed";
const JOURNAL_EMPTIED: &str = "journal_emptied";

/// A fact about this installation.
pub async fn fact(conn: &mut Conn, name: &str) -> Result<Option<String>, RecordsError> {
    ask!("SELECT value FROM fact WHERE name = $1", name).maybe(conn, |row| Ok(row.try_get("value")?)).await
}

/// Writes a fact down, over what stood there.
pub async fn set_fact(conn: &mut Conn, name: &str, value: &str) -> Result<(), RecordsError> {
    ask!("INSERT INTO fact (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2", name, value)
        .run(conn)
        .await
}

/// Which house the records say they belong to.
///
/// # Errors
/// If what stands there is no id.
pub async fn house(conn: &mut Conn) -> Result<Option<HouseId>, RecordsError> {
    let unreadable = |_| RecordsError::Unreadable { table: "fact", why: "the id of the house is none".to_owned() };
    fact(conn, HOUSE).await?.map(|text| text.parse().map_err(unreadable)).transpose()
}

/// Says in the records which house they belong to.
pub async fn set_house(conn: &mut Conn, house: HouseId) -> Result<(), RecordsError> {
    set_fact(conn, HOUSE, &house.to_string()).await
}

/// Says that the journal may hold a key that was taken away, in the transaction that takes it.
pub async fn owe_journal(conn: &mut Conn) -> Result<(), RecordsError> {
    let owed = count(conn, JOURNAL_OWED).await? + 1;
    set_fact(conn, JOURNAL_OWED, &owed.to_string()).await
}

/// If the journal may hold such a key: what [`journal_emptied`] is to be told once it does not.
pub async fn owed_journal(conn: &mut Conn) -> Result<Option<u64>, RecordsError> {
    let (owed, emptied) = (count(conn, JOURNAL_OWED).await?, count(conn, JOURNAL_EMPTIED).await?);
    Ok((owed != emptied).then_some(owed))
}

/// Says that the journal was emptied after [`owed_journal`] had given `owed`. Keys taken away since
/// then owe it again.
pub async fn journal_emptied(conn: &mut Conn, owed: u64) -> Result<(), RecordsError> {
    set_fact(conn, JOURNAL_EMPTIED, &owed.to_string()).await
}

async fn count(conn: &mut Conn, name: &str) -> Result<u64, RecordsError> {
    Ok(fact(conn, name).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}
