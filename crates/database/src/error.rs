//! Why a database did not answer.

/// Why the records did not answer.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A row with this key exists already. Permanent.
    #[error("it exists already")]
    Exists,
    /// The database was busy for longer than the time-out. Temporary.
    #[error("the database is busy; try again")]
    Busy,
    /// No space on the database's disk. Temporary.
    #[error("the database has no space left")]
    Full,
    /// The file is not a sound database. Permanent.
    #[error("it is not a sound database: {0}")]
    Damaged(String),
    /// A row holds what this version of tacdrop cannot read.
    #[error("a row of {table} holds a value that cannot be read: {why}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A row does not carry the proof of what it says: it was not written by tacdrop. Permanent.
    #[error(
        "the row '{row}' of {table} does not say what tacdrop wrote there: somebody changed the records from outside \
         ('What to do about a row that is not proved' in docs/operations.md)"
    )]
    Unproved {
        /// The table.
        table: &'static str,
        /// Which row.
        row: String,
    },
    /// The migrations could not be applied.
    #[error("the database could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Anything else that the database says.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for RecordsError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(database) = error.as_database_error() {
            if database.is_unique_violation() {
                return Self::Exists;
            }
            // SQLite's primary result codes (sqlite.org/rescode.html): 5 BUSY, 6 LOCKED, 13 FULL.
            match database.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                Some(5 | 6) => return Self::Busy,
                Some(13) => return Self::Full,
                // 11 CORRUPT, 26 NOTADB.
                Some(11 | 26) => return Self::Damaged(database.message().to_owned()),
                _ => {}
            }
        }
        match error {
            sqlx::Error::ColumnDecode { index, source } => {
                Self::Unreadable { table: "the records", why: format!("column {index}: {source}") }
            }
            sqlx::Error::PoolTimedOut => Self::Busy,
            other => Self::Database(other),
        }
    }
}
