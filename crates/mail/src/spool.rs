//! The spool directory: each notice is one file `NOTICE.eml`, exactly the text that a mail server
//! would get. The default where no mail server is set, and the one place on disk where file names
//! stand in plain text.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::mailer::{DeliveryError, Mailer, Permission};
use crate::message::Mail;
use crate::notice::Channel;

/// A directory of mails. It is made, readable by its owner only, when the first notice comes.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
    /// One mail at a time: two tries of one notice, to two addresses, have one file.
    turn: Arc<Mutex<()>>,
}

impl Spool {
    /// A spool in this directory.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, turn: Arc::default() }
    }
}

impl Mailer for Spool {
    fn channel(&self) -> Channel {
        Channel::Spool
    }

    async fn send(&self, mail: &Mail, permission: &impl Permission) -> Result<(), DeliveryError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        permission.ask().await?;
        let (directory, name, bytes) = (self.directory.clone(), mail.id().to_string(), mail.bytes().to_vec());
        let written = tokio::task::spawn_blocking(move || {
            // Also if nobody waits for it any more.
            let _turn = turn;
            write(&directory, &name, &bytes)
        })
        .await;
        written.unwrap_or_else(|stopped| Err(io::Error::other(stopped))).map_err(|why| {
            DeliveryError::Temporary(format!(
                "The notice cannot be written into the spool {} ({why}); check notify.spool, its owner and the free space.",
                self.directory.display()
            ))
        })
    }
}

/// Makes `NAME.eml` appear whole and durable, or not at all. A repeat replaces it by the same
/// bytes.
fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    if !directory.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if let Some(above) = directory.parent().filter(|above| !above.as_os_str().is_empty()) {
            File::open(above)?.sync_all()?;
        }
    }
    // One name for all tries of a notice: what a crash leaves behind is cleared away by the next
    // try.
    let unfinished = directory.join(format!(".{name}.unfinished"));
    match fs::remove_file(&unfinished) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(format!("{name}.eml")))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fixtures::{Always, notice};
    use crate::message::Sender;
    use tacdrop_model::Language;

    fn mail() -> Mail {
        Mail::of(&notice(Language::En), &Sender::new("a@example.org").unwrap()).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn r24_a_notice_is_one_private_file_however_often_it_is_written() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("data/notices");
        let spool = Spool::new(directory.clone());
        let mail = mail();
        let name = format!("{}.eml", mail.id());
        for _ in 0..3 {
            spool.send(&mail, &Always).await.unwrap();
            assert_eq!(names(&directory), [name.as_str()]);
            assert!(fs::read(directory.join(&name)).unwrap() == mail.bytes());
            assert_eq!(mode(&directory.join(&name)), 0o600);
            assert_eq!(mode(&directory), 0o700);
            // What a crash in the middle of a try leaves behind, with permissions that must not
            // survive.
            let left = directory.join(format!(".{}.unfinished", mail.id()));
            fs::write(&left, "half").unwrap();
            fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }

    #[tokio::test]
    async fn a_spool_that_cannot_be_written_is_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let occupied = place.path().join("file");
        fs::write(&occupied, "").unwrap();
        let error = Spool::new(occupied.join("notices")).send(&mail(), &Always).await.unwrap_err();
        assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("notify.spool")), "{error}");
    }
}
