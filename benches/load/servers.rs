//! The servers under load, each on a free port of loopback, in a directory of its own, ended by its
//! process id.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::{Algorithm, HashAlg, PrivateKey};
use tacdrop::app::{App, DataDirectory, NewTicket, Settings};
use tacdrop::model::{Identifier, Language, Priority};
use tempfile::TempDir;

use super::client::{Credential, Door, Outcome};
use super::proc;

/// How long a server may take to begin listening. A start with a million records is part of a
/// scene, which waits for itself.
const START: Duration = Duration::from_secs(300);
/// How long it may be busy after its start.
const SETTLE: Duration = Duration::from_secs(300);
/// How long it may take to end before it is killed.
const END: Duration = Duration::from_secs(30);

/// A directory in memory where there is one, and a key pair.
pub struct Ground {
    pub root: TempDir,
    pub key: Arc<PrivateKey>,
}

impl Ground {
    pub fn new() -> Outcome<Self> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let root = tempfile::Builder::new().prefix("tacdrop-load-").tempdir_in(place).map_err(text)?;
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(text)?;
        Ok(Self { root, key: Arc::new(key) })
    }

    pub fn fingerprint(&self) -> String {
        self.key.public_key().fingerprint(HashAlg::Sha256).to_string()
    }
}

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").map_err(text)?.local_addr().map_err(text)?.port())
}

