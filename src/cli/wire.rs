//! Runs and changes as JSON: the documents that scripts rely on.

use serde_json::{Map, Value as Json, json};

use crate::domain::field::Value;
use crate::domain::plan::{Action, Counts};
use crate::engine::Report;
use crate::store::{RunRow, StoredChange};

/// The document of one run.
pub(super) fn run(row: &RunRow) -> Json {
    let listing = row.listing.clone().unwrap_or_default();
    let counts = row.counts.unwrap_or_default();
    let holds: Vec<Json> = row.holds.iter().map(|hold| json!(hold)).collect();
    json!({
        "run": row.id.to_string(),
        "source": row.source,
        "organization": row.organization_id.map(|o| o.to_string()).or_else(|| row.organization.clone()),
        "user": row.user_id.map(|u| u.to_string()).or_else(|| row.external_id.clone()),
        "mode": row.mode,
        "dry_run": row.dry_run,
        "actor": row.actor,
        "state": row.state,
        "listing": listing,
        "plan": plan(row.plan_hash.as_deref(), &counts),
        "brake": holds.first(),
        "brakes": holds,
        "error": row.error,
        "answered_by": row.answered_by,
        "answered_at": row.answered_at.map(|t| t.to_string()),
        "started_at": row.started_at.to_string(),
        "finished_at": row.finished_at.map(|t| t.to_string()),
        "duration_ms": row.finished_at.map(|t| t.duration_since(row.started_at).as_millis()),
    })
}

fn plan(hash: Option<&str>, counts: &Counts) -> Json {
    json!({
        "hash": hash,
        "create": counts.create,
        "update": counts.update,
        "disable": counts.disable,
        "enable": counts.enable,
        "delete": counts.delete,
        "unchanged": counts.unchanged,
        "drift": counts.drift,
        "quarantine": counts.quarantine,
    })
}

/// The document of a run that has just ended.
pub(super) fn report(report: &Report) -> Json {
    let mut document = run(&report.run);
    document["quarantined"] = report
        .quarantined
        .iter()
        .map(|(id, organization, why)| {
            json!({"external_id": id, "organization": organization.as_ref().map(|o| o.as_str()), "code": why.code.as_str(), "detail": why.detail})
        })
        .collect();
    document["refused_roles"] = json!(report.refused_roles);
    document
}

/// The document of a run that could not begin.
pub(super) fn not_begun(
    source: &str,
    state: &str,
    dry_run: bool,
    code: &str,
    message: &str,
    now: jiff::Timestamp,
) -> Json {
    json!({
        "run": null, "source": source, "organization": null, "user": null, "mode": "full", "dry_run": dry_run, "state": state,
        "listing": crate::store::Listed::default(),
        "plan": plan(None, &Counts::default()),
        "brake": null, "brakes": [],
        "error": {"code": code, "message": message},
        "started_at": now.to_string(), "finished_at": now.to_string(), "duration_ms": 0,
    })
}

/// One change, for a line of its own. A user that is not created yet has no id.
pub(super) fn change(stored: &StoredChange, applied: bool) -> Json {
    let change = &stored.change;
    let fields: Map<String, Json> = change
        .fields
        .iter()
        .map(|(field, step)| {
            let step = json!({
                "before": value(&step.before),
                "after": value(&step.after),
                "directory_before": step.directory_before.as_ref().map(value),
                "drift": step.drift,
            });
            (field.to_string(), step)
        })
        .collect();
    let user = change.user.filter(|_| applied || change.action != Action::Create);
    json!({
        "action": change.action.as_str(),
        "reason": change.reason.as_str(),
        "user": user.map(|u| u.to_string()),
        "email": change.email,
        "organization": change.organization.as_ref().map(|o| o.as_str()),
        "external_id": change.external_id.as_str(),
        "fields": fields,
    })
}

/// A value of a field.
pub(super) fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Set(set) => json!(set),
    }
}
