//! The client: the same code against every server. Everything that it waits for has a bound.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::Disconnect;
use russh::client::{self, Handle, Handler};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh_sftp::client::SftpSession;
use russh_sftp::protocol::OpenFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub type Outcome<T> = Result<T, String>;

/// How somebody proves who they are.
#[derive(Clone)]
pub enum Credential {
    Token(String),
    Key(Arc<PrivateKey>),
}

/// Where to log in, and as whom.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub user: String,
    pub credential: Credential,
}

/// Trusts every host key: it listens on loopback, and this program has started it.
struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    fn check_server_key(
        &mut self,
        _: &PublicKeyOrCertificate,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        ready(Ok(true))
    }
}

/// A logged-in client with an SFTP session.
pub struct Client {
    connection: Handle<Trusting>,
    pub sftp: SftpSession,
}

/// Waits for something, but not for ever.
pub async fn within<T, E: std::fmt::Display>(what: &str, work: impl Future<Output = Result<T, E>>) -> Outcome<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer for {} s", PATIENCE.as_secs())),
    }
}

impl Client {
    pub async fn connect(door: &Door) -> Outcome<Self> {
        let config = client::Config { nodelay: true, inactivity_timeout: None, ..client::Config::default() };
        let connecting = client::connect(Arc::new(config), door.address, Trusting);
        let mut connection = within("connect", connecting).await?;
        let login = match &door.credential {
            Credential::Token(token) => {
                within("login", connection.authenticate_password(&door.user, token.clone())).await?
            }
            Credential::Key(key) => {
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
                within("login", connection.authenticate_publickey(&door.user, key)).await?
            }
        };
        if !login.success() {
            return Err("the server refused the login".to_owned());
        }
        let channel = within("channel", connection.channel_open_session()).await?;
        within("subsystem", channel.request_subsystem(true, "sftp")).await?;
        let config = russh_sftp::client::Config {
            max_write_packet_len: 256 * 1024,
            request_timeout_secs: PATIENCE.as_secs(),
            ..russh_sftp::client::Config::default()
        };
        let sftp = within("sftp", SftpSession::new_with_config(channel.into_stream(), config)).await?;
        Ok(Self { connection, sftp })
    }

    pub async fn stat(&self, path: &str) -> Outcome<u64> {
        Ok(within("stat", self.sftp.metadata(path)).await?.size.unwrap_or(0))
    }

    /// OPENDIR, READDIR to the end, CLOSE.
    pub async fn list(&self, path: &str) -> Outcome<usize> {
        Ok(within("list", self.sftp.read_dir(path)).await?.count())
    }

    /// OPENDIR and one READDIR.
    pub async fn list_page(&self, raw: &russh_sftp::client::RawSftpSession, path: &str) -> Outcome<usize> {
        let handle = within("opendir", raw.opendir(path)).await?.handle;
        let names = within("readdir", raw.readdir(handle.clone())).await?.files.len();
        within("close", raw.close(handle)).await?;
        Ok(names)
    }

    /// A second SFTP session on the same connection, for single requests.
    pub async fn raw(&self) -> Outcome<russh_sftp::client::RawSftpSession> {
        let channel = within("channel", self.connection.channel_open_session()).await?;
        within("subsystem", channel.request_subsystem(true, "sftp")).await?;
        let raw = russh_sftp::client::RawSftpSession::new(channel.into_stream());
        within("init", raw.init()).await?;
        Ok(raw)
    }

    pub async fn put(&self, path: &str, bytes: &[u8]) -> Outcome<()> {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let mut file = within("open", self.sftp.open_with_flags(path, flags)).await?;
        within("write", file.write_all(bytes)).await?;
        within("close", file.close()).await
    }

    pub async fn get(&self, path: &str) -> Outcome<Vec<u8>> {
        let mut file = within("open", self.sftp.open(path)).await?;
        let mut bytes = Vec::new();
        within("read", file.read_to_end(&mut bytes)).await?;
        within("close", file.close()).await?;
        Ok(bytes)
    }

    pub async fn leave(self) {
        let _ = within("close", self.sftp.close()).await;
        let _ = within("disconnect", self.connection.disconnect(Disconnect::ByApplication, "done", "en")).await;
    }
}

/// Puts pieces into new files until it is told to stop. Gives how many bytes went.
pub async fn upload_until(door: Door, name: String, piece: Arc<Vec<u8>>, until: Instant) -> Outcome<u64> {
    let client = Client::connect(&door).await?;
    let (mut sent, mut number) = (0, 0);
    while Instant::now() < until {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let path = format!("{name}-{number}");
        number += 1;
        let mut file = within("open", client.sftp.open_with_flags(path, flags)).await?;
        // 64 MiB a file, so that there are CLOSEs among the WRITEs.
        for _ in 0..256 {
            if Instant::now() >= until {
                break;
            }
            within("write", file.write_all(&piece)).await?;
            sent += piece.len() as u64;
        }
        within("close", file.close()).await?;
    }
    client.leave().await;
    Ok(sent)
}
