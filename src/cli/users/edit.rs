//! `users create` and `users edit`: values are normalized as those of a directory are, and who edits a field that a
//! directory decides is told so.

use std::collections::BTreeSet;

use super::super::cells::plain;
use super::super::context::actor;
use super::super::orgs;
use super::{Context, Exit, Failure, Wanted, one, role_policy, source_of};
use crate::config::Config;
use crate::domain::decide::Policy;
use crate::domain::edit;
use crate::domain::field::Field;
use crate::domain::user::EMPLOYEE;
use crate::store::{EditedFields, Expected, NewUser, UserRow};

/// Create a user here, whom no directory owns.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall users create --email sam@agency.example --first-name Sam --last-name Sample --role Admin\n  rollcall users create --email kit@paving.example --first-name Kit --last-name Demo --kind contractor --organization 'Example Paving'"
)]
pub(crate) struct Create {
    /// The e-mail address, with which the user signs in
    #[arg(long, value_name = "E-MAIL")]
    email: String,
    /// Given name
    #[arg(long, value_name = "NAME")]
    first_name: String,
    /// Family name
    #[arg(long, value_name = "NAME")]
    last_name: String,
    /// employee, or another kind
    #[arg(long, value_name = "KIND", default_value = EMPLOYEE)]
    kind: String,
    /// A role; may be given several times. Without one: the configured default role
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Telephone number
    #[arg(long, value_name = "PHONE")]
    phone: Option<String>,
    /// Job title
    #[arg(long, value_name = "TITLE")]
    title: Option<String>,
    /// The organization: its id, its id at the directory, or its name. An employee belongs to the agency's own
    #[arg(long, value_name = "ID|NAME")]
    organization: Option<String>,
}

/// Change a user here.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall users edit sam@agency.example --title 'Bridge Engineer' --phone ''\n  rollcall users edit sam@agency.example --add-role Manager --remove-role Admin\n\nAn empty value clears a field. A field that a directory decides is put back by its next sync."
)]
pub(crate) struct Edit {
    #[command(flatten)]
    wanted: Wanted,
    /// The e-mail address
    #[arg(long, value_name = "E-MAIL")]
    email: Option<String>,
    /// Given name
    #[arg(long, value_name = "NAME")]
    first_name: Option<String>,
    /// Family name
    #[arg(long, value_name = "NAME")]
    last_name: Option<String>,
    /// Telephone number
    #[arg(long, value_name = "PHONE")]
    phone: Option<String>,
    /// Job title
    #[arg(long, value_name = "TITLE")]
    title: Option<String>,
    /// Kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Licence
    #[arg(long, value_name = "LICENSE")]
    license: Option<String>,
    /// Grant a role; may be given several times
    #[arg(long, value_name = "ROLE")]
    add_role: Vec<String>,
    /// Take a role away; may be given several times
    #[arg(long, value_name = "ROLE")]
    remove_role: Vec<String>,
}

/// Creates.
pub(super) async fn create(context: &Context<'_>, config: &Config, wanted: Create) -> Result<Exit, Failure> {
    let kind = kind(&wanted.kind)?;
    let mut roles = roles(&wanted.role)?;
    if roles.is_empty() && !config.agency.default_role.is_empty() {
        roles.push(config.agency.default_role.clone());
    }
    let mut new = NewUser {
        email: address(&wanted.email)?,
        first_name: text("--first-name", &wanted.first_name)?,
        last_name: text("--last-name", &wanted.last_name)?,
        phone: text("--phone", wanted.phone.as_deref().unwrap_or_default())?,
        title: text("--title", wanted.title.as_deref().unwrap_or_default())?,
        kind,
        organization: None,
        roles,
    };
    let store = context.store(config).await?;
    new.organization = match &wanted.organization {
        Some(wanted) => Some(orgs::find(&store, wanted).await?.id),
        None if new.kind == EMPLOYEE => Some(store.ensure_self_organization(&config.agency.name).await?),
        None => None,
    };
    let id = store.create_user(&new, &actor()).await?;
    context.terminal.print(&format!("created user {id}\n"))?;
    Ok(Exit::Done)
}

/// Edits.
pub(super) async fn edit(context: &Context<'_>, config: &Config, wanted: Edit) -> Result<Exit, Failure> {
    let edited = edited(&wanted)?;
    let store = context.store(config).await?;
    let user = one(&store, &wanted.wanted.id).await?;
    held_roles(&user, &edited)?;
    let after = store
        .edit_user(user.id, &edited, &Expected::Any, &actor(), &role_policy(config))
        .await?;
    context.terminal.print(&format!("changed user {}\n", user.id))?;
    for warning in warnings(config, &user, &after, &edited) {
        context.terminal.note(&format!("note: {warning}"));
    }
    Ok(Exit::Done)
}

