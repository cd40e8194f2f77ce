//! Replacing the key of one share: every file key is wrapped anew, and every name is sealed anew.
//!
//! What does not open is left as it is, and so is the older key, without which nothing could open
//! it even when it is restored. Doing it again takes along what opens by then; the older key is
//! deleted when nothing is left.

use serde_json::json;

use super::{LeftBehind, RotatedShare, Rotation};
use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{Identifier, ShareId};
use crate::records::entries::{self, NameRow, Place};
use crate::records::versions::{self, FileKeyRow};
use crate::records::{Conn, RecordsError, tickets};
use crate::repo::Error;
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::existing_ticket;
use crate::vault::{FileKey, WrappedKey};

/// Rows of a share that are read at once: some megabytes. Each reading sorts all rows of the share,
/// so they are few.
const ROWS_AT_ONCE: u32 = 25_000;

impl Rotation {
    /// Replaces the key of a ticket's share, in one transaction. Ends a rotation that was cut, or
    /// that left something behind. `progress` hears how many rows of how many are done.
    ///
    /// # Errors
    /// If there is no such ticket, or a database fails: nothing has changed then. If something of
    /// the share does not open: everything else has its new key then, and the older key is kept.
    pub async fn rotate_share(
        &self,
        reference: &Identifier,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<RotatedShare, Error> {
        let _lock = self.repo.data.lock_for_rotation()?;
        let (key_manager, failpoints) = (&self.repo.keys, &self.repo.failpoints);
        let ticket = existing_ticket(&mut *self.repo.records.read().await?, reference).await?;
        let (share, in_force) = (ticket.share, ticket.key_generation);
        let keys = key_manager.share(share).await?;
        let there = key_manager.keyring().share_generations().await?;
        let mut older = Vec::new();
        for (_, generation) in there.iter().filter(|(of, generation)| *of == share && *generation < in_force) {
            match key_manager.open_share_key(share, Some(*generation)).await {
                Ok(found) => older.extend(found),
                // Whether anything needs it, its rows say.
                Err(error) => tracing::warn!(%share, generation, %error, "an older key of a share does not open"),
            }
        }
        let was_cut = there.iter().any(|(of, generation)| *of == share && *generation < in_force);
        let mut continued = was_cut;
        let new = if was_cut {
            None
        } else {
            let next = key_manager.open_share_key(share, Some(in_force + 1)).await?;
            continued = next.is_some();
            Some(match next {
                Some(next) => next,
                None => key_manager.new_share_key(share, in_force + 1).await?,
            })
        };
        failpoints.hit("rotate-share.key-durable");
        let (from, to) = match &new {
            Some(new) => (vec![&*keys], new),
            None => (older.iter().rev().collect(), &*keys),
        };

        // Before the transaction: other writers need not wait for a count that is for people.
        let all = tickets::rows_of_share(&mut *self.repo.records.read().await?, share).await?;
        let mut report = |done: u64| progress(done, all.max(done));
        let mut tx = self.repo.records.begin_alone().await?;
        let mut way = Move { share, from, to, left: LeftBehind::default(), seen: 0 };
        let versions = way.file_keys(tx.conn(), &mut report).await?;
        let names = way.names(tx.conn(), &mut report).await?;
        let left = way.left;
        let generation = to.generation;
        let stands = match &new {
            Some(new) => {
                tickets::set_key_generation(tx.conn(), &**key_manager.proofs(), share, in_force, new.generation).await?
            }
            None => tickets::key_generation(tx.conn(), share).await? == Some(in_force),
        };
        if !stands {
            return Err(Error::KeysReplaced);
        }
        if new.is_some() || versions + names > 0 {
            let subject = Subject { actor: &Actor::Operator, ticket: Some(reference), id: None };
            let detail = json!({ "generation": generation, "versions": versions, "names": names, "left": left.count });
            audit::write(tx.conn(), Kind::ShareKeyRotated, subject, &detail).await?;
            failpoints.hit("rotate-share.before-commit");
            tx.commit().await?;
            failpoints.hit("rotate-share.after-commit");
        }
        if !left.is_empty() {
            return Err(Error::operator(format!(
                "generation {generation} of the key of {reference}'s share is in force, and {versions} file keys and \
                 {names} names were put under it, but {} could not be: {}. The older key is kept, as nothing else could \
                 open these. Restore them from a backup (or, of a file, run 'tacdrop artifact shred'), and run 'tacdrop \
                 key rotate --share {reference}' again",
                left.count,
                left.list()
            )));
        }
        key_manager.keyring().delete_share_keys(share, generation).await?;
        failpoints.hit("rotate-share.old-deleted");
        let journal_owed = !key_manager.keyring().empty_journal().await?;
        Ok(RotatedShare { ticket: reference.to_string(), generation, continued, versions, names, journal_owed })
    }
}

/// The way of a share's rows from some keys to others.
struct Move<'a> {
    share: ShareId,
    /// The newest first.
    from: Vec<&'a ShareKeys>,
    to: &'a ShareKeys,
    left: LeftBehind,
    /// Rows that were looked at.
    seen: u64,
}

