//! Several statements in one question.
//!
//! SQLite runs on a thread of its own, so each question is two changes of threads, which cost more than most statements do.
//! A batch sends its statements together: they share one list of parameters (`$7` is the same in all of them) and are carried
//! out in order; the first one that fails ends it. What came before has happened then, so a batch that writes runs inside a
//! transaction that is taken back.
//!
//! The statements are kept apart here, since joining them with semicolons is SQLite's way only: PostgreSQL refuses it, and
//! its arm will send them one behind the other without waiting between them, each with the parameters that it uses.

use std::future::poll_fn;
use std::sync::OnceLock;
use std::task::Poll;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Either, Executor, Sqlite};

use super::{Conn, RecordsError};

/// Statements that are sent together. The joined text is made once, so that it is prepared once.
#[derive(Debug)]
pub(super) struct Batch {
    statements: &'static [&'static str],
    text: OnceLock<String>,
}

/// A batch that is being given its parameters.
pub(super) type Asked<'q> = Query<'q, Sqlite, SqliteArguments>;

impl Batch {
    pub(super) const fn new(statements: &'static [&'static str]) -> Self {
        Self { statements, text: OnceLock::new() }
    }

    fn text(&'static self) -> &'static str {
        self.text.get_or_init(|| self.statements.join("; "))
    }

    /// The batch without its parameters, which are bound in the order of their numbers.
    pub(super) fn query(&'static self) -> Asked<'static> {
        sqlx::query(self.text())
    }

    /// The rows that each of the statements gave.
    ///
    /// # Errors
    /// If a statement fails; those behind it were not carried out.
    pub(super) async fn rows<const N: usize>(
        &'static self,
        conn: &mut Conn,
        asked: Asked<'_>,
    ) -> Result<[Vec<SqliteRow>; N], RecordsError> {
        let mut results: [Vec<SqliteRow>; N] = std::array::from_fn(|_| Vec::new());
        let mut done = 0;
        let mut stream = conn.fetch_many(asked);
        while let Some(step) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            match step? {
                Either::Right(row) => {
                    if let Some(rows) = results.get_mut(done) {
                        rows.push(row);
                    }
                }
                Either::Left(_) => done += 1,
            }
        }
        self.check_whole(done)?;
        Ok(results)
    }

    /// Carries out statements of which nobody wants rows.
    ///
    /// # Errors
    /// If a statement fails; those behind it were not carried out.
    pub(super) async fn run(&'static self, conn: &mut Conn, asked: Asked<'_>) -> Result<(), RecordsError> {
        let mut done = 0;
        let mut stream = conn.fetch_many(asked);
        poll_fn(|cx| {
            loop {
                match stream.as_mut().poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(self.check_whole(done)),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                    Poll::Ready(Some(Ok(step))) => done += usize::from(step.is_left()),
                }
            }
        })
        .await
    }

    /// Each statement says that it is done. A connection whose thread has died says nothing any more, and no error either.
    fn check_whole(&self, done: usize) -> Result<(), RecordsError> {
        if done == self.statements.len() { Ok(()) } else { Err(RecordsError::Database(sqlx::Error::WorkerCrashed)) }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::super::Records;
    use super::*;

    static TWO: Batch = Batch::new(&[
        "INSERT INTO fact (name, value) VALUES ($2, $1)",
        "SELECT value FROM fact WHERE name = $2",
        "SELECT name FROM fact WHERE value = $1 ORDER BY name",
    ]);
    static FAILS: Batch = Batch::new(&[
        "INSERT INTO fact (name, value) VALUES ($1, 'x')",
        "INSERT INTO fact (name, value) VALUES ($1, NULL)",
        "INSERT INTO fact (name, value) VALUES ($2, 'x')",
    ]);

    #[tokio::test]
    async fn statements_share_parameters_run_in_order_and_end_at_the_first_failure() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("r.sqlite")).await.unwrap();
        let mut tx = records.begin().await.unwrap();
        for name in ["one", "two"] {
            let asked = TWO.query().bind("what").bind(name);
            let [none, value, names] = TWO.rows::<3>(tx.conn(), asked).await.unwrap();
            assert!(none.is_empty());
            assert_eq!(value[0].get::<&str, _>("value"), "what");
            assert_eq!(names.iter().filter(|row| row.get::<&str, _>("name") == name).count(), 1);
        }
        assert!(FAILS.run(tx.conn(), FAILS.query().bind("three").bind("four")).await.is_err());
        let [_, _, names] = TWO.rows::<3>(tx.conn(), TWO.query().bind("x").bind("five")).await.unwrap();
        let names: Vec<String> = names.iter().map(|row| row.get("name")).collect();
        assert_eq!(names, ["five", "three"], "four came behind the failure");
    }
}
