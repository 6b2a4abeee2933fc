//! What happened to one user: what runs did and what people did, as one story. Changes nothing.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::super::cells::{of_json, plain, time, value, value_json};
use super::super::terminal::{DIM, Terminal, YELLOW, paint};
use super::Failure;
use crate::domain::id::UserId;
use crate::store::{AppliedChange, AuditRow, Store};

/// Most events that are shown.
const EVENTS_MAX: u64 = 20;

/// One event.
pub(super) struct Event {
    at: Timestamp,
    actor: String,
    run: Option<String>,
    what: String,
    fields: Vec<Step>,
}

struct Step {
    field: String,
    before: Json,
    after: Json,
    shown: (String, String),
    drift: bool,
}

/// The last events, newest first.
pub(super) async fn read(store: &Store, user: UserId) -> Result<Vec<Event>, Failure> {
    let runs = store.user_changes(user, EVENTS_MAX).await?;
    let people = store.user_audit(user, EVENTS_MAX).await?;
    let mut all: Vec<Event> = runs.iter().map(of_run).chain(people.iter().map(of_person)).collect();
    all.sort_by_key(|event| std::cmp::Reverse(event.at));
    all.truncate(usize::try_from(EVENTS_MAX).unwrap_or(usize::MAX));
    Ok(all)
}

fn of_run(applied: &AppliedChange) -> Event {
    let change = &applied.change.change;
    let fields = change.fields.iter().map(|(field, step)| Step {
        field: field.to_string(),
        before: value_json(&step.before),
        after: value_json(&step.after),
        shown: (value(&step.before), value(&step.after)),
        drift: step.drift,
    });
    Event {
        at: applied.at,
        actor: applied.actor.clone(),
        run: Some(applied.run.to_string()),
        what: format!(
            "{} ({})",
            change.action.as_str(),
            change.reason.as_str().replace('_', " ")
        ),
        fields: fields.collect(),
    }
}

fn of_person(row: &AuditRow) -> Event {
    let mut fields: Vec<Step> = Vec::new();
    if let Some(edited) = row.details.get("fields").and_then(Json::as_object) {
        fields.extend(edited.iter().map(|(field, step)| Step {
            field: plain(field),
            before: step["before"].clone(),
            after: step["after"].clone(),
            shown: (of_json(&step["before"]), of_json(&step["after"])),
            drift: false,
        }));
    }
    let mut what = row.action.replace("user.", "");
    for (key, sign) in [("add_roles", '+'), ("remove_roles", '-'), ("roles", '+')] {
        for role in row.details.get(key).and_then(Json::as_array).into_iter().flatten() {
            what.push_str(&format!(" {sign}{}", of_json(role)));
        }
    }
    Event {
        at: row.at,
        actor: row.actor.clone(),
        run: row.run.map(|run| run.to_string()),
        what,
        fields,
    }
}

/// The story for people.
pub(super) fn text(events: &[Event], terminal: &Terminal) -> String {
    let mut out = String::new();
    for event in events {
        let run = event.run.as_ref().map(|run| format!(", run {run}")).unwrap_or_default();
        out.push_str(&format!(
            "  {}  {}  {}\n",
            time(event.at),
            event.what,
            paint(DIM, format!("{}{run}", plain(&event.actor)))
        ));
        for step in &event.fields {
            let (before, after) = &step.shown;
            let drift = if step.drift {
                format!(
                    "  {}",
                    paint(YELLOW, format!("{} edited here, put back", terminal.signs.put_back))
                )
            } else {
                String::new()
            };
            out.push_str(&format!(
                "      {}: {before} {} {after}{drift}\n",
                step.field, terminal.signs.arrow
            ));
        }
    }
    out
}

/// The story for programs.
pub(super) fn json(events: &[Event]) -> Json {
    let one = |event: &Event| {
        let fields: serde_json::Map<String, Json> = event
            .fields
            .iter()
            .map(|step| {
                let cells = json!({"before": step.before, "after": step.after, "drift": step.drift});
                (step.field.clone(), cells)
            })
            .collect();
        json!({"at": event.at.to_string(), "actor": event.actor, "run": event.run, "what": event.what, "fields": fields})
    };
    events.iter().map(one).collect()
}
