//! One change as people read it: a sign, who, and field by field what was and what comes.

use std::collections::HashMap;

use unicode_width::UnicodeWidthStr;

use super::terminal::{BOLD, CYAN, DIM, GREEN, RED, Signs, Terminal, YELLOW, cut, number, pad, paint};
use crate::domain::field::{Field, Value};
use crate::domain::plan::{Action, FieldChange, Reason};
use crate::store::{StoredChange, Tally};

/// Names of organizations, by their id at the directory.
pub(super) type Names = HashMap<String, String>;

/// How wide the addresses of a group may be, of the columns that there are.
pub(super) fn address_width(changes: &[&StoredChange], terminal: &Terminal) -> usize {
    let widest = changes.iter().map(|c| c.change.email.width()).max().unwrap_or(0);
    widest.min(terminal.width.saturating_sub(6).max(16) * 3 / 5)
}

/// A change, on one line or more, each ended; the address is filled up to `width` columns.
pub(super) fn change(stored: &StoredChange, names: &Names, terminal: &Terminal, width: usize) -> String {
    let change = &stored.change;
    let signs = terminal.signs;
    let only_put_back =
        change.action == Action::Update && !change.fields.is_empty() && change.fields.iter().all(|(_, c)| c.drift);
    let sign = match change.action {
        Action::Create | Action::Enable => paint(GREEN, "+"),
        Action::Update if only_put_back => paint(CYAN, signs.put_back),
        Action::Update => paint(YELLOW, "~"),
        Action::Disable | Action::Delete => paint(RED, "-"),
    };
    let remark = match change.action {
        Action::Create => newcomer(stored),
        Action::Disable | Action::Enable => reason(change.reason).to_owned(),
        _ if change.reason == Reason::Linked => reason(change.reason).to_owned(),
        _ => String::new(),
    };
    let address = cut(&change.email, width, signs);
    let mut out = format!("  {sign} {}", paint(BOLD, &address));
    let left = terminal.width.saturating_sub(6 + width);
    if !remark.is_empty() && left > 8 {
        let gap = " ".repeat(width.saturating_sub(address.width()));
        out.push_str(&format!("{gap}  {}", paint(DIM, cut(&remark, left, signs))));
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
        Reason::Absent => "no longer listed in a firm that is followed",
        Reason::Returned => "enabled again: listed by the directory again",
    }
}

/// The counts of changes behind a heading: `+2 ~1 -1`.
pub(super) fn tally(tally: &Tally, signs: Signs) -> String {
    let parts = [
        (tally.gained, GREEN, "+"),
        (tally.updated, YELLOW, "~"),
        (tally.lost, RED, "-"),
        (tally.put_back, CYAN, signs.put_back),
    ];
    let shown = parts
        .into_iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, style, sign)| paint(style, format!("{sign}{}", number(n))));
    shown.collect::<Vec<_>>().join(" ")
}
