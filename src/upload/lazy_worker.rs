//! A worker that becomes a task only when there is something for it to do.
//!
//! A small file is one buffer, and its CLOSE is the first thing that its worker has to do. Waking
//! another thread at OPEN and again at the first byte would cost more than hashing and sealing what
//! comes. So the worker is parked at OPEN, and the first full buffer, or whatever else needs it,
//! makes it a task. A CLOSE that finds it parked with little to do takes it and runs it itself.
//! What a worker does by the clock it does after it was started, which happens within [`PARKED`] in
//! any case.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::worker::Worker;
use crate::model::Locked;
use crate::upload::Uploads;

/// How long a worker is parked at most, if a checkpoint is not due sooner: less than the time that
/// rows may be owed.
const PARKED: Duration = Duration::from_millis(500);

/// The worker of one upload, until it is started.
#[derive(Default)]
pub(crate) struct LazyWorker(Locked<Option<Parked>>);

struct Parked {
    /// In a box, as it is handed on several times.
    worker: Box<Worker>,
    worker_runtime: Handle,
    /// Bytes that it may go through in the task that waits for it. None: it must have a task of its
    /// own.
    inline_limit: Option<u64>,
}

impl LazyWorker {
    /// Parks the worker. It is started on `worker_runtime`, or run by a CLOSE of `inline_limit`
    /// bytes at most.
    pub(super) fn park(&self, worker: Worker, worker_runtime: Handle, inline_limit: Option<u64>) {
        *self.0.lock() = Some(Parked { worker: Box::new(worker), worker_runtime, inline_limit });
    }

    /// Starts the worker if it is parked.
    pub(crate) fn start(&self) {
        let parked = self.0.lock().take();
        if let Some(Parked { worker, worker_runtime, .. }) = parked {
            worker_runtime.spawn(worker.run());
        }
    }

    /// The worker, for its caller to run to the end, if it is parked and may go through so many
    /// bytes there.
    pub(super) fn take_for(&self, bytes: u64) -> Option<Box<Worker>> {
        let is_little = |parked: &mut Parked| parked.inline_limit.is_some_and(|limit| bytes <= limit);
        let parked = self.0.lock().take_if(is_little);
        parked.map(|parked| parked.worker)
    }
}

/// Starts each worker that has been parked too long: one task for all of them, and none while no
/// worker is parked.
#[derive(Default)]
pub(crate) struct StartDeadline(AtomicBool);

impl StartDeadline {
    /// A worker was parked: all that are parked now are started in a while.
    pub(crate) fn keep(&self, uploads: &Arc<Uploads>) {
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        // A task must not keep a house open that is closed and opened anew.
        let weak = Arc::downgrade(uploads);
        let while_parked = PARKED.min(uploads.repo.settings.checkpoint);
        uploads.repo.worker_runtime.spawn(async move {
            tokio::time::sleep(while_parked).await;
            if let Some(uploads) = weak.upgrade() {
                // A worker that is parked from now on needs another round.
                uploads.registry.watch.0.store(false, Ordering::Release);
                uploads.registry.start_all();
            }
        });
    }
}
