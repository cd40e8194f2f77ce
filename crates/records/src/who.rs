//! How a command asks the server that runs who is logged in: a number in a row, and the answer to
//! it.

use sqlx::Row;

use super::ask::ask;
use super::{Conn, RecordsError};

/// Asks. The question's number.
pub async fn question(conn: &mut Conn) -> Result<i64, RecordsError> {
    ask!("UPDATE who SET asked = asked + 1 WHERE id = 1").run(conn).await?;
    ask!("SELECT asked FROM who WHERE id = 1").one(conn, |row| Ok(row.try_get("asked")?)).await
}

/// The newest question, if nobody has answered it yet.
pub async fn open_question(conn: &mut Conn) -> Result<Option<i64>, RecordsError> {
    ask!("SELECT asked FROM who WHERE id = 1 AND asked > answered").maybe(conn, |row| Ok(row.try_get("asked")?)).await
}

/// Answers a question, and all that came before it.
pub async fn answer(conn: &mut Conn, question: i64, sessions: &str) -> Result<(), RecordsError> {
    ask!("UPDATE who SET answered = $1, sessions = $2 WHERE id = 1 AND answered < $1", question, sessions)
        .run(conn)
        .await
}

/// The answer to a question, or to one that came later; none: there is none yet.
pub async fn answer_to(conn: &mut Conn, question: i64) -> Result<Option<String>, RecordsError> {
    ask!("SELECT sessions FROM who WHERE id = 1 AND answered >= $1", question)
        .maybe(conn, |row| Ok(row.try_get("sessions")?))
        .await
}
