//! The keyring: share keys and the server's own keys, each wrapped under a KEK that lies elsewhere.
//!
//! A database of its own (`DATA/keyring.sqlite`), because it is backed up apart and kept for a shorter time: an old backup
//! must not undo a deletion.

use std::path::Path;

use sqlx::sqlite::{SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

use super::audit::{self, CheckpointRow};
use super::bond::{self, Found};
use super::readable::name;
use super::{Conn, RecordsError, bytes_as, open_copy, open_sqlite, signed};
use crate::model::{ShareId, Time};

/// The keyring's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    pool: SqlitePool,
}

/// A wrapped key and the generation of the key that wraps it.
#[derive(Debug, Clone)]
pub struct WrappedRow {
    /// Of the wrapped key itself; 0 where it has none.
    pub generation: u32,
    /// Of the KEK.
    pub kek_generation: u32,
    /// The wrapped bytes.
    pub wrapped: Vec<u8>,
}

/// A generation of the KEK.
#[derive(Debug, Clone)]
pub struct KekRow {
    /// Counts from 1 on.
    pub generation: u32,
    /// Opens under this KEK only.
    pub canary: Vec<u8>,
    /// Since when it is in force.
    pub created_at: Time,
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOf {
    /// A share's.
    Share(ShareId),
    /// The server's own, by purpose.
    Server(String),
}

/// A transaction of the keyring. Dropped without [`commit`](KeyringTx::commit), it changes nothing.
#[derive(Debug)]
pub struct KeyringTx(Transaction<'static, Sqlite>);

impl KeyringTx {
    /// What the statements run on.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.0
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// If the database cannot; then nothing has changed.
    pub async fn commit(self) -> Result<(), RecordsError> {
        Ok(self.0.commit().await?)
    }
}

impl Keyring {
    /// Opens the keyring at `path`, making it if there is none.
    ///
    /// # Errors
    /// If it cannot be opened or brought up to date.
    pub async fn open(path: &Path) -> Result<Self, RecordsError> {
        let pool = open_sqlite(path, 1).await?;
        sqlx::migrate!("migrations/keyring-sqlite").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Waits until everything under way is done and closes it.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Opens a copy of a keyring to read it; nothing about the file changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open_copy(path: &Path) -> Result<Self, RecordsError> {
        Ok(Self { pool: open_copy(path, 1).await? })
    }

    /// Opens the keyring at `path` to look at it: nothing is made and nothing is brought up to date. It counts as empty if
    /// it knows no KEK.
    ///
    /// # Errors
    /// If it is no database, or cannot be read.
    pub async fn look(path: &Path) -> Result<Found<Self>, RecordsError> {
        let Some(options) = bond::options(path) else { return Ok(bond::nothing_at(path)) };
        let pool =
            SqlitePoolOptions::new().max_connections(1).acquire_timeout(super::BUSY).connect_with(options).await?;
        let keyring = Self { pool };
        let is_empty =
            !bond::has_table(&mut *keyring.pool.acquire().await?, "kek").await? || keyring.keks().await?.is_empty();
        if is_empty {
            keyring.close().await;
            return Ok(Found::Empty);
        }
        Ok(Found::There(keyring))
    }

    /// The signatures of the newest checkpoints of the audit trail, at most `most`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn newest_checkpoints(&self, most: u32) -> Result<Vec<Vec<u8>>, RecordsError> {
        bond::newest_checkpoints(&mut *self.pool.acquire().await?, most).await
    }

    /// Writes a consistent copy of it to `path`, which must not exist or be empty. Others may write meanwhile.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn copy_to(&self, path: &Path) -> Result<(), RecordsError> {
        super::copy_database(&mut *self.pool.acquire().await?, path).await
    }

    /// Whether the file is sound, as SQLite sees it: its complaint if not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn complaint(&self) -> Result<Option<String>, RecordsError> {
        super::complaint(&mut *self.pool.acquire().await?).await
    }

