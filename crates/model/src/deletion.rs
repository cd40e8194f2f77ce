//! How a ticket ends: who closes it, and why all of it goes.

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

words!(
    /// A side of a ticket.
    Side, "side of a ticket" {
        /// Who works on it.
        Engineer = "engineer",
        /// Whose problem it is.
        Contact = "contact",
    }
);