fn edited(wanted: &Edit) -> Result<EditedFields, Failure> {
    let mut columns = Vec::new();
    if let Some(email) = &wanted.email {
        columns.push((Field::Email, Some(address(email)?)));
    }
    let optional = [
        (Field::FirstName, "--first-name", &wanted.first_name),
        (Field::LastName, "--last-name", &wanted.last_name),
        (Field::Phone, "--phone", &wanted.phone),
        (Field::Title, "--title", &wanted.title),
        (Field::License, "--license", &wanted.license),
    ];
    for (field, flag, value) in optional {
        if let Some(value) = value {
            columns.push((field, text(flag, value)?));
        }
    }
    if let Some(word) = &wanted.kind {
        columns.push((Field::Kind, Some(kind(word)?)));
    }
    let edit = EditedFields {
        columns,
        add_roles: roles(&wanted.add_role)?,
        remove_roles: roles(&wanted.remove_role)?,
        ..EditedFields::default()
    };
    if edit.is_empty() {
        return Err(Failure::usage(
            "nothing to change was named; say for example --title 'Bridge Engineer' (`rollcall users edit --help` lists the fields)",
        ));
    }
    let both: BTreeSet<&String> = edit
        .add_roles
        .iter()
        .filter(|role| edit.remove_roles.contains(role))
        .collect();
    match both.first() {
        Some(role) => Err(Failure::usage(format!(
            "the role {} is to be both added and removed; name it once",
            plain(role)
        ))),
        None => Ok(edit),
    }
}

/// A role that the user lacks was misspelt: better said than passed over.
fn held_roles(user: &UserRow, edit: &EditedFields) -> Result<(), Failure> {
    let has = |role: &String| user.roles.iter().any(|(held, _)| held == role);
    match edit.remove_roles.iter().find(|role| !has(role)) {
        Some(role) => {
            let held: Vec<String> = user.roles.iter().map(|(name, _)| plain(name)).collect();
            let held = if held.is_empty() {
                "none".to_owned()
            } else {
                held.join(", ")
            };
            Err(Failure::new(
                Exit::Failed,
                format!(
                    "user {} does not have the role {}; it has: {held}",
                    user.id,
                    plain(role)
                ),
            ))
        }
        None => Ok(()),
    }
}

/// What the person who edits should know: which of it the next sync takes back.
fn warnings(config: &Config, user: &UserRow, after: &UserRow, edited: &EditedFields) -> Vec<String> {
    let mut all = Vec::new();
    let owned = source_of(config, user).filter(|source| source.enabled);
    let becomes_employee = edited.columns.contains(&(Field::Kind, Some(EMPLOYEE.to_owned())));
    if becomes_employee && !user.own {
        all.push("the user is an employee from now on, so no sync touches it any more".to_owned());
        return all;
    }
    let (Some(source), Some((_, id))) = (owned, &user.link) else {
        return all;
    };
    // Asked again: an edit of the kind may just have made it one that a sync may touch.
    if after.own {
        return all;
    }
    let mapping = source.mapping(&config.agency);
    let policy = Policy {
        source: &source.name,
        mapping: &mapping,
        authorities: &config.fields,
        correlate_by_email: source.common.correlate_by_email,
    };
    let granted: Vec<&str> = user.granted_roles().collect();
    let back = edit::put_back(&policy, edited.fields(), &edited.remove_roles, &granted);
    all.extend(edit::put_back_warning(&policy, id, &back).map(|warning| plain(&warning)));
    all
}

fn address(text: &str) -> Result<String, Failure> {
    edit::address(text).map_err(|why| Failure::usage(plain(&format!("{why}; correct --email"))))
}

fn text(flag: &str, value: &str) -> Result<Option<String>, Failure> {
    edit::text(value).map_err(|why| Failure::usage(plain(&format!("{flag}: {why}; correct it"))))
}

fn kind(word: &str) -> Result<String, Failure> {
    edit::kind(word).map_err(|why| Failure::usage(plain(&why.0)))
}

fn roles(words: &[String]) -> Result<Vec<String>, Failure> {
    edit::roles(words).map_err(|why| Failure::usage(plain(&format!("--role: {why}"))))
}
