//! A change of a plan as a document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use crate::domain::field::Value;
use crate::domain::plan::Action;
use crate::store::StoredChange;

/// What happens to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionWord {
    /// It is created.
    Create,
    /// Fields change, or a link is made.
    Update,
    /// It may sign in again.
    Enable,
    /// It may no longer sign in.
    Disable,
    /// It is deleted.
    Delete,
}

impl From<ActionWord> for Action {
    fn from(word: ActionWord) -> Self {
        match word {
            ActionWord::Create => Self::Create,
            ActionWord::Update => Self::Update,
            ActionWord::Enable => Self::Enable,
            ActionWord::Disable => Self::Disable,
            ActionWord::Delete => Self::Delete,
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Change {
    /// What happens.
    #[schema(value_type = ActionWord)]
    pub action: &'static str,
    /// Why.
    #[schema(example = "edited")]
    pub reason: &'static str,
    /// The user's id; null for one that is not created yet.
    #[schema(required, format = Uuid)]
    pub user: Option<String>,
    /// The address that the user has.
    pub email: String,
    /// The organization, by its id at the directory.
    #[schema(required)]
    pub organization: Option<String>,
    /// The entry's id at the directory.
    pub external_id: String,
    /// What changes, by field.
    pub fields: BTreeMap<String, FieldStep>,
}

/// What becomes of one field.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldStep {
    /// What the user has: a text, a list of texts, or null.
    #[schema(required)]
    pub before: Json,
    /// What it gets.
    #[schema(required)]
    pub after: Json,
    /// What the directory said when that was last applied; null where it never was.
    #[schema(required, value_type = Value)]
    pub directory_before: Option<Json>,
    /// Whether somebody had changed it locally, so that it is put back.
    pub drift: bool,
}

/// The document of one change. A user that is not created yet has no id.
pub fn change(stored: &StoredChange, applied: bool) -> Change {
    let change = &stored.change;
    let fields = change.fields.iter().map(|(field, step)| {
        let step = FieldStep {
            before: value(&step.before),
            after: value(&step.after),
            directory_before: step.directory_before.as_ref().map(value),
            drift: step.drift,
        };
        (field.to_string(), step)
    });
    Change {
        action: change.action.as_str(),
        reason: change.reason.as_str(),
        user: change
            .user
            .filter(|_| applied || change.action != Action::Create)
            .map(|u| u.to_string()),
        email: change.email.clone(),
        organization: change.organization.as_ref().map(|o| o.as_str().to_owned()),
        external_id: change.external_id.as_str().to_owned(),
        fields: fields.collect(),
    }
}

/// A value of a field.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Set(set) => json!(set),
    }
}
