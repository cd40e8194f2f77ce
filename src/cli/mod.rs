//! The command line: what operators type, for people or, with `--json`, for programs. `main` starts
//! it, nothing else does.
//!
//! One file for each family of commands. A command opens the data directory, does one thing through
//! a service of `app`, and says what came of it: on standard output through [`output`] and nowhere
//! else, or as one sentence on standard error. Exit codes: 0 done, 1 refused or failed, 2 wrong
//! usage.

mod artifact;
mod audit;
mod backup;
mod block;
mod certificate;
mod checklist;
mod columns;
mod config;
mod contact;
mod demo;
mod devices;
mod doctor;
mod engineer;
mod failure;
mod generated;
mod given;
mod init;
mod key;
mod key_args;
mod lifecycle;
mod list_args;
#[cfg(test)]
mod morning_tests;
mod moving;
mod notice;
mod organisation;
mod output;
mod owner;
mod people;
mod progress;
mod receipt;
mod report;
mod retention;
mod serve;
mod store;
mod team;
mod ticket;
mod ticket_edit;
mod ticket_list;
mod ticket_token;
mod usage;
mod when;
mod who;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::app::{App, DataDirectory, PublicAddress};
use crate::config::Config;
use crate::model::Time;
use crate::server;
use failure::Failure;
use output::Output;

/// An SFTP server that gives each support ticket an encrypted share and tells the engineer what
/// came
#[derive(Debug, Parser)]
#[command(name = "tacdrop", version, propagate_version = true, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
To see the whole trip:  tacdrop demo

To begin:
  tacdrop organisation add ACME --name 'ACME Networks'
  tacdrop engineer add anna --email anna@example.org --key anna.pub
  tacdrop ticket open XT-4711 --organisation ACME --engineer anna
  tacdrop serve

Commands work while 'tacdrop serve' runs. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.";

const EVERYWHERE: &str = "Options of every command";

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// The settings file; without it every setting has its default
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "TACDROP_CONFIG",
        hide_env_values = true,
        help_heading = EVERYWHERE
    )]
    config: Option<PathBuf>,
    /// The data directory
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        env = "TACDROP_DATA",
        hide_env_values = true,
        default_value = "./tacdrop-data",
        help_heading = EVERYWHERE
    )]
    data: PathBuf,
    /// Answer in JSON, for programs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT
    Serve,
    /// Begin a house with the KEK and host keys that lie there already; without them none is needed
    Init,
    /// Show the whole trip, from an upload to the engineer's mail, in a temporary directory
    Demo(demo::Arguments),
    /// Customers with a contract
    #[command(subcommand)]
    Organisation(organisation::Command),
    /// People who work on tickets
    #[command(subcommand)]
    Engineer(engineer::Command),
    /// Engineers who work on tickets together
    #[command(subcommand)]
    Team(team::Command),
    /// People and machines of organisations, who log in under their own names
    #[command(subcommand)]
    Contact(contact::Command),
    /// Tickets, each with a share of its own
    #[command(subcommand)]
    Ticket(ticket::Command),
    /// What lies in a share
    #[command(subcommand)]
    Artifact(artifact::Command),
    /// What the server states about an artifact, signed
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// What the server states about a ticket that was shredded, signed
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// What was deleted, and who fetched what
    #[command(subcommand)]
    Report(report::Command),
    /// What becomes of closed tickets by the policy
    #[command(subcommand)]
    Retention(retention::Command),
    /// Who did what, and whether that is what was written
    #[command(subcommand)]
    Audit(audit::Command),
    /// What engineers and customers are told
    #[command(subcommand)]
    Notice(notice::Command),
    /// What tickets and organisations take of the room that there is
    Usage(usage::UsageArgs),
    /// Who is logged in now
    Who(who::WhoArgs),
    /// The encrypted objects and the records about them
    #[command(subcommand)]
    Store(store::Command),
    /// The keys in use, and replacing them
    #[command(subcommand)]
    Key(key::Command),
    /// Copy records, objects and, apart, the keyring, while the server works
    Backup(backup::Backup),
    /// Make a data directory of a backup
    Restore(backup::Restore),
    /// The settings
    #[command(subcommand)]
    Config(config::Command),
    /// Check every precondition, one line each: ok, or what to do
    Doctor,
    /// Completions for a shell, on standard output
    Completions(generated::Completions),
    /// Pages for 'man', one for each command
    Manual(generated::Manual),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match run(&common, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.say();
            ExitCode::FAILURE
        }
    }
}

