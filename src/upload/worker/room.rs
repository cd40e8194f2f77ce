//! What a worker does where its share has no room.

use super::Worker;
use crate::model::Refusal;
use crate::repo::Error;
use crate::upload::upload_records::Progressed;

impl Worker {
    /// Whether the share had no room, and has got some since.
    pub(super) async fn should_try_again(&mut self, outcome: &Result<(), Error>) -> Result<bool, Error> {
        match outcome {
            // Seldom, so in a box: each job would move the room that it needs about otherwise.
            Err(Error::Refused(Refusal::QuotaExceeded)) => Box::pin(self.make_room()).await,
            _ => Ok(false),
        }
    }

    async fn make_room(&mut self) -> Result<bool, Error> {
        let Self { upload_rows, uploads, queue, arrived, .. } = self;
        // What no row names can go at once. What this upload replaces, or has written over, only
        // once that is written down.
        upload_rows.let_go_unrecorded(&uploads.repo, arrived).await?;
        if upload_rows.may_let_go() {
            upload_rows.write_progress(uploads, queue, arrived, Progressed::Recorded).await?;
        }
        self.uploads.retention.make_room(self.upload_rows.share()).await
    }
}
