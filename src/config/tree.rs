//! The tree itself: each section, its defaults, and the ranges of its keys.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::http::Http;
use super::legacy::Legacy;
use super::reader::Reader;
use super::{ConfigError, Secret};
use crate::app::Policy;
use crate::mail::Sender;
use crate::model::{Algorithm, TemporaryNames};

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Config {
    /// Where the server listens and how it works.
    pub server: Server,
    /// The second listener, for old devices; `None`: there is none.
    pub legacy: Option<Legacy>,
    /// The HTTP door; `None`: closed.
    pub http: Option<Http>,
    /// What one client, one share, or all of them together may use.
    pub limits: Limits,
    /// How uploads are stored.
    pub storage: Storage,
    /// What holds of tickets.
    pub tickets: Tickets,
    /// Where keys are.
    pub keys: Keys,
    /// How engineers are told.
    pub notify: Notify,
    /// What clients are told of files.
    pub digests: Digests,
    /// What becomes of tickets.
    pub policy: PolicyFile,
    /// What is logged.
    pub log: Log,
    /// What machines are told of the load.
    pub metrics: Metrics,
}

/// Section `server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Address and port of the SFTP door; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The host that locations and instructions show, without brackets; see
    /// [`Server::public_address`].
    pub public_host: Option<String>,
    /// The port that locations and instructions show; see [`Server::public_address`].
    pub public_port: Option<u16>,
    /// How long open uploads may go on after SIGTERM; seconds, 0 to 3600.
    pub drain_seconds: u64,
    /// Threads that serve connections; 0: one for each core; 0 to 1024.
    pub connection_threads: usize,
    /// Lines that everybody is shown before the login; at most 20 of at most 200 characters.
    pub banner: Vec<String>,
    /// Whether clients that show stderr to people get the ticket's reference and the reasons of
    /// refusals there.
    pub remarks: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2222),
            public_host: None,
            public_port: None,
            drain_seconds: 30,
            connection_threads: 0,
            banner: Vec::new(),
            remarks: true,
        }
    }
}

impl Server {
    /// Host (an IPv6 address without brackets) and port as clients reach them. Without a setting:
    /// the address that is listened on (`localhost` when that is `0.0.0.0` or `::`, which nobody
    /// can connect to) and the port that is bound.
    pub fn public_address(&self, bound: SocketAddr) -> (String, u16) {
        let host = match &self.public_host {
            Some(host) => host.clone(),
            None if bound.ip().is_unspecified() => "localhost".to_owned(),
            None => bound.ip().to_string(),
        };
        (host, self.public_port.unwrap_or(bound.port()))
    }
}

