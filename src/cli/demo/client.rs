//! An SFTP client as a customer and an engineer have one: a real SSH connection over TCP, the host
//! key checked.

use std::future::ready;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::Disconnect;
use russh::client::{self, Handle, Handler};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh_sftp::client::SftpSession;
use russh_sftp::protocol::OpenFlags;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cli::failure::Failure;

/// Bytes in one write or read.
const CHUNK: usize = 255 * 1024;
/// How long any request may take, in seconds: the last one waits until everything is durable.
const PATIENCE: u64 = 30;

/// How somebody proves who they are.
pub(crate) enum Credential<'a> {
    Token(&'a str),
    Key(Arc<PrivateKey>),
}

/// What went over the wire.
pub(crate) struct Transfer {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A logged-in client.
pub(crate) struct Client {
    connection: Handle<Guard>,
    sftp: SftpSession,
}

/// Knows the server by its fingerprint, as somebody does who compares it with what the ticket says.
struct Guard {
    fingerprint: String,
}

impl Handler for Guard {
    type Error = russh::Error;

    fn check_server_key(
        &mut self,
        server: &PublicKeyOrCertificate,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        ready(Ok(match server {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                key.fingerprint(HashAlg::Sha256).to_string() == self.fingerprint
            }
            PublicKeyOrCertificate::Certificate(_) => false,
        }))
    }
}

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        fingerprint: &str,
        user: &str,
        credential: Credential<'_>,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{user} could not connect: {error}"));
        let guard = Guard { fingerprint: fingerprint.to_owned() };
        let config = client::Config { nodelay: true, ..client::Config::default() };
        let mut connection = client::connect(Arc::new(config), address, guard).await.map_err(|error| failed(&error))?;
        let login = match credential {
            Credential::Token(token) => connection.authenticate_password(user, token).await,
            Credential::Key(key) => {
                connection.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, None)).await
            }
        };
        if !login.map_err(|error| failed(&error))?.success() {
            return Err(failed(&"the server refused the login"));
        }
        let channel = connection.channel_open_session().await.map_err(|error| failed(&error))?;
        channel.request_subsystem(true, "sftp").await.map_err(|error| failed(&error))?;
        let config = russh_sftp::client::Config {
            max_write_packet_len: 256 * 1024,
            request_timeout_secs: PATIENCE,
            ..russh_sftp::client::Config::default()
        };
        let sftp = SftpSession::new_with_config(channel.into_stream(), config).await.map_err(|error| failed(&error))?;
        Ok(Self { connection, sftp })
    }

    /// Sends a file; when this returns, the server has answered that it is safe. `sent` hears of
    /// every piece.
    pub(crate) async fn put(
        &self,
        source: &mut (dyn Read + Send),
        name: &str,
        mut sent: impl FnMut(&[u8]),
    ) -> Result<Transfer, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the upload failed: {error}"));
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let mut file = self.sftp.open_with_flags(name, flags).await.map_err(|error| failed(&error))?;
        let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; CHUNK]);
        loop {
            let read = source.read(&mut buffer).map_err(|error| failed(&error))?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hash.update(piece);
            // It returns before the answer is there: several pieces are on the way at once.
            file.write_all(piece).await.map_err(|error| failed(&error))?;
            bytes += read as u64;
            sent(piece);
        }
        file.close().await.map_err(|error| failed(&error))?;
        Ok(Transfer { bytes, sha256: hex::encode(hash.finalize()) })
    }

    /// Fetches a file and hashes it on the way.
    pub(crate) async fn get(&self, path: &str, mut received: impl FnMut(&[u8])) -> Result<Transfer, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the download failed: {error}"));
        let mut file = self.sftp.open(path).await.map_err(|error| failed(&error))?;
        let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; CHUNK]);
        loop {
            let read = file.read(&mut buffer).await.map_err(|error| failed(&error))?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hash.update(piece);
            bytes += read as u64;
            received(piece);
        }
        file.close().await.map_err(|error| failed(&error))?;
        Ok(Transfer { bytes, sha256: hex::encode(hash.finalize()) })
    }

    /// Says good-bye.
    pub(crate) async fn leave(self) {
        // Whether the server hears it changes nothing for this side.
        let _ = self.sftp.close().await;
        let _ = self.connection.disconnect(Disconnect::ByApplication, "done", "en").await;
    }
}
