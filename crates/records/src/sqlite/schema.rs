//! What a database may hold beside rows: the tables and indexes that the migrations make, and
//! nothing else. A trigger or a view that somebody put in would run with tacdrop's own statements.

use std::collections::BTreeSet;

use sqlx::Row;
use sqlx::migrate::Migrator;

use crate::{Conn, RecordsError};

/// What of a database no migration has made, each with its kind.
pub(crate) async fn strangers(conn: &mut Conn, migrator: &Migrator) -> Result<Vec<String>, RecordsError> {
    let known = made_by(migrator);
    // Names that begin so are SQLite's own. It makes tables and indexes under them; who writes the
    // schema itself can give such a name to anything.
    let text = "SELECT type, name, tbl_name FROM sqlite_master WHERE NOT (name LIKE 'sqlite\\_%' ESCAPE '\\' \
                AND type IN ('table', 'index')) ORDER BY type, name";
    let rows = sqlx::query(text).fetch_all(conn).await?;
    let mut strangers = Vec::new();
    for row in rows {
        let (kind, name, table): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if !known.contains(&(kind.clone(), name.clone())) {
            strangers.push(if name == table { format!("{kind} {name}") } else { format!("{kind} {name} on {table}") });
        }
    }
    Ok(strangers)
}

/// The tables and indexes whose making stands in the migrations, as kind and name.
fn made_by(migrator: &Migrator) -> BTreeSet<(String, String)> {
    // The migrations' own table is made by sqlx.
    let mut made = BTreeSet::from([("table".to_owned(), "_sqlx_migrations".to_owned())]);
    for migration in migrator.iter() {
        let sql = migration.sql.as_str();
        let lines = sql.lines().map(|line| line.split_once("--").map_or(line, |(before, _)| before));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        let after = |at: usize| words.get(at).map(|word| word.trim_end_matches('(')).unwrap_or_default();
        for at in (0..words.len()).filter(|at| after(*at) == "CREATE") {
            let at = if after(at + 1) == "UNIQUE" { at + 2 } else { at + 1 };
            if matches!(after(at), "TABLE" | "INDEX") {
                made.insert((after(at).to_lowercase(), after(at + 1).to_owned()));
            }
        }
        for at in (0..words.len()).filter(|at| after(*at) == "RENAME" && after(*at + 1) == "TO") {
            made.insert(("table".to_owned(), after(at + 2).trim_end_matches(';').to_owned()));
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use crate::{Keyring, Records};

    #[tokio::test]
    async fn what_no_migration_made_is_named_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("r.sqlite")).await.unwrap();
        let keyring = Keyring::open(&directory.path().join("k.sqlite")).await.unwrap();
        assert_eq!(records.strangers().await.unwrap(), Vec::<String>::new());
        assert_eq!(keyring.strangers().await.unwrap(), Vec::<String>::new());
        let put_in = [
            "CREATE TRIGGER grant AFTER INSERT ON ticket BEGIN DELETE FROM ticket; END",
            "CREATE VIEW everybody AS SELECT * FROM engineer",
            "CREATE TABLE sqlitelike (a)",
            "CREATE INDEX more ON engineer (name)",
        ];
        for statement in put_in {
            let mut tx = records.begin().await.unwrap();
            sqlx::query(AssertSqlSafe(statement)).execute(tx.conn()).await.unwrap();
            tx.commit().await.unwrap();
        }
        let named = ["index more on engineer", "table sqlitelike", "trigger grant on ticket", "view everybody"];
        assert_eq!(records.strangers().await.unwrap(), named);
        let mut tx = keyring.begin().await.unwrap();
        let statement = "CREATE TRIGGER keep BEFORE DELETE ON share_key BEGIN SELECT RAISE(IGNORE); END";
        sqlx::query(statement).execute(tx.conn()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(keyring.strangers().await.unwrap(), ["trigger keep on share_key"]);
    }
}
