//! Uploads as fast as they go, by a process of their own that stands behind everything else on this
//! machine.
//!
//! A server's customers have machines of their own. Here they would take its processors, and on one
//! runtime with the client whose waits are measured also that client's: eight uploads are eight
//! encryptions. So they run apart, as nice as can be.

use std::io::{BufRead, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tacdrop::model::Identifier;
use tokio::task::JoinSet;

use super::Report;
use super::client::{Credential, Door, Outcome, upload_until};
use super::servers::{Server, text, word};

/// The lowest priority that there is (POSIX: NZERO - 1).
const LOWEST: i32 = 19;
/// No longer than this in any case.
const END: Duration = Duration::from_secs(120);

/// The process. It ends when this is dropped.
pub struct Uploads {
    child: Child,
    _alive: ChildStdin,
}

impl Uploads {
    /// Begins one for each ticket.
    pub fn start(server: &Server, tickets: &[(Identifier, String)]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe().map_err(text)?);
        command.args(["uploads", &server.address.to_string()]);
        command.args(tickets.iter().map(|(reference, _)| reference.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(text)?;
        let mut alive = child.stdin.take().ok_or("the uploads have no standard input")?;
        // Tokens do not belong on a command line.
        for (_, token) in tickets {
            std::io::Write::write_all(&mut alive, format!("{token}\n").as_bytes()).map_err(text)?;
        }
        Ok(Self { child, _alive: alive })
    }

    /// Whether one of them has ended, which none should.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process's own part: `uploads ADDRESS REFERENCE...`, with a token on standard input for each,
/// which stays open.
pub async fn run(words: &[String]) -> Outcome<Report> {
    let (address, references) = words.split_first().ok_or("uploads ADDRESS REFERENCE...")?;
    let address = address.parse().map_err(text)?;
    let mut lines = std::io::stdin().lock().lines();
    let mut doors = Vec::new();
    for reference in references {
        let token = lines.next().ok_or("there is no token")?.map_err(text)?;
        doors.push(Door { address, user: word(reference)?.to_string(), credential: Credential::Token(token) });
    }
    drop(lines);
    std::thread::spawn(|| {
        // Whoever started this is gone.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        #[expect(clippy::exit, reason = "nothing of this process is worth waiting for")]
        std::process::exit(0);
    });
    // Niceness is a thread's, and the threads of this runtime have begun: so there is another one.
    let uploading = std::thread::spawn(move || {
        rustix::process::nice(LOWEST).map_err(text)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(text)?;
        runtime.block_on(async move {
            let piece = Arc::new(vec![7_u8; 256 << 10]);
            let until = Instant::now() + END;
            let mut uploads = JoinSet::new();
            for door in doors {
                uploads.spawn(upload_until(door, "bulk".to_owned(), Arc::clone(&piece), until));
            }
            // The first that ends is one too many.
            uploads.join_next().await.ok_or("there are no uploads")?.map_err(text)?
        })
    });
    let sent = tokio::task::spawn_blocking(move || uploading.join()).await.map_err(text)?;
    let sent = sent.map_err(|_| "the uploads panicked".to_owned())??;
    Err(format!("an upload ended after {sent} bytes"))
}
