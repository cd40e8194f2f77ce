//! The connection as russh sees it. Only `connection` makes one.
//!
//! It is ours so that a session can be ended from outside at any moment (dropping russh's own handle only detaches the
//! session), so that the client's version is known before it logs in, and so that bytes can be counted.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::pulse::{Client, Pulse};

/// The longest version line that is looked at (RFC 4253, section 4.2).
const VERSION_LINE: usize = 255;

pub(crate) struct Stream<S> {
    inner: S,
    pulse: Arc<Pulse>,
    /// The client's first line as far as it has come; `None` behind its end.
    version: Option<Vec<u8>>,
    // One for each direction, as each remembers the task that waits in it.
    ended_for_reads: Pin<Box<WaitForCancellationFutureOwned>>,
    ended_for_writes: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Stream<S> {
    /// Ends when `end` is cancelled: reads then find the end of the stream, writes fail.
    pub(crate) fn new(inner: S, pulse: Arc<Pulse>, end: &CancellationToken) -> Self {
        Self {
            inner,
            pulse,
            version: Some(Vec::new()),
            ended_for_reads: Box::pin(end.clone().cancelled_owned()),
            ended_for_writes: Box::pin(end.clone().cancelled_owned()),
        }
    }

    fn look_for_version(&mut self, bytes: &[u8]) {
        let Some(line) = &mut self.version else { return };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = VERSION_LINE.saturating_sub(line.len());
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        if end.is_some() || line.len() >= VERSION_LINE {
            self.pulse.learn_client(Client::of(line));
            self.version = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended_for_reads.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buf);
        match &outcome {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                this.pulse.is_wet();
                this.pulse.received(new.len());
                this.look_for_version(new);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.pulse.is_dry(),
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.ended_for_writes.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let outcome = Pin::new(&mut this.inner).poll_write(cx, buf);
        match &outcome {
            Poll::Ready(Ok(sent)) => this.pulse.sent(*sent),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.pulse.write_waits(),
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended_for_writes.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn stream(
        size: usize,
    ) -> (Stream<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Pulse>, CancellationToken) {
        let (inner, peer) = duplex(size);
        let (pulse, end) = (Arc::new(Pulse::new(crate::ssh::traffic::Traffic::nowhere())), CancellationToken::new());
        (Stream::new(inner, Arc::clone(&pulse), &end), peer, pulse, end)
    }

    #[tokio::test]
    async fn the_version_is_found_however_it_is_cut() {
        for (line, expected) in [
            (&b"SSH-2.0-paramiko_3.4.0\r\nrest"[..], Client::Paramiko),
            (b"SSH-2.0-Paramiko\n", Client::Paramiko),
            (b"SSH-2.0-OpenSSH_9.2p1\r\nparamiko", Client::OpenSsh),
            (b"SSH-2.0-PuTTY_Release_0.78\r\n", Client::Putty),
            (b"SSH-2.0-dropbear_2022.83\r\n", Client::Dropbear),
            (b"SSH-2.0-libssh2_1.10.0\r\n", Client::Other),
        ] {
            let (mut stream, mut peer, pulse, _end) = stream(1000);
            for byte in line {
                peer.write_all(&[*byte]).await.unwrap();
                stream.read_u8().await.unwrap();
            }
            assert_eq!(pulse.client(), expected, "{line:?}");
            assert_eq!(pulse.totals().0, line.len() as u64);
        }
        let (mut stream, mut peer, pulse, _end) = stream(2000);
        peer.write_all(&[&[b'x'; 255][..], b"paramiko\n"].concat()).await.unwrap();
        stream.read_exact(&mut [0; 264]).await.unwrap();
        assert!(pulse.client() == Client::Other && stream.version.is_none());
    }

    #[tokio::test]
    async fn r51_a_waiting_read_and_a_waiting_write_end_when_told() {
        let (stream, _peer, pulse, end) = stream(4);
        let (mut read, mut write) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { read.read(&mut [0; 9]).await });
        let writing = tokio::spawn(async move { write.write_all(&[0; 9]).await });
        while !pulse.waits_for_peer() {
            tokio::task::yield_now().await;
        }
        end.cancel();
        assert_eq!(reading.await.unwrap().unwrap(), 0);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
