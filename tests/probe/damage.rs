//! Damages rows of a database, as a broken disk or a wrong hand would, and mends them again. For
//! tests.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

/// A connection beside the records', with no rule in force.
pub struct Damager(SqliteConnection);

impl Damager {
    /// To the database in this file.
    pub async fn of(records: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(records)
            .foreign_keys(false)
            .pragma("ignore_check_constraints", "ON")
            .busy_timeout(std::time::Duration::from_secs(20));
        Self(options.connect().await.unwrap())
    }

    /// The columns of a table, with their types.
    pub async fn columns(&mut self, table: &str) -> Vec<(String, String)> {
        let question = AssertSqlSafe(format!("SELECT name, type FROM pragma_table_info('{table}')"));
        let rows = sqlx::query(question).fetch_all(&mut self.0).await.unwrap();
        rows.iter().map(|row| (row.get("name"), row.get("type"))).collect()
    }

    /// Remembers the rows that a condition chooses, and says how many.
    pub async fn remember(&mut self, table: &str, condition: &str) -> usize {
        self.execute("DROP TABLE IF EXISTS temp.kept".to_owned()).await.unwrap();
        let keep = format!("CREATE TEMP TABLE kept AS SELECT rowid AS number, * FROM {table} WHERE {condition}");
        self.execute(keep).await.unwrap();
        let count = sqlx::query("SELECT COUNT(*) AS n FROM temp.kept").fetch_one(&mut self.0).await.unwrap();
        usize::try_from(count.get::<i64, _>("n")).unwrap()
    }

    /// Gives a column of the remembered rows another value. Whether the database let it.
    pub async fn damage(&mut self, table: &str, column: &str, value: &str) -> bool {
        let change = format!("UPDATE {table} SET {column} = {value} WHERE rowid IN (SELECT number FROM temp.kept)");
        self.execute(change).await.is_ok()
    }

    /// Makes the remembered rows what they were.
    pub async fn mend(&mut self, table: &str) {
        let names: Vec<String> = self.columns(table).await.into_iter().map(|(name, _)| name).collect();
        let names = names.join(", ");
        let change = format!(
            "UPDATE OR REPLACE {table} SET ({names}) = (SELECT {names} FROM temp.kept WHERE number = {table}.rowid) \
             WHERE rowid IN (SELECT number FROM temp.kept)"
        );
        self.execute(change).await.unwrap();
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.0.close().await.unwrap();
    }

    /// Carries out a statement.
    pub async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut self.0).await.map(|_| ())
    }
}
