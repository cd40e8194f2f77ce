//! The SSH host keys: made once, never replaced by themselves.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use russh::keys::PrivateKey;

use super::Error;
use crate::app::{App, DataDirectory};
use crate::ssh;

/// A host key: where it lies, and how it is made and known again.
struct KeyKind {
    /// The fact that remembers which one clients have seen.
    fact: &'static str,
    path: fn(&DataDirectory) -> PathBuf,
    generate: fn() -> Result<zeroize::Zeroizing<String>, ssh::KeyError>,
    parse: fn(&str) -> Result<PrivateKey, ssh::KeyError>,
}

const MAIN_KEY: KeyKind = KeyKind {
    fact: crate::app::HOST_KEY,
    path: DataDirectory::host_key,
    generate: ssh::generate_host_key,
    parse: ssh::parse_host_key,
};
const LEGACY_KEY: KeyKind = KeyKind {
    fact: crate::app::LEGACY_HOST_KEY,
    path: DataDirectory::legacy_host_key,
    generate: ssh::generate_legacy_host_key,
    parse: ssh::parse_legacy_host_key,
};

/// The SSH host key of a data directory. It is made once, for a directory that never had one; if it
/// is lost or replaced, the server says so instead of showing clients another one.
///
/// # Errors
/// [`Error::HostKey`] with what to do.
pub async fn host_key(app: &App) -> Result<PrivateKey, Error> {
    key_of(app, &MAIN_KEY).await
}

/// The SSH host key of the listener for old devices, by the same rules.
///
/// # Errors
/// [`Error::HostKey`] with what to do.
pub async fn legacy_host_key(app: &App) -> Result<PrivateKey, Error> {
    key_of(app, &LEGACY_KEY).await
}

async fn key_of(app: &App, kind: &KeyKind) -> Result<PrivateKey, Error> {
    let path = (kind.path)(app.data());
    let known = app.fact(kind.fact).await?;
    if !path.exists() {
        if known.is_some() {
            return Err(Error::HostKey(format!(
                "{} is missing, and clients know its fingerprint; restore it from its backup",
                path.display()
            )));
        }
        // Seconds of work for an RSA key: not on a thread that others need.
        let made = tokio::task::spawn_blocking(kind.generate).await;
        let text = made
            .map_err(|_| Error::HostKey("making the host key was given up".to_owned()))?
            .map_err(|error| Error::HostKey(error.to_string()))?;
        write_private(&path, text.as_bytes())?;
    }
    let key = read_host_key(&path, kind.parse)?;
    let fingerprint = ssh::fingerprint(&key);
    match known {
        Some(known) if known == fingerprint => {}
        Some(known) => {
            return Err(Error::HostKey(format!(
                "{} has the fingerprint {fingerprint}, but clients know {known}; put the old key back",
                path.display()
            )));
        }
        None => app.set_fact(kind.fact, &fingerprint).await?,
    }
    Ok(key)
}

fn read_host_key(path: &Path, parse: fn(&str) -> Result<PrivateKey, ssh::KeyError>) -> Result<PrivateKey, Error> {
    let unreadable = |error: &dyn std::fmt::Display| Error::HostKey(format!("{}: {error}", path.display()));
    let mode = fs::metadata(path).map_err(|error| unreadable(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::HostKey(format!(
            "{} can be read by others; run: chmod 0600 {}",
            path.display(),
            path.display()
        )));
    }
    let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(|error| unreadable(&error))?);
    parse(&text).map_err(|error| unreadable(&error))
}

/// Writes a file that only the server may read: whole and durable under its name, or not there.
/// Whoever comes second finds the first one's.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), std::io::Error> {
    let temporary: PathBuf = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link fails where a rename would replace.
    match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => fs::remove_file(&temporary)?,
    }
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}
