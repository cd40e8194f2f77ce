//! The addresses that people reach the server at, as the server last wrote them down.

use super::location::{glob_escaped, shell_word};
use crate::model::{Identifier, SharePath};
use crate::records::Conn;
use crate::repo::keys::KeyManager;
use crate::repo::proved_facts::{LEGACY_ADDRESS, PUBLIC_HOST, PUBLIC_PORT, proved_fact, set_proved_fact};
use crate::repo::{Error, Repo};

/// The address that people reach the server at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    /// A host name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl PublicAddress {
    /// What is shown before any server has served the data directory.
    pub fn unknown() -> Self {
        Self { host: "localhost".to_owned(), port: 2222 }
    }

    /// Host and port as a URL has them (RFC 3986, section 3.2: an IPv6 address in brackets).
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// `sftp://HOST:PORT/REF/PATH`: what an engineer opens.
    pub fn location(&self, ticket: &Identifier, path: &SharePath) -> String {
        format!("sftp://{}/{ticket}/{}", self.authority(), path.url_encoded())
    }

    /// `sftp://USER@HOST:PORT/`: what a customer opens.
    pub fn url(&self, user: &Identifier) -> String {
        format!("sftp://{user}@{}/", self.authority())
    }

    /// The one line that fetches an artifact with OpenSSH, for a POSIX shell. The path should be
    /// [`typeable`](super::location::typeable).
    pub fn fetch_command(&self, engineer: &Identifier, ticket: &Identifier, path: &SharePath) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let remote = String::from_utf8_lossy(&glob_escaped(path)).into_owned();
        format!("scp -P {} {} .", self.port, shell_word(&format!("{engineer}@{host}:/{ticket}{remote}")))
    }
}

/// The address that the server last wrote down.
///
/// # Errors
/// If the records fail.
pub(crate) async fn recorded(conn: &mut Conn, keys: &KeyManager) -> Result<Option<PublicAddress>, Error> {
    let host = proved_fact(conn, keys, PUBLIC_HOST).await?;
    let port = proved_fact(conn, keys, PUBLIC_PORT).await?;
    Ok(host.zip(port.and_then(|port| port.parse().ok())).map(|(host, port)| PublicAddress { host, port }))
}

/// The same, on a connection of its own.
///
/// # Errors
/// If the records fail.
pub(crate) async fn public(repo: &Repo) -> Result<Option<PublicAddress>, Error> {
    recorded(&mut *repo.records.read().await?, &repo.keys).await
}

/// Writes the address down that people reach the server at.
///
/// # Errors
/// If the records fail.
pub(crate) async fn set_public(repo: &Repo, address: &PublicAddress) -> Result<(), Error> {
    let mut tx = repo.records.begin().await?;
    set_proved_fact(tx.conn(), &repo.keys, PUBLIC_HOST, &address.host).await?;
    set_proved_fact(tx.conn(), &repo.keys, PUBLIC_PORT, &address.port.to_string()).await?;
    Ok(tx.commit().await?)
}

/// The address that old devices reach the server at, as the server last wrote it down: none if no
/// server has run, none in it if the last one did not open that door.
///
/// # Errors
/// If the records fail.
pub(crate) async fn legacy(repo: &Repo) -> Result<Option<Option<PublicAddress>>, Error> {
    let mut conn = repo.records.read().await?;
    let Some(text) = proved_fact(&mut conn, &repo.keys, LEGACY_ADDRESS).await? else { return Ok(None) };
    let parts = text.rsplit_once(' ').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    Ok(Some(parts.map(|(host, port)| PublicAddress { host, port })))
}

/// Writes the address down that old devices reach the server at; none: that door is not open.
///
/// # Errors
/// If the records fail.
pub(crate) async fn set_legacy(repo: &Repo, address: Option<&PublicAddress>) -> Result<(), Error> {
    let text = address.map_or_else(String::new, |address| format!("{} {}", address.host, address.port));
    let mut tx = repo.records.begin().await?;
    set_proved_fact(tx.conn(), &repo.keys, LEGACY_ADDRESS, &text).await?;
    Ok(tx.commit().await?)
}