    /// Begins a transaction as the one writer.
    ///
    /// # Errors
    /// [`RecordsError::Busy`] if another process writes for too long.
    pub async fn begin(&self) -> Result<KeyringTx, RecordsError> {
        Ok(KeyringTx(self.pool.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// All generations of the KEK, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keks(&self) -> Result<Vec<KekRow>, RecordsError> {
        let rows = sqlx::query("SELECT generation, canary, created_at FROM kek ORDER BY generation DESC")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(KekRow {
                    generation: generation(row.try_get("generation")?)?,
                    canary: row.try_get("canary")?,
                    created_at: Time::from_millis(row.try_get("created_at")?),
                })
            })
            .collect()
    }

    /// How many share keys and how many keys of the server each KEK generation wraps.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn counts(&self) -> Result<Vec<(u32, u64, u64)>, RecordsError> {
        let rows = sqlx::query(
            "SELECT k.generation, (SELECT COUNT(*) FROM share_key s WHERE s.kek_generation = k.generation) AS shares, \
             (SELECT COUNT(*) FROM server_key s WHERE s.kek_generation = k.generation) AS servers \
             FROM kek k ORDER BY k.generation",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let count = |column| super::unsigned(row, "keyring", column);
                Ok((generation(row.try_get("generation")?)?, count("shares")?, count("servers")?))
            })
            .collect()
    }

    /// Writes a KEK generation's canary down. From then on nothing can be added under an older one.
    ///
    /// # Errors
    /// [`RecordsError::Exists`] if there is this generation.
    pub async fn add_kek(&self, generation: u32, canary: &[u8], now: Time) -> Result<(), RecordsError> {
        sqlx::query("INSERT INTO kek (generation, canary, created_at) VALUES ($1, $2, $3)")
            .bind(i64::from(generation))
            .bind(canary)
            .bind(now.millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A share's key of this generation, or its newest.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn share_key(&self, share: ShareId, wanted: Option<u32>) -> Result<Option<WrappedRow>, RecordsError> {
        let row = sqlx::query(
            "SELECT generation, kek_generation, wrapped FROM share_key WHERE share_id = $1 \
             AND generation = COALESCE($2, generation) ORDER BY generation DESC LIMIT 1",
        )
        .bind(&share.as_bytes()[..])
        .bind(wanted.map(i64::from))
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(WrappedRow {
                generation: generation(row.try_get("generation")?)?,
                kek_generation: generation(row.try_get("kek_generation")?)?,
                wrapped: row.try_get("wrapped")?,
            })
        })
        .transpose()
    }

    /// Which shares have keys of which generations.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn share_generations(&self) -> Result<Vec<(ShareId, u32)>, RecordsError> {
        let rows = sqlx::query("SELECT share_id, generation FROM share_key ORDER BY share_id, generation")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok((bytes_as(row, "share_key", "share_id")?, generation(row.try_get("generation")?)?)))
            .collect()
    }

    /// Writes a share's key down; durable before its ticket exists in the records. False, and nothing has changed, if it
    /// is wrapped under a KEK that is no longer the newest.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_share_key(&self, share: ShareId, key: &WrappedRow, now: Time) -> Result<bool, RecordsError> {
        let done = sqlx::query(
            "INSERT INTO share_key (share_id, generation, kek_generation, wrapped, created_at) \
             SELECT $1, $2, $3, $4, $5 WHERE $3 = (SELECT MAX(generation) FROM kek)",
        )
        .bind(&share.as_bytes()[..])
        .bind(i64::from(key.generation))
        .bind(i64::from(key.kek_generation))
        .bind(&key.wrapped)
        .bind(now.millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes a share's keys of other generations than `but`, and what the write-ahead log still shows of them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_share_keys(&self, share: ShareId, but: u32) -> Result<u64, RecordsError> {
        let done = sqlx::query("DELETE FROM share_key WHERE share_id = $1 AND generation <> $2")
            .bind(&share.as_bytes()[..])
            .bind(i64::from(but))
            .execute(&self.pool)
            .await?;
        // Somebody who reads just now keeps it from being emptied; the next one does it.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    /// A key of the server itself.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn server_key(&self, purpose: &str) -> Result<Option<WrappedRow>, RecordsError> {
        let row = sqlx::query("SELECT kek_generation, wrapped FROM server_key WHERE purpose = $1")
            .bind(purpose)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            Ok(WrappedRow {
                generation: 0,
                kek_generation: generation(row.try_get("kek_generation")?)?,
                wrapped: row.try_get("wrapped")?,
            })
        })
        .transpose()
    }

    /// Writes a key of the server itself down. False, and nothing has changed, if it is wrapped under a KEK that is no
    /// longer the newest.
    ///
    /// # Errors
    /// [`RecordsError::Exists`] if there is one for this purpose.
    pub async fn add_server_key(&self, purpose: &str, key: &WrappedRow) -> Result<bool, RecordsError> {
        let done = sqlx::query(
            "INSERT INTO server_key (purpose, kek_generation, wrapped) SELECT $1, $2, $3 \
             WHERE $2 = (SELECT MAX(generation) FROM kek)",
        )
        .bind(purpose)
        .bind(i64::from(key.kek_generation))
        .bind(&key.wrapped)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Writes a checkpoint of the audit trail down.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_audit_checkpoint(&self, row: &CheckpointRow) -> Result<(), RecordsError> {
        audit::add_checkpoint(&mut *self.pool.acquire().await?, row).await
    }

    /// The number of the last entry of the audit trail that a checkpoint speaks of.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn last_audit_checkpoint(&self) -> Result<Option<i64>, RecordsError> {
        audit::last_checkpoint(&mut *self.pool.acquire().await?).await
    }

    /// Checkpoints of the audit trail, as [`audit::checkpoints`] reads them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_checkpoints(
        &self,
        from: i64,
        most: u32,
    ) -> Result<Vec<(i64, Result<CheckpointRow, String>)>, RecordsError> {
        audit::checkpoints(&mut *self.pool.acquire().await?, from, most).await
    }
}

