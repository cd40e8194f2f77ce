//! A worker that is started only when there is something for it to do.
//!
//! A small file is one buffer, and its CLOSE is the first thing that its worker has to do. So no task is begun for it before
//! that: waking another thread at OPEN and again at the first byte would cost more than hashing and sealing what comes. For
//! the same reason a CLOSE of little has the worker work where the CLOSE waits for it ([`InlineRun`]), if it is still parked.
//! What a worker does by the clock it does after it was started, which happens within [`SLEEP`] in any case.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;

use super::worker::Worker;
use crate::upload::Uploads;

/// How long a worker is parked at most, if a checkpoint is not due sooner: less than the time that rows may be owed.
const SLEEP: Duration = Duration::from_millis(500);

/// The worker of one upload, until it is started.
#[derive(Default)]
pub(crate) struct LazyWorker(Mutex<Option<(Worker, Handle)>>);

impl LazyWorker {
    /// Parks the worker; it is started on `worker_runtime`.
    pub(super) fn park(&self, worker: Worker, worker_runtime: Handle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((worker, worker_runtime));
    }

    /// Starts the worker if it is parked.
    pub(crate) fn start(&self) {
        let parked = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((worker, worker_runtime)) = parked {
            worker_runtime.spawn(worker.run());
        }
    }

    /// Starts the worker where and while the caller waits for it, if it is parked and has no more bytes to go through than
    /// its limit.
    pub(crate) fn start_inline(&self, bytes: u64) -> Option<InlineRun> {
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (worker, worker_runtime) = parked.take_if(|(worker, _)| bytes <= worker.inline_limit())?;
        drop(parked);
        Some(InlineRun { work: Some(Box::pin(worker.run())), worker_runtime })
    }
}

/// A worker that works on its caller's thread. Dropped before it is done it goes on on the runtime for works: who does not
/// wait any more cuts nothing short.
pub(crate) struct InlineRun {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    worker_runtime: Handle,
}

impl Future for InlineRun {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Whatever it begins, a timer or a task, belongs to the runtime that it may have to go on on.
        let _inside = this.worker_runtime.enter();
        let polled = this.work.as_mut().map_or(Poll::Ready(()), |work| work.as_mut().poll(cx));
        if polled.is_ready() {
            this.work = None;
        }
        polled
    }
}

impl Drop for InlineRun {
    fn drop(&mut self) {
        // What panicked is over.
        if let Some(work) = self.work.take().filter(|_| !std::thread::panicking()) {
            self.worker_runtime.spawn(work);
        }
    }
}

/// Starts each worker that has been parked too long: one task for all of them, and none while no worker is parked.
#[derive(Default)]
pub(crate) struct StartDeadline(AtomicBool);

impl StartDeadline {
    /// A worker was parked: all that are parked now are started in a while.
    pub(crate) fn keep(&self, uploads: &Arc<Uploads>) {
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        // A task must not keep a uploads that is closed and opened anew.
        let weak = Arc::downgrade(uploads);
        let sleep = SLEEP.min(uploads.repo.settings.checkpoint);
        uploads.repo.worker_runtime.spawn(async move {
            tokio::time::sleep(sleep).await;
            if let Some(uploads) = weak.upgrade() {
                // A worker that is parked from now on needs another round.
                uploads.registry.watch.0.store(false, Ordering::Release);
                uploads.registry.start_all();
            }
        });
    }
}
