//! What the invariants of the requirements are checked with.

use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row, ValueRef};

use super::{Conn, RecordsError, bytes_as, text_as};
use crate::model::{NoticeState, VersionId};

/// The lines of SQLite's plan for a question.
pub(crate) async fn plan(conn: &mut Conn, sql: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explain).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// A row of the audit trail.
pub(crate) struct AuditRow {
    pub(crate) seq: i64,
    pub(crate) at: i64,
    pub(crate) kind: String,
    pub(crate) actor: String,
    pub(crate) ticket: Option<String>,
    pub(crate) subject: Option<Vec<u8>>,
    pub(crate) detail: String,
    pub(crate) chain: Vec<u8>,
}

pub(crate) async fn audit_rows(conn: &mut Conn) -> Result<Vec<AuditRow>, RecordsError> {
    let rows = sqlx::query("SELECT seq, at, kind, actor, ticket, subject, detail, chain FROM audit_event ORDER BY seq")
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRow {
                seq: row.try_get("seq")?,
                at: row.try_get("at")?,
                kind: row.try_get("kind")?,
                actor: row.try_get("actor")?,
                ticket: row.try_get("ticket")?,
                subject: row.try_get("subject")?,
                detail: row.try_get("detail")?,
                chain: row.try_get("chain")?,
            })
        })
        .collect()
}

/// Puts other bytes in the place of a sealed name.
pub(crate) async fn set_name(conn: &mut Conn, id: &[u8; 16], sealed: &[u8]) -> Result<bool, RecordsError> {
    let done = sqlx::query("UPDATE entry SET name = $2 WHERE id = $1").bind(&id[..]).bind(sealed).execute(conn);
    Ok(done.await?.rows_affected() == 1)
}

/// The versions that notices call available, and where those notices stand.
pub(crate) async fn announced(conn: &mut Conn) -> Result<Vec<(VersionId, NoticeState)>, RecordsError> {
    let rows = sqlx::query(
        "SELECT nv.version_id, n.state FROM notice_version nv JOIN notice n ON n.id = nv.notice_id \
         WHERE nv.about = 'available'",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((bytes_as(row, "notice_version", "version_id")?, text_as(row, "notice", "state")?)))
        .collect()
}

/// How many rows a table has.
pub(crate) async fn count(conn: &mut Conn, table: &'static str) -> Result<usize, RecordsError> {
    let statement = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table}"));
    let row = sqlx::query(statement).fetch_one(conn).await?;
    Ok(usize::try_from(row.try_get::<i64, _>("n")?).unwrap_or(usize::MAX))
}

/// What a column of a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A table with all its rows, in the order in which they were written.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) rows: Vec<Vec<(String, Cell)>>,
}

/// Every row of every table.
pub(crate) async fn everything(conn: &mut Conn) -> Result<Vec<Table>, RecordsError> {
    let names =
        sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name");
    let mut tables = Vec::new();
    for row in names.fetch_all(&mut *conn).await? {
        let name: String = row.try_get("name")?;
        let all = sqlx::AssertSqlSafe(format!("SELECT * FROM {name} ORDER BY rowid"));
        let rows = sqlx::query(all).fetch_all(&mut *conn).await?.iter().map(cells).collect::<Result<_, _>>()?;
        tables.push(Table { name, rows });
    }
    Ok(tables)
}

fn cells(row: &SqliteRow) -> Result<Vec<(String, Cell)>, RecordsError> {
    let cell = |at: usize| {
        if row.try_get_raw(at)?.is_null() {
            return Ok(Cell::Null);
        }
        // What a value is says the value, not its column.
        if let Ok(number) = row.try_get(at) {
            return Ok(Cell::Integer(number));
        }
        row.try_get(at).map(Cell::Text).or_else(|_| row.try_get(at).map(Cell::Bytes))
    };
    row.columns().iter().map(|column| Ok((column.name().to_owned(), cell(column.ordinal())?))).collect()
}

/// Carries out any statement: tests damage rows with it.
pub(crate) async fn execute(conn: &mut Conn, statement: &'static str) -> Result<u64, RecordsError> {
    Ok(sqlx::query(statement).execute(conn).await?.rows_affected())
}
