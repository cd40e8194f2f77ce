//! Where the worker of an upload sleeps until there is something for it to do.
//!
//! A small file is one buffer, and its CLOSE is the first thing that its worker has to do. So no task is begun for it before
//! that: waking another thread at OPEN and again at the first byte would cost more than hashing and sealing what comes. For
//! the same reason a CLOSE of little has the worker work where the CLOSE waits for it ([`Here`]), if it still sleeps.
//! What the worker does by the clock it does after it was got up, which happens within [`SLEEP`] in any case.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;

use super::worker::Worker;
use crate::upload::Uploads;

/// How long a worker sleeps at most, if a checkpoint is not due sooner: less than the time that rows may be owed.
const SLEEP: Duration = Duration::from_millis(500);

/// The place of one worker.
#[derive(Default)]
pub(crate) struct Cot(Mutex<Option<(Worker, Handle)>>);

impl Cot {
    /// Lays the worker down, which is got up on `works`.
    pub(super) fn lay(&self, worker: Worker, works: Handle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((worker, works));
    }

    /// Gets the worker up if it sleeps.
    pub(crate) fn rouse(&self) {
        let sleeper = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((worker, works)) = sleeper {
            works.spawn(worker.run());
        }
    }

    /// Gets the worker up to work while and where the caller waits for it, if it sleeps and has not more than so many bytes
    /// to go through.
    pub(crate) fn rouse_here(&self, bytes: u64) -> Option<Here> {
        let mut cot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (worker, works) = cot.take_if(|(worker, _)| bytes <= worker.little())?;
        drop(cot);
        Some(Here { work: Some(Box::pin(worker.run())), works })
    }
}

/// A worker that works on its caller's thread. Dropped before it is done it goes on on the runtime for works: who does not
/// wait any more cuts nothing short.
pub(crate) struct Here {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    works: Handle,
}

impl Future for Here {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Whatever it begins, a timer or a task, belongs to the runtime that it may have to go on on.
        let _inside = this.works.enter();
        let polled = this.work.as_mut().map_or(Poll::Ready(()), |work| work.as_mut().poll(cx));
        if polled.is_ready() {
            this.work = None;
        }
        polled
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // What panicked is over.
        if let Some(work) = self.work.take().filter(|_| !std::thread::panicking()) {
            self.works.spawn(work);
        }
    }
}

/// Sees to it that no worker sleeps too long: one task for all of them, and none while nobody has lain down.
#[derive(Default)]
pub(crate) struct Watch(AtomicBool);

impl Watch {
    /// A worker has lain down: all that sleep now are got up in a while.
    pub(crate) fn keep(&self, uploads: &Arc<Uploads>) {
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        // A task must not keep a uploads that is closed and opened anew.
        let weak = Arc::downgrade(uploads);
        let sleep = SLEEP.min(uploads.repo.settings.checkpoint);
        uploads.repo.works.spawn(async move {
            tokio::time::sleep(sleep).await;
            if let Some(uploads) = weak.upgrade() {
                // Who lies down from now on needs another round.
                uploads.registry.watch.0.store(false, Ordering::Release);
                uploads.registry.rouse_all();
            }
        });
    }
}
