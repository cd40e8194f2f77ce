//! The connection as russh sees it. Only `connection` makes one.
//!
//! It is ours so that a session can be ended from outside at any moment (dropping russh's own
//! handle only detaches the session), so that the client's version is known before it logs in, so
//! that bytes can be counted, and so that a connection whose socket is never empty gives the others
//! of its thread a turn.

use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::activity::{Activity, Client};
use crate::admission::{Admission, Stage};

/// The longest version line that is looked at (RFC 4253, section 4.2).
const VERSION_LINE: usize = 255;
/// Bytes that a connection takes or gives in one turn. Tokio's own bound is 128 reads, some 4 MiB
/// here: what else the thread has to do would wait for milliseconds behind each of its busy
/// connections. This is a twentieth of a millisecond's work.
const TURN: usize = 128 << 10;

/// Bytes after which is asked again how many TCP holds: the kernel gives it more while much comes.
const ASK_AGAIN: usize = 512 << 10;

/// Bytes that are read beyond what russh asks for. It asks for a packet's length, then for the
/// packet: this way the next length comes with the packet, and a small request as a whole.
const BEYOND: usize = 512;

/// What lies under a connection.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Bytes that wait here at most until they are read, if that is known.
    fn receive_buffer(&self) -> Option<usize>;

    /// Reads into `buf`, and what more is there into `beyond`; says how much that was. Nothing goes
    /// into `beyond` before `buf` is full.
    fn poll_read_beyond(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        beyond: &mut [u8],
    ) -> Poll<io::Result<usize>>;
}

impl Socket for TcpStream {
    fn receive_buffer(&self) -> Option<usize> {
        rustix::net::sockopt::socket_recv_buffer_size(self).ok()
    }

