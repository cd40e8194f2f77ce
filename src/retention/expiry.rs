//! What is removed after a time, in house time: unfinished uploads that nobody continues, and the
//! keys of withdrawn files.
//!
//! A step does a bounded piece of work, each file in a transaction of its own, and leaves nothing
//! behind that the next step, or the next server, would not find in the records.

use crate::audit::Actor;
use crate::model::{HouseTime, Identifier, Time};
use crate::notices;
use crate::records::notices::About;
use crate::records::versions::{self, UnfinishedRow};
use crate::records::{version_chain, withdrawn};
use crate::repo::Error;
use crate::repo::set_aside::or_left_out;
use crate::retention::Retention;
use crate::retention::{Rule, put_right, shred_version};

/// Versions, or files, that one step looks at for each rule.
const AT_ONCE: u32 = 500;

/// What a step has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Unfinished versions that people were told of.
    pub warned: u32,
    /// Unfinished versions that were removed.
    pub unfinished: u32,
    /// Versions of withdrawn files whose keys were destroyed.
    pub withdrawn: u32,
    /// Whether there may be more to do at once.
    pub more: bool,
}

impl Expired {
    /// Whether anything was done.
    pub const fn any(&self) -> bool {
        self.warned > 0 || self.unfinished > 0 || self.withdrawn > 0
    }
}

impl Retention {
    /// One step: tells people of unfinished versions that will be removed, removes those whose time
    /// is over, and destroys the keys of withdrawn files whose grace is over. Only the server may
    /// do this: it knows what is under way.
    ///
    /// # Errors
    /// If the records fail, or this process does not serve. What was done stays done; the rest is
    /// for the next step.
    pub async fn expire(&self) -> Result<Expired, Error> {
        if !self.repo.is_serving() {
            return Err(Error::operator("only the server removes what has expired"));
        }
        // Also what a command has begun, and was killed.
        if let Err(error) = self.finish_shredding(&Actor::Server).await {
            tracing::warn!(%error, "a ticket that is being shredded is not at its end; it is tried again in a minute");
        }
        let mut done = Expired::default();
        let outcome = self.expire_all(&mut done).await;
        // Also if something went wrong behind the first keys.
        if !self.empty_owed_journal().await? {
            tracing::debug!("the journal could not be emptied; it is tried again");
        }
        // So little is written there that it holds nothing most of the time.
        if !self.repo.keys.keyring().empty_journal().await? {
            tracing::debug!("the journal of the keyring could not be emptied; it is tried again");
        }
        outcome.map(|()| done)
    }

    async fn expire_all(&self, done: &mut Expired) -> Result<(), Error> {
        let settings = &self.repo.settings;
        let now = self.repo.clock.now();
        let before = now.minus(settings.unfinished);
        let warned = now.minus(settings.warn);

        self.warn(before.plus(settings.warn), done).await?;
        self.remove_unfinished(before, warned, done).await?;
        self.shred_withdrawn(now.minus(settings.withdrawn), done).await
    }

    /// Whether somebody sends this file now: then it waits for nobody.
    fn is_held(&self, row: &UnfinishedRow) -> bool {
        (self.is_held)(row.artifact)
    }

    async fn warn(&self, before: HouseTime, done: &mut Expired) -> Result<(), Error> {
        let mut after = None;
        loop {
            let rows = versions::unwarned(&mut *self.repo.records.read().await?, before, after, AT_ONCE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.id);
            for row in rows.iter().filter(|row| !self.is_held(row)) {
                if done.warned >= AT_ONCE {
                    done.more = true;
                    return Ok(());
                }
                let warned = self.warn_of(row, before).await;
                if or_left_out(warned, "an unfinished upload", row.id.as_bytes())? == Some(true) {
                    self.notices.queued();
                    done.warned += 1;
                }
            }
        }
    }

    async fn warn_of(&self, row: &UnfinishedRow, before: HouseTime) -> Result<bool, Error> {
        let mut tx = self.repo.records.begin().await?;
        if self.is_held(row) || !versions::mark_warned(tx.conn(), row.id, before, self.repo.clock.now()).await? {
            return Ok(false);
        }
        notices::queue(tx.conn(), &self.repo, &row.ticket, row.id, About::Expiring, Time::now()).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn remove_unfinished(&self, before: HouseTime, warned: HouseTime, done: &mut Expired) -> Result<(), Error> {
        let mut after = None;
        loop {
            let rows = versions::expired(&mut *self.repo.records.read().await?, before, warned, after, AT_ONCE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.id);
            for row in rows.iter().filter(|row| !self.is_held(row)) {
                if done.unfinished >= AT_ONCE {
                    done.more = true;
                    return Ok(());
                }
                let removed = self.remove_one(row, before).await;
                if or_left_out(removed, "an unfinished upload", row.id.as_bytes())? == Some(true) {
                    done.unfinished += 1;
                }
            }
        }
    }

    async fn remove_one(&self, row: &UnfinishedRow, before: HouseTime) -> Result<bool, Error> {
        let mut tx = self.repo.records.begin().await?;
        if self.is_held(row) {
            return Ok(false);
        }
        let file = version_chain::head(tx.conn(), row.artifact.as_bytes()).await?;
        let history = version_chain::of_file(tx.conn(), &file).await?;
        let Some(version) = history.iter().find(|version| version.id == row.id) else { return Ok(false) };
        if !shred_version(tx.conn(), &self.repo, &row.ticket, version, Rule::Expired, Some(before)).await? {
            return Ok(false);
        }
        put_right(tx.conn(), &self.repo, &file).await?;
        self.repo.failpoints.hit("shred.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("shred.after-commit");
        tracing::info!(ticket = %row.ticket, version = %row.id, "an unfinished upload was removed: nobody continued it");
        Ok(true)
    }

    async fn shred_withdrawn(&self, before: HouseTime, done: &mut Expired) -> Result<(), Error> {
        let files = withdrawn::past_grace(&mut *self.repo.records.read().await?, before, AT_ONCE).await?;
        let (full, mut any) = (files.len() >= AT_ONCE as usize, false);
        for (file, ticket) in files {
            let shredded = self.shred_file(&file, &ticket, before, done).await;
            any |= or_left_out(shredded, "a withdrawn artifact", &file)?.is_some();
            if done.withdrawn >= AT_ONCE {
                break;
            }
        }
        // Where nothing could be done there is no use in trying at once.
        done.more |= full && any;
        Ok(())
    }

    async fn shred_file(
        &self,
        file: &[u8; 16],
        ticket: &Identifier,
        before: HouseTime,
        done: &mut Expired,
    ) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        // Restored meanwhile, or followed by a new upload of its name.
        if !withdrawn::is_past_grace(tx.conn(), file, before).await? {
            return Ok(());
        }
        let mut count = 0;
        for version in version_chain::of_file(tx.conn(), file).await?.iter().filter(|version| version.has_key) {
            if done.withdrawn + count >= AT_ONCE {
                done.more = true;
                break;
            }
            let shredded = shred_version(tx.conn(), &self.repo, ticket, version, Rule::Withdrawn, None).await?;
            count += u32::from(shredded);
        }
        put_right(tx.conn(), &self.repo, file).await?;
        self.repo.failpoints.hit("shred.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("shred.after-commit");
        done.withdrawn += count;
        Ok(())
    }
}
