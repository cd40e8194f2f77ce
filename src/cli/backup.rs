//! `tacdrop backup` and `tacdrop restore`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Desk;
use super::failure::Failure;
use super::output::size;
use super::progress::{self, Counts};
use crate::server;
use crate::share::{BackupContents, BackupPlace, Shares, Verification};
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
}

#[derive(Serialize)]
struct Taken<'a> {
    directory: &'a PathBuf,
    #[serde(flatten)]
    contents: &'a BackupContents,
    damaged: &'a [Verification],
}

impl Backup {
    pub(crate) async fn run(self, shares: &Shares, desk: &Desk) -> Result<(), Failure> {
        let place = BackupPlace::at(&self.directory, self.keyring.as_deref());
        let bar = progress::bar(desk.output, "objects", Counts::Bytes);
        let taken = shares.back_up(&place, self.deep, |at| progress::set(&bar, at.done, at.all)).await;
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
            )
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
        let known = place.contents()?.host_key;
        let host_key = match &self.host_key {
            None => None,
            Some(file) => {
                let text = std::fs::read(file).map(Zeroizing::new);
                let text = text.map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
                let key = ssh::parse_host_key(&String::from_utf8_lossy(&text))
                    .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
                if let Some(known) = known.filter(|known| *known != ssh::fingerprint(&key)) {
                    return Err(Failure::new(format!(
                        "{} is not the host key that clients know, which has the fingerprint {known}",
                        file.display()
                    )));
                }
                Some(text)
            }
        };
        let bar = progress::bar(desk.output, "objects", Counts::Bytes);
        let settings = server::share_settings(&desk.config);
        let host_key = host_key.as_deref().map(Vec::as_slice);
        let report = |at: crate::share::BackupProgress| progress::set(&bar, at.done, at.all);
        let done = place.restore(&desk.data, &settings, self.kek.as_deref(), host_key, report).await;
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
            if let (None, Some(known)) = (host_key, &done.host_key) {
                text += &format!(
                    "\nPut the SSH host key that clients know ({known}) back at {}: the server does not start without it.",
                    desk.data.host_key().display()
                );
            }
            text + "\nNotices that were pending when the backup was taken are sent when the server starts; some may have \
                    gone out before."
        })?;
        match done.missing + done.damaged.len() as u64 {
            0 => Ok(()),
            faults => Err(Failure::new(format!(
                "{faults} objects or versions are missing or damaged in this backup; everything else was restored"
            ))),
        }
    }
}
