//! demo
use super::failure::Failure;
use super::output::Output;
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    file: Option<std::path::PathBuf>,
    #[arg(long)]
    keep: bool,
}
pub(crate) fn run(_: &Arguments, _: &Output) -> Result<(), Failure> {
    Ok(())
}
