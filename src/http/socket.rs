//! A connection as hyper sees it: it notes when something last moved, so that one on which nothing
//! does can be told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// When something last moved on a connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Moved {
    since: Instant,
    /// Milliseconds from `since` on.
    last: Arc<AtomicU64>,
}

impl Moved {
    pub(super) fn now() -> Self {
        Self { since: Instant::now(), last: Arc::default() }
    }

    fn note(&self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Relaxed);
    }

    /// For how long nothing has moved.
    pub(super) fn idle(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last.load(Relaxed)))
    }
}

/// A socket, encrypted or not.
pub(super) enum Socket {
    /// Plain.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket that notes when something moves.
pub(super) struct Watched {
    pub(super) socket: Socket,
    pub(super) moved: Moved,
}

impl Watched {
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.moved.note();
        }
        outcome
    }
}

macro_rules! either {
    ($socket:expr, $inner:ident => $work:expr) => {
        match &mut $socket {
            Socket::Plain($inner) => $work,
            Socket::Tls($inner) => $work,
        }
    };
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = either!(self.socket, socket => Pin::new(socket).poll_read(cx, into));
        self.noted(outcome)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = either!(self.socket, socket => Pin::new(socket).poll_write(cx, bytes));
        self.noted(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.socket, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.socket, socket => Pin::new(socket).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = either!(self.socket, socket => Pin::new(socket).poll_write_vectored(cx, bytes));
        self.noted(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }
}
