//! The keyring: share keys and the server's own keys, each wrapped under a KEK that lies elsewhere.
//!
//! A database of its own (`DATA/keyring.sqlite`), because it is backed up apart and kept for a
//! shorter time: an old backup must not undo a deletion.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{ConnectOptions, Row};

use super::ask::ask;
use super::audit::{self, CheckpointRow};
use super::bond::{self, Found};
use super::order::Rank;
use super::readable::name;
use super::sqlite::schema::Schema;
use super::sqlite::writer::{Turn, WriteTx, Writer};
use super::{Conn, RecordsError, bytes_as, number_as, sqlite};
use tacdrop_model::{ShareId, Time};

/// What makes the keyring.
static SCHEMA: Schema = Schema::of(sqlx::migrate!("../../migrations/keyring-sqlite"));

/// The keyring's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// There is so little to ask that one connection does all of it.
    writer: Arc<Writer>,
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

/// A wrapped key, of a row that has its generation and the KEK's.
fn wrapped(row: &SqliteRow) -> Result<WrappedRow, RecordsError> {
    Ok(WrappedRow {
        generation: number_as(row, "keyring", "generation")?,
        kek_generation: number_as(row, "keyring", "kek_generation")?,
        wrapped: row.try_get("wrapped")?,
    })
}

impl Keyring {
    /// Opens the keyring at `path`, making it if there is none.
    ///
    /// # Errors
    /// If it cannot be opened or brought up to date.
    pub async fn open(path: &Path) -> Result<Self, RecordsError> {
        let mut conn = sqlite::options(path).connect().await?;
        SCHEMA.migrate(&mut conn).await?;
        Ok(Self::on(conn.into()))
    }

    fn on(conn: Conn) -> Self {
        Self { writer: Arc::new(Writer::new(conn, Rank::Keyring)) }
    }

    /// The one connection, in no transaction.
    async fn conn(&self) -> Result<Turn, RecordsError> {
        self.writer.alone().await
    }

