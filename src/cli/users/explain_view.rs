//! An explanation for people and for programs. Judges nothing: it words what was decided.

use serde_json::{Map, Value as Json, json};

use super::super::cells::{optional, plain, time, value, value_json};
use super::super::quarantine;
use super::super::terminal::{BOLD, CYAN, DIM, GREEN, RED, Table, Terminal, YELLOW, paint, wrap};
use super::explain::{Asked, Explanation};
use super::{full_name, rules, user_json};
use crate::domain::decide::Decision;
use crate::domain::entry::Entry;
use crate::domain::field::{Authority, Field, Value};
use crate::domain::plan::{Action, Change, Reason};
use crate::domain::quarantine::QuarantineCode;
use crate::domain::user::{DisabledBy, Status};
use crate::engine::Setup;
use crate::store::QuarantineRow;

/// Columns that the field, the authority and the longest verdict take.
const VERDICT_ROOM: usize = 72;

/// One field of the comparison.
struct Line {
    field: Field,
    rule: String,
    attributes: Vec<(String, Vec<String>)>,
    mapped: Option<Value>,
    held: Option<Value>,
    before: Option<Value>,
    authority: Authority,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    InStep,
    PutBack,
    Updated,
    Set,
    Local,
    SetOnce,
    AdminDisabled,
    Kept,
    Unknown,
}

impl Verdict {
    fn code(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::PutBack => "would_be_put_back",
            Self::Updated => "would_be_updated",
            Self::Set => "would_be_set",
            Self::Local => "local",
            Self::SetOnce => "set_once",
            Self::AdminDisabled => "disabled_by_admin",
            Self::Kept => "kept",
            Self::Unknown => "unknown",
        }
    }

    fn words(self) -> String {
        match self {
            Self::InStep => paint(GREEN, "in step"),
            Self::PutBack => paint(YELLOW, "edited here: the next sync puts it back"),
            Self::Updated => paint(CYAN, "changed there: the next sync brings it"),
            Self::Set => paint(CYAN, "would be set"),
            Self::Local => "local: no sync changes it".to_owned(),
            Self::SetOnce => "set once, at creation; local since".to_owned(),
            Self::AdminDisabled => "disabled here: no sync enables it".to_owned(),
            Self::Kept => paint(RED, "kept as it is"),
            Self::Unknown => paint(DIM, "not known"),
        }
    }
}

fn lines(all: &Explanation, setup: &Setup) -> Vec<Line> {
    let policy = setup.policy();
    let entry = match &all.asked {
        Asked::Found(entry) => Some(entry),
        _ => None,
    };
    let mapped = all.mapped.as_ref().and_then(|m| m.as_ref().ok());
    setup
        .mapping
        .fields()
        .map(|field| Line {
            rule: rules::words(&setup.mapping, &field),
            attributes: attributes(setup, &field, entry),
            mapped: mapped.and_then(|m| m.values.get(&field)).cloned(),
            held: all.held.as_ref().map(|user| user.value(&field)),
            before: all.record.as_ref().and_then(|r| r.values.get(&field)).cloned(),
            authority: policy.authority(&field),
            verdict: verdict(all, &field, policy.authority(&field)),
            field,
        })
        .collect()
}

fn attributes(setup: &Setup, field: &Field, entry: Option<&Entry>) -> Vec<(String, Vec<String>)> {
    let (Some(rule), Some(entry)) = (setup.mapping.rule(field), entry) else {
        return vec![];
    };
    rule.attributes()
        .map(|name| {
            (
                name.to_string(),
                entry.attributes.each(name).map(str::to_owned).collect(),
            )
        })
        .collect()
}

fn verdict(all: &Explanation, field: &Field, authority: Authority) -> Verdict {
    let change = match &all.decision {
        Some(Decision::Change(change)) => Some(change),
        _ => None,
    };
    let step = change.and_then(|c| c.fields.iter().find(|(f, _)| f == field).map(|(_, step)| step));
    let admin_disabled = all
        .held
        .as_ref()
        .is_some_and(|u| u.status == Status::Disabled(DisabledBy::Administrator));
    match (&all.decision, authority) {
        (_, Authority::Local) => Verdict::Local,
        (Some(Decision::Change(c)), _) if c.action == Action::Create && step.is_some() => Verdict::Set,
        (_, Authority::Initial) => Verdict::SetOnce,
        (None, _) => Verdict::Unknown,
        (Some(Decision::Quarantine(_)), _) => Verdict::Kept,
        _ if contested(all).is_some() => Verdict::Kept,
        _ if *field == Field::Status && admin_disabled => Verdict::AdminDisabled,
        _ => match step {
            Some(step) if step.drift => Verdict::PutBack,
            Some(_) => Verdict::Updated,
            None => Verdict::InStep,
        },
    }
}