/// Section `limits`. Everything that a client could use up has its bound here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections that have not logged in, in all; beyond it they share by networks. 1 to 65536.
    pub unauthenticated_connections: usize,
    /// Connections that have not logged in, from one source (an IPv4 address or an IPv6 /64). 1 to
    /// 65536.
    pub unauthenticated_per_source: usize,
    /// Connections in all from one source. 1 to 65536.
    pub connections_per_source: usize,
    /// Time for the login; then the connection is cut. Seconds, 1 to 3600.
    pub login_grace_seconds: u64,
    /// Wrong passwords and refused signatures on one connection; then it is cut. 1 to 100.
    pub failures_per_connection: u32,
    /// Keys that a client may ask about on one connection. 1 to 1000.
    pub key_probes: u32,
    /// The least time until a login is refused, the same for every reason. Milliseconds, 0 to
    /// 10000.
    pub rejection_milliseconds: u64,
    /// Open channels on one connection; further ones are refused. 1 to 64.
    pub channels_per_connection: usize,
    /// Open files and directories in one session; further ones are refused. 1 to 4096.
    pub handles: usize,
    /// Time without a request after which a session ends. Seconds, 1 to 604800.
    pub idle_seconds: u64,
    /// Time without progress, while data waits to be sent, after which a connection is cut.
    /// Seconds, 1 to 86400.
    pub stalled_seconds: u64,
    /// Pause between keepalives; after three without an answer the connection is cut. Seconds, 1 to
    /// 3600.
    pub keepalive_seconds: u64,
    /// New session keys are agreed on after so much in one direction. MiB, 1 to 1024 (RFC 4253,
    /// section 9: 1 GiB).
    pub rekey_mib: u64,
    /// What a client may send on one channel before it is told to go on, at first. KiB, 256 to
    /// 65536.
    pub window_kib: u32,
    /// The same on a far line at most, all channels of a connection together; not below
    /// `window_kib`. KiB, 256 to 262144.
    pub window_most_kib: u32,
    /// What all connections together may be allowed beyond what each began with. MiB, 0 to 1048576.
    pub windows_mib: u64,
    /// Plaintext that waits to be sealed or sent, in one session, beyond the window; more waits.
    /// MiB, 1 to 1024.
    pub buffered_plaintext_mib_per_session: u64,
    /// The same for all sessions together; not below that of one session. MiB, 1 to 1048576.
    pub buffered_plaintext_mib: u64,
    /// Content that downloads open before it is asked for, all of them together. MiB, 0 to 1048576.
    pub read_ahead_mib: u64,
    /// Files and directories in one share. 1 to 10000000.
    pub names_per_share: u64,
    /// Names that a login may make, move and remove at once, and as many a day. 100 to 10000000.
    pub name_changes_per_day: u64,
    /// Size of one file. GiB, 1 to 1048576.
    pub file_gib: u64,
    /// Size of one share, all versions counted. GiB, 1 to 1048576.
    pub share_gib: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unauthenticated_connections: 64,
            unauthenticated_per_source: 32,
            connections_per_source: 100,
            login_grace_seconds: 120,
            failures_per_connection: 4,
            key_probes: 20,
            rejection_milliseconds: 300,
            channels_per_connection: 4,
            handles: 64,
            idle_seconds: 600,
            stalled_seconds: 120,
            keepalive_seconds: 30,
            rekey_mib: 1024,
            window_kib: 2048,
            window_most_kib: 65_536,
            windows_mib: 1024,
            buffered_plaintext_mib_per_session: 8,
            buffered_plaintext_mib: 256,
            read_ahead_mib: 64,
            names_per_share: 100_000,
            name_changes_per_day: 10_000,
            file_gib: 1024,
            share_gib: 4096,
        }
    }
}

/// Section `tickets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tickets {
    /// Time for which a token is valid, from its making and from each login on, until its ticket is
    /// closed. Days, 1 to 3650.
    pub token_validity_days: u64,
    /// Whether `/` of an engineer or a contact leaves closed tickets out.
    pub hide_closed: bool,
}

impl Default for Tickets {
    fn default() -> Self {
        Self { token_validity_days: 72, hide_closed: false }
    }
}

/// Section `storage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// The most plaintext in one extent. MiB: 1, 2, 4, 8, 16, 32 or 64.
    pub extent_mib: u64,
    /// How often a running upload's state is made durable, so that it can be continued. Seconds, 1
    /// to 3600.
    pub checkpoint_seconds: u64,
    /// Up to this size a file is kept in the records, in one row with its manifest. KiB, 0 to 1024.
    pub inline_kib: u64,
    /// Of the disk, this part stays free of uploads; percent, 0 to 50 ...
    pub reserve_percent: u64,
    /// ... or as much as this, if that is less. MiB, 0 to 1048576.
    pub reserve_mib: u64,
    /// How long an object that no row knows is left alone. Days that a server runs, 0 to 3650.
    pub quarantine_days: u64,
    /// An unfinished upload is removed when nothing more of it came for so long. Days that a server
    /// ran, 1 to 365.
    pub unfinished_days: u64,
    /// People are told so long before an unfinished upload is removed. Hours that a server ran, 1
    /// to 8760.
    pub warn_hours: u64,
    /// How long a deleted file can be restored. Hours that a server ran, 1 to 8760.
    pub withdrawn_hours: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            extent_mib: 32,
            checkpoint_seconds: 5,
            inline_kib: 64,
            reserve_percent: 2,
            reserve_mib: 1024,
            quarantine_days: 7,
            unfinished_days: 7,
            warn_hours: 24,
            withdrawn_hours: 24,
        }
    }
}

/// Section `keys`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Keys {
    /// The key that encrypts all keys; `None`: `DATA/keys/kek`.
    pub kek: Option<KeyFile>,
}

/// A key that is a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyFile {
    /// Where it is.
    pub file: PathBuf,
}

