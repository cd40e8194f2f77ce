//! One channel: a sink or a source behind the same door.

use super::reply::{Complaint, FATAL};
use super::sink::Sink;
use super::source::Source;
use super::{Channel, Common, Request};
use crate::access::ShareSession;

/// Why a session cannot go on. Its channel must be closed with exit code 1, and nothing more of it
/// be fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Options that are not offered.
    #[error("scp was asked for something that is not offered")]
    Usage,
    /// The target was to be a directory, and is none.
    #[error("the target is no directory")]
    NoDirectory,
    /// The client does not keep to the protocol.
    #[error("the client broke the SCP protocol")]
    Protocol,
    /// The client says that it cannot go on.
    #[error("the client gave up")]
    GaveUp,
    /// Too much to say at once, or replies that nobody asked for.
    #[error("the client asked for too much at once")]
    Flood,
}

/// One run of `scp`. Dropping it cuts its open upload; a CLOSE that was begun is still carried out.
pub struct Session<C>(Way<C>);

enum Way<C> {
    Sink(Box<Sink<C>>),
    Source(Source),
}

impl<C: Channel> Session<C> {
    /// Begins what a command line asked for, and appends to `out` what the client waits for. Must
    /// be called, and fed, inside a Tokio runtime. May wait for the share.
    ///
    /// # Errors
    /// [`Fatal`]: send what `out` holds, then close the channel.
    pub async fn begin(
        share: ShareSession,
        common: &Common,
        request: Request,
        channel: C,
        out: &mut Vec<u8>,
    ) -> Result<Self, Fatal> {
        match request {
            Request::Sink(flags, target) => {
                let sink = Sink::begin(share, common, flags, &target, channel, out).await?;
                Ok(Self(Way::Sink(Box::new(sink))))
            }
            Request::Source(flags, names) => Ok(Self(Way::Source(Source::begin(share, common, flags, names, channel)))),
            Request::Wrong => {
                out.extend(Complaint::Usage.message(FATAL, None, share.language()));
                Err(Fatal::Usage)
            }
        }
    }

    /// Takes what came from the client, in slices of any size, and appends to `out` what is to be
    /// sent back at once.
    ///
    /// # Errors
    /// [`Fatal`]: send what `out` holds, then close the channel.
    pub async fn feed(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Fatal> {
        match &mut self.0 {
            Way::Sink(sink) => sink.feed(data, out).await,
            Way::Source(source) => source.feed(data),
        }
    }

    /// The client will send nothing more: ends what is under way, and the channel with it.
    pub async fn finish(self) {
        match self.0 {
            Way::Sink(sink) => sink.finish().await,
            Way::Source(source) => source.finish().await,
        }
    }
}
