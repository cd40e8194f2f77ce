//! The way back to a client, as the sessions of doors see it. It lies here because all of them know
//! this room.

use std::future::Future;

use bytes::Bytes;

use crate::model::Refusal;

/// Where replies go that are not ready when a session's `feed` returns.
pub trait ReplySink: Clone + Send + Sync + 'static {
    /// Is told of each refusal before the reply that carries it is sent. Does not wait.
    fn refused(&self, refusal: Refusal) {
        let _ = refusal;
    }

    /// Does something that the client has asked for and that may take long, so that it is not idle
    /// meanwhile.
    fn keep_alive_while<T: Send>(&self, work: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
        work
    }

    /// Hands over one whole reply. Waits while the client's window is shut and the room before it
    /// is used up.
    ///
    /// # Errors
    /// [`Closed`] when nobody will ever send it.
    fn send(&self, reply: Bytes) -> impl Future<Output = Result<(), Closed>> + Send;
}

/// The connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is over")]
pub struct Closed;
