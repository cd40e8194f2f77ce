//! Several statements in one question.
//!
//! SQLite runs on a thread of its own, so each question is two changes of threads, which cost more
//! than most statements do. A batch sends its statements together: they share one list of
//! parameters (`$7` is the same in all of them) and are carried out in order; the first one that
//! fails ends it. What came before has happened then, so a batch that writes runs inside a
//! transaction that is taken back.
//!
//! Joining them with semicolons is SQLite's way only: PostgreSQL refuses it, and its arm will send
//! them one behind the other without waiting between them, each with the parameters that it uses.

use std::future::poll_fn;
use std::task::Poll;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Executor, Sqlite};

use crate::{Conn, RecordsError};

/// Statements that are sent together. The text stays the same, so that it is prepared once.
#[derive(Debug)]
pub struct Batch {
    statements: usize,
    text: String,
}

/// A batch that is being given its parameters.
pub type Asked<'q> = Query<'q, Sqlite, SqliteArguments>;

impl Batch {
    /// A batch of these statements, in their order.
    pub fn new(statements: &[&str]) -> Self {
        Self { statements: statements.len(), text: statements.join("; ") }
    }

    /// The batch without its parameters, which are bound in the order of their numbers.
    pub fn query(&'static self) -> Asked<'static> {
        sqlx::query(self.text.as_str())
    }

    /// Carries out statements of which nobody wants rows.
    ///
    /// # Errors
    /// If a statement fails; those behind it were not carried out.
    pub async fn run(&'static self, conn: &mut Conn, asked: Asked<'_>) -> Result<(), RecordsError> {
        let mut done = 0;
        let mut stream = conn.fetch_many(asked);
        poll_fn(|cx| {
            // Each statement says that it is done; nobody waits to hear that nothing comes behind
            // the last one.
            while done < self.statements {
                match stream.as_mut().poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    // A connection whose thread has died says nothing any more, and no error
                    // either.
                    Poll::Ready(None) => return Poll::Ready(Err(sqlx::Error::WorkerCrashed.into())),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                    Poll::Ready(Some(Ok(step))) => done += usize::from(step.is_left()),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::sqlite::fixtures::{Facts, fact};

    static TWO: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(&[
            "INSERT INTO fact (name, value) VALUES ($2, $1)",
            "SELECT value FROM fact",
            "UPDATE fact SET value = value || $2 WHERE value = $1",
        ])
    });
    static FAILS: LazyLock<Batch> = LazyLock::new(|| {
        Batch::new(&[
            "INSERT INTO fact (name, value) VALUES ($1, 'x')",
            "INSERT INTO fact (name, value) VALUES ($1, NULL)",
            "INSERT INTO fact (name, value) VALUES ($2, 'x')",
        ])
    });

    #[tokio::test]
    async fn statements_share_parameters_run_in_order_and_end_at_the_first_failure() {
        let facts = Facts::open().await;
        let mut tx = facts.begin().await.unwrap();
        for name in ["one", "two"] {
            let batch = LazyLock::force(&TWO);
            batch.run(tx.conn(), batch.query().bind("what").bind(name)).await.unwrap();
            assert_eq!(fact(tx.conn(), name).await, Some(format!("what{name}")));
        }
        let batch = LazyLock::force(&FAILS);
        assert!(batch.run(tx.conn(), batch.query().bind("three").bind("four")).await.is_err());
        assert_eq!(fact(tx.conn(), "three").await.as_deref(), Some("x"));
        assert_eq!(fact(tx.conn(), "four").await, None, "it came behind the failure");
    }
}
