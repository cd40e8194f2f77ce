//! As which user a command works. What root writes into a data directory of another user, the server
//! could not read.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::failure::Failure;

/// Goes on as the owner of the data directory, if root works on one that belongs to somebody else:
/// the program is started anew as that user, with the same words, and this does not return. Files
/// that a command names are then read and written as that user, too.
///
/// # Errors
/// If that user cannot run the program.
pub(crate) fn act_as(data: &Path) -> Result<(), Failure> {
    // What is not there yet belongs to whoever makes it.
    let Ok(found) = fs::metadata(data) else { return Ok(()) };
    if !rustix::process::geteuid().is_root() || found.uid() == 0 {
        return Ok(());
    }
    let error = match env::current_exe() {
        Ok(program) => {
            let mut words = env::args_os();
            let mut again = Command::new(program);
            if let Some(name) = words.next() {
                again.arg0(name);
            }
            again.args(words).uid(found.uid()).gid(found.gid()).exec()
        }
        Err(error) => error,
    };
    Err(Failure::new(format!(
        "{} belongs to the user {}, and the command cannot be carried out as that user: {error}; let that user reach \
         the program, or run it as that user, with 'sudo -u'",
        data.display(),
        found.uid()
    )))
}
