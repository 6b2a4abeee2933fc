//! `users show`: every field with who decides it, why the user is disabled, and what happened to it. Changes nothing.

use serde_json::json;

use super::super::Output;
use super::super::cells::{NOTHING, document, of_json, optional, plain, time};
use super::super::terminal::{BOLD, CYAN, DIM, GREEN, RED, Table, paint, wrap};
use super::{Context, Exit, Failure, full_name, history, one, origin, source_of, user_json};
use crate::config::Config;
use crate::domain::decide::Policy;
use crate::domain::field::{Authority, Field};
use crate::engine::why_disabled;
use crate::store::UserRow;

/// Longest value in the table; `--output json` has it whole.
const VALUE_COLUMNS_MAX: usize = 70;

/// Shows one user.
pub(super) async fn run(context: &Context<'_>, config: &Config, wanted: &str, output: Output) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let user = one(&store, wanted).await?;
    let own = user.own;
    let events = history::read(&store, user.id).await?;
    let why = why_disabled(&store, &user).await?.map(|why| plain(&why));
    let authority = |field: &Field| if own { None } else { authority(config, &user, field) };
    if output == Output::Json {
        let mut document_of = user_json(&user);
        let decided: serde_json::Map<String, _> = Field::COLUMNS
            .iter()
            .filter_map(|field| Some((field.to_string(), json!(authority(field)?.as_str()))))
            .collect();
        document_of["authorities"] = decided.into();
        document_of["why_disabled"] = json!(why);
        document_of["history"] = history::json(&events);
        context.terminal.print(&document(&document_of))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}  {}\n", paint(BOLD, full_name(&user)), paint(DIM, user.id));
    text.push_str(&fields(context, &user, &authority));
    text.push('\n');
    if let Some(why) = &why {
        text.push_str(&wrap(&paint(RED, why), context.terminal.width, ""));
    }
    text.push_str(&wrap(&ownership(config, &user, own), context.terminal.width, ""));
    text.push_str(&format!(
        "created {}, updated {}\n",
        time(user.created_at),
        time(user.updated_at)
    ));
    if !events.is_empty() {
        text.push_str(&format!("\n{}\n", paint(BOLD, "Last changes")));
        text.push_str(&history::text(&events, context.terminal));
    }
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

/// Who decides a field of this user; `None` where no configured directory has a say.
pub(super) fn authority(config: &Config, user: &UserRow, field: &Field) -> Option<Authority> {
    let source = source_of(config, user)?;
    let mapping = source.mapping(&config.agency);
    let policy = Policy {
        source: &source.name,
        mapping: &mapping,
        authorities: &config.fields,
        correlate_by_email: source.common.correlate_by_email,
    };
    Some(policy.authority(field))
}

fn fields(context: &Context<'_>, user: &UserRow, authority: &dyn Fn(&Field) -> Option<Authority>) -> String {
    let mut table = Table::new(&["field", "value", "decided by"]);
    let badge = |field: &Field| match authority(field) {
        None => String::new(),
        Some(Authority::Directory) => paint(CYAN, "directory"),
        Some(Authority::Initial) => paint(DIM, "initial"),
        Some(Authority::Local) => paint(GREEN, "local"),
    };
    let mut row = |field: Field, value: String| {
        let value = super::super::terminal::cut(&value, VALUE_COLUMNS_MAX, context.terminal.signs);
        let badge = badge(&field);
        table.row(vec![field.to_string(), value, badge]);
    };
    let roles: Vec<String> = user
        .roles
        .iter()
        .map(|(name, of_directory)| format!("{} ({})", plain(name), origin(*of_directory)))
        .collect();
    row(Field::Email, plain(&user.email));
    row(Field::FirstName, optional(user.first_name.as_deref()));
    row(Field::LastName, optional(user.last_name.as_deref()));
    row(Field::Phone, optional(user.phone.as_deref()));
    row(Field::Title, optional(user.title.as_deref()));
    row(Field::Kind, plain(&user.kind));
    row(Field::License, optional(user.license.as_deref()));
    row(
        Field::Billable,
        user.billable
            .map_or(NOTHING, |b| if b { "yes" } else { "no" })
            .to_owned(),
    );
    row(
        Field::Organization,
        optional(user.organization.as_ref().map(|(_, name)| name.as_str())),
    );
    row(Field::Status, user.status.clone());
    row(Field::Roles, optional(Some(&roles.join(", "))));
    for (name, value) in user.attributes.as_object().into_iter().flatten() {
        row(Field::Attribute(plain(name).into()), of_json(value));
    }
    table.render(context.terminal)
}

/// What ties the user to a directory, in a sentence.
fn ownership(config: &Config, user: &UserRow, own: bool) -> String {
    match (&user.link, own, source_of(config, user)) {
        (_, true, _) => {
            "No directory touches this user: it is an employee, or belongs to the agency's own organization.".to_owned()
        }
        (None, false, _) => "No directory owns this user: it is a local account.".to_owned(),
        (Some((source, id)), false, Some(_)) => format!(
            "Linked to entry {} of source {source}; `rollcall users explain {}` compares it with the directory.",
            plain(id.as_str()),
            user.id
        ),
        (Some((source, id)), false, None) => format!(
            "Linked to entry {} of source {source}, which is not in the configuration, so nothing updates this user.",
            plain(id.as_str())
        ),
    }
}