/// Section `notify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notify {
    /// A ticket must be quiet for so long until its notice goes out. Seconds, 0 to 3600.
    pub settle_seconds: u64,
    /// It goes out after so long even if the ticket is never quiet; wins over `settle_seconds`.
    /// Seconds, 0 to 86400.
    pub settle_max_seconds: u64,
    /// The age at which a notice that cannot be delivered is given up. Hours, 1 to 8760.
    pub give_up_hours: u64,
    /// Names under which nothing is announced yet, because it will be renamed. At most 64 patterns.
    pub temporary_names: TemporaryNames,
    /// A file that keeps such a name is announced under it after so long. Seconds, 0 to 86400.
    pub temporary_settle_seconds: u64,
    /// The directory for notices when no mail server is set; `None`: `DATA/notices`.
    pub spool: Option<PathBuf>,
    /// The mail server; `None`: notices go to the spool.
    pub smtp: Option<SmtpServer>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            settle_seconds: 10,
            settle_max_seconds: 60,
            give_up_hours: 72,
            temporary_names: TemporaryNames::default(),
            temporary_settle_seconds: 600,
            spool: None,
            smtp: None,
        }
    }
}

/// Section `notify.smtp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SmtpServer {
    /// Host name or address. With TLS the certificate must be for it.
    pub host: String,
    /// Port, 1 to 65535.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// Login name; needs `password`.
    pub user: Option<String>,
    /// Password; needs `user`.
    pub password: Option<Secret>,
    /// The sender; [`Sender::new`] takes it.
    pub from: String,
    /// The name that is said in EHLO; `None`: an address literal.
    pub helo: Option<String>,
    /// The longest for connecting, and for the answer to each command. Seconds, 1 to 600.
    pub timeout_seconds: u64,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// By STARTTLS, always.
    StartTls,
    /// From the first byte.
    Tls,
    /// Not at all.
    None,
}

/// Section `digests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Digests {
    /// Digests that are given to clients beside SHA-256: MD5, SHA-1.
    pub also: Vec<Algorithm>,
}

/// Section `policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyFile {
    /// The file that says how long tickets are kept; `None`: nothing goes by itself.
    pub file: Option<PathBuf>,
    /// What it says.
    #[serde(skip)]
    pub rules: Option<Arc<Policy>>,
}

/// Section `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// What is worth a line.
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}

/// Section `metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Address and port where figures can be fetched by HTTP; `None`: nowhere. Port 0 picks a free
    /// one.
    pub listen: Option<SocketAddr>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may become a fault.
    Warn,
    /// And what happened.
    Info,
    /// And how.
    Debug,
    /// And everything else.
    Trace,
}

