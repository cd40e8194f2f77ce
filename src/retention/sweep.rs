//! Removing objects that nobody needs: doomed ones after an hour, unknown ones after their
//! quarantine.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{HouseTime, ObjectId, ObjectPlace, ShareId};
use crate::records::order::Rank;
use crate::records::{deletions, objects, strays};
use crate::repo::Error;
use crate::repo::blocking::blocking;
use crate::retention::Retention;
use crate::store::StoreError;

/// How long an object stays after nobody needs it any more: who has begun to read it may end.
const DOOMED_FOR: Duration = Duration::from_secs(3600);
/// Objects that are looked at at once.
const PAGE: u32 = 1000;
/// How often an upload that needs room asks whether objects may be removed ...
const TRIES: usize = 10;
/// ... and how long it waits in between.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// What was removed, or would be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Objects.
    pub objects: u64,
    /// Their encrypted bytes in the store.
    pub bytes: u64,
    /// How many of them no row knew.
    pub strays: u64,
}

impl Retention {
    /// What [`sweep`](Self::sweep) would remove now.
    ///
    /// # Errors
    /// If records or store fail.
    pub async fn due_to_sweep(&self) -> Result<Swept, Error> {
        let mut due = Swept::default();
        let mut after = None;
        loop {
            let strays = strays::confirmed(&mut *self.repo.records.read().await?, after, PAGE).await?;
            let Some(last) = strays.last() else { break };
            after = Some(last.id);
            due.strays += strays.len() as u64;
            due.bytes += strays.iter().map(|stray| stray.bytes).sum::<u64>();
        }
        due.objects = due.strays;
        let mut after = None;
        loop {
            let page = objects::due(&mut *self.repo.records.read().await?, self.doomed_before(), after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            due.objects += page.len() as u64;
            due.bytes += self.bytes_in_store(page.iter().copied()).await?;
        }
        Ok(due)
    }

    /// Removes what nobody needs, and says how much. `actor` is who wants it so.
    ///
    /// # Errors
    /// If records or store fail; what was removed until then is gone.
    pub async fn sweep(&self, actor: &Actor) -> Result<Swept, Error> {
        let mut swept = Swept { strays: self.doom_strays(actor).await?, ..Swept::default() };
        loop {
            let before = self.doomed_before();
            let due = objects::doomed(&mut *self.repo.records.read().await?, before, PAGE).await?;
            let bytes = self.bytes_in_store(due.iter().copied()).await?;
            let removed = self.remove_doomed(DOOMED_FOR).await?;
            // Those that could not be removed are there still.
            let left = if removed < due.len() { self.bytes_in_store(due.iter().copied()).await? } else { 0 };
            swept.objects += removed as u64;
            swept.bytes += bytes.saturating_sub(left);
            if removed == 0 || left > 0 {
                break;
            }
        }
        if swept.objects > 0 {
            let mut tx = self.repo.records.begin().await?;
            let subject = Subject { actor, ticket: None, id: None };
            audit::write(tx.conn(), Kind::StoreSwept, subject, &json!(swept)).await?;
            tx.commit().await?;
        }
        Ok(swept)
    }

    /// Removes objects that have been doomed for at least `age`, and says how many. None while a
    /// backup is taken.
    ///
    /// # Errors
    /// If the records or the store fail.
    pub async fn remove_doomed(&self, age: Duration) -> Result<usize, Error> {
        let _turn = (Rank::Removal.take(), self.removing.lock().await);
        // A backup may need what became useless since it began.
        let Some(_removing) = self.repo.data.lock_for_removal()? else { return Ok(0) };
        let before = self.repo.clock.now().plus(Duration::from_millis(1)).minus(age);
        let objects = objects::doomed(&mut *self.repo.records.read().await?, before, PAGE).await?;
        self.remove(objects).await
    }

    /// Dooms what has been in quarantine for long enough. What a row knows by now is left alone.
    async fn doom_strays(&self, actor: &Actor) -> Result<u64, Error> {
        let mut doomed = 0;
        loop {
            let strays = strays::confirmed(&mut *self.repo.records.read().await?, None, PAGE).await?;
            if strays.is_empty() {
                return Ok(doomed);
            }
            let mut tx = self.repo.records.begin().await?;
            // Their quarantine was their time to wait.
            let since = self.repo.clock.now().minus(DOOMED_FOR);
            for stray in &strays {
                strays::doom(tx.conn(), stray.id, since).await?;
            }
            let subject = Subject { actor, ticket: None, id: None };
            audit::write(tx.conn(), Kind::StoreStrays, subject, &json!({ "doomed": strays.len() })).await?;
            tx.commit().await?;
            self.repo.failpoints.hit("sweep.strays-doomed");
            doomed += strays.len() as u64;
        }
    }

    /// What was doomed before this moment is due.
    fn doomed_before(&self) -> HouseTime {
        self.repo.clock.now().plus(Duration::from_millis(1)).minus(DOOMED_FOR)
    }

    async fn bytes_in_store(&self, objects: impl Iterator<Item = (ObjectId, ObjectPlace)>) -> Result<u64, Error> {
        let store = self.repo.store.clone();
        let ids: Vec<_> = objects.filter(|(_, place)| *place == ObjectPlace::Store).map(|(id, _)| id).collect();
        let sum = blocking(&self.repo.worker_runtime, "the reading", move || {
            ids.into_iter().try_fold(0, |sum, id| Ok::<_, StoreError>(sum + store.length(id)?.unwrap_or(0)))
        });
        sum.await
    }
}

impl Retention {
    /// Removes what counts against a share and was never part of anything that could be downloaded:
    /// what uploads have left behind that were begun anew, or came to nothing. Whether there was
    /// anything; nothing goes while a backup is taken.
    ///
    /// # Errors
    /// If the records or the store fail.
    pub(crate) async fn make_room(&self, share: ShareId) -> Result<bool, Error> {
        let _turn = (Rank::Removal.take(), self.removing.lock().await);
        for _ in 0..TRIES {
            if let Some(_removing) = self.repo.data.lock_for_removal()? {
                let objects = objects::doomed_unread(&mut *self.repo.records.read().await?, share, PAGE).await?;
                return Ok(self.remove(objects).await? > 0);
            }
            // A command that sweeps holds it for moments, a backup for long.
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        Ok(false)
    }

    /// Removes every object of a share that was shredded: nobody can read it any more. Whether none is
    /// left; nothing goes while a backup is taken.
    ///
    /// # Errors
    /// If the records or the store fail.
    pub(super) async fn remove_all_of(&self, share: ShareId) -> Result<bool, Error> {
        let _turn = (Rank::Removal.take(), self.removing.lock().await);
        let Some(_removing) = self.repo.data.lock_for_removal()? else { return Ok(false) };
        loop {
            let objects = deletions::doomed_of(&mut *self.repo.records.read().await?, share, PAGE).await?;
            let all = objects.len();
            if all == 0 {
                return Ok(true);
            }
            if self.remove(objects).await? < all {
                return Ok(false);
            }
        }
    }

    /// Removes objects that nobody needs, and says how many. The caller holds the lock for it.
    async fn remove(&self, objects: Vec<(ObjectId, ObjectPlace)>) -> Result<usize, Error> {
        if objects.is_empty() {
            return Ok(0);
        }
        let store = self.repo.store.clone();
        let gone = self.repo.worker_runtime.spawn_blocking(move || {
            // One that cannot be removed stays doomed; the others do not wait for it.
            let mut gone = Vec::with_capacity(objects.len());
            for (object, place) in objects {
                match if place == ObjectPlace::Store { store.delete(object) } else { Ok(()) } {
                    Ok(()) => gone.push(object),
                    Err(error) => tracing::warn!(%object, %error, "an object that nobody needs cannot be removed"),
                }
            }
            gone
        });
        let gone = gone.await.unwrap_or_default();
        self.repo.failpoints.hit("sweep.objects-deleted");
        let mut tx = self.repo.records.begin().await?;
        for object in &gone {
            objects::forget(tx.conn(), *object).await?;
        }
        tx.commit().await?;
        Ok(gone.len())
    }
}