fn run(common: &Common, command: Command) -> Result<(), Failure> {
    let output = Output::new(common.json);
    // These have their own way with settings: some need none, and the doctor must not stop at the
    // first fault.
    match command {
        Command::Demo(arguments) => return demo::run(&arguments, &output),
        Command::Completions(command) => return command.run(output),
        Command::Manual(command) => return command.run(),
        _ => owner::act_as(&common.data)?,
    }
    if let Command::Doctor = command {
        return doctor::run(common, &output);
    }
    let config = Config::load_here(common.config.as_deref())?;
    let desk = Desk { data: DataDirectory::at(&common.data), config, output };
    match command {
        Command::Serve => serve::run(&desk),
        Command::Init => init::run(&desk),
        Command::Config(command) => config::run(&command, common, &desk),
        Command::Organisation(command) => desk.work(command.may_begin(), async |s| command.run(s, &desk).await),
        Command::Engineer(command) => desk.work(command.may_begin(), async |s| command.run(s, &desk).await),
        Command::Team(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Contact(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Ticket(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Artifact(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Receipt(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Certificate(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Report(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Retention(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Audit(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Notice(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Usage(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Who(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Store(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Key(command) => desk.work(command.begins(), async |app| command.run(app, &desk).await),
        Command::Backup(command) => desk.work(Begin::No, async |app| command.run(app, &desk).await),
        Command::Restore(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(command.run(&desk))
        }
        Command::Demo(_) | Command::Doctor | Command::Completions(_) | Command::Manual(_) => Ok(()),
    }
}

/// Shows on stderr what a command leaves out because it cannot be read, each with what to do.
fn show_faults() {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time().with_target(false);
    let only = Targets::new().with_target("tacdrop", LevelFilter::ERROR);
    // There can be a log already: the demo's server has one.
    let _ = tracing_subscriber::registry().with(only).with(lines.with_ansi(false)).try_init();
}

/// Whether a command may be the first one in a new data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Yes,
    No,
    /// It may not, and it needs a house that nobody serves.
    Alone,
}

/// Where a command works, and by which settings.
struct Desk {
    data: DataDirectory,
    config: Config,
    output: Output,
}

impl Desk {
    /// Opens the data directory, works, and closes it again whatever came of the work.
    fn work(&self, begin: Begin, work: impl AsyncFnOnce(&App) -> Result<(), Failure>) -> Result<(), Failure> {
        let root = self.data.root();
        // A mistyped --data would otherwise become a second, empty house with a key of its own.
        if begin != Begin::Yes && self.data.is_none() {
            return Err(Failure::new(format!(
                "{} is no data directory; name the right one with --data, or begin with 'tacdrop organisation add'",
                root.display()
            )));
        }
        show_faults();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (data, settings) = (self.data.clone(), server::share_settings(&self.config));
            let app = match begin {
                Begin::Alone => App::open_to_replace(data, settings).await?,
                Begin::Yes | Begin::No => App::open(data, settings).await?,
            };
            let outcome = tokio::select! {
                outcome = work(&app) => outcome,
                // Files that are half written are removed on the way out.
                _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
            };
            app.close().await;
            outcome
        })
    }

    /// The address that people reach the server at: what a server wrote down, or what the settings
    /// say.
    async fn address(&self, app: &App) -> Result<PublicAddress, Failure> {
        let server = &self.config.server;
        let (host, port) = server.public_address(server.listen);
        Ok(app.public_address().await?.unwrap_or(PublicAddress { host, port }))
    }

    /// The address that old devices reach the server at, if there is a listener for them: by the
    /// same rule.
    async fn legacy_address(&self, app: &App) -> Result<Option<PublicAddress>, Failure> {
        if let Some(written) = app.legacy_address().await? {
            return Ok(written);
        }
        let legacy = self.config.legacy.as_ref().filter(|legacy| !legacy.until.is_over(Time::now()));
        Ok(legacy.map(|legacy| {
            let (host, port) = legacy.public_address(&self.config.server, legacy.listen);
            PublicAddress { host, port }
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    /// Programs rely on these words.
    #[test]
    fn the_words_of_the_command_line_stay() {
        for line in [
            "tacdrop serve",
            "tacdrop init",
            "tacdrop --data d --config c --json serve",
            "tacdrop demo --file f --keep",
            "tacdrop organisation add ACME --name N --contract 1",
            "tacdrop organisation add ACME --name N --level L --until 2026-12-31",
            "tacdrop organisation edit ACME --name N --contract 1 --level L --until 2026-12-31",
            "tacdrop organisation edit ACME --until=",
            "tacdrop organisation show ACME",
            "tacdrop organisation disable ACME",
            "tacdrop organisation enable ACME",
            "tacdrop organisation remove ACME",
            "tacdrop organisation list --json --data d",
            "tacdrop engineer add anna --email a@example.org --name Anna --language de --key a --key b",
            "tacdrop engineer list",
            "tacdrop engineer set anna --email b@example.org",
            "tacdrop engineer key add anna file",
            "tacdrop engineer key remove anna SHA256:abc",
            "tacdrop engineer disable anna",
            "tacdrop team add core --member anna --member bert --email core@example.org --name Core",
            "tacdrop team edit core --add-member anna --remove-member bert --no-email",
            "tacdrop team show core",
            "tacdrop team list --json",
            "tacdrop team remove core",
            "tacdrop contact add karl --organisation ACME --email k@example.org --name K --key a --language de --until 2027-01-31",
            "tacdrop contact edit karl --email k@example.net --until none",
            "tacdrop contact show karl --json",
            "tacdrop contact list",
            "tacdrop contact disable karl",
            "tacdrop contact enable karl",
            "tacdrop contact remove karl",
            "tacdrop contact key add karl file",
            "tacdrop contact key remove karl SHA256:abc",
            "tacdrop contact password karl",
            "tacdrop engineer disable anna --hand-over-to bert",
            "tacdrop engineer enable anna",
            "tacdrop engineer edit anna --name A --email a@example.org --language de --role lead",
            "tacdrop engineer show anna",
            "tacdrop engineer remove anna",
            "tacdrop engineer away anna --from 2026-12-24 --to 2026-12-26 --deputy bert",
            "tacdrop engineer away anna --end",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --title T --priority 1 --language de",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --device",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --visibility named --contact karl --contact maria",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --affected OTHER --watcher w@example.org --drop-box",
            "tacdrop ticket edit XT-1 --visibility only --contact karl --affected OTHER --watcher w@example.org --team T",
            "tacdrop ticket edit XT-1 --no-contact karl --no-affected --no-watcher w@example.org --no-team --no-drop-box",
            "tacdrop ticket edit XT-1 --deny list,delete",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --kind rma --serial S --deadline 2026-12-31",
            "tacdrop ticket edit XT-1 --title T --priority 1 --language de --engineer anna --organisation ACME",
            "tacdrop ticket edit XT-1 --kind rma --serial S --deadline 2026-12-31 --status waiting",
            "tacdrop ticket edit XT-1 --deadline=",
            "tacdrop ticket list",
            "tacdrop usage",
            "tacdrop usage #4711 --json",
            "tacdrop usage --organisation ACME --status open --limit 5 --wide",
            "tacdrop who",
            "tacdrop who --name anna --ticket XT-1 --wide --json",
            "tacdrop ticket show XT-1",
            "tacdrop ticket token XT-1",
            "tacdrop ticket token add XT-1 --label L --until 2026-12-31 --upload-only",
            "tacdrop ticket token add XT-1 --device",
            "tacdrop ticket token list XT-1",
            "tacdrop ticket token end XT-1 0123",
            "tacdrop ticket assign XT-1 anna",
            "tacdrop ticket close XT-1",
            "tacdrop ticket close XT-1 --by contact",
            "tacdrop ticket reopen XT-1",
            "tacdrop ticket shred XT-1",
            "tacdrop ticket shred XT-1 --yes",
            "tacdrop ticket hold XT-1",
            "tacdrop ticket hold XT-1 --reason R",
            "tacdrop ticket release XT-1",
            "tacdrop retention plan",
            "tacdrop retention run --confirm-clock",
            "tacdrop report deletions",
            "tacdrop report deletions --from 2026-01-01 --to yesterday --json",
            "tacdrop report access --artifact 00112233445566778899aabbccddeeff",
            "tacdrop certificate show XT-1",
            "tacdrop certificate key",
            "tacdrop audit list --since yesterday --until 2h --by anna --address 192.0.2.0/24",
            "tacdrop artifact list XT-1",
            "tacdrop artifact list XT-1 --versions",
            "tacdrop artifact withdraw XT-1 path",
            "tacdrop artifact restore XT-1 path",
            "tacdrop artifact shred XT-1 path",
            "tacdrop artifact shred XT-1 path --version 2 --yes",
            "tacdrop artifact get XT-1 path -o -",
            "tacdrop artifact verify",
            "tacdrop artifact verify XT-1",
            "tacdrop receipt show XT-1 path",
            "tacdrop receipt key --json",
            "tacdrop audit list",
            "tacdrop audit list XT-1 --since 5 --kind artifact.read --json",
            "tacdrop audit verify",
            "tacdrop audit verify --checkpoint f",
            "tacdrop audit checkpoint",
            "tacdrop audit checkpoint -o f",
            "tacdrop audit export XT-1 -o f",
            "tacdrop notice list",
            "tacdrop notice list XT-1",
            "tacdrop store check",
            "tacdrop store check --deep XT-1 --json",
            "tacdrop store reseal",
            "tacdrop store sweep",
            "tacdrop store sweep --dry-run",
            "tacdrop key status",
            "tacdrop key status --share XT-1 --json",
            "tacdrop key rotate",
            "tacdrop key rotate --new-kek file",
            "tacdrop key rotate --share XT-1",
            "tacdrop key rotate --tokens --yes",
            "tacdrop key rotate --proofs --signing",
            "tacdrop key rotate --all --yes",
            "tacdrop backup dir",
            "tacdrop backup dir --keyring other --deep",
            "tacdrop restore dir --keyring other --kek file --host-key file --legacy-host-key file",
            "tacdrop config check",
            "tacdrop config show",
            "tacdrop doctor",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_wrong_usage() {
        for line in [
            "tacdrop",
            "tacdrop serve now",
            "tacdrop ticket show ../etc",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --priority 5",
            "tacdrop ticket open XT-1 --organisation ACME --engineer anna --language fr",
            "tacdrop ticket open XT-1 --engineer anna",
            "tacdrop organisation edit ACME",
            "tacdrop organisation edit ACME --until tomorrow",
            "tacdrop engineer edit anna",
            "tacdrop engineer edit anna --role boss",
            "tacdrop engineer away anna",
            "tacdrop engineer away anna --from 2026-12-24",
            "tacdrop engineer away anna --from 2026-12-24 --to 2026-12-26 --deputy bert --end",
            "tacdrop ticket token",
            "tacdrop ticket token add XT-1 --device --upload-only",
            "tacdrop ticket edit XT-1 --status closed",
            "tacdrop engineer add anna --email nobody",
            "tacdrop engineer add anna",
            "tacdrop audit list --kind artifact.reed",
            "tacdrop audit export --kind artifact -o f",
            "tacdrop audit list --since soon",
            "tacdrop report access --artifact 0011",
            "tacdrop report deletions --from soon",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_says_what_it_does_in_one_line() {
        fn walk(command: &clap::Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n') && about.len() < 100, "{}", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