    /// Waits until everything under way is done and closes it.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// Opens a copy of a keyring to read it; nothing about the file changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open_copy(path: &Path) -> Result<Self, RecordsError> {
        Ok(Self::on(sqlite::copy_options(path).connect().await?.into()))
    }

    /// Opens the keyring at `path` to look at it: nothing is made and nothing is brought up to
    /// date. It counts as empty if it knows no KEK.
    ///
    /// # Errors
    /// If it is no database, or cannot be read.
    pub async fn look(path: &Path) -> Result<Found<Self>, RecordsError> {
        let Some(options) = bond::options(path) else { return Ok(bond::nothing_at(path)) };
        let keyring = Self::on(options.connect().await?.into());
        let is_empty = !bond::has_table(&mut *keyring.conn().await?, "kek").await? || keyring.keks().await?.is_empty();
        if is_empty {
            keyring.close().await;
            return Ok(Found::Empty);
        }
        Ok(Found::There(keyring))
    }

    /// The signatures of the newest checkpoints of the audit trail, at most `most`.
    pub async fn newest_checkpoints(&self, most: u32) -> Result<Vec<Vec<u8>>, RecordsError> {
        bond::newest_checkpoints(&mut *self.conn().await?, most).await
    }

    /// Writes a consistent copy of it to `path`, which must not exist or be empty. Others may write
    /// meanwhile.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn copy_to(&self, path: &Path) -> Result<(), RecordsError> {
        sqlite::copy_to(&mut *self.conn().await?, path).await
    }

    /// Whether the file is sound, as SQLite sees it: its complaint if not.
    pub async fn complaint(&self) -> Result<Option<String>, RecordsError> {
        sqlite::complaint(&mut *self.conn().await?).await
    }

    /// Tables, indexes, triggers and views that no migration has made, each with its kind.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn strangers(&self) -> Result<Vec<String>, RecordsError> {
        SCHEMA.strangers(&mut *self.conn().await?).await
    }

    /// Begins a transaction as the one writer.
    ///
    /// # Errors
    /// [`RecordsError::Busy`] if another process writes for too long.
    pub async fn begin(&self) -> Result<WriteTx, RecordsError> {
        self.writer.begin(true).await
    }

    /// All generations of the KEK, the newest first.
    pub async fn keks(&self) -> Result<Vec<KekRow>, RecordsError> {
        ask!("SELECT generation, canary, created_at FROM kek ORDER BY generation DESC")
            .all(&mut *self.conn().await?, |row| {
                Ok(KekRow {
                    generation: number_as(row, "keyring", "generation")?,
                    canary: row.try_get("canary")?,
                    created_at: Time::from_millis(row.try_get("created_at")?),
                })
            })
            .await
    }

    /// How many share keys and how many keys of the server each KEK generation wraps.
    pub async fn counts(&self) -> Result<Vec<(u32, u64, u64)>, RecordsError> {
        let text = "SELECT k.generation, (SELECT COUNT(*) FROM share_key s WHERE s.kek_generation = k.generation) AS shares, \
             (SELECT COUNT(*) FROM server_key s WHERE s.kek_generation = k.generation) AS servers \
             FROM kek k ORDER BY k.generation";
        ask!(text)
            .all(&mut *self.conn().await?, |row| {
                let count = |column| super::unsigned(row, "keyring", column);
                Ok((number_as(row, "keyring", "generation")?, count("shares")?, count("servers")?))
            })
            .await
    }

    /// Writes a KEK generation's canary down. From then on nothing can be added under an older one.
    ///
    /// # Errors
    /// [`RecordsError::Exists`] if there is this generation.
    pub async fn add_kek(&self, generation: u32, canary: &[u8], now: Time) -> Result<(), RecordsError> {
        ask!("INSERT INTO kek (generation, canary, created_at) VALUES ($1, $2, $3)", generation, canary, now)
            .run(&mut *self.conn().await?)
            .await
    }

    /// A share's key of this generation, or its newest.
    pub async fn share_key(&self, share: ShareId, wanted: Option<u32>) -> Result<Option<WrappedRow>, RecordsError> {
        let text = "SELECT generation, kek_generation, wrapped FROM share_key WHERE share_id = $1 \
             AND generation = COALESCE($2, generation) ORDER BY generation DESC LIMIT 1";
        ask!(text, share, wanted).maybe(&mut *self.conn().await?, wrapped).await
    }

    /// Which shares have keys of which generations.
    pub async fn share_generations(&self) -> Result<Vec<(ShareId, u32)>, RecordsError> {
        ask!("SELECT share_id, generation FROM share_key ORDER BY share_id, generation")
            .all(&mut *self.conn().await?, |row| {
                Ok((bytes_as(row, "share_key", "share_id")?, number_as(row, "keyring", "generation")?))
            })
            .await
    }

    /// Shares whose keys were destroyed, and that have none.
    pub async fn destroyed_shares(&self) -> Result<Vec<ShareId>, RecordsError> {
        let text = "SELECT share_id FROM destroyed_share d \
             WHERE NOT EXISTS (SELECT 1 FROM share_key s WHERE s.share_id = d.share_id) ORDER BY share_id";
        let read = |row: &SqliteRow| bytes_as(row, "destroyed_share", "share_id");
        ask!(text).readable(&mut *self.conn().await?, "destroyed_share", read).await
    }

    /// Writes a share's key down; durable before its ticket exists in the records. False, and
    /// nothing has changed, if it is wrapped under a KEK that is no longer the newest, or the
    /// share's keys were destroyed.
    pub async fn add_share_key(&self, share: ShareId, key: &WrappedRow, now: Time) -> Result<bool, RecordsError> {
        let text = "INSERT INTO share_key (share_id, generation, kek_generation, wrapped, created_at) \
             SELECT $1, $2, $3, $4, $5 WHERE $3 = (SELECT MAX(generation) FROM kek) \
             AND NOT EXISTS (SELECT 1 FROM destroyed_share WHERE share_id = $1)";
        ask!(text, share, key.generation, key.kek_generation, &key.wrapped, now).changed(&mut *self.conn().await?).await
    }

    /// Deletes a share's keys of other generations than `but`. The journal still shows them until
    /// [`empty_journal`](Self::empty_journal) has done its work.
    pub async fn delete_share_keys(&self, share: ShareId, but: u32) -> Result<u64, RecordsError> {
        ask!("DELETE FROM share_key WHERE share_id = $1 AND generation <> $2", share, but)
            .changes(&mut *self.conn().await?)
            .await
    }

    /// Deletes all keys of a share, for good: it never gets one again. Says how many they were, also
    /// when it is done again. The journal still shows them until
    /// [`empty_journal`](Self::empty_journal) has done its work.
    pub async fn destroy_share(&self, share: ShareId, now: Time) -> Result<u64, RecordsError> {
        let mut tx = self.begin().await?;
        let keys = ask!("DELETE FROM share_key WHERE share_id = $1", share).changes(tx.conn()).await?;
        let text =
            "INSERT INTO destroyed_share (share_id, keys, destroyed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        ask!(text, share, keys, now).run(tx.conn()).await?;
        let text = "SELECT keys FROM destroyed_share WHERE share_id = $1";
        let keys = ask!(text, share).one(tx.conn(), |row| super::unsigned(row, "destroyed_share", "keys")).await?;
        tx.commit().await?;
        Ok(keys)
    }

    /// Cuts the journal to nothing, so that no page of it still shows a wrapped key that was
    /// replaced or deleted. False if somebody reads or writes for too long: then it is to be tried
    /// again.
    pub async fn empty_journal(&self) -> Result<bool, RecordsError> {
        sqlite::empty_journal(&mut *self.conn().await?).await
    }

    /// A key of the server itself.
    pub async fn server_key(&self, purpose: &str) -> Result<Option<WrappedRow>, RecordsError> {
        secret(&mut *self.conn().await?, purpose).await
    }

    /// Writes a key of the server itself down. False, and nothing has changed, if it is wrapped
    /// under a KEK that is no longer the newest.
    ///
    /// # Errors
    /// [`RecordsError::Exists`] if there is one for this purpose.
    pub async fn add_server_key(&self, purpose: &str, key: &WrappedRow) -> Result<bool, RecordsError> {
        let text = "INSERT INTO server_key (purpose, kek_generation, wrapped) SELECT $1, $2, $3 \
             WHERE $2 = (SELECT MAX(generation) FROM kek)";
        ask!(text, purpose, key.kek_generation, &key.wrapped).changed(&mut *self.conn().await?).await
    }

    /// How many checkpoints of the audit trail there are, and a key of the server at the same
    /// moment.
    pub async fn checkpoints_and_secret(&self, purpose: &str) -> Result<(u64, Option<WrappedRow>), RecordsError> {
        let text = "SELECT (SELECT COUNT(*) FROM audit_checkpoint) AS checkpoints, s.kek_generation, s.wrapped \
             FROM (SELECT 1) LEFT JOIN server_key s ON s.purpose = $1";
        ask!(text, purpose)
            .one(&mut *self.conn().await?, |row| {
                let wrapped: Option<Vec<u8>> = row.try_get("wrapped")?;
                let secret = match wrapped {
                    Some(wrapped) => {
                        let kek_generation = number_as(row, "keyring", "kek_generation")?;
                        Some(WrappedRow { generation: 0, kek_generation, wrapped })
                    }
                    None => None,
                };
                Ok((super::unsigned(row, "keyring", "checkpoints")?, secret))
            })
            .await
    }

    /// The number of the last entry of the audit trail that a checkpoint speaks of.
    pub async fn last_audit_checkpoint(&self) -> Result<Option<i64>, RecordsError> {
        audit::last_checkpoint(&mut *self.conn().await?).await
    }

    /// Checkpoints of the audit trail, as [`audit::checkpoints`] reads them.
    pub async fn audit_checkpoints(
        &self,
        from: i64,
        most: u32,
    ) -> Result<Vec<(i64, Result<CheckpointRow, String>)>, RecordsError> {
        audit::checkpoints(&mut *self.conn().await?, from, most).await
    }
}

