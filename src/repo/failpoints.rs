//! Named points at which tests look at a data directory as a crash would leave it. Outside of tests
//! they are nothing.

use std::time::Duration;

/// Every point there is; a test proves that each is passed.
#[cfg(test)]
pub(crate) const NAMES: &[&str] = &[
    "upload.progress-before",
    "upload.progress-after",
    "publish.manifest-stored",
    "publish.before-commit",
    "publish.after-commit",
    "aliases.before-commit",
    "aliases.after-commit",
    "recovery.version-corrected",
    "recovery.shelf-corrected",
    "recovery.before-sums",
    "sweep.strays-doomed",
    "sweep.objects-deleted",
    "rename.before-commit",
    "rename.after-commit",
    "notice.before-settled",
    "notice.after-settled",
    "notice.handing-over",
    "notice.before-delivered",
    "notice.after-delivered",
    "digest.before-commit",
    "digest.after-commit",
    "sidecar.before-commit",
    "sidecar.after-commit",
    "withdraw.before-commit",
    "withdraw.after-commit",
    "restore.before-commit",
    "restore.after-commit",
    "shred.before-commit",
    "shred.after-commit",
    "shred.journal-emptied",
    "ticket-shred.before-begun",
    "ticket-shred.begun",
    "ticket-shred.keys-deleted",
    "ticket-shred.keys-noted",
    "ticket-shred.versions-removed",
    "ticket-shred.entries-removed",
    "ticket-shred.before-removed",
    "ticket-shred.removed",
    "ticket-shred.objects-removed",
    "ticket-shred.ended",
    "audit.flush-before",
    "audit.flush-after",
    "audit.anchor-before",
    "audit.anchor-after",
    "audit.checkpoint-after",
    "backup.databases-copied",
    "backup.objects-taken",
    "backup.complete",
    "rotate-kek.file-durable",
    "rotate-kek.generation-added",
    "rotate-kek.before-commit",
    "rotate-kek.after-commit",
    "rotate-kek.noted",
    "rotate-kek.old-kept",
    "rotate-kek.renamed",
    "rotate-share.key-durable",
    "rotate-share.before-commit",
    "rotate-share.after-commit",
    "rotate-share.old-deleted",
    "reseal.stored",
    "reseal.before-commit",
    "reseal.after-commit",
    "move.stored",
    "move.before-commit",
    "move.after-commit",
    "merge.before-commit",
    "merge.after-commit",
    "replace.staged",
    "replace.before-commit",
    "replace.after-commit",
    "replace.taken-over",
];

#[cfg(test)]
type Hook = Box<dyn FnMut(&'static str) + Send>;

/// The points of one house.
#[derive(Default)]
pub(crate) struct Failpoints {
    #[cfg(test)]
    hook: std::sync::Mutex<Option<Hook>>,
    /// Whether new files go the long way even where one statement would do.
    #[cfg(test)]
    long_way: std::sync::atomic::AtomicBool,
    /// Whether rows may be owed for as long as an upload takes.
    #[cfg(test)]
    patient: std::sync::atomic::AtomicBool,
    /// How many new files were recorded in one statement.
    #[cfg(test)]
    at_once: std::sync::atomic::AtomicUsize,
}

impl Failpoints {
    /// Says that this point has been reached.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests hear of it"))]
    #[inline]
    pub(crate) fn hit(&self, _name: &'static str) {
        #[cfg(test)]
        {
            assert!(NAMES.contains(&_name), "{_name} is missing in the list of failpoints");
            if let Some(hook) = self.hook.lock().unwrap().as_mut() {
                hook(_name);
            }
        }
    }

    /// Whether a new file may be recorded in one statement. A test forbids it, to see that the long
    /// way leaves the same.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests forbid it"))]
    #[inline]
    pub(crate) fn may_add_at_once(&self) -> bool {
        #[cfg(test)]
        let long_way = self.long_way.load(std::sync::atomic::Ordering::SeqCst);
        #[cfg(not(test))]
        let long_way = false;
        !long_way
    }

    /// Says that a new file was recorded in one statement.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count them"))]
    #[inline]
    pub(crate) fn added_at_once(&self) {
        #[cfg(test)]
        self.at_once.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }

    /// How long rows may be owed: as long as `usual`. In a test that compares both ways longer,
    /// however busy the machine is.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests say otherwise"))]
    #[inline]
    pub(crate) fn may_owe(&self, usual: Duration) -> Duration {
        #[cfg(test)]
        if self.patient.load(std::sync::atomic::Ordering::SeqCst) {
            return Duration::from_secs(3600);
        }
        usual
    }

    /// Lets nothing be written down before the CLOSE from now on.
    #[cfg(test)]
    pub(crate) fn be_patient(&self) {
        self.patient.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Sends all new files the long way from now on.
    #[cfg(test)]
    pub(crate) fn forbid_at_once(&self) {
        self.long_way.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// How many new files were recorded in one statement.
    #[cfg(test)]
    pub(crate) fn count_at_once(&self) -> usize {
        self.at_once.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Calls `hook` at every point from now on, on the thread that reaches it.
    #[cfg(test)]
    pub(crate) fn watch(&self, hook: impl FnMut(&'static str) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }
}
