//! What an operator is told of the load.

use crate::app::App;
use crate::records::notices;
use crate::repo::Error;

/// The load at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Uploads under way.
    pub uploads: usize,
    /// Plaintext that buffers of uploads hold or have room for, and how much of it there may be; in
    /// bytes.
    pub buffers: (u64, u64),
    /// What downloads have opened ahead, and how much of it there may be; in bytes.
    pub read_ahead: (u64, u64),
}

impl App {
    /// The load at this moment.
    pub fn load(&self) -> Load {
        Load {
            uploads: self.open_uploads(),
            buffers: self.0.access.uploads.budget.load(),
            read_ahead: self.0.access.read_ahead.load(),
        }
    }

    /// How many notices are still to be delivered.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn waiting_notices(&self) -> Result<u64, Error> {
        Ok(notices::waiting(&mut *self.0.access.repo.records.read().await?).await?)
    }
}