/// A key of the server itself.
pub async fn secret(conn: &mut Conn, purpose: &str) -> Result<Option<WrappedRow>, RecordsError> {
    ask!("SELECT kek_generation, wrapped FROM server_key WHERE purpose = $1", purpose)
        .maybe(conn, |row| {
            Ok(WrappedRow {
                generation: 0,
                kek_generation: number_as(row, "keyring", "kek_generation")?,
                wrapped: row.try_get("wrapped")?,
            })
        })
        .await
}

/// Writes a key of the server itself down in the place of whatever was there. False, and nothing
/// has changed, if it is wrapped under a KEK that is no longer the newest.
pub async fn put_server_key(conn: &mut Conn, purpose: &str, key: &WrappedRow) -> Result<bool, RecordsError> {
    let text = "INSERT INTO server_key (purpose, kek_generation, wrapped) SELECT $1, $2, $3 \
         WHERE $2 = (SELECT MAX(generation) FROM kek) \
         ON CONFLICT (purpose) DO UPDATE SET kek_generation = excluded.kek_generation, wrapped = excluded.wrapped";
    ask!(text, purpose, key.kek_generation, &key.wrapped).changed(conn).await
}

/// Deletes a key of the server itself.
pub async fn delete_server_key(conn: &mut Conn, purpose: &str) -> Result<(), RecordsError> {
    ask!("DELETE FROM server_key WHERE purpose = $1", purpose).run(conn).await
}