impl LogLevel {
    /// The word for it, as log filters know it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Config {
    /// Takes from the reader what is set and leaves the rest at its default. It asks for every key
    /// there is, whatever is set: [`Config::keys`] lives on that.
    pub(super) fn read(r: &mut Reader) -> Result<Self, ConfigError> {
        let mut config = Self::default();

        let server = &mut config.server;
        r.parsed("server.listen", &mut server.listen, "an address and a port, as \"0.0.0.0:2222\" or \"[::]:2222\"")?;
        server.public_host = host(r, "server.public_host")?;
        let mut port = 0;
        r.whole("server.public_port", &mut port, 1..=65535)?;
        server.public_port = Some(port).filter(|port| *port > 0);
        r.whole("server.drain_seconds", &mut server.drain_seconds, 0..=3600)?;
        r.whole("server.connection_threads", &mut server.connection_threads, 0..=1024)?;
        server.banner = r.texts("server.banner")?.unwrap_or_default();
        let is_line = |line: &String| line.chars().count() <= 200 && !line.chars().any(char::is_control);
        if server.banner.len() > 20 || !server.banner.iter().all(is_line) {
            return Err(r.refuse("server.banner", "this must be at most 20 lines of at most 200 characters"));
        }
        r.flag("server.remarks", &mut server.remarks)?;

        config.legacy = Legacy::read(r)?;
        config.http = Http::read(r)?;

        let l = &mut config.limits;
        r.whole("limits.unauthenticated_connections", &mut l.unauthenticated_connections, 1..=65536)?;
        r.whole("limits.unauthenticated_per_source", &mut l.unauthenticated_per_source, 1..=65536)?;
        r.whole("limits.connections_per_source", &mut l.connections_per_source, 1..=65536)?;
        r.whole("limits.login_grace_seconds", &mut l.login_grace_seconds, 1..=3600)?;
        r.whole("limits.failures_per_connection", &mut l.failures_per_connection, 1..=100)?;
        r.whole("limits.key_probes", &mut l.key_probes, 1..=1000)?;
        r.whole("limits.rejection_milliseconds", &mut l.rejection_milliseconds, 0..=10_000)?;
        r.whole("limits.channels_per_connection", &mut l.channels_per_connection, 1..=64)?;
        r.whole("limits.handles", &mut l.handles, 1..=4096)?;
        r.whole("limits.idle_seconds", &mut l.idle_seconds, 1..=604_800)?;
        r.whole("limits.stalled_seconds", &mut l.stalled_seconds, 1..=86_400)?;
        r.whole("limits.keepalive_seconds", &mut l.keepalive_seconds, 1..=3600)?;
        r.whole("limits.rekey_mib", &mut l.rekey_mib, 1..=1024)?;
        r.whole("limits.window_kib", &mut l.window_kib, 256..=65_536)?;
        r.whole("limits.window_most_kib", &mut l.window_most_kib, 256..=262_144)?;
        if l.window_most_kib < l.window_kib {
            let start = l.window_kib;
            let problem = format!("this must be at least limits.window_kib, which is {start}");
            return Err(r.refuse("limits.window_most_kib", problem));
        }
        r.whole("limits.windows_mib", &mut l.windows_mib, 0..=1_048_576)?;
        let per_session = &mut l.buffered_plaintext_mib_per_session;
        r.whole("limits.buffered_plaintext_mib_per_session", per_session, 1..=1024)?;
        r.whole("limits.buffered_plaintext_mib", &mut l.buffered_plaintext_mib, 1..=1_048_576)?;
        if l.buffered_plaintext_mib < l.buffered_plaintext_mib_per_session {
            let per_session = l.buffered_plaintext_mib_per_session;
            return Err(r.refuse(
                "limits.buffered_plaintext_mib",
                format!("this must be at least limits.buffered_plaintext_mib_per_session, which is {per_session}"),
            ));
        }
        r.whole("limits.read_ahead_mib", &mut l.read_ahead_mib, 0..=1_048_576)?;
        r.whole("limits.names_per_share", &mut l.names_per_share, 1..=10_000_000)?;
        r.whole("limits.name_changes_per_day", &mut l.name_changes_per_day, 100..=10_000_000)?;
        r.whole("limits.file_gib", &mut l.file_gib, 1..=1_048_576)?;
        r.whole("limits.share_gib", &mut l.share_gib, 1..=1_048_576)?;

        let storage = &mut config.storage;
        r.whole("storage.extent_mib", &mut storage.extent_mib, 1..=64)?;
        if !storage.extent_mib.is_power_of_two() {
            return Err(r.refuse("storage.extent_mib", "this must be 1, 2, 4, 8, 16, 32 or 64"));
        }
        r.whole("storage.checkpoint_seconds", &mut storage.checkpoint_seconds, 1..=3600)?;
        r.whole("storage.inline_kib", &mut storage.inline_kib, 0..=1024)?;
        r.whole("storage.reserve_percent", &mut storage.reserve_percent, 0..=50)?;
        r.whole("storage.reserve_mib", &mut storage.reserve_mib, 0..=1_048_576)?;
        r.whole("storage.quarantine_days", &mut storage.quarantine_days, 0..=3650)?;
        r.whole("storage.unfinished_days", &mut storage.unfinished_days, 1..=365)?;
        r.whole("storage.warn_hours", &mut storage.warn_hours, 1..=8760)?;
        r.whole("storage.withdrawn_hours", &mut storage.withdrawn_hours, 1..=8760)?;
        r.whole("tickets.token_validity_days", &mut config.tickets.token_validity_days, 1..=3650)?;
        r.flag("tickets.hide_closed", &mut config.tickets.hide_closed)?;

        config.keys.kek = match r.secret("keys.kek")? {
            None => None,
            Some(Secret::File(file)) => Some(KeyFile { file }),
            Some(Secret::Env(_)) => return Err(r.refuse("keys.kek", "this key must be a file: { file = \"PATH\" }")),
        };

        let notify = &mut config.notify;
        r.whole("notify.settle_seconds", &mut notify.settle_seconds, 0..=3600)?;
        r.whole("notify.settle_max_seconds", &mut notify.settle_max_seconds, 0..=86_400)?;
        r.whole("notify.give_up_hours", &mut notify.give_up_hours, 1..=8760)?;
        if let Some(patterns) = r.texts("notify.temporary_names")? {
            notify.temporary_names =
                TemporaryNames::new(patterns).map_err(|why| r.refuse("notify.temporary_names", why))?;
        }
        r.whole("notify.temporary_settle_seconds", &mut notify.temporary_settle_seconds, 0..=86_400)?;
        notify.spool = r.path("notify.spool")?;
        notify.smtp = smtp(r)?;

        if let Some(words) = r.texts("digests.also")? {
            config.digests.also = also_digests(&words).map_err(|why| r.refuse("digests.also", why))?;
        }

        config.policy.file = r.path("policy.file")?;

        let log = &mut config.log;
        r.choice("log.format", &mut log.format, &[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        r.choice("log.level", &mut log.level, &levels.map(|level| (level.as_str(), level)))?;
        if let Some(listen) = r.text("metrics.listen")? {
            let problem = "this must be an address and a port, as \"127.0.0.1:9464\"";
            config.metrics.listen = Some(listen.parse().map_err(|_| r.refuse("metrics.listen", problem))?);
        }
        Ok(config)
    }
}

fn also_digests(words: &[String]) -> Result<Vec<Algorithm>, &'static str> {
    let mut also = Vec::new();
    for word in words {
        match word.parse() {
            Ok(Algorithm::Sha256) => return Err("\"sha256\" is always given; this can be \"md5\" and \"sha1\""),
            Ok(algorithm) if also.contains(&algorithm) => {}
            Ok(algorithm) => also.push(algorithm),
            Err(()) => return Err("each of these must be \"md5\" or \"sha1\""),
        }
    }
    Ok(also)
}

fn smtp(r: &mut Reader) -> Result<Option<SmtpServer>, ConfigError> {
    let server = host(r, "notify.smtp.host")?;
    let (mut port, mut tls, mut timeout_seconds) = (587, SmtpTls::StartTls, 300);
    r.whole("notify.smtp.port", &mut port, 1..=65535)?;
    let choices = [("starttls", SmtpTls::StartTls), ("tls", SmtpTls::Tls), ("none", SmtpTls::None)];
    r.choice("notify.smtp.tls", &mut tls, &choices)?;
    let user = r.text("notify.smtp.user")?;
    let password = r.secret("notify.smtp.password")?;
    let from = r.text("notify.smtp.from")?;
    let helo = host(r, "notify.smtp.helo")?;
    r.whole("notify.smtp.timeout_seconds", &mut timeout_seconds, 1..=600)?;

    let Some(host) = server else {
        if user.is_some() || password.is_some() || from.is_some() {
            return Err(r.refuse("notify.smtp.host", "this is missing, but other keys of notify.smtp are set"));
        }
        return Ok(None);
    };
    let Some(from) = from else {
        return Err(r.refuse("notify.smtp.from", "this is missing; write the address that notices come from"));
    };
    if let Err(why) = Sender::new(&from) {
        return Err(r.refuse("notify.smtp.from", why));
    }
    if user.is_some() != password.is_some() {
        let (there, missing) = if user.is_some() { ("user", "password") } else { ("password", "user") };
        let problem = format!("notify.smtp.{missing} is missing; both or none must be set");
        return Err(r.refuse(&format!("notify.smtp.{there}"), problem));
    }
    let on_this_machine = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if user.is_some() && tls == SmtpTls::None && !on_this_machine {
        let problem = "\"none\" would send the password over the network for all to read; use \"starttls\" or \"tls\"";
        return Err(r.refuse("notify.smtp.tls", problem));
    }
    Ok(Some(SmtpServer { host, port, tls, user, password, from, helo, timeout_seconds }))
}

/// A host name or an IP address (IPv6 with or without brackets): it goes into URLs and command
/// lines.
pub(super) fn host(r: &mut Reader, key: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(text) = r.text(key)? else { return Ok(None) };
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
    let is_name = bare.len() <= 253
        && bare.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if is_name || bare.parse::<IpAddr>().is_ok() {
        Ok(Some(bare.to_owned()))
    } else {
        Err(r.refuse(key, "this must be a host name or an IP address, without a port"))
    }
}
