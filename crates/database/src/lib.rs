//! What the records stand on: how a database is opened, who may write when, how a statement is asked,
//! and how a row is read. It knows no table.
//!
//! A statement is one constant text with `$1` parameters ([`ask!`](ask::ask)) that SQLite and
//! PostgreSQL both understand; what only SQLite does lies in [`sqlite`].
//!
//! Every function here fails with a [`RecordsError`] if the database does, or if a row that must be
//! read cannot be. A section `Errors` says only what else can go wrong.

pub mod ask;
pub mod columns;
mod conn;
mod error;
pub mod many;
pub mod order;
pub mod readable;
pub mod sqlite;

pub use conn::{Conn, SEAL, Sealer};
pub use error::RecordsError;