/// A server that runs. Dropped, it is ended.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    user: String,
    key: Arc<PrivateKey>,
    log: PathBuf,
    /// From the start to the first connection that it took.
    pub started_in: Duration,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The door for who logs in with the ground's key.
    pub fn door(&self) -> Door {
        Door { address: self.address, user: self.user.clone(), credential: Credential::Key(Arc::clone(&self.key)) }
    }

    /// The door for a ticket's customer.
    pub fn customer(&self, ticket: &(Identifier, String)) -> Door {
        let credential = Credential::Token(ticket.1.clone());
        Door { address: self.address, user: ticket.0.to_string(), credential }
    }

    /// Waits until what a start leaves to be done beside the service (every name is looked at once)
    /// is over, and says how much CPU time the server has spent by then.
    pub async fn settle(&self) -> Duration {
        let end = Instant::now() + SETTLE;
        let mut spent = proc::cpu(self.pid());
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = proc::cpu(self.pid());
            if now.saturating_sub(spent) <= Duration::from_millis(10) {
                return now;
            }
            spent = now;
        }
        spent
    }

    /// The end of what it logged.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(5)).copied().collect::<Vec<_>>().join("\n")
    }

    fn start(name: &'static str, mut command: Command, port: u16, user: &str, ground: &Ground) -> Outcome<Self> {
        let log = ground.root.path().join(format!("{name}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).map_err(text)?;
        let begun = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.map_err(|error| format!("{name} does not start: {error}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (user, key) = (user.to_owned(), Arc::clone(&ground.key));
        let mut server = Self { name, address, child, user, key, log, started_in: Duration::ZERO };
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if begun.elapsed() > START || server.child.try_wait().map_err(text)?.is_some() {
                return Err(format!("{name} does not listen; it said:\n{}", server.last_words()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        server.started_in = begun.elapsed();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let end = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory of tacdrop's, with an engineer who has the ground's key.
pub struct House<'a> {
    ground: &'a Ground,
    data: PathBuf,
}

impl<'a> House<'a> {
    pub async fn new(ground: &'a Ground, name: &str) -> Outcome<Self> {
        Self::at(ground, &ground.root.path().join(name)).await
    }

    pub async fn at(ground: &'a Ground, data: &Path) -> Outcome<Self> {
        let house = Self { ground, data: data.to_owned() };
        let app = house.open().await?;
        let language = Some(Language::En);
        app.tickets().add_organisation(word("BENCH")?, "Bench".to_owned(), None).await.map_err(text)?;
        let keys = vec![(ground.fingerprint(), "ssh-ed25519".to_owned())];
        let mail = "bench@example.org".to_owned();
        app.tickets().add_engineer(word("bench")?, None, mail, language, keys).await.map_err(text)?;
        app.close().await;
        Ok(house)
    }

    /// The shares behind it, while no server runs.
    pub async fn open(&self) -> Outcome<App> {
        let settings = Settings { names_per_share: 10_000_000, ..Settings::default() };
        App::open(DataDirectory::at(self.data.clone()), settings).await.map_err(text)
    }

    pub fn ticket_like(reference: &str) -> Outcome<NewTicket> {
        Ok(NewTicket {
            reference: word(reference)?,
            organisation: word("BENCH")?,
            engineer: word("bench")?,
            title: None,
            priority: Priority::MEDIUM,
            language: Some(Language::En),
            device: false,
        })
    }

    pub async fn ticket(&self, app: &App, reference: &str) -> Outcome<(Identifier, String)> {
        let (_, token) = app.tickets().open_ticket(Self::ticket_like(reference)?).await.map_err(text)?;
        Ok((word(reference)?, token.to_string()))
    }

    /// Starts the server: the binary that was built with this program.
    pub fn serve(&self) -> Outcome<Server> {
        let port = free_port()?;
        let mut command = Command::new(binary());
        command.arg("serve").env("TACDROP_DATA", &self.data);
        // What bounds guests in a house would bound the bench; everything else is as it is
        // delivered.
        let settings = [
            ("SERVER__LISTEN", format!("127.0.0.1:{port}")),
            ("LIMITS__UNAUTHENTICATED_CONNECTIONS", "1024".to_owned()),
            ("LIMITS__UNAUTHENTICATED_PER_SOURCE", "1024".to_owned()),
            ("LIMITS__CONNECTIONS_PER_SOURCE", "65536".to_owned()),
            ("LIMITS__IDLE_SECONDS", "3600".to_owned()),
            ("LIMITS__NAMES_PER_SHARE", "10000000".to_owned()),
            ("LOG__LEVEL", "warn".to_owned()),
        ];
        for (key, value) in settings {
            command.env(format!("TACDROP__{key}"), value);
        }
        Server::start("tacdrop", command, port, "bench", self.ground)
    }
}

pub fn word(text: &str) -> Outcome<Identifier> {
    text.parse().map_err(|_| format!("{text} is no name"))
}

fn binary() -> PathBuf {
    std::env::var_os("TACDROP_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tacdrop")), PathBuf::from)
}

/// OpenSSH's server, with the user that runs this.
pub fn sshd(ground: &Ground) -> Outcome<Server> {
    let (port, root) = (free_port()?, ground.root.path());
    let files = root.join("plain");
    fs::create_dir_all(&files).map_err(text)?;
    let _ = fs::create_dir_all("/run/sshd");
    let host_key = root.join("host_key");
    if !host_key.exists() {
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key).status();
        made.map_err(|error| format!("ssh-keygen does not start ({error}); install openssh-client"))?;
    }
    let keys = root.join("authorized_keys");
    let line = ground.key.public_key().to_openssh().map_err(text)?;
    fs::write(&keys, format!("{line}\n")).map_err(text)?;
    let config = root.join("sshd_config");
    let lines = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\nUsePAM no\n\
         PermitRootLogin yes\nMaxStartups 2000\nMaxSessions 100\nLogLevel ERROR\nSubsystem sftp internal-sftp -d {}\n",
        host_key.display(),
        keys.display(),
        files.display()
    );
    fs::write(&config, lines).map_err(text)?;
    let user = Command::new("id").arg("-un").output().map_err(text)?;
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let mut command = Command::new("/usr/sbin/sshd");
    command.arg("-D").arg("-e").arg("-f").arg(&config);
    Server::start("openssh", command, port, &user, ground)
        .map_err(|error| format!("{error}; the peer is Debian's openssh-server"))
}
