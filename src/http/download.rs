//! What an answer brings of a file: read, opened and checked block by block, a little ahead of its
//! reader. What is damaged ends the answer short of its length; nothing that was not checked leaves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::access::Download;

/// What is read at once, in bytes.
const BLOCK: usize = 256 << 10;
/// Blocks that wait for their reader.
const AHEAD: usize = 2;

/// Blocks that come out of a task.
struct Blocks(mpsc::Receiver<io::Result<Bytes>>);

impl Stream for Blocks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// `length` bytes of a file from `offset` on, as the body of an answer.
pub(super) fn body(download: Download, mut offset: u64, length: u64) -> Body {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let end = offset.saturating_add(length);
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(BLOCK).min(BLOCK);
            let mut block = Vec::with_capacity(wanted);
            let outcome = match download.read(offset, wanted, &mut block).await {
                Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(read) => {
                    offset += read as u64;
                    Ok(Bytes::from(block))
                }
                Err(refusal) => Err(io::Error::other(refusal)),
            };
            let is_over = outcome.is_err();
            if sender.send(outcome).await.is_err() || is_over {
                return;
            }
        }
    });
    Body::from_stream(Blocks(receiver))
}
