//! `users create` and `users edit`: values are normalized as those of a directory are, and who edits a field that a
//! directory decides is told so.

use std::collections::BTreeSet;

use super::super::cells::plain;
use super::super::context::actor;
use super::super::orgs;
use super::show::authority;
use super::{Context, Exit, Failure, Wanted, is_own, one, role_policy, source_of};
use crate::config::Config;
use crate::domain::field::{Authority, Field};
use crate::domain::text::{EmailAddress, normalize};
use crate::domain::user::{EMPLOYEE, SELF};
use crate::store::{EditedFields, Expected, NewUser, Store, UserRow};

/// Longest kind and longest role, in bytes.
const WORD_BYTES_MAX: usize = 63;

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
    let edit = edited(&wanted)?;
    let store = context.store(config).await?;
    let user = one(&store, &wanted.wanted.id).await?;
    held_roles(&user, &edit)?;
    let own = is_own(&store, &user).await?;
    store
        .edit_user(user.id, &edit, &Expected::Any, &actor(), &role_policy(config))
        .await?;
    context.terminal.print(&format!("changed user {}\n", user.id))?;
    for warning in warnings(config, &store, &user, &edit, own).await? {
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
    if edit.columns.is_empty() && edit.add_roles.is_empty() && edit.remove_roles.is_empty() {
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
async fn warnings(
    config: &Config,
    store: &Store,
    user: &UserRow,
    edit: &EditedFields,
    own: bool,
) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    let owned = source_of(config, user).filter(|source| source.enabled);
    let becomes_employee = edit.columns.contains(&(Field::Kind, Some(EMPLOYEE.to_owned())));
    if becomes_employee && !own {
        all.push("the user is an employee from now on, so no sync touches it any more".to_owned());
        return Ok(all);
    }
    let (Some(source), Some((_, id))) = (owned, &user.link) else {
        return Ok(all);
    };
    // Asked again: an edit of the kind may just have made it one that a sync may touch.
    if is_own(store, &store.user(user.id).await?.unwrap_or_else(|| user.clone())).await? {
        return Ok(all);
    }
    let of_directory = |field: &Field| authority(config, user, field) == Some(Authority::Directory);
    let mut back: Vec<String> = edit
        .columns
        .iter()
        .filter(|(field, _)| of_directory(field))
        .map(|(field, _)| field.to_string())
        .collect();
    let granted = |role: &String| {
        user.roles
            .iter()
            .any(|(name, of_directory)| name == role && *of_directory)
    };
    if of_directory(&Field::Roles) {
        back.extend(
            edit.remove_roles
                .iter()
                .filter(|role| granted(role))
                .map(|role| format!("role {}", plain(role))),
        );
    }
    if !back.is_empty() {
        let (what, verb) = match back.as_slice() {
            [one] => (one.clone(), "is"),
            several => (several.join(", "), "are"),
        };
        all.push(format!(
            "{what} {verb} decided by the directory of source {}, whose next sync puts the edit back; change it there (entry {})",
            source.name,
            plain(id.as_str())
        ));
    }
    Ok(all)
}

fn address(text: &str) -> Result<String, Failure> {
    match EmailAddress::parse(text) {
        Ok(address) => Ok(address.as_str().to_owned()),
        Err(why) => Err(Failure::usage(format!("{}; correct --email", here(&why.detail)))),
    }
}

fn text(flag: &str, value: &str) -> Result<Option<String>, Failure> {
    normalize("the value", value).map_err(|why| Failure::usage(format!("{flag}: {}; correct it", here(&why.detail))))
}

/// The first half of a reason: the second says what to do in the directory, and this was typed here.
fn here(detail: &str) -> String {
    let seen = detail.rsplit_once("; ").map_or(detail, |(seen, _)| seen);
    plain(&seen.replace("the entry has", "there is"))
}

fn kind(word: &str) -> Result<String, Failure> {
    let kind = word.trim().to_ascii_lowercase();
    let is_plain = kind
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if kind.is_empty() || kind.len() > WORD_BYTES_MAX || !is_plain || kind == SELF {
        return Err(Failure::usage(format!(
            "`{}` is no kind of user; use a word such as employee, consultant, bidder, contractor or vendor",
            plain(word)
        )));
    }
    Ok(kind)
}

fn roles(words: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for word in words {
        match text("--role", word)? {
            Some(role) if role.len() <= WORD_BYTES_MAX => {
                if !all.contains(&role) {
                    all.push(role);
                }
            }
            _ => {
                return Err(Failure::usage(format!(
                    "`{}` is no role; a role has 1 to {WORD_BYTES_MAX} bytes",
                    plain(word)
                )));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_normalized_or_refused() {
        assert_eq!(address(" sam@agency.example ").expect("valid"), "sam@agency.example");
        let why = address("sam").expect_err("no address").to_string();
        assert_eq!(why, "`sam` is no e-mail address: there is no `@`; correct --email");
        let why = address("").expect_err("empty").to_string();
        assert_eq!(why, "there is no e-mail address; correct --email");
        assert_eq!(text("--title", "  ").expect("empty"), None);
        assert!(text("--title", "a\u{202e}b").is_err());
        assert_eq!(kind(" Vendor ").expect("valid"), "vendor");
        for bad in ["", "self", "a b", "ü"] {
            assert!(kind(bad).is_err(), "{bad}");
        }
        assert_eq!(roles(&["Admin".into(), "Admin".into()]).expect("valid"), ["Admin"]);
        assert!(roles(&[" ".into()]).is_err());
    }
}
