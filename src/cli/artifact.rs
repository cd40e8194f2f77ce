//! `tacdrop artifact`: what lies in a share, fetched and verified without the server.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::failure::Failure;
use super::list_args::ArtifactList;
use super::output::size;
use super::{Desk, lifecycle, moving};
use crate::app::{App, Error, MoveWish, Verification};
use crate::model::sanitize;
use crate::model::{ArtifactId, Identifier, Reference, SharePath};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what lies in a ticket's share, by path; or what came over all tickets, the newest first
    List(ArtifactList),
    /// Decrypt an artifact into a file, checking every byte; never overwrites one
    Get {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// The artifact, as the list shows it
        path: OsString,
        /// Where to write it; '-' is standard output; without it, its own name in this directory
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take an artifact out of sight, with all its versions; it can be restored for a time
    Withdraw {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// The artifact, as the list shows it
        path: OsString,
    },
    /// Put the newest withdrawn artifact of this path back in its place
    Restore {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// The artifact, as 'artifact list REF --versions' shows it
        path: OsString,
    },
    /// Destroy the keys of an artifact's versions, for good; also of a withdrawn one
    // Here `--version` names a version of the artifact.
    #[command(disable_version_flag = true)]
    Shred {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// The artifact, as 'artifact list REF --versions' shows it
        path: OsString,
        /// This version only
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Do it; without this, it is only said what would be gone
        #[arg(long)]
        yes: bool,
    },
    /// Say in which ticket an artifact lies, by the id that it has, or had before it was moved
    Show {
        /// The artifact's id, as 'artifact list --json' shows it
        #[arg(value_name = "ID")]
        id: ArtifactId,
    },
    /// Move an artifact to another ticket, with its versions, digests, senders and times
    Move {
        /// The artifact's id, as 'artifact list --json' shows it
        #[arg(value_name = "ID")]
        id: ArtifactId,
        /// The ticket that it is to lie in
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// Where it is to lie there; without it, under the path that it has
        #[arg(long = "as", value_name = "PATH")]
        path: Option<OsString>,
        /// Also to a ticket of another organisation, which then sees the file
        #[arg(long)]
        yes: bool,
    },
    /// Read every version in full and check that it is what was received
    Verify {
        /// One ticket; without it, all of them
        #[arg(value_name = "REF")]
        ticket: Option<Reference>,
    },
}

#[derive(Serialize)]
struct Fetched<'a> {
    ticket: &'a str,
    path: String,
    size: u64,
    file: &'a Path,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(app, desk).await,
            Self::Get { ticket, path, output } => get(app, desk, &named(app, &ticket).await?, &path, output).await,
            Self::Withdraw { ticket, path } => {
                lifecycle::withdraw(app, desk, &named(app, &ticket).await?, &parse(&path)?).await
            }
            Self::Restore { ticket, path } => {
                lifecycle::restore(app, desk, &named(app, &ticket).await?, &parse(&path)?).await
            }
            Self::Shred { ticket, path, version, yes } => {
                lifecycle::shred(app, desk, &named(app, &ticket).await?, &parse(&path)?, version, yes).await
            }
            Self::Verify { ticket } => {
                let ticket = app.tickets().named_if_any(ticket.as_ref()).await?;
                verify(app, desk, ticket.as_ref()).await
            }
            Self::Show { id } => moving::show(app, desk, id).await,
            Self::Move { id, ticket, path, yes } => {
                let path = path.as_ref().map(parse).transpose()?;
                let wish = MoveWish { path, to_other_organisation: yes };
                moving::move_to(app, desk, id, &named(app, &ticket).await?, wish).await
            }
        }
    }
}

async fn named(app: &App, ticket: &Reference) -> Result<Identifier, Failure> {
    Ok(app.tickets().named(ticket).await?)
}

fn parse(path: &OsString) -> Result<SharePath, Failure> {
    SharePath::parse(path.as_bytes()).map_err(|refusal| Failure::new(format!("this is no path in a share: {refusal}")))
}