/// What the last run saw that no look-up of one entry can see: another entry in the way.
fn contested(all: &Explanation) -> Option<&QuarantineRow> {
    let in_listing = [QuarantineCode::AddressClaimedTwice, QuarantineCode::DuplicateId].map(QuarantineCode::as_str);
    all.quarantine
        .as_ref()
        .filter(|row| in_listing.contains(&row.code.as_str()))
}

/// What the next sync does, in a sentence.
pub(super) fn outcome(all: &Explanation) -> String {
    let Some((source, _)) = &all.link else {
        return if all.own { own().to_owned() } else { local().to_owned() };
    };
    if all.setup.is_none() {
        return format!("Source {source} is not in the configuration, so no sync touches this user.");
    }
    if let (None, Asked::Failed(_)) = (&all.decision, &all.asked) {
        return "The directory could not be asked, so nobody can say what the next sync does.".to_owned();
    }
    if !all.enabled {
        return format!("Source {source} is not enabled, so no sync touches it until it is.");
    }
    if !all.followed {
        return "Its organization is not followed, so scheduled runs leave it alone; `rollcall orgs follow` changes that.".to_owned();
    }
    if let (Some(row), false) = (contested(all), matches!(all.decision, Some(Decision::Quarantine(_)))) {
        return format!(
            "It is kept out for as long as the directory's listing is so: {}.",
            plain(&row.detail)
        );
    }
    match &all.decision {
        Some(Decision::Quarantine(why)) => format!("It is kept out: {}.", plain(&why.detail)),
        Some(Decision::Change(change)) => changed(change),
        Some(Decision::Remember) => "The user stays as it is; what the directory says now is remembered.".to_owned(),
        Some(Decision::Unchanged) if all.record.is_some() && all.user.is_none() => {
            "Its user was deleted here, so no sync creates it again until somebody lifts that with `rollcall users lift`.".to_owned()
        }
        Some(Decision::Unchanged) if matches!(all.asked, Asked::NotFound) && all.user.is_none() => {
            "The directory no longer has this entry, so there is nothing to do.".to_owned()
        }
        Some(Decision::Unchanged) => "Nothing: the user is in step with the directory.".to_owned(),
        None => "Nothing.".to_owned(),
    }
}

fn own() -> &'static str {
    "Nothing: it is an employee or belongs to the agency's own organization, and no directory ever touches those."
}

fn local() -> &'static str {
    "Nothing: it is a local account, and no directory owns it. An entry with its address may take it over, where its source correlates by e-mail."
}

fn changed(change: &Change) -> String {
    let fields: Vec<String> = change.fields.iter().map(|(field, _)| field.to_string()).collect();
    let fields = fields.join(", ");
    match (change.action, change.reason) {
        (Action::Create, _) => "It creates the user.".to_owned(),
        (Action::Disable, Reason::Absent) => {
            "It disables the user, as the directory has no such entry, once a complete listing shows that.".to_owned()
        }
        (Action::Disable, _) => format!("It disables the user, as the directory says disabled ({fields})."),
        (Action::Enable, _) => format!("It enables the user again, as the directory says active ({fields})."),
        (_, Reason::Linked) if fields.is_empty() => "It links the entry to the user that has its address.".to_owned(),
        (_, Reason::Linked) => format!("It links the entry to the user that has its address, and sets {fields}."),
        _ => format!("It sets {fields}."),
    }
}

/// For people.
pub(super) fn text(all: &Explanation, terminal: &Terminal) -> String {
    let mut out = String::new();
    match &all.user {
        Some(user) => out.push_str(&format!(
            "{}  {}  {}\n",
            paint(BOLD, full_name(user)),
            plain(&user.email),
            paint(DIM, user.id)
        )),
        None => out.push_str(&format!("{}\n", paint(BOLD, "No user here"))),
    }
    let mut part = |name: &str, body: &str| {
        let body = wrap(body, terminal.width, "  ");
        out.push_str(&format!("\n{}\n{body}", paint(BOLD, name)));
    };
    part("Link", &link(all));
    if all.user.is_some() {
        let active = "Active: it may sign in.".to_owned();
        part("Status", all.why_disabled.as_ref().unwrap_or(&active));
    }
    if let Some(row) = &all.quarantine {
        let since = format!(
            "In quarantine since {} ({}): {}",
            time(row.first_seen_at),
            row.code,
            plain(&row.detail)
        );
        part("Quarantine", &since);
    }
    part("What the next sync does", &outcome(all));
    if let Some(setup) = &all.setup {
        let lines = lines(all, setup);
        out.push_str(&format!("\n{}\n{}", paint(BOLD, "Fields"), table(&lines, terminal)));
        out.push_str(&format!("\n{}\n{}", paint(BOLD, "Mapping"), mapping(&lines, terminal)));
    }
    out
}