impl Move<'_> {
    /// Wraps anew what is not wrapped under the new key, and counts it.
    async fn file_keys(&mut self, conn: &mut Conn, report: &mut impl FnMut(u64)) -> Result<u64, Error> {
        let (mut after, mut done) = (Vec::new(), 0);
        loop {
            let page = versions::file_keys(conn, self.share, &after, ROWS_AT_ONCE).await?;
            let Some(last) = page.last else { return Ok(done) };
            after = last;
            self.seen += page.rows.len() as u64;
            let mut wrapped_anew = Vec::with_capacity(page.rows.len());
            for row in page.rows {
                match row {
                    Ok(row) if row.generation == self.to.generation => {}
                    Ok(row) => match self.open_file_key(&row) {
                        Ok(key) => {
                            let wrapped = self.to.wrap_file_key(row.version, &key)?.as_bytes().to_vec();
                            wrapped_anew.push(FileKeyRow { generation: self.to.generation, wrapped, ..row });
                        }
                        Err(error) => self.left.add(&format!("the key of version {}", row.version), &error),
                    },
                    Err((what, error)) => self.left.add(&format!("the row {what}"), &error),
                }
            }
            versions::set_file_keys(conn, &wrapped_anew).await?;
            done += wrapped_anew.len() as u64;
            report(self.seen);
        }
    }

    fn open_file_key(&self, row: &FileKeyRow) -> Result<FileKey, Error> {
        let Some(keys) = self.from.iter().find(|keys| keys.generation == row.generation) else {
            let generation = row.generation;
            return Err(Error::operator(format!("generation {generation} of the share's key is not at hand")));
        };
        let wrapped = WrappedKey::try_from(&row.wrapped[..])?;
        Ok(keys.key.unwrap_file_key(row.generation, self.share, row.version, &wrapped)?)
    }

    /// Seals anew what is not sealed under the new key, and counts it. A name does not say by which
    /// key it is sealed.
    async fn names(&mut self, conn: &mut Conn, report: &mut impl FnMut(u64)) -> Result<u64, Error> {
        let (mut after, mut done) = (Vec::new(), 0);
        loop {
            let page = entries::sealed_names(conn, self.share, &after, ROWS_AT_ONCE).await?;
            let Some(last) = page.last else { return Ok(done) };
            after = last;
            self.seen += page.rows.len() as u64;
            let mut sealed_anew = Vec::with_capacity(page.rows.len());
            for row in page.rows {
                match row {
                    Ok(row) => match self.seal_anew(&row) {
                        Ok(place) => sealed_anew.extend(place),
                        Err(error) => self.left.add(&name_of(row.entry), &error),
                    },
                    Err((what, error)) => self.left.add(&format!("the row {what}"), &error),
                }
            }
            done += sealed_anew.len() as u64;
            match entries::set_names(conn, &sealed_anew).await {
                // Only where a name comes back that was left: another entry may have it by now.
                Err(RecordsError::Exists) => {
                    for one in &sealed_anew {
                        if let Err(error) = entries::set_names(conn, std::slice::from_ref(one)).await {
                            let RecordsError::Exists = error else { return Err(error.into()) };
                            done -= 1;
                            self.left.add(&name_of(one.0), &"another one has its name by now; rename or remove that");
                        }
                    }
                }
                other => other?,
            }
            report(self.seen);
        }
    }

    /// Where a name stands under the new key; none if it stands there already.
    fn seal_anew(&self, row: &NameRow) -> Result<Option<([u8; 16], Place)>, Error> {
        let mut failure = None;
        for keys in &self.from {
            match keys.names.open_name(row.entry, &row.sealed) {
                Ok(name) => return Ok(Some((row.entry, self.to.place(row.entry, row.parent, &name)?))),
                Err(error) => failure = Some(error),
            }
        }
        match self.to.names.open_name(row.entry, &row.sealed) {
            Ok(_) => Ok(None),
            Err(error) => Err(failure.unwrap_or(error).into()),
        }
    }
}

fn name_of(entry: [u8; 16]) -> String {
    format!("the name of entry {}", hex::encode(entry))
}