    fn poll_read_beyond(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        beyond: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            let asked = room.len();
            match self.try_read_vectored(&mut [IoSliceMut::new(room), IoSliceMut::new(beyond)]) {
                Ok(read) => {
                    buf.advance(read.min(asked));
                    return Poll::Ready(Ok(read.saturating_sub(asked)));
                }
                // It was said to have something, and has nothing: now it will say when it has.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

pub(crate) struct Stream<S> {
    inner: S,
    activity: Arc<Activity>,
    /// Where it is said how far the client has come.
    admission: Option<Arc<Admission>>,
    /// What the client has said before this was made, or was read beyond what was asked for; it is
    /// read first.
    ahead: Vec<u8>,
    /// Bytes that the client has been sent already, and that russh will want to send.
    said: usize,
    /// Bytes that may be sent before somebody logs in.
    before_login: u64,
    /// The client's first line as far as it has come; `None` behind its end.
    version: Option<Vec<u8>>,
    /// Bytes since others had a turn.
    in_turn: usize,
    /// Bytes until TCP is asked what it holds.
    ask_after: usize,
    // One for each direction, as each remembers the task that waits in it.
    ended_for_reads: Pin<Box<WaitForCancellationFutureOwned>>,
    ended_for_writes: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Stream<S> {
    /// Ends when `end` is cancelled: reads then find the end of the stream, writes fail.
    pub(crate) fn new(inner: S, activity: Arc<Activity>, end: &CancellationToken) -> Self {
        Self {
            inner,
            activity,
            admission: None,
            ahead: Vec::new(),
            said: 0,
            before_login: u64::MAX,
            version: Some(Vec::new()),
            in_turn: 0,
            ask_after: 0,
            ended_for_reads: Box::pin(end.clone().cancelled_owned()),
            ended_for_writes: Box::pin(end.clone().cancelled_owned()),
        }
    }

    /// Of a client that has been sent the first `said` bytes and has said `ahead`. Admission
    /// control hears how far it comes.
    pub(crate) fn greeted(self, said: usize, ahead: Vec<u8>, admission: Arc<Admission>, before_login: u64) -> Self {
        Self { said, ahead, admission: Some(admission), before_login, ..self }
    }

    /// Whether all has been sent that may be before a login.
    fn has_said_enough(&self) -> bool {
        let is_stranger = self.admission.as_ref().is_some_and(|admission| !admission.is_authenticated());
        is_stranger && self.activity.totals().1 >= self.before_login
    }

    fn reached(&self, stage: Stage) {
        if let Some(admission) = &self.admission {
            admission.reached(stage);
        }
    }

    /// Whether it is the turn of others; then the task is called again behind them.
    fn ends_turn(&mut self, cx: &Context<'_>) -> bool {
        let ends = self.in_turn >= TURN;
        if ends {
            self.in_turn = 0;
            cx.waker().wake_by_ref();
        }
        ends
    }

    /// Reads what was asked for, and a little beyond it.
    fn poll_inner(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        S: Socket,
    {
        let mut beyond = [0; BEYOND];
        let more = ready!(self.inner.poll_read_beyond(cx, buf, &mut beyond))?;
        self.ahead.extend_from_slice(beyond.get(..more).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    fn look_for_version(&mut self, bytes: &[u8]) {
        let Some(line) = &mut self.version else { return };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let disconnect = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = VERSION_LINE.saturating_sub(line.len());
        line.extend_from_slice(disconnect.get(..room).unwrap_or(disconnect));
        if end.is_some() || line.len() >= VERSION_LINE {
            self.activity.learn_client(Client::of(line));
            self.version = None;
            self.reached(Stage::Named);
        }
    }
}

impl<S: Socket> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended_for_reads.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if this.ends_turn(cx) {
            return Poll::Pending;
        }
        let (before, heard) = (buf.filled().len(), this.ahead.is_empty() && this.version.is_none());
        let outcome = if this.ahead.is_empty() {
            this.poll_inner(cx, buf)
        } else {
            let length = this.ahead.len().min(buf.remaining());
            buf.put_slice(this.ahead.drain(..length).as_slice());
            Poll::Ready(Ok(()))
        };
        match &outcome {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                this.activity.read_ready();
                this.activity.received(new.len());
                this.in_turn += new.len();
                this.ask_after = this.ask_after.saturating_sub(new.len());
                this.look_for_version(new);
                if heard {
                    this.reached(Stage::Answering);
                }
                if this.ask_after == 0 {
                    this.ask_after = ASK_AGAIN;
                    this.inner.receive_buffer().into_iter().for_each(|bytes| this.activity.tcp_holds(bytes));
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                this.activity.read_blocked();
                this.in_turn = 0;
            }
        }
        outcome
    }
}

impl<S: Socket> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.ended_for_writes.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        if this.said > 0 {
            let length = this.said.min(buf.len());
            this.said -= length;
            return Poll::Ready(Ok(length));
        }
        if this.has_said_enough() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        if this.ends_turn(cx) {
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut this.inner).poll_write(cx, buf);
        match &outcome {
            Poll::Ready(Ok(sent)) => {
                this.activity.sent(*sent);
                this.in_turn += sent;
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.activity.write_waits(),
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
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// How often a pipe was asked for its buffer: as many bytes as it says that it has.
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    impl Socket for tokio::io::DuplexStream {
        fn receive_buffer(&self) -> Option<usize> {
            Some(ASKED.fetch_add(1, Relaxed))
        }

        fn poll_read_beyond(
            &mut self,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
            _beyond: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(self).poll_read(cx, buf).map_ok(|()| 0)
        }
    }

    /// A length and a packet of so many bytes each are asked for, as russh does it, and all come
    /// in order to their end.
    #[tokio::test]
    async fn what_was_read_beyond_comes_next() {
        let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
        let (activity, end) =
            (Arc::new(Activity::new(crate::ssh::traffic::Traffic::nowhere())), CancellationToken::new());
        let mut stream = Stream::new(door.accept().await.unwrap().0, Arc::clone(&activity), &end);
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let all = sent.clone();
        let sending = tokio::spawn(async move {
            peer.write_all(b"SSH-2.0-x\r\n").await.unwrap();
            peer.write_all(&all).await.unwrap();
        });
        stream.read_exact(&mut [0; 11]).await.unwrap();
        let (mut got, mut bytes) = (Vec::new(), vec![0; 32 << 10]);
        for length in [1, 600, 20, 511, 512, 513, 32 << 10, 5000].into_iter().cycle() {
            if got.len() + 4 + length > sent.len() {
                break;
            }
            stream.read_exact(&mut bytes[..4]).await.unwrap();
            got.extend_from_slice(&bytes[..4]);
            stream.read_exact(&mut bytes[..length]).await.unwrap();
            got.extend_from_slice(&bytes[..length]);
            assert!(stream.ahead.len() <= BEYOND);
        }
        stream.read_to_end(&mut got).await.unwrap();
        sending.await.unwrap();
        assert!(got == sent && stream.ahead.is_empty());
        assert_eq!(activity.totals().0, 11 + 1_000_000);
    }

    fn stream(
        size: usize,
    ) -> (Stream<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Activity>, CancellationToken) {
        let (inner, peer) = duplex(size);
        let (activity, end) =
            (Arc::new(Activity::new(crate::ssh::traffic::Traffic::nowhere())), CancellationToken::new());
        (Stream::new(inner, Arc::clone(&activity), &end), peer, activity, end)
    }

    #[tokio::test]
    async fn what_tcp_holds_is_asked_again_while_much_comes() {
        let (mut stream, mut peer, activity, _end) = stream(4 << 20);
        let mut seen = vec![activity.moment().tcp_buffer];
        for _ in 0..4 {
            peer.write_all(&vec![1; ASK_AGAIN]).await.unwrap();
            stream.read_exact(&mut vec![0; ASK_AGAIN]).await.unwrap();
            seen.push(activity.moment().tcp_buffer);
        }
        assert!(seen[0] == u32::MAX && seen[1..].is_sorted_by(|one, next| one < next), "{seen:?}");
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
            let (mut stream, mut peer, activity, _end) = stream(1000);
            for byte in line {
                peer.write_all(&[*byte]).await.unwrap();
                stream.read_u8().await.unwrap();
            }
            assert_eq!(activity.client(), expected, "{line:?}");
            assert_eq!(activity.totals().0, line.len() as u64);
        }
        let (mut stream, mut peer, activity, _end) = stream(2000);
        peer.write_all(&[&[b'x'; 255][..], b"paramiko\n"].concat()).await.unwrap();
        stream.read_exact(&mut [0; 264]).await.unwrap();
        assert!(activity.client() == Client::Other && stream.version.is_none());
    }

    #[tokio::test]
    async fn a_connection_that_always_has_something_to_do_gives_others_a_turn() {
        let (mut stream, mut peer, activity, _end) = stream(4 << 20);
        peer.write_all(&vec![1; 1 << 20]).await.unwrap();
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut cx = Context::from_waker(&waker);
        let mut read = |stream: &mut Stream<_>| {
            let mut bytes = vec![0; 32 << 10];
            Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut bytes)).is_ready()
        };
        for permit in 1..=8 {
            for _ in 0..TURN / (32 << 10) {
                assert!(read(&mut stream));
            }
            assert!(!read(&mut stream));
            assert_eq!(wakes.0.load(Relaxed), permit, "it is called again");
        }
        assert!(!read(&mut stream) && wakes.0.load(Relaxed) == 8, "nobody calls a task that has nothing to read");
        assert_eq!(activity.totals().0, 1 << 20);

        let mut cx = Context::from_waker(&waker);
        let mut sent = 0;
        while sent < 1 << 20 {
            match Pin::new(&mut stream).poll_write(&mut cx, &[2; 32 << 10]) {
                Poll::Ready(written) => sent += written.unwrap(),
                Poll::Pending => assert!(!activity.waits_for_peer(), "it was not the peer that it waited for"),
            }
        }
        assert_eq!(wakes.0.load(Relaxed), 8 + 7);
    }

    fn admission() -> Arc<Admission> {
        let admissions = crate::admission::AdmissionControl::new(crate::admission::AdmissionLimits::default());
        Arc::new(admissions.admit(std::net::Ipv4Addr::LOCALHOST.into(), std::time::Instant::now(), 0).unwrap())
    }

    #[tokio::test]
    async fn what_was_said_before_is_read_first_and_what_was_sent_is_not_sent_again() {
        let (stream, mut peer, activity, _end) = stream(1000);
        let (admission, ahead) = (admission(), b"SSH-2.0-OpenSSH_9.2p1\r\nand".to_vec());
        let mut stream = stream.greeted(4, ahead, Arc::clone(&admission), u64::MAX);
        peer.write_all(b" more").await.unwrap();
        let mut said = [0; 26];
        stream.read_exact(&mut said).await.unwrap();
        assert!(said.ends_with(b"and") && activity.client() == Client::OpenSsh);
        assert!(admission.has_reached(Stage::Named) && !admission.has_reached(Stage::Answering));
        stream.read_exact(&mut said[..5]).await.unwrap();
        assert!(said.starts_with(b" more") && admission.has_reached(Stage::Answering));

        stream.write_all(b"a").await.unwrap();
        stream.write_all(b"b\r\nfirst").await.unwrap();
        peer.read_exact(&mut said[..5]).await.unwrap();
        assert!(said.starts_with(b"first"));
        assert_eq!(activity.totals(), (26 + 5, 5));
    }

    #[tokio::test]
    async fn r33_to_a_stranger_only_so_much_is_said() {
        let (stream, _peer, _pulse, _end) = stream(1000);
        let admission = admission();
        let mut stream = stream.greeted(0, Vec::new(), Arc::clone(&admission), 100);
        stream.write_all(&[0; 100]).await.unwrap();
        assert_eq!(stream.write_all(&[0]).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        admission.authenticated();
        stream.write_all(&[0; 100]).await.unwrap();
    }

    /// Counts how often a task is called.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test]
    async fn r51_a_waiting_read_and_a_waiting_write_end_when_told() {
        let (stream, _peer, activity, end) = stream(4);
        let (mut read, mut write) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { read.read(&mut [0; 9]).await });
        let writing = tokio::spawn(async move { write.write_all(&[0; 9]).await });
        while !activity.waits_for_peer() {
            tokio::task::yield_now().await;
        }
        end.cancel();
        assert_eq!(reading.await.unwrap().unwrap(), 0);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
