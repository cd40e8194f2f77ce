//! Why a whole ticket goes.

use super::state::words;

words!(
    /// Why a ticket was shredded.
    DeletionReason, "reason of a deletion" {
        /// An operator was asked to.
        Request = "request",
        /// Its time was over, by the policy.
        Retention = "retention",
    }
);
