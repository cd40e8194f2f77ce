//! What a session hears of digests. It is like STAT: who may read a file may know its digest, and
//! nothing of its content leaves.

use crate::access::ShareSession;
use crate::digests::{Digest, Digested, Patience};
use crate::model::{Algorithm, Refusal, SharePath};
use crate::repo::Error;
use crate::repo::keys::with_keys_in_force;

impl ShareSession {
    /// The digests that are given here: SHA-256, and those that the settings name.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let also = [Algorithm::Sha1, Algorithm::Md5];
        let also = also.into_iter().filter(|algorithm| self.repo().settings.also_digests.contains(algorithm));
        std::iter::once(Algorithm::Sha256).chain(also).collect()
    }

    /// The digest of what [`open_read`](Self::open_read) would open, from the records. One of
    /// another algorithm than SHA-256 is computed when it is asked for the first time, which may
    /// take minutes.
    ///
    /// # Errors
    /// As `open_read`; [`Refusal::UnknownDigest`] for an algorithm that is not given here;
    /// [`Refusal::DigestPending`] if computing it takes longer than anybody should wait.
    pub async fn digest(&self, path: &SharePath, algorithm: Algorithm) -> Result<Digest, Refusal> {
        self.digest_within(path, algorithm, Patience::from_now()).await
    }

    /// The same for one of several that are asked for at once and have one patience together. Where
    /// it is used up, only what is known already is told.
    ///
    /// # Errors
    /// As [`digest`](Self::digest).
    pub async fn digest_within(
        &self,
        path: &SharePath,
        algorithm: Algorithm,
        patience: Patience,
    ) -> Result<Digest, Refusal> {
        if !self.algorithms().contains(&algorithm) {
            return Err(Refusal::UnknownDigest);
        }
        let found = with_keys_in_force!(self.digested_at(path).await);
        let digest = match found {
            Ok(found) => self.access().digests.for_door(found, algorithm, patience).await,
            Err(error) => Err(error),
        };
        self.record_refusal(path, digest).await
    }

    async fn digested_at(&self, path: &SharePath) -> Result<Digested, Error> {
        if let Some(behind) = self.behind_new(path) {
            return Box::pin(self.digested_at(&behind)).await;
        }
        if let Some(place) = self.virtual_place(path).await? {
            return place.digested(self).await;
        }
        let (resolved, version) = self.readable_at(path).await?;
        Ok(Digested::Version(resolved.context.share(), resolved.context.ticket, Box::new(version)))
    }
}
