//! A bar on standard error while something long runs. Programs get one JSON line at the end
//! instead.

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Bytes,
    Things,
}

/// A bar that nobody sees with `--json`, or where standard error is no terminal.
pub(crate) fn bar(output: Output, what: &'static str, counts: Counts) -> ProgressBar {
    if output.is_json() {
        return ProgressBar::hidden();
    }
    let template = match counts {
        Counts::Bytes => "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}",
        Counts::Things => "{msg} [{bar:30}] {pos} of {len}",
    };
    let bar = ProgressBar::new(0).with_message(what);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// Sets how far it is.
pub(crate) fn set(bar: &ProgressBar, done: u64, all: u64) {
    bar.set_length(all);
    bar.set_position(done);
}
