//! What is made of the command line's own definition: pages for `man`, and completions for shells.
//! Packages ship both.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};

use super::Cli;
use super::failure::Failure;
use super::output::Output;

/// A shell that completions can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that they are for
    shell: Shell,
}

impl Completions {
    /// Writes them to standard output.
    pub(crate) fn run(&self, output: Output) -> Result<(), Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Fish => clap_complete::Shell::Fish,
            Shell::Zsh => clap_complete::Shell::Zsh,
        };
        // Made as a whole first: clap would panic where nobody reads any more.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "tacdrop", &mut script);
        output.write(&script)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// The directory to write them to; it is made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Manual {
    /// Writes a page for each command.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let failed =
            |error: io::Error| Failure::new(format!("{} cannot be written: {error}", self.directory.display()));
        fs::create_dir_all(&self.directory).map_err(failed)?;
        // Options of every command stand on the first page; each other one would repeat them.
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        clap_mangen::generate_to(command, &self.directory).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_completes() {
        let directory = tempfile::tempdir().unwrap();
        Manual { directory: directory.path().join("man1") }.run().unwrap();
        let page = |name: &str| fs::read_to_string(directory.path().join("man1").join(name)).unwrap();
        assert!(page("tacdrop.1").contains("tacdrop\\-ticket(1)"), "{}", page("tacdrop.1"));
        assert!(page("tacdrop-ticket-open.1").contains("\\-\\-engineer"));
        let mut command = Cli::command();
        command.build();
        let all = command.get_subcommands().filter(|command| command.get_name() != "help").count();
        let pages = fs::read_dir(directory.path().join("man1")).unwrap().count();
        assert!(pages > all + 20, "{pages}");
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "tacdrop", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("tacdrop__subcmd__ticket__subcmd__open"));
    }
}