async fn get(
    app: &App,
    desk: &Desk,
    ticket: &Identifier,
    path: &OsString,
    output: Option<PathBuf>,
) -> Result<(), Failure> {
    let path = parse(path)?;
    if output.as_deref() == Some(Path::new("-")) {
        return match app.artifacts().fetch(ticket, &path, |bytes| desk.output.raw(bytes)).await {
            // Whoever reads has read enough.
            Err(Error::File { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other.map(drop)?),
        };
    }
    let target = match (output, path.split_last()) {
        (Some(file), _) => file,
        (None, Some((_, name))) => PathBuf::from(OsString::from_vec(name.as_bytes().to_vec())),
        (None, None) => return Err(Failure::new("name one artifact; 'tacdrop artifact list' shows them")),
    };
    let shown = target.display().to_string();
    let taken = || Failure::new(format!("{shown} exists already and is not overwritten; choose another name with -o"));
    if target.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let failed = |error: std::io::Error| Failure::new(format!("{shown} cannot be written: {error}"));
    let directory = target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(Failure::new(format!("{} is no directory; choose another place with -o", directory.display())));
    }
    // Beside the target, mode 0600, and gone unless everything is right.
    let mut file = tempfile::Builder::new().prefix(".tacdrop-").tempfile_in(directory).map_err(failed)?;
    let size = match app.artifacts().fetch(ticket, &path, |bytes| file.write_all(bytes)).await {
        Err(Error::File { source, .. }) => return Err(failed(source)),
        other => other?,
    };
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(&target)
        .map_err(|error| if error.error.kind() == ErrorKind::AlreadyExists { taken() } else { failed(error.error) })?;
    let fetched = Fetched { ticket: ticket.as_str(), path: path.to_string(), size, file: &target };
    desk.output.answer(&fetched, || {
        format!("{}: {}, every byte is what was received", sanitize::line(&shown), super::output::size(size))
    })
}

async fn verify(app: &App, desk: &Desk, ticket: Option<&Identifier>) -> Result<(), Failure> {
    let output = desk.output;
    // One line as soon as it is known: this may take hours.
    let mut said = Ok(());
    let report = |one: &Verification| {
        if !output.is_json() && said.is_ok() {
            said = output.say(&line(one));
        }
    };
    let all = app.integrity().verify(ticket, report).await?;
    said?;
    if output.is_json() {
        output.json(&all)?;
    } else if all.is_empty() {
        output.say("There is nothing to verify yet.")?;
    }
    match (all.iter().filter(|one| !one.intact).count(), all.len()) {
        (0, _) => Ok(()),
        (damaged, all) => Err(Failure::new(format!(
            "{damaged} of {all} versions {} damaged and will not be served; restore the data directory's objects from \
             a backup, or ask the customer to send them again",
            if damaged == 1 { "is" } else { "are" },
        ))),
    }
}

fn line(one: &Verification) -> String {
    let Verification { ticket, path, version, size: bytes, intact, problem } = one;
    let (word, why) = match problem {
        _ if *intact => ("ok     ", String::new()),
        Some(problem) => ("DAMAGED", format!(": {}", sanitize::line(problem))),
        None => ("DAMAGED", String::new()),
    };
    format!("{word}  {ticket}  {}  version {version}, {}{why}", sanitize::line(path), size(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_version_is_plain_to_see() {
        let mut one = Verification {
            ticket: "XT-1".into(),
            path: "a\nb".into(),
            version: 2,
            size: 2048,
            intact: true,
            problem: None,
        };
        assert_eq!(line(&one), "ok       XT-1  a\u{fffd}b  version 2, 2.0 KiB");
        (one.intact, one.problem) = (false, Some("a byte is wrong".into()));
        assert_eq!(line(&one), "DAMAGED  XT-1  a\u{fffd}b  version 2, 2.0 KiB: a byte is wrong");
    }
}
