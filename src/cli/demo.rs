//! Being built.
use super::context::Context;
use super::exit::{Exit, Failure};
/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}
pub(super) async fn run(_: &Context<'_>, _: Arguments) -> Result<Exit, Failure> { Ok(Exit::Done) }
pub(super) async fn directory(_: &Context<'_>, _: super::directory::arguments::Arguments) -> Result<Exit, Failure> { Ok(Exit::Done) }
