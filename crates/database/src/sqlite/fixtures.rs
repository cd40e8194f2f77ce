//! A database with one table, for the tests of what knows none.

use std::sync::Arc;

use sqlx::ConnectOptions;
use tempfile::TempDir;

use super::options;
use super::readers::{Reader, Readers};
use super::writer::{WriteTx, Writer};
use crate::ask::ask;
use crate::order::Rank;
use crate::{Conn, RecordsError};

/// Names with their values.
#[derive(Clone)]
pub(crate) struct Facts {
    _directory: Arc<TempDir>,
    writer: Arc<Writer>,
    readers: Readers,
}

impl Facts {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory.path().join("r.sqlite"));
        let mut conn = Conn::from(options.connect().await.unwrap());
        let table = "CREATE TABLE fact (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)";
        ask!(table).run(&mut conn).await.unwrap();
        let writer = Arc::new(Writer::new(conn, Rank::Records));
        Self { _directory: Arc::new(directory), writer, readers: Readers::new(options, 4, Rank::Records) }
    }

    pub(crate) async fn begin(&self) -> Result<WriteTx, RecordsError> {
        self.writer.begin(false).await
    }

    pub(crate) async fn read(&self) -> Reader {
        self.readers.acquire().await.unwrap()
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

pub(crate) async fn fact(conn: &mut Conn, name: &str) -> Option<String> {
    let value = ask!("SELECT value FROM fact WHERE name = $1", name);
    value.maybe(conn, |row| Ok(sqlx::Row::try_get(row, "value")?)).await.unwrap()
}

pub(crate) async fn set_fact(conn: &mut Conn, name: &str, value: &str) {
    ask!("INSERT INTO fact (name, value) VALUES ($1, $2)", name, value).run(conn).await.unwrap();
}
