//! Being built.
use super::context::Context;
use super::exit::{Exit, Failure};
/// Commands.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command { /// List
 List }
pub(super) async fn run(_: &Context<'_>, _: Command) -> Result<Exit, Failure> { Ok(Exit::Done) }
