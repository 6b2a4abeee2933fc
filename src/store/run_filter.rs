//! Runs and their changes by filter, in pages that begin after a place.

use super::error::StoreError;
use super::row::Arg;
use super::runs::RunRow;
use super::sql::Conditions;
use super::{Store, plan, runs};
use crate::domain::field::Field;
use crate::domain::id::RunId;
use crate::domain::plan::Action;

/// Which runs to read.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of one source.
    pub source: Option<String>,
    /// In one state.
    pub state: Option<String>,
    /// That have ended, or have not.
    pub ended: Option<bool>,
    /// That covered this organization alone: its id here, or at the directory.
    pub organization: Option<String>,
    /// That covered this user alone: the id here, or at the directory.
    pub user: Option<String>,
    /// That are older than this one.
    pub before: Option<RunId>,
}

/// Which changes of a run to read.
#[derive(Debug, Clone, Default)]
pub struct ChangeFilter {
    /// Of one kind.
    pub action: Option<Action>,
    /// Of one organization: its id here, or at the directory.
    pub organization: Option<String>,
    /// That touch this field.
    pub field: Option<String>,
    /// That put something back, or do not.
    pub drift: Option<bool>,
    /// That stand behind this place in the plan.
    pub after: Option<u64>,
}

impl Store {
    /// Runs that fit, newest first.
    pub async fn list_runs(&self, filter: &RunFilter, limit: u64) -> Result<Vec<RunRow>, StoreError> {
        let mut and = Conditions::default();
        and.equal("source", filter.source.as_deref());
        and.equal("state", filter.state.as_deref());
        if let Some(ended) = filter.ended {
            and.add("(state NOT IN ('queued', 'running')) = $n", ended);
        }
        if let Some(id) = &filter.organization {
            and.add("(organization_id::text = $n OR organization = $n)", id);
        }
        if let Some(id) = &filter.user {
            and.add("(user_id::text = $n OR external_id = $n)", id);
        }
        if let Some(id) = filter.before {
            and.add("id < $n::uuid", id);
        }
        let sql = format!("{} WHERE {} ORDER BY id DESC LIMIT {limit}", runs::RUN, and.sql());
        let rows = self.rows(&sql, and.arguments()).await?;
        rows.into_iter().map(runs::read).collect()
    }

    /// Changes of a run that fit, in the order of the plan.
    pub async fn list_changes(
        &self,
        run: RunId,
        filter: &ChangeFilter,
        limit: u64,
    ) -> Result<Vec<plan::StoredChange>, StoreError> {
        let mut and = Conditions::default();
        and.add("c.run_id = $n::uuid", run);
        and.equal("c.action", filter.action.map(Action::as_str));
        if let Some(id) = &filter.organization {
            and.add("(o.id::text = $n OR c.organization = $n)", id);
        }
        if let Some(drift) = filter.drift {
            and.add("c.drift = $n", drift);
        }
        if let Some(after) = filter.after {
            let place =
                "SELECT p.organization, p.external_id FROM changes p WHERE p.run_id = $1::uuid AND p.position = $n";
            and.add(
                &format!("(c.organization, c.external_id) > ({place})"),
                Arg::Int(Some(i64::try_from(after).unwrap_or(i64::MAX))),
            );
        }
        if let Some(field) = &filter.field {
            // What a new user gets stands in columns, what changes in `fields`.
            let keys = self.engine().each_key("c.fields");
            let created = plan::is_given(Field::parse(field).as_ref());
            and.add(
                &format!("((c.action = 'create' AND {created}) OR EXISTS (SELECT 1 FROM {keys} WHERE item.key = $n))"),
                field,
            );
        }
        let sql = format!(
            "{} WHERE c.action <> 'remember' AND {} ORDER BY c.organization, c.external_id LIMIT {limit}",
            plan::CHANGE,
            and.sql()
        );
        let rows = self.rows(&sql, and.arguments()).await?;
        plan::stored_changes(rows)
    }
}
