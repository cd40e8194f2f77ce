//! `tacdrop key`: the keys in use, and replacing them. While the server runs, too.

use std::path::PathBuf;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;
use super::progress::{self, Counts};
use super::{Begin, Desk};
use crate::app::{App, KeyStatus, ReplacedSecrets, Secrets};
use crate::model::Reference;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Count what each generation of keys holds, and what is left of a rotation that was cut
    Status {
        /// The share of this ticket in detail
        #[arg(long, value_name = "REF")]
        share: Option<Reference>,
    },
    /// Replace the KEK, or the key of one share; run it again if it was cut
    Rotate {
        /// The key of this ticket's share, instead of the KEK
        #[arg(long, value_name = "REF", conflicts_with_all = ["new_kek", "tokens", "proofs", "signing", "all"])]
        share: Option<Reference>,
        /// A file with the new KEK (64 hexadecimal digits, mode 0400), instead of one that is made
        #[arg(long, value_name = "FILE")]
        new_kek: Option<PathBuf>,
        /// The key that hashes tokens, instead of the KEK: every ticket's token ends; the server must be stopped
        #[arg(long, conflicts_with = "new_kek")]
        tokens: bool,
        /// The key that proves rows, instead of the KEK: all rows are proved anew; the server must be stopped
        #[arg(long, conflicts_with = "new_kek")]
        proofs: bool,
        /// The keys that sign receipts and the audit trail, instead of the KEK; the server must be stopped
        #[arg(long, conflicts_with = "new_kek")]
        signing: bool,
        /// All of these, and the KEK; the server must be stopped
        #[arg(long)]
        all: bool,
        /// Do it, although tokens end or rows are taken as they stand
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    /// Whether it replaces secrets that a server has at hand.
    pub(crate) fn begins(&self) -> Begin {
        match self {
            Self::Rotate { tokens, proofs, signing, all, .. } if *tokens || *proofs || *signing || *all => Begin::Alone,
            _ => Begin::No,
        }
    }

    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let output = desk.output;
        match self {
            Self::Status { share } => {
                let share = app.tickets().named_if_any(share.as_ref()).await?;
                status(&app.rotation().key_status(share.as_ref()).await?, output)
            }
            Self::Rotate { share: Some(share), .. } => {
                let share = app.tickets().named(&share).await?;
                let bar = progress::bar(output, "names and file keys", Counts::Things);
                let done = app.rotation().rotate_share(&share, |done, all| progress::set(&bar, done, all)).await;
                bar.finish_and_clear();
                let done = done?;
                let owed = owed(done.journal_owed);
                output.answer(&done, || match (done.continued, done.versions + done.names) {
                    (true, 0) => format!(
                        "The rotation that was cut is ended: generation {} of the key of {share}'s share is in force, and \
                         older ones are deleted.{owed}",
                        done.generation
                    ),
                    _ => format!(
                        "Generation {} of the key of {share}'s share is in force: {} file keys and {} names are under it, \
                         and older keys are deleted.\nBackups of the keyring made before hold the older key: let them \
                         expire.{owed}",
                        done.generation, done.versions, done.names
                    ),
                })
            }
            Self::Rotate { share: None, new_kek, tokens, proofs, signing, all, yes } => {
                let which = Secrets { tokens: tokens || all, proofs: proofs || all, signing: signing || all };
                if which != Secrets::default() {
                    let done = app.rotation().replace_secrets(which, yes).await?;
                    output.answer(&done, || replaced(&done, which))?;
                    if !all {
                        return Ok(());
                    }
                }
                let bar = progress::bar(output, "keys", Counts::Things);
                let done =
                    app.rotation().rotate_kek(new_kek.as_deref(), |done, all| progress::set(&bar, done, all)).await;
                bar.finish_and_clear();
                let done = done?;
                output.answer(&done, || {
                    format!(
                        "Generation {} of the KEK is in force: {}. {} keys were wrapped anew{}.\nBack the new KEK up now, \
                         apart from the data. The older one is kept as {}, because older backups of the keyring need it; \
                         remove it when they have expired.{}",
                        done.generation,
                        done.kek,
                        done.keys,
                        if done.continued { ", continuing a rotation that was cut" } else { "" },
                        done.kept,
                        owed(done.journal_owed)
                    )
                })
            }
        }
    }
}

/// What is added if something of the keys that were replaced is left for the moment.
fn owed(journal: bool) -> &'static str {
    if journal {
        "\nSomebody reads the keyring, so the server will wipe the last trace of the older keys within minutes; without a \
         server, run the command again."
    } else {
        ""
    }
}

/// What replacing secrets did, and what is to be done about it.
fn replaced(done: &ReplacedSecrets, which: Secrets) -> String {
    let mut lines = Vec::new();
    if which.tokens {
        lines.push(format!(
            "The key that hashes tokens is a new one, and the tokens of {} tickets have ended. Give each a new one: tacdrop \
             ticket token REF",
            done.tokens_ended
        ));
    }
    if which.proofs {
        lines.push(format!(
            "The key that proves rows is a new one: {} rows are proved under it, {} of them taken as they stand.",
            done.rows_proved,
            done.unproved.len()
        ));
    }
    if let (Some(receipts), Some(audit)) = (&done.receipt_key, &done.audit_key) {
        lines.push(format!(
            "Receipts are signed by {receipts} from now on, checkpoints of the audit trail by {audit}. What the keys before \
             have signed verifies still: fetch .receipts/allowed_signers again."
        ));
    }
    lines.push("Back the keyring up now.".to_owned());
    lines.join("\n")
}

fn status(status: &KeyStatus, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(status);
    }
    let headings = ["KEK", "SINCE", "SHARE KEYS", "SERVER KEYS", "FILE"];
    output.list(&status.kek, headings, "There is no KEK yet.", |line| {
        [
            line.generation.to_string(),
            line.since.to_string(),
            line.share_keys.to_string(),
            line.server_keys.to_string(),
            line.file.clone().unwrap_or_else(|| "not here".to_owned()),
        ]
    })?;
    let headings = ["SHARE KEY", "SHARES", "IN KEYRING", "FILE KEYS", "NAMES"];
    output.say("")?;
    output.list(&status.generations, headings, "There is no share yet.", |line| {
        [
            line.generation.to_string(),
            line.shares.to_string(),
            line.share_keys.to_string(),
            line.versions.to_string(),
            line.names.to_string(),
        ]
    })?;
    if let Some(share) = &status.share {
        let in_keyring: Vec<String> = share.in_keyring.iter().map(ToString::to_string).collect();
        let versions: Vec<String> =
            share.versions.iter().map(|(generation, count)| format!("{count} under {generation}")).collect();
        output.say(&format!(
            "\n{}: generation {} is in force; in the keyring: {}; file keys: {}; names: {}",
            share.ticket,
            share.in_force,
            in_keyring.join(", "),
            if versions.is_empty() { "none".to_owned() } else { versions.join(", ") },
            share.names
        ))?;
    }
    output.say("")?;
    match status.left.as_slice() {
        [] => output.say("No rotation is under way."),
        left => output.say(&left.join("\n")),
    }
}
