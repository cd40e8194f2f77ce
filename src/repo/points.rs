//! Named points at which tests look at a data directory as a crash would leave it. Outside of tests they are nothing.

/// Every point there is; a test proves that each is passed.
#[cfg(test)]
pub(crate) const ALL: &[&str] = &[
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
    "audit.flush-before",
    "audit.flush-after",
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
];

#[cfg(test)]
type Hook = Box<dyn FnMut(&'static str) + Send>;

/// The points of one house.
#[derive(Default)]
pub(crate) struct Points {
    #[cfg(test)]
    hook: std::sync::Mutex<Option<Hook>>,
}

impl Points {
    /// Says that this point has been reached.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests hear of it"))]
    #[inline]
    pub(crate) fn pass(&self, _name: &'static str) {
        #[cfg(test)]
        {
            assert!(ALL.contains(&_name), "{_name} is missing in the list of points");
            if let Some(hook) = self.hook.lock().unwrap().as_mut() {
                hook(_name);
            }
        }
    }

    /// Calls `hook` at every point from now on, on the thread that reaches it.
    #[cfg(test)]
    pub(crate) fn watch(&self, hook: impl FnMut(&'static str) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }
}
