//! `tacdrop config`: whether the settings are valid, and what they are.

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use super::failure::Failure;
use super::{Common, Desk};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the settings file, the environment, and who can read the secrets
    Check,
    /// Show the settings that are in force; of secrets, only where they are
    Show,
}

#[derive(Serialize)]
struct Checked<'a> {
    file: Option<&'a Path>,
    ok: bool,
}

pub(crate) fn run(command: &Command, common: &Common, desk: &Desk) -> Result<(), Failure> {
    match command {
        Command::Check => {
            desk.config.check_secrets()?;
            desk.output.answer(&Checked { file: common.config.as_deref(), ok: true }, || match &common.config {
                Some(file) => format!("{}: ok", file.display()),
                None => "ok: no settings file is named (--config, TACDROP_CONFIG), so the defaults hold".to_owned(),
            })
        }
        Command::Show => desk.output.answer(&desk.config, || desk.config.masked()),
    }
}
