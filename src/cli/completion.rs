//! Being built.
use super::context::Context;
use super::exit::{Exit, Failure};
/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}
pub(super) fn completions(_: &Context<'_>, _: &mut clap::Command, _: Arguments) -> Result<Exit, Failure> { Ok(Exit::Done) }
pub(super) fn man(_: &Context<'_>, _: &clap::Command) -> Result<Exit, Failure> { Ok(Exit::Done) }