/// A wrapped key; or of one whose row cannot be read, the name of the row and why.
pub type Outdated = Result<(KeyOf, WrappedRow), (String, RecordsError)>;

/// Keys that are wrapped under an older KEK than `newest`, at most `most`, without the first `left_out` of them.
///
/// # Errors
/// If the database fails.
pub async fn outdated(conn: &mut Conn, newest: u32, left_out: u64, most: u32) -> Result<Vec<Outdated>, RecordsError> {
    let rows = sqlx::query(
        "SELECT share_id, NULL AS purpose, generation, kek_generation, wrapped FROM share_key WHERE kek_generation < $1 \
         UNION ALL SELECT NULL, purpose, 0, kek_generation, wrapped FROM server_key WHERE kek_generation < $1 \
         LIMIT $2 OFFSET $3",
    )
    .bind(i64::from(newest))
    .bind(i64::from(most))
    .bind(signed(left_out))
    .fetch_all(conn)
    .await?;
    let read = |row: &SqliteRow| {
        let of = match row.try_get::<Option<String>, _>("purpose")? {
            Some(purpose) => KeyOf::Server(purpose),
            None => KeyOf::Share(bytes_as(row, "share_key", "share_id")?),
        };
        let row = WrappedRow {
            generation: generation(row.try_get("generation")?)?,
            kek_generation: generation(row.try_get("kek_generation")?)?,
            wrapped: row.try_get("wrapped")?,
        };
        Ok((of, row))
    };
    Ok(rows.iter().map(|row| read(row).map_err(|error| (name(row, 0), error))).collect())
}

/// Replaces what a key is wrapped in.
///
/// # Errors
/// If the database fails.
pub async fn rewrap(conn: &mut Conn, of: &KeyOf, new: &WrappedRow) -> Result<(), RecordsError> {
    match of {
        KeyOf::Share(share) => {
            sqlx::query(
                "UPDATE share_key SET kek_generation = $3, wrapped = $4 WHERE share_id = $1 AND generation = $2",
            )
            .bind(&share.as_bytes()[..])
            .bind(i64::from(new.generation))
            .bind(i64::from(new.kek_generation))
            .bind(&new.wrapped)
            .execute(conn)
            .await?
        }
        KeyOf::Server(purpose) => {
            sqlx::query("UPDATE server_key SET kek_generation = $2, wrapped = $3 WHERE purpose = $1")
                .bind(purpose)
                .bind(i64::from(new.kek_generation))
                .bind(&new.wrapped)
                .execute(conn)
                .await?
        }
    };
    Ok(())
}

fn generation(number: i64) -> Result<u32, RecordsError> {
    u32::try_from(number)
        .map_err(|_| RecordsError::Unreadable { table: "keyring", why: "a generation is out of range".to_owned() })
}
