//! What a request brings: read piece by piece, never for longer than a line needs that works.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// The time in which a body must bring its least.
const MINUTE: Duration = Duration::from_secs(60);
/// What is still read of a body that nobody wants, so that its sender hears why: bytes, and time.
const DRAINED: usize = 16 << 20;
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// Why a body ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Its sender is gone, or breaks HTTP's rules.
    Gone,
    /// It brings too little.
    Slow,
}

/// The body of a request.
pub(super) struct Arriving {
    body: Body,
    /// The least in a minute, in bytes.
    slowest: u64,
    /// What came of it in the minute that runs, and how long that was waited for.
    came: u64,
    waited: Duration,
}

impl Arriving {
    pub(super) fn new(body: Body, slowest: u64) -> Self {
        Self { body, slowest, came: 0, waited: Duration::ZERO }
    }

    /// The next piece; none at the end. Only the time that is waited here counts against its sender.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        loop {
            let began = Instant::now();
            let frame = timeout(MINUTE.saturating_sub(self.waited), self.body.frame()).await;
            self.waited += began.elapsed();
            if self.waited >= MINUTE {
                if self.came < self.slowest {
                    return Some(Err(Cut::Slow));
                }
                (self.came, self.waited) = (0, Duration::ZERO);
            }
            match frame {
                Err(_) => {}
                Ok(None) => return None,
                Ok(Some(Err(_))) => return Some(Err(Cut::Gone)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        self.came += bytes.len() as u64;
                        return Some(Ok(bytes));
                    }
                }
            }
        }
    }

    /// Goes on reading what nobody wants, up to a bound: a connection that is closed with bytes on
    /// their way is reset, and its sender would not hear why.
    pub(super) fn drain(mut self) {
        tokio::spawn(async move {
            let reading = async {
                let mut left = DRAINED;
                while let Some(Ok(frame)) = self.body.frame().await {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    let Some(rest) = left.checked_sub(length) else { return };
                    left = rest;
                }
            };
            let _ = timeout(DRAIN_PATIENCE, reading).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_to_its_end() {
        let mut body = Arriving::new(Body::from("abc"), 1);
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"abc"))));
        assert_eq!(body.next().await, None);
        let mut empty = Arriving::new(Body::empty(), u64::MAX);
        assert_eq!(empty.next().await, None);
    }
}
