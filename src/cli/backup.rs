//! `tacdrop backup` and `tacdrop restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use russh::keys::PrivateKey;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Desk;
use super::failure::Failure;
use super::output::size;
use super::progress::{self, Counts};
use crate::app::{App, BackupContents, BackupPlace, HostKeys, Verification};
use crate::server;
use crate::ssh;

/// What `backup` takes.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to; a new or empty directory, on the same disk to have hard links instead of copies
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where the keyring goes instead of DIR/keyring; keep it apart, and for 14 days only
    #[arg(long, value_name = "DIR")]
    keyring: Option<PathBuf>,
    /// Decrypt and hash everything in the backup at the end
    #[arg(long)]
    deep: bool,
}

/// What `restore` takes.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where the keyring's backup is, if not in DIR/keyring
    #[arg(long, value_name = "DIR")]
    keyring: Option<PathBuf>,
    /// The KEK, which no backup holds; it is copied to its default place in the data directory
    #[arg(long, value_name = "FILE")]
    kek: Option<PathBuf>,
    /// The SSH host key that clients know, which no backup holds either
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
    /// The SSH host key that old devices know, if there was a legacy listener; no backup holds it
    /// either
    #[arg(long, value_name = "FILE")]
    legacy_host_key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Taken<'a> {
    directory: &'a PathBuf,
    #[serde(flatten)]
    contents: &'a BackupContents,
    damaged: &'a [Verification],
}

impl Backup {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let place = BackupPlace::at(&self.directory, self.keyring.as_deref());
        let bar = progress::bar(desk.output, "objects", Counts::Bytes);
        let taken = app.backups().back_up(&place, self.deep, |at| progress::set(&bar, at.done, at.all)).await;
        bar.finish_and_clear();
        let (contents, damaged) = taken?;
        desk.output.answer(&Taken { directory: &self.directory, contents: &contents, damaged: &damaged }, || {
            format!(
                "The backup {} is complete: {} tickets, {} versions, {} objects with {} ({} of them hard links).\nThe \
                 keyring is in {}: move it to another place, and delete it after 14 days, or deleted tickets can be \
                 read from it.\nThe KEK and the SSH host key are not in it: {} says where they are.",
                self.directory.display(),
                contents.tickets,
                contents.versions,
                contents.objects,
                size(contents.bytes),
                contents.linked,
                place.keyring.display(),
                self.directory.join("README").display()
            ) + &contents.audit_checkpoint.as_deref().map_or_else(String::new, |checkpoint| {
                format!("\nHow far its audit trail goes; keep these lines elsewhere, too:\n{}", checkpoint.trim_end())
            })
        })?;
        match contents.missing + damaged.len() as u64 {
            0 => Ok(()),
            faults => Err(Failure::new(format!(
                "the backup is as good as the data directory: {faults} objects or versions are missing or damaged there; \
                 'tacdrop artifact verify' shows which"
            ))),
        }
    }
}

impl Restore {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let place = BackupPlace::at(&self.directory, self.keyring.as_deref());
        let contents = place.contents()?;
        let host_key = known_key(self.host_key.as_deref(), contents.host_key.as_deref(), ssh::parse_host_key)?;
        let of_devices = contents.legacy_host_key.as_deref();
        let legacy_key = known_key(self.legacy_host_key.as_deref(), of_devices, ssh::parse_legacy_host_key)?;
        let bar = progress::bar(desk.output, "objects", Counts::Bytes);
        let settings = server::share_settings(&desk.config);
        let host_keys =
            HostKeys { main: host_key.as_deref().map(Vec::as_slice), legacy: legacy_key.as_deref().map(Vec::as_slice) };
        let report = |at: crate::app::BackupProgress| progress::set(&bar, at.done, at.all);
        let done = place.restore(&desk.data, &settings, self.kek.as_deref(), host_keys, report).await;
        bar.finish_and_clear();
        let done = done?;
        desk.output.answer(&done, || {
            let mut text = format!(
                "{} is restored: {} tickets, {} objects with {}; {} versions were read in full, {} of them damaged.",
                desk.data.root().display(),
                done.tickets,
                done.objects,
                size(done.bytes),
                done.verified,
                done.damaged.len()
            );
            if done.shares_without_key > 0 {
                text += &format!(
                    "\nOf {} shares the keyring has no key: they were deleted, and nobody can read them.",
                    done.shares_without_key
                );
            }
            let data = &desk.data;
            let keys = [
                (host_keys.main, &done.host_key, "clients know", data.host_key()),
                (host_keys.legacy, &done.legacy_host_key, "old devices know", data.legacy_host_key()),
            ];
            for (given, known, whose, path) in keys {
                if let (None, Some(known)) = (given, known) {
                    text += &format!(
                        "\nPut the SSH host key that {whose} ({known}) back at {}: its listener does not start without it.",
                        path.display()
                    );
                }
            }
            text + "\nNotices that were pending when the backup was taken are sent when the server starts; some may have \
                    gone out before."
        })?;
        match (done.missing + done.damaged.len() as u64, &done.audit_fault) {
            (0, None) => Ok(()),
            (0, Some(fault)) => Err(Failure::new(format!(
                "everything was restored, but the audit trail in this backup is not what was written. {fault}"
            ))),
            (faults, _) => Err(Failure::new(format!(
                "{faults} objects or versions are missing or damaged in this backup; everything else was restored"
            ))),
        }
    }
}

/// The text of a host key, if one was given: it must be the one that is known, where one is.
fn known_key(
    file: Option<&Path>,
    known: Option<&str>,
    parse: fn(&str) -> Result<PrivateKey, ssh::KeyError>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let unusable = |why: &dyn std::fmt::Display| Failure::new(format!("{}: {why}", file.display()));
    let text = Zeroizing::new(std::fs::read(file).map_err(|error| unusable(&error))?);
    let key = parse(&String::from_utf8_lossy(&text)).map_err(|error| unusable(&error))?;
    match known.filter(|known| *known != ssh::fingerprint(&key)) {
        None => Ok(Some(text)),
        Some(known) => Err(Failure::new(format!(
            "{} is not the host key that clients know, which has the fingerprint {known}",
            file.display()
        ))),
    }
}
