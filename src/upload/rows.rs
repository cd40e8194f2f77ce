//! The rows of an upload's extents: added once they are durable, let go when the map does not use
//! them any more.

use std::collections::{BTreeSet, HashMap};

use super::arrived::Arrived;
use super::extents::{EndedExtent, Home, Rows};
use super::upload_records::UploadRecords;
use crate::model::{HouseTime, ObjectId, Refusal};
use crate::records::extents::ExtentRow;
use crate::records::{Conn, extents, objects, small_files, tickets};
use crate::repo::{Error, Repo};

impl UploadRecords {
    /// Writes the rows of extents that have none yet.
    pub(super) async fn add_extents<'a>(
        &self,
        conn: &mut Conn,
        repo: &Repo,
        owed: impl Iterator<Item = &'a EndedExtent>,
    ) -> Result<(), Error> {
        let (mut bytes, mut objects, mut fresh, mut used) = (0, Vec::new(), Vec::new(), Vec::<ExtentRow>::new());
        for extent in owed.filter(|extent| extent.rows != Rows::Both) {
            let row = extent.row();
            if extent.rows == Rows::None {
                bytes += extent.length;
                if let Home::Memory(bytes) = &extent.home {
                    objects.push((extent.id, &bytes[..]));
                }
                fresh.push(row.clone());
            }
            used.push(row);
        }
        if !fresh.is_empty() {
            self.reserve(conn, repo, bytes).await?;
        }
        if let Some(base) = &self.small_base
            && used.iter().any(|row| row.id == base.extent.id)
        {
            small_files::take_apart(conn, self.share(), base.version, &base.extent).await?;
        }
        objects::put(conn, &objects).await?;
        extents::add(conn, self.share(), &fresh).await?;
        if extents::use_by(conn, self.version, &used).await? { Ok(()) } else { Err(Refusal::Shredded.into()) }
    }

    /// Counts bytes that the share is to hold.
    pub(super) async fn reserve(&self, conn: &mut Conn, repo: &Repo, bytes: u64) -> Result<(), Error> {
        if tickets::reserve(conn, self.share(), bytes, repo.settings.share_bytes).await? {
            Ok(())
        } else {
            Err(Refusal::QuotaExceeded.into())
        }
    }

    /// Lets go of extents that this version wrote and that are not `used` any more.
    pub(super) async fn release_unused(
        &self,
        conn: &mut Conn,
        all: &HashMap<ObjectId, EndedExtent>,
        used: &BTreeSet<ObjectId>,
        now: HouseTime,
    ) -> Result<(), Error> {
        let (mut bytes, mut fresh, mut unused) = (0, Vec::new(), Vec::new());
        for extent in all.values().filter(|extent| !used.contains(&extent.id)) {
            // What has no row is counted in first: what is released is counted out.
            if extent.rows == Rows::None && matches!(extent.home, Home::Store) {
                bytes += extent.length;
                fresh.push(extent.row());
            }
            if extent.rows != Rows::Extent && (extent.rows == Rows::Both || matches!(extent.home, Home::Store)) {
                unused.push(extent.id);
            }
        }
        if !fresh.is_empty() {
            tickets::reserve(conn, self.share(), bytes, u64::MAX).await?;
            extents::add(conn, self.share(), &fresh).await?;
        }
        Ok(extents::release(conn, self.version, &unused, now).await?)
    }

    /// When an upload is over: what it left in the store without a row is doomed, so that no
    /// refused or failed upload fills the disk.
    pub(super) async fn abandon(&mut self, repo: &Repo, all: &mut HashMap<ObjectId, EndedExtent>) -> Result<(), Error> {
        let mut orphans: Vec<(ObjectId, u64)> = self.stored_manifests.drain(..).map(|object| (object, 0)).collect();
        for extent in all.values_mut().filter(|extent| extent.rows == Rows::None) {
            if extent.settle().await.is_ok() && matches!(extent.home, Home::Store) {
                orphans.push((extent.id, extent.length));
            }
        }
        self.doom(repo, orphans).await
    }

    /// Dooms what this upload has written over and what no row names yet, so that it can go while
    /// the upload goes on. It is not among its extents any more then.
    pub(super) async fn let_go_unrecorded(&self, repo: &Repo, arrived: &mut Arrived) -> Result<(), Error> {
        let used = arrived.map.extents();
        let is_orphan = |extent: &EndedExtent| {
            !used.contains(&extent.id) && extent.rows == Rows::None && matches!(extent.home, Home::Store)
        };
        let orphans: Vec<_> = arrived.extents.values().filter(|e| is_orphan(e)).map(|e| (e.id, e.length)).collect();
        self.doom(repo, orphans).await?;
        arrived.extents.retain(|_, extent| !is_orphan(extent));
        Ok(())
    }

    /// Dooms objects of the store that no row names, each with its plaintext bytes.
    async fn doom(&self, repo: &Repo, orphans: Vec<(ObjectId, u64)>) -> Result<(), Error> {
        if orphans.is_empty() {
            return Ok(());
        }
        let mut tx = repo.records.begin().await?;
        for (object, bytes) in orphans {
            objects::doom(tx.conn(), object, self.share(), bytes, repo.clock.now()).await?;
        }
        Ok(tx.commit().await?)
    }
}
