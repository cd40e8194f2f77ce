//! What a database may hold beside rows: the tables and indexes that the migrations make, as they
//! make them, and nothing else. A trigger or a view that somebody put in would run with tacdrop's
//! own statements, and so would a condition or an expression in an index.

use std::collections::BTreeMap;

use sqlx::migrate::Migrator;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::OnceCell;

use crate::{Conn, RecordsError};
use tacdrop_model::Time;

/// A thing of a database by its kind and its name, and the table that it belongs to with the
/// statement that made it.
type Things = BTreeMap<(String, String), (String, String)>;

/// The migrations of a database, and what they make.
pub struct Schema {
    migrations: Migrator,
    made: OnceCell<Things>,
}

impl Schema {
    /// What these migrations make.
    pub const fn of(migrations: Migrator) -> Self {
        Self { migrations, made: OnceCell::const_new() }
    }

    /// Brings a database up to date.
    pub async fn migrate(&self, conn: &mut SqliteConnection) -> Result<(), RecordsError> {
        Ok(self.migrations.run(conn).await?)
    }

    /// What of a database no migration has made, or has made otherwise, each with its kind.
    pub async fn strangers(&self, conn: &mut Conn) -> Result<Vec<String>, RecordsError> {
        let made = self.made.get_or_try_init(|| self.make()).await?;
        let mut strangers = Vec::new();
        for ((kind, name), (table, statement)) in things(conn).await? {
            let known = made.get(&(kind.clone(), name.clone()));
            if known == Some(&(table.clone(), statement)) {
                continue;
            }
            let on = if name == table { String::new() } else { format!(" on {table}") };
            let other = if known.is_some() { ", changed" } else { "" };
            strangers.push(format!("{kind} {name}{on}{other}"));
        }
        Ok(strangers)
    }

    /// What the migrations make of an empty database.
    async fn make(&self) -> Result<Things, RecordsError> {
        let mut empty = SqliteConnection::connect("sqlite::memory:").await?;
        self.migrate(&mut empty).await?;
        things(&mut empty.into()).await
    }
}

/// When a migration was applied, to the second.
pub async fn applied_at(conn: &mut Conn, migration: i64) -> Result<Option<Time>, RecordsError> {
    let text = "SELECT CAST(strftime('%s', installed_on) AS INTEGER) FROM _sqlx_migrations WHERE version = $1";
    let row = sqlx::query(text).bind(migration).fetch_optional(conn).await?;
    let seconds: Option<i64> = row.map(|row| row.try_get(0)).transpose()?.flatten();
    Ok(seconds.map(|seconds| Time::from_millis(seconds.saturating_mul(1000))))
}

/// All things of a database but those that SQLite makes for itself.
async fn things(conn: &mut Conn) -> Result<Things, RecordsError> {
    // Names that begin so are SQLite's own. It makes tables and indexes under them; who writes the
    // schema itself can give such a name to anything.
    let text = "SELECT type, name, tbl_name, COALESCE(sql, '') FROM sqlite_master \
                WHERE NOT (name LIKE 'sqlite\\_%' ESCAPE '\\' AND type IN ('table', 'index'))";
    let rows = sqlx::query(text).fetch_all(conn).await?;
    let thing = |row: &sqlx::sqlite::SqliteRow| -> Result<_, sqlx::Error> {
        let name: String = row.try_get(1)?;
        // sqlx makes this one, in its own words.
        let sql = if name == "_sqlx_migrations" { String::new() } else { words(row.try_get(3)?) };
        Ok(((row.try_get(0)?, name), (row.try_get(2)?, sql)))
    };
    rows.iter().map(|row| thing(row).map_err(RecordsError::from)).collect()
}

/// A statement without what does not matter: how it is broken into lines, and quotes around names.
fn words(sql: &str) -> String {
    sql.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ")
}
