//! Connections that only read.
//!
//! Not sqlx's pool: that one asks a connection whether it is alive each time it comes back, which
//! is a task and two changes of threads for every question, and a connection to a file on this
//! machine does not go away. A question that was given up half way leaves nothing behind: a
//! connection carries out one command after the other, and ends one that nobody listens to.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::BUSY;
use crate::order::{Held, Rank};
use crate::{Conn, RecordsError};

type Slot = Arc<Mutex<Option<Conn>>>;

/// A bounded number of connections, opened when they are needed for the first time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readers {
    options: SqliteConnectOptions,
    slots: Arc<[Slot]>,
    /// As many as there are slots; closed with them.
    places: Arc<Semaphore>,
    rank: Rank,
    /// Where connections are opened: SQLite's threads are begun by who opens them, and take his
    /// priority.
    runtime: Handle,
}

/// A connection to read with; it goes back when this is dropped.
#[derive(Debug)]
pub struct Reader {
    // Dropped in this order: who has a place finds a free slot.
    conn: OwnedMappedMutexGuard<Option<Conn>, Conn>,
    _place: OwnedSemaphorePermit,
    _held: Held,
}

impl Deref for Reader {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Readers {
    /// Must be called inside the runtime that outlives the others.
    pub fn new(options: SqliteConnectOptions, connections: usize, rank: Rank) -> Self {
        let slots = (0..connections).map(|_| Slot::default()).collect();
        Self { options, slots, places: Arc::new(Semaphore::new(connections)), rank, runtime: Handle::current() }
    }

    /// The connection that was used last of those that are free, as its cache is warm.
    ///
    /// # Errors
    /// [`RecordsError::Busy`] if none becomes free in time; and if the database cannot be opened.
    pub async fn acquire(&self) -> Result<Reader, RecordsError> {
        let held = self.rank.take();
        let closed = || RecordsError::Database(sqlx::Error::PoolClosed);
        let place = tokio::time::timeout(BUSY, Arc::clone(&self.places).acquire_owned());
        let place = place.await.map_err(|_| RecordsError::Busy)?.map_err(|_| closed())?;
        let free = self.slots.iter().find_map(|slot| Arc::clone(slot).try_lock_owned().ok());
        let mut slot = free.ok_or_else(closed)?;
        if slot.is_none() {
            let options = self.options.clone();
            let connected = self.runtime.spawn(async move { options.connect().await });
            *slot = Some(connected.await.map_err(|_| closed())??.into());
        }
        let conn = OwnedMutexGuard::try_map(slot, Option::as_mut).map_err(|_| closed())?;
        Ok(Reader { conn, _place: place, _held: held })
    }

    /// Waits until all connections are back and closes them.
    pub async fn close(&self) {
        self.places.close();
        for slot in self.slots.iter() {
            if let Some(conn) = slot.lock().await.take()
                && let Err(error) = conn.close().await
            {
                tracing::warn!(%error, "a connection to the records was not closed in order");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::sqlite::options;

    #[tokio::test]
    async fn connections_come_back_also_from_questions_that_were_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let readers = Readers::new(options(&directory.path().join("r.sqlite")), 2, Rank::Records);
        for round in 0..20_u64 {
            let other = readers.clone();
            let task = tokio::spawn(async move {
                let mut conn = other.acquire().await.unwrap();
                let numbers =
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n";
                sqlx::query(numbers).fetch_all(&mut *conn).await.unwrap().len()
            });
            tokio::time::sleep(std::time::Duration::from_micros(round * 150)).await;
            task.abort();
        }
        // Each in a task of its own: none may have two.
        let acquire = || {
            let readers = readers.clone();
            async move { tokio::spawn(async move { readers.acquire().await }).await.unwrap() }
        };
        let (mut one, mut other) = (acquire().await.unwrap(), acquire().await.unwrap());
        for conn in [&mut one, &mut other] {
            let row = sqlx::query("SELECT 7 AS n").fetch_one(&mut **conn).await.unwrap();
            assert_eq!(row.get::<i64, _>("n"), 7);
        }
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), acquire());
        assert!(waits.await.is_err(), "there are two");
        drop(one);
        drop(acquire().await.unwrap());
        drop(other);
        readers.close().await;
        assert!(readers.acquire().await.is_err());
    }
}
