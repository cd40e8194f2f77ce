//! doctor
use super::Common;
use super::failure::Failure;
use super::output::Output;
pub(crate) fn run(_: &Common, _: &Output) -> Result<(), Failure> {
    Ok(())
}
