//! A line between clients and a server that can be cut, stalled and slowed down. Loopback only.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a busy server may need to take in what the line has carried.
const TAKEN_IN: Duration = Duration::from_millis(200);

/// What becomes of a connection. Bytes are those from the client to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It lasts as long as its ends want.
    Whole,
    /// After so many bytes both ends get a RST.
    Reset(u64),
    /// After so many bytes both ends get a FIN.
    Fin(u64),
    /// After so many bytes nothing is carried any more; both ends stay open.
    Stall(u64),
}

impl Fate {
    const fn after(self) -> u64 {
        match self {
            Self::Whole => u64::MAX,
            Self::Reset(bytes) | Self::Fin(bytes) | Self::Stall(bytes) => bytes,
        }
    }
}

/// The line. Dropped, it closes all that it carries.
pub(crate) struct Relay {
    port: u16,
    line: Arc<Line>,
    runtime: Option<Runtime>,
}

struct Line {
    target: u16,
    delay: Duration,
    /// Of the connections to come; after these they are whole.
    fates: Mutex<VecDeque<Fate>>,
    sent: AtomicU64,
    met: AtomicU64,
}

impl Relay {
    /// To a port of this machine.
    pub(crate) fn to(target: u16) -> Self {
        Self::delayed(target, Duration::ZERO)
    }

    /// The same, but every byte is so long under way, in each direction.
    pub(crate) fn delayed(target: u16, delay: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let line =
            Arc::new(Line { target, delay, fates: Mutex::default(), sent: AtomicU64::new(0), met: AtomicU64::new(0) });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&line);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).carry(client));
            }
        });
        Self { port, line, runtime: Some(runtime) }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What becomes of the next connection that has no fate yet.
    pub(crate) fn next(&self, fate: Fate) {
        self.line.fates.lock().unwrap().push_back(fate);
    }

    /// Bytes that went from clients to the server.
    pub(crate) fn sent(&self) -> u64 {
        self.line.sent.load(Ordering::SeqCst)
    }

    /// Connections that have met their fate.
    pub(crate) fn met(&self) -> u64 {
        self.line.met.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why carrying ended before both ends had closed.
enum End {
    Fate,
    Broken,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl Line {
    async fn carry(self: Arc<Self>, mut client: TcpStream) {
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Whole);
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", self.target)).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let end = {
            let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
            let up = self.pipe(from_client, to_server, fate.after(), Some(&self.sent));
            let down = self.pipe(from_server, to_client, u64::MAX, None);
            tokio::try_join!(up, down).err()
        };
        match (end, fate) {
            (None, _) => {}
            (Some(End::Fate), Fate::Stall(_)) => {
                self.met.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Infallible>().await;
            }
            (Some(End::Fate), Fate::Fin(_)) => {
                self.met.fetch_add(1, Ordering::SeqCst);
                // What still comes is read, as closing over it would send a RST.
                let _ = tokio::time::timeout(Duration::from_secs(20), async {
                    let _ = (client.shutdown().await, server.shutdown().await);
                    let (mut nowhere, mut neither) = (tokio::io::sink(), tokio::io::sink());
                    tokio::join!(tokio::io::copy(&mut client, &mut nowhere), tokio::io::copy(&mut server, &mut neither))
                })
                .await;
            }
            (Some(why), _) => {
                // One end is gone, or this is its fate: the other one hears of it as it would from
                // a broken line.
                if matches!(why, End::Fate) {
                    // A RST takes along what waits in sockets, which is nothing on a line that is
                    // slower than its server.
                    tokio::time::sleep(TAKEN_IN).await;
                    // Before the client hears of it: whoever sees it end finds it counted.
                    self.met.fetch_add(1, Ordering::SeqCst);
                }
                let _ = (client.set_zero_linger(), server.set_zero_linger());
                drop((client, server));
            }
        }
    }

    /// Carries one direction to its end, or up to `limit` bytes.
    async fn pipe(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        limit: u64,
        count: Option<&AtomicU64>,
    ) -> Result<(), End> {
        // What is under way: a long line holds much.
        let (line, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
        let delay = self.delay;
        let reader = async move {
            let (mut left, mut block) = (limit, vec![0; 64 << 10]);
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                let read = from.read(&mut block[..most]).await?;
                if read == 0 || line.send((Instant::now() + delay, block[..read].to_vec())).await.is_err() {
                    return Ok::<_, End>(false);
                }
                left -= read as u64;
            }
            Ok(true)
        };
        let writer = async move {
            while let Some((due, bytes)) = arriving.recv().await {
                tokio::time::sleep_until(due).await;
                // Before it arrives, so that whoever has received something finds it counted.
                if let Some(count) = count {
                    count.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                }
                to.write_all(&bytes).await?;
            }
            Ok::<_, End>(to)
        };
        let (is_over, mut to) = tokio::try_join!(reader, writer)?;
        if is_over {
            return Err(End::Fate);
        }
        Ok(to.shutdown().await?)
    }
}

#[test]
fn a_line_carries_counts_delays_and_ends_as_it_was_told_to() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::delayed(listener.local_addr().unwrap().port(), Duration::from_millis(40));
    for fate in [Fate::Whole, Fate::Reset(1000), Fate::Fin(1000), Fate::Stall(1000)] {
        relay.next(fate);
        let (before, started) = (relay.sent(), std::time::Instant::now());
        let mut client = std::net::TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1500]).unwrap();
        let mut bytes = vec![0; 1000];
        server.read_exact(&mut bytes).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(40), "{fate:?}");
        server.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        let more = server.read(&mut bytes);
        match fate {
            Fate::Whole => assert_eq!(more.unwrap(), 500),
            Fate::Reset(_) => assert_eq!(more.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
            Fate::Fin(_) => assert_eq!(more.unwrap(), 0),
            Fate::Stall(_) => assert_eq!(more.unwrap_err().kind(), io::ErrorKind::WouldBlock),
        }
        assert_eq!(relay.sent() - before, if fate == Fate::Whole { 1500 } else { 1000 }, "{fate:?}");
    }
}
