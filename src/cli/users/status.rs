//! `users disable`, `enable`, `delete` and `lift`. Nothing is deleted without a yes.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::super::cells::plain;
use super::super::context::actor;
use super::super::orgs;
use super::{Context, Exit, Failure, Wanted, one, role_policy, source_of};
use crate::config::Config;
use crate::domain::id::ExternalId;
use crate::store::UserRow;

/// Which user, and whether it was thought over.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
}

/// Let the directory create a user again that was deleted here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rollcall users lift 4711 --source connex")]
pub(crate) struct Lift {
    /// The id at the directory
    #[arg(value_name = "EXTERNAL_ID")]
    external_id: String,
    /// The source
    #[arg(long, value_name = "NAME")]
    source: String,
}

/// Disables.
pub(super) async fn disable(context: &Context<'_>, config: &Config, arguments: Arguments) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let user = one(&store, &arguments.wanted.id).await?;
    let changed = store.disable_user(user.id, &actor(), &role_policy(config)).await?;
    let text = match (changed, user.status.as_str()) {
        (false, _) => format!(
            "user {} is disabled by an administrator already; nothing was changed\n",
            user.id
        ),
        (true, "active") => format!(
            "disabled user {}: it may no longer sign in, and no sync enables it; `rollcall users enable` does\n",
            user.id
        ),
        (true, _) => format!(
            "user {} was disabled by the directory; it is disabled by an administrator now, and no sync enables it\n",
            user.id
        ),
    };
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

/// Enables.
pub(super) async fn enable(context: &Context<'_>, config: &Config, arguments: Arguments) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let user = one(&store, &arguments.wanted.id).await?;
    let owned = source_of(config, &user).filter(|source| source.enabled);
    let own = user.own;
    let changed = store.enable_user(user.id, &actor(), &role_policy(config)).await?;
    if !changed {
        context
            .terminal
            .print(&format!("user {} is active already; nothing was changed\n", user.id))?;
        return Ok(Exit::Done);
    }
    context
        .terminal
        .print(&format!("enabled user {}: it may sign in again\n", user.id))?;
    if let (Some(source), false) = (owned, own) {
        let why = if user.disabled_by.as_deref() == Some("directory") {
            "had disabled it"
        } else {
            "decides its status"
        };
        context.terminal.note(&format!(
            "note: the directory of source {} {why}, so the next sync disables it again unless the directory says active by then; enable it there",
            source.name
        ));
    }
    Ok(Exit::Done)
}

/// Deletes, after a yes.
pub(super) async fn delete(context: &Context<'_>, config: &Config, arguments: Arguments) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let user = one(&store, &arguments.wanted.id).await?;
    if !arguments.yes && !confirmed(&user)? {
        context.terminal.print("nothing was deleted\n")?;
        return Ok(Exit::Failed);
    }
    store.delete_user(user.id, &actor(), &role_policy(config)).await?;
    let mut text = format!("deleted user {}; its e-mail address is free again\n", user.id);
    if let Some((source, id)) = &user.link {
        text.push_str(&format!(
            "entry {id} of source {source} does not bring it back; `rollcall users lift {} --source {source}` allows that again\n",
            quoted(id.as_str()),
            id = plain(id.as_str()),
        ));
    }
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

/// An id as a shell takes it.
fn quoted(text: &str) -> String {
    let simple = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b));
    if simple {
        text.to_owned()
    } else {
        format!("'{}'", plain(text).replace('\'', "'\\''"))
    }
}

/// Asks on a terminal; elsewhere nobody can answer, so `--yes` has to.
fn confirmed(user: &UserRow) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "deleting user {} cannot be undone, and nobody can be asked here; add --yes",
            user.id
        )));
    }
    let mut asked = std::io::stderr();
    let question = format!(
        "Delete user {} ({})? This cannot be undone. Type yes: ",
        user.id,
        plain(&user.email)
    );
    let failed =
        |e: std::io::Error| Failure::new(Exit::Failed, format!("the terminal cannot be read ({e}); use --yes"));
    asked
        .write_all(question.as_bytes())
        .and_then(|()| asked.flush())
        .map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

/// Lifts the memory of a deleted user.
pub(super) async fn lift(context: &Context<'_>, config: &Config, arguments: Lift) -> Result<Exit, Failure> {
    let source = orgs::source_name(config, Some(&arguments.source))?
        .ok_or_else(|| Failure::usage("name the source with --source"))?;
    let id = ExternalId::parse(arguments.external_id.clone()).map_err(|e| {
        Failure::usage(format!(
            "{} is no id of a directory: {e}",
            plain(&arguments.external_id)
        ))
    })?;
    let store = context.store(config).await?;
    if store.lift_deletion(&source, &id, &actor()).await? {
        context.terminal.print(&format!(
            "lifted: the next sync of source {source} may create entry {} again\n",
            plain(id.as_str())
        ))?;
        return Ok(Exit::Done);
    }
    let why = match store.record(&source, &id).await? {
        Some(record) => format!(
            "entry {id} of source {source} has a user ({}), so there is nothing to lift",
            record.user
        ),
        None => format!(
            "no user of entry {id} of source {source} was deleted here, so there is nothing to lift; `rollcall users explain` says what becomes of an entry",
        ),
    };
    Err(Failure::new(Exit::Failed, plain(&why)))
}
