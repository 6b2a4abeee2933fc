//! `rollcall completions`, `rollcall man` and `rollcall openapi`: drawn from the definitions of the command line and of
//! the API themselves, so that they are true.

use clap_complete::Shell;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::terminal::written;
use crate::http::wire;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall completions bash > /usr/share/bash-completion/completions/rollcall\n  rollcall completions fish > ~/.config/fish/completions/rollcall.fish"
)]
pub(super) struct Arguments {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(super) fn completions(_: &Context<'_>, command: &mut clap::Command, wanted: Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, command, "rollcall", &mut script);
    raw(&script)
}

/// Prints the OpenAPI document.
pub(super) fn openapi(context: &Context<'_>) -> Result<Exit, Failure> {
    let document = wire::json(&crate::http::document());
    context.terminal.print(&format!("{document:#}\n"))?;
    Ok(Exit::Done)
}

/// Prints the manual page, with a section for every command.
pub(super) fn man(_: &Context<'_>, command: &clap::Command) -> Result<Exit, Failure> {
    let mut page = Vec::new();
    let mut command = command.clone();
    command.build();
    let result = clap_mangen::Man::new(command.clone())
        .section("1")
        .render(&mut page)
        .and_then(|()| sections(&command, &mut page));
    result.map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("the manual page cannot be made ({e}); report it as a bug"),
        )
    })?;
    raw(&page)
}

fn sections(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write as _;
    for below in command
        .get_subcommands()
        .filter(|c| c.get_name() != "help" && !c.is_hide_set())
    {
        let name = below.get_bin_name().unwrap_or(below.get_name());
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        if let Some(about) = below.get_about() {
            writeln!(page, "{}", about.to_string().replace('\\', "\\\\"))?;
        }
        let own = below.clone().disable_help_flag(true);
        let man = clap_mangen::Man::new(own);
        let mut part = Vec::new();
        man.render_synopsis_section(&mut part)?;
        if below.get_arguments().next().is_some() {
            man.render_options_section(&mut part)?;
        }
        // Below the section of its command they are parts of it.
        page.extend(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").into_bytes());
        sections(below, page)?;
    }
    Ok(())
}

/// Straight to standard output: a page's own escapes are no colours to be stripped.
fn raw(bytes: &[u8]) -> Result<Exit, Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))?;
    Ok(Exit::Done)
}