/// A wrapped key; or of one whose row cannot be read, the name of the row and why.
pub type Outdated = Result<(KeyOf, WrappedRow), (String, RecordsError)>;

/// Keys that are wrapped under an older KEK than `newest`, at most `most`, without the first
/// `left_out` of them.
pub async fn outdated(conn: &mut Conn, newest: u32, left_out: u64, most: u32) -> Result<Vec<Outdated>, RecordsError> {
    let text = "SELECT share_id, NULL AS purpose, generation, kek_generation, wrapped FROM share_key WHERE kek_generation < $1 \
         UNION ALL SELECT NULL, purpose, 0, kek_generation, wrapped FROM server_key WHERE kek_generation < $1 \
         LIMIT $2 + 0 OFFSET $3";
    let rows = ask!(text, newest, most, left_out).rows(conn).await?;
    let read = |row: &SqliteRow| {
        let of = match row.try_get::<Option<String>, _>("purpose")? {
            Some(purpose) => KeyOf::Server(purpose),
            None => KeyOf::Share(bytes_as(row, "share_key", "share_id")?),
        };
        Ok((of, wrapped(row)?))
    };
    Ok(rows.iter().map(|row| read(row).map_err(|error| (name(row, 0), error))).collect())
}

/// Replaces a KEK generation's canary by one that says more.
pub async fn set_canary(conn: &mut Conn, generation: u32, canary: &[u8]) -> Result<(), RecordsError> {
    ask!("UPDATE kek SET canary = $2 WHERE generation = $1", generation, canary).run(conn).await
}

/// All share keys that can be read.
pub async fn share_keys(conn: &mut Conn) -> Result<Vec<(ShareId, WrappedRow)>, RecordsError> {
    let read = |row: &SqliteRow| Ok((bytes_as(row, "share_key", "share_id")?, wrapped(row)?));
    let text = "SELECT share_id, generation, kek_generation, wrapped FROM share_key ORDER BY share_id, generation";
    ask!(text).readable(conn, "share_key", read).await
}

/// Replaces what a key is wrapped in.
pub async fn rewrap(conn: &mut Conn, of: &KeyOf, new: &WrappedRow) -> Result<(), RecordsError> {
    match of {
        KeyOf::Share(share) => {
            let text = "UPDATE share_key SET kek_generation = $3, wrapped = $4 WHERE share_id = $1 AND generation = $2";
            ask!(text, share, new.generation, new.kek_generation, &new.wrapped).run(conn).await?
        }
        KeyOf::Server(purpose) => {
            let text = "UPDATE server_key SET kek_generation = $2, wrapped = $3 WHERE purpose = $1";
            ask!(text, purpose, new.kek_generation, &new.wrapped).run(conn).await?
        }
    }
    Ok(())
}
