//! One change as people read it: a sign, who, and field by field what was and what comes.

use std::collections::HashMap;

use super::terminal::{BOLD, CYAN, DIM, GREEN, RED, Signs, Terminal, YELLOW, cut, pad, paint};
use crate::domain::field::{Field, Value};
use crate::domain::plan::{Action, FieldChange, Reason};
use crate::store::StoredChange;

/// Names of organizations, by their id at the directory.
pub(super) type Names = HashMap<String, String>;

/// Longest address that is lined up with others.
const ADDRESS_WIDTH_MAX: usize = 44;

/// A change, on one line or more, each ended.
pub(super) fn change(stored: &StoredChange, names: &Names, terminal: &Terminal) -> String {
    let change = &stored.change;
    let signs = terminal.signs;
    let only_put_back =
        change.action == Action::Update && !change.fields.is_empty() && change.fields.iter().all(|(_, c)| c.drift);
    let sign = match change.action {
        Action::Create => paint(GREEN, "+"),
        Action::Enable => paint(GREEN, "+"),
        Action::Update if only_put_back => paint(CYAN, signs.put_back),
        Action::Update => paint(YELLOW, "~"),
        Action::Disable | Action::Delete => paint(RED, "-"),
    };
    let room = terminal.width.saturating_sub(6);
    let address = cut(&change.email, ADDRESS_WIDTH_MAX.min(room), signs);
    let remark = match change.action {
        Action::Create => newcomer(stored),
        Action::Disable | Action::Enable => reason(change.reason).to_owned(),
        _ if change.reason == Reason::Linked => reason(change.reason).to_owned(),
        _ => String::new(),
    };
    let mut out = format!("  {sign} {}", paint(BOLD, &address));
    let left = room.saturating_sub(ADDRESS_WIDTH_MAX.min(room).max(address.chars().count()));
    if !remark.is_empty() && left > 12 {
        let gap = pad(&address, 36)[address.len()..].to_owned();
        out.push_str(&format!("{gap}  {}", paint(DIM, cut(&remark, left + 8, signs))));
    }
    out.push('\n');
    if change.action == Action::Create {
        return out;
    }
    for (field, step) in change
        .fields
        .iter()
        .filter(|(field, step)| *field != Field::Status || step.drift)
    {
        out.push_str(&field_line(field, step, names, terminal));
    }
    out
}

fn newcomer(stored: &StoredChange) -> String {
    let of = |field: &Field| {
        stored
            .change
            .field(field)
            .and_then(|c| c.after.as_text())
            .unwrap_or_default()
            .to_owned()
    };
    let name = format!("{} {}", of(&Field::FirstName), of(&Field::LastName));
    let status = if of(&Field::Status) == "disabled" {
        "disabled".to_owned()
    } else {
        String::new()
    };
    let parts = [name.trim().to_owned(), of(&Field::Title), of(&Field::Kind), status];
    parts
        .into_iter()
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn field_line(field: &Field, step: &FieldChange, names: &Names, terminal: &Terminal) -> String {
    let signs = terminal.signs;
    let sign = if step.drift {
        paint(CYAN, signs.put_back)
    } else {
        " ".to_owned()
    };
    let name = pad(&field.to_string(), 12);
    let room = terminal.width.saturating_sub(26) / 2;
    let before = cut(&value(&step.before, field, names), room.max(8), signs);
    let after = cut(&value(&step.after, field, names), room.max(8), signs);
    let remark = if step.drift {
        paint(CYAN, "  edited here, put back")
    } else {
        String::new()
    };
    format!(
        "    {sign} {name} {} {} {}{remark}\n",
        paint(RED, before),
        paint(DIM, signs.arrow),
        paint(GREEN, after)
    )
}

/// A value as people read it.
pub(super) fn value(value: &Value, field: &Field, names: &Names) -> String {
    match value {
        Value::Text(None) => "(none)".into(),
        Value::Text(Some(text)) if *field == Field::Organization => names.get(text).unwrap_or(text).clone(),
        Value::Text(Some(text)) => text.clone(),
        Value::Set(set) if set.is_empty() => "(none)".into(),
        Value::Set(set) => set.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

/// Why, in words.
pub(super) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::New => "new in the directory",
        Reason::Linked => "found by its address, and linked",
        Reason::Edited => "differs from the directory",
        Reason::DisabledInDirectory => "disabled in the directory",
        Reason::EnabledInDirectory => "enabled again: active in the directory",
        Reason::Absent => "no longer listed by the directory",
        Reason::Returned => "enabled again: listed by the directory again",
    }
}

/// The counts of changes behind a heading: `+2 ~1 -1`.
pub(super) fn tally(changes: &[&StoredChange], signs: Signs) -> String {
    let count = |wanted: &dyn Fn(&StoredChange) -> bool| changes.iter().filter(|c| wanted(c)).count();
    let plus = count(&|c| matches!(c.change.action, Action::Create | Action::Enable));
    let minus = count(&|c| matches!(c.change.action, Action::Disable | Action::Delete));
    let drift = count(&|c| c.change.has_drift());
    let tilde = changes.len() - plus - minus;
    let parts = [
        (plus, GREEN, "+"),
        (tilde, YELLOW, "~"),
        (minus, RED, "-"),
        (drift, CYAN, signs.put_back),
    ];
    let shown = parts
        .into_iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, style, sign)| paint(style, format!("{sign}{n}")));
    shown.collect::<Vec<_>>().join(" ")
}
