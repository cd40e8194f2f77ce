//! The keyring: share keys and the server's own keys, each wrapped under a KEK that lies elsewhere.
//!
//! A database of its own (`DATA/keyring.sqlite`), because it is backed up apart and kept for a shorter time: an old backup
//! must not undo a deletion.

use std::path::Path;

use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::audit::{self, CheckpointRow};
use super::{RecordsError, open_sqlite};
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

    /// The newest KEK generation and its canary.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn kek(&self) -> Result<Option<(u32, Vec<u8>)>, RecordsError> {
        let row = sqlx::query("SELECT generation, canary FROM kek ORDER BY generation DESC LIMIT 1")
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok((generation(row.try_get("generation")?)?, row.try_get("canary")?))).transpose()
    }

    /// Writes a KEK generation's canary down.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_kek(&self, generation: u32, canary: &[u8], now: Time) -> Result<(), RecordsError> {
        sqlx::query("INSERT INTO kek (generation, canary, created_at) VALUES ($1, $2, $3)")
            .bind(i64::from(generation))
            .bind(canary)
            .bind(now.millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The newest key of a share.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn share_key(&self, share: ShareId) -> Result<Option<WrappedRow>, RecordsError> {
        let row = sqlx::query(
            "SELECT generation, kek_generation, wrapped FROM share_key WHERE share_id = $1 \
             ORDER BY generation DESC LIMIT 1",
        )
        .bind(&share.as_bytes()[..])
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

    /// Writes a share's key down; durable before its ticket exists in the records.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_share_key(&self, share: ShareId, key: &WrappedRow, now: Time) -> Result<(), RecordsError> {
        sqlx::query(
            "INSERT INTO share_key (share_id, generation, kek_generation, wrapped, created_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&share.as_bytes()[..])
        .bind(i64::from(key.generation))
        .bind(i64::from(key.kek_generation))
        .bind(&key.wrapped)
        .bind(now.millis())
        .execute(&self.pool)
        .await?;
        Ok(())
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

    /// Writes a key of the server itself down.
    ///
    /// # Errors
    /// [`RecordsError::Exists`] if there is one for this purpose.
    pub async fn add_server_key(&self, purpose: &str, key: &WrappedRow) -> Result<(), RecordsError> {
        sqlx::query("INSERT INTO server_key (purpose, kek_generation, wrapped) VALUES ($1, $2, $3)")
            .bind(purpose)
            .bind(i64::from(key.kek_generation))
            .bind(&key.wrapped)
            .execute(&self.pool)
            .await?;
        Ok(())
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

fn generation(number: i64) -> Result<u32, RecordsError> {
    u32::try_from(number)
        .map_err(|_| RecordsError::Unreadable { table: "keyring", why: "a generation is out of range".to_owned() })
}
