//! Looks into tacdrop's records past all their rules, and damages them, for tests.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot look ends")]

mod damage;

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Error, Row, SqliteConnection, ValueRef};
use tacdrop_model::{NoticeState, VersionId};

pub use damage::Damager;

/// The lines of SQLite's plan for a question.
pub async fn plan(conn: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explain).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// A row of the audit trail.
pub struct AuditRow {
    /// Its number in the chain.
    pub seq: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// The ticket it is about.
    pub ticket: Option<String>,
    /// The id of what it is about.
    pub subject: Option<Vec<u8>>,
    /// The rest, as JSON.
    pub detail: String,
    /// Its link.
    pub chain: Vec<u8>,
}

/// All rows of the audit trail, in its order.
pub async fn audit_rows(conn: &mut SqliteConnection) -> Result<Vec<AuditRow>, Error> {
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
pub async fn set_name(conn: &mut SqliteConnection, id: &[u8; 16], sealed: &[u8]) -> Result<bool, Error> {
    let done = sqlx::query("UPDATE entry SET name = $2 WHERE id = $1").bind(&id[..]).bind(sealed).execute(conn);
    Ok(done.await?.rows_affected() == 1)
}

/// The versions that notices call available, and where those notices stand.
pub async fn announced(conn: &mut SqliteConnection) -> Result<Vec<(VersionId, NoticeState)>, Error> {
    let rows = sqlx::query(
        "SELECT nv.version_id, n.state FROM notice_version nv JOIN notice n ON n.id = nv.notice_id \
         WHERE nv.about = 'available'",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let version: [u8; 16] = row.get::<Vec<u8>, _>("version_id").try_into().unwrap();
            Ok((VersionId::from_bytes(version), row.get::<&str, _>("state").parse().unwrap()))
        })
        .collect()
}

/// How many rows a table has.
pub async fn count(conn: &mut SqliteConnection, table: &'static str) -> Result<usize, Error> {
    let statement = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table}"));
    let row = sqlx::query(statement).fetch_one(conn).await?;
    Ok(usize::try_from(row.try_get::<i64, _>("n")?).unwrap_or(usize::MAX))
}

/// How many rows each table has and how many entries each index, by name. Those that nothing has
/// are left out.
pub async fn sizes(conn: &mut SqliteConnection) -> Result<BTreeMap<String, usize>, Error> {
    let named = "SELECT name, tbl_name, COALESCE(sql, '') AS sql FROM sqlite_schema WHERE type IN ('table', 'index')";
    let mut sizes = BTreeMap::new();
    for row in sqlx::query(named).fetch_all(&mut *conn).await? {
        let (name, table, sql): (String, String, String) = (row.get("name"), row.get("tbl_name"), row.get("sql"));
        // An index has an entry for each row that meets its condition.
        let condition =
            sql.split_once(" WHERE ").filter(|_| sql.starts_with("CREATE INDEX") || sql.contains("UNIQUE INDEX"));
        let condition = condition.map_or("1", |(_, condition)| condition);
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table} WHERE {condition}"));
        let count: i64 = sqlx::query(count).fetch_one(&mut *conn).await?.try_get("n")?;
        if count > 0 {
            sizes.insert(name, usize::try_from(count).unwrap_or(usize::MAX));
        }
    }
    Ok(sizes)
}

/// What a column of a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Null,
    /// A number.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A table with all its rows, in the order in which they were written.
pub struct Table {
    /// Its name.
    pub name: String,
    /// Column and value, row by row.
    pub rows: Vec<Vec<(String, Cell)>>,
}

/// Every row of every table.
pub async fn everything(conn: &mut SqliteConnection) -> Result<Vec<Table>, Error> {
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

fn cells(row: &SqliteRow) -> Result<Vec<(String, Cell)>, Error> {
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
pub async fn execute(conn: &mut SqliteConnection, statement: &'static str) -> Result<u64, Error> {
    Ok(sqlx::query(statement).execute(conn).await?.rows_affected())
}
