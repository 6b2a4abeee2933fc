//! The JSON documents that scripts rely on: what the API answers, and what commands print with `--output json`.
//! Shapes alone; nothing here reads the store or judges.

mod change;
mod organization;
mod report;
mod run;
mod source;
mod user;

use serde::Serialize;
use serde_json::Value as Json;

pub use change::{ActionWord, Change, FieldStep, change, value};
pub use organization::{
    AskedDirectory, Organization, OrganizationDetail, OrganizationPage, organization, unknown_organization,
};
pub use report::{AuditEntry, DriftedField, QuarantinedEntry, audited, drifted, quarantined};
pub use run::{Brake, Listing, NotBegun, Plan, Quarantined, Report, Run, RunFailure, RunState, not_begun, report, run};
pub use source::{Paused, ScheduleTimes, Source, SourceRuns, SourceWord, source};
pub use user::{EditedUser, User, UserDetail, UserLink, UserOrganization, UserRole, user, user_detail};

/// A document as a value, whose keys are sorted: how commands print it.
pub fn json(document: &impl Serialize) -> Json {
    serde_json::to_value(document).expect("texts, numbers and lists make JSON")
}
