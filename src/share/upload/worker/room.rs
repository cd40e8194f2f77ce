//! What a worker does where its share has no room.

use super::Worker;
use crate::model::Refusal;
use crate::share::Error;
use crate::share::upload::publish::Progressed;

impl Worker {
    /// Whether the share had no room, and has got some since.
    pub(super) async fn should_try_again(&mut self, outcome: &Result<(), Error>) -> Result<bool, Error> {
        if !matches!(outcome, Err(Error::Refused(Refusal::QuotaExceeded))) {
            return Ok(false);
        }
        let Self { ledger, house, lane, extents, map, hasher, .. } = self;
        // What no row names can go at once. What this upload replaces, or has written over, only once that is written down.
        ledger.let_go_unrecorded(house, extents, &map.extents()).await?;
        if ledger.may_let_go() {
            ledger.write_progress(house, lane, extents, map, hasher, Progressed::Recorded).await?;
        }
        self.house.retention.make_room(self.ledger.share()).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::{buffer, worker};
    use crate::share::tests::{Fixture, customer, get, pattern};

    /// A new file that is written over before it has a row: two tries do not fit beside each other.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn r86_what_a_new_file_has_written_over_goes_where_there_is_no_room_for_both() {
        let fixture = Fixture::with(|settings| (settings.share_bytes, settings.inline_bytes) = (150_000, 4096));
        let shares = fixture.open().await;
        let view = customer(&shares, "XT-1").await;
        let mut worker = worker(&view, "f").await;
        let mut syncing = Vec::new();
        for seed in 0..4 {
            worker.data(seed, 0, buffer(&pattern(100_000, seed as u8)), true).await.unwrap();
            // As if none of them had landed before the last one has come.
            syncing.append(&mut worker.syncing);
        }
        worker.syncing = syncing;
        worker.close().await.unwrap();
        assert!(get(&view, "f").await.unwrap() == pattern(100_000, 3));
    }
}