fn link(all: &Explanation) -> String {
    let Some((source, id)) = &all.link else {
        return "None: no directory owns this user.".to_owned();
    };
    let answer = match &all.asked {
        Asked::No => "the source is not in the configuration, so it was not asked",
        Asked::Found(_) => "the directory has it now",
        Asked::Unreadable(_) => "the directory has it, and it cannot be read",
        Asked::NotFound => "the directory says that there is no such entry",
        Asked::Failed(_) => "the directory could not be asked",
    };
    let own = if all.own {
        "; no sync touches the user all the same, for it is an employee or of the agency's own organization"
    } else {
        ""
    };
    format!("Entry {} of source {source}: {answer}{own}.", plain(id.as_str()))
}

fn table(lines: &[Line], terminal: &Terminal) -> String {
    // The verdict is why the table is read: the values give way to it.
    let room = (terminal.width.saturating_sub(VERDICT_ROOM) / 2).clamp(12, 40);
    let mut table = Table::new(&["field", "directory says", "held here", "decided by", "verdict"]);
    for line in lines {
        let cell = |held: &Option<Value>| {
            let text = held.as_ref().map_or_else(|| optional(None), value);
            super::super::terminal::cut(&text, room, terminal.signs)
        };
        table.row(vec![
            line.field.to_string(),
            cell(&line.mapped),
            cell(&line.held),
            line.authority.as_str().to_owned(),
            line.verdict.words(),
        ]);
    }
    table.render(terminal)
}

fn mapping(lines: &[Line], terminal: &Terminal) -> String {
    let mut table = Table::new(&["field", "comes from", "attributes"]);
    for line in lines {
        let raw: Vec<String> = line
            .attributes
            .iter()
            .map(|(name, values)| match values.as_slice() {
                [] => format!("{} is absent", plain(name)),
                values => format!("{} = {}", plain(name), quoted(values)),
            })
            .collect();
        table.row(vec![line.field.to_string(), line.rule.clone(), raw.join("; ")]);
    }
    table.render(terminal)
}

/// Raw values in quotes: white space around one is worth seeing.
fn quoted(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|v| format!("\"{}\"", plain(v))).collect();
    all.join(", ")
}

/// For programs.
pub(super) fn json(all: &Explanation) -> Json {
    let fields: Vec<Json> = match &all.setup {
        Some(setup) => lines(all, setup).iter().map(field_json).collect(),
        None => vec![],
    };
    let (action, reason, detail) = match (&all.decision, contested(all)) {
        (Some(Decision::Quarantine(why)), _) => ("quarantine", Some(why.code.as_str()), Some(why.detail.as_str())),
        (Some(_), Some(row)) => ("quarantine", Some(row.code.as_str()), Some(row.detail.as_str())),
        (None | Some(Decision::Unchanged), _) => ("none", None, None),
        (Some(Decision::Remember), None) => ("remember", None, None),
        (Some(Decision::Change(change)), None) => (change.action.as_str(), Some(change.reason.as_str()), None),
    };
    json!({
        "user": all.user.as_ref().map(user_json),
        "link": all.link.as_ref().map(|(source, id)| json!({"source": source, "external_id": id.as_str()})),
        "owned_by": if all.own { "agency" } else if all.link.is_some() { "directory" } else { "nobody" },
        "why_disabled": all.why_disabled,
        "directory": directory_json(&all.asked),
        "followed": all.followed,
        "fields": fields,
        "next_sync": {
            "action": action,
            "reason": reason,
            "detail": detail,
            "explanation": outcome(all),
        },
        "quarantine": all.quarantine.as_ref().map(quarantine::row_json),
    })
}

fn directory_json(asked: &Asked) -> Json {
    match asked {
        Asked::No => json!({"state": "not_asked"}),
        Asked::NotFound => json!({"state": "not_found"}),
        Asked::Unreadable(why) => json!({"state": "unreadable", "detail": why.detail}),
        Asked::Failed(error) => json!({"state": "failed", "code": error.kind.code(), "detail": error.message}),
        Asked::Found(entry) => {
            let attributes: Map<String, Json> = entry
                .attributes
                .iter()
                .map(|(name, values)| (name.to_owned(), json!(values)))
                .collect();
            json!({
                "state": "found",
                "organization": entry.organization.as_ref().map(|o| o.id.as_str()),
                "attributes": attributes,
            })
        }
    }
}

fn field_json(line: &Line) -> Json {
    let attributes: Map<String, Json> = line.attributes.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
    json!({
        "field": line.field.to_string(),
        "rule": line.rule,
        "attributes": attributes,
        "mapped": line.mapped.as_ref().map(value_json),
        "held": line.held.as_ref().map(value_json),
        "directory_before": line.before.as_ref().map(value_json),
        "authority": line.authority.as_str(),
        "verdict": line.verdict.code(),
    })
}
