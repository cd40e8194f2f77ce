//! What commands ask the audit trail.

use crate::audit::{AuditCheckpoint, AuditFilter, AuditLine, AuditVerification};
use crate::repo::Error;
use crate::share::Shares;

impl Shares {
    /// Hands entries to `sink`, page by page, until there are no more.
    ///
    /// # Errors
    /// If there is no such ticket, an entry cannot be read, the records fail, or `sink` does.
    pub async fn audit<E: From<Error>>(
        &self,
        filter: &AuditFilter,
        sink: impl FnMut(&[AuditLine]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.trail.list(filter, sink).await
    }

    /// Reads the whole trail and says whether it is what was written: each entry, its place in the chain, and what
    /// checkpoints in the records, in the keyring and, if given, from elsewhere say of it.
    ///
    /// # Errors
    /// If the databases fail. A trail that is not what was written is no error here; it is reported.
    pub async fn verify_audit(&self, kept: Option<&AuditCheckpoint>) -> Result<AuditVerification, Error> {
        self.0.trail.verify(kept).await
    }

    /// Signs how far the trail has come; none if nothing has happened yet.
    ///
    /// # Errors
    /// If the databases fail.
    pub async fn audit_checkpoint(&self) -> Result<Option<AuditCheckpoint>, Error> {
        self.0.trail.checkpoint().await
    }
}
