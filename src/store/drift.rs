//! What was edited here although a directory decides it, and what runs therefore put back: one item a field, with both
//! values. Newest first. Never changes anything.

use jiff::Timestamp;

use super::Store;
use super::conditions::Conditions;
use super::error::StoreError;
use super::json::fields_from;
use super::row::{Row, args};
use super::sql::statements;
use crate::domain::field::{Field, Value};
use crate::domain::id::{OrganizationId, RunId, SourceName, UserId};

/// How many applied runs one page looks at: most put nothing back.
const RUNS_MAX: u64 = 1_000;

/// How many of them it looks into.
const LOOKED_INTO_MAX: usize = 100;

statements! {
    RUNS_BEFORE = "SELECT id::text, coalesce(counts ->> 'drift', '0')::text FROM runs \
        WHERE state = 'applied' AND ($1::text IS NULL OR source = $1) AND ($2::uuid IS NULL OR id <= $2::uuid) \
        AND ($3::uuid IS NULL OR id IN (SELECT c.run_id FROM changes c WHERE c.user_id = $3::uuid AND c.drift)) \
        ORDER BY id DESC LIMIT $4";
}

/// Which fields that were put back to read.
#[derive(Debug, Clone, Default)]
pub struct DriftFilter {
    /// Of one source.
    pub source: Option<SourceName>,
    /// Of one organization.
    pub organization: Option<OrganizationId>,
    /// Of one user.
    pub user: Option<UserId>,
    /// One field.
    pub field: Option<Field>,
}

/// Where an item stands in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftPlace {
    /// The run that put it back.
    pub run: RunId,
    /// The place of the change in its plan.
    pub position: u64,
    /// The field; `None` before the first.
    pub field: Option<Field>,
}

/// One field that was put back.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Where it stands in the list.
    pub place: DriftPlace,
    /// The source whose directory decides it.
    pub source: String,
    /// Whose it is.
    pub user: UserId,
    /// The entry that the user is linked to.
    pub external_id: String,
    /// The organization, by its id at the directory.
    pub organization: Option<String>,
    /// Which field.
    pub field: Field,
    /// What it had been set to here.
    pub before: Value,
    /// What the directory says.
    pub after: Value,
    /// When it was put back.
    pub at: Timestamp,
    /// Who asked for the run.
    pub actor: String,
}

impl Store {
    /// Fields that were put back after `after`, at most `limit`; and where to go on, where there may be more.
    pub async fn drift_page(
        &self,
        filter: &DriftFilter,
        after: Option<&DriftPlace>,
        limit: usize,
    ) -> Result<(Vec<Drift>, Option<DriftPlace>), StoreError> {
        let (mut items, mut last): (Vec<Drift>, Option<&RunId>) = (Vec::new(), None);
        let runs = self.runs_that_put_back(filter, after).await?;
        let end = |run: &RunId| DriftPlace {
            run: *run,
            position: i64::MAX as u64,
            field: None,
        };
        for (looked, (run, _)) in runs.iter().filter(|(_, drift)| *drift).enumerate() {
            if looked == LOOKED_INTO_MAX {
                return Ok((items, last.map(end)));
            }
            last = Some(run);
            let mut from = after.filter(|place| place.run == *run).cloned();
            loop {
                let changes = self.drift_of(*run, filter, from.as_ref(), limit + 1).await?;
                let is_last = changes.len() <= limit;
                let next = changes.last().map(|(position, _)| *position);
                for (_, fields) in changes {
                    items.extend(fields);
                }
                if items.len() > limit {
                    let next = limit.checked_sub(1).map(|at| items[at].place.clone());
                    items.truncate(limit);
                    return Ok((items, next));
                }
                match next.filter(|_| !is_last) {
                    Some(position) => {
                        from = Some(DriftPlace {
                            run: *run,
                            position: position + 1,
                            field: None,
                        });
                    }
                    None => break,
                }
            }
        }
        let more = runs.len() as u64 == RUNS_MAX;
        let next = runs.last().filter(|_| more).map(|(run, _)| end(run));
        Ok((items, next))
    }

    /// Applied runs, newest first, each with whether it put anything back.
    async fn runs_that_put_back(
        &self,
        filter: &DriftFilter,
        after: Option<&DriftPlace>,
    ) -> Result<Vec<(RunId, bool)>, StoreError> {
        let source = filter.source.as_ref().map(|s| s.as_str().to_owned());
        let before = after.map(|place| place.run.to_string());
        let user = filter.user.map(|user| user.to_string());
        let rows = self.rows(RUNS_BEFORE, args![source, before, user, RUNS_MAX]).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.parsed()?, row.text()? != "0")))
            .collect()
    }

    /// The changes of a run that put something back, in the order of its plan, from `from` on.
    async fn drift_of(
        &self,
        run: RunId,
        filter: &DriftFilter,
        from: Option<&DriftPlace>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<Drift>)>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.and("c.run_id = $1::uuid", args![run]);
        conditions.and("c.drift", args![]);
        if let Some(from) = from {
            conditions.and("c.position >= $1", args![from.position]);
        }
        if let Some(user) = filter.user {
            conditions.and("c.user_id = $1::uuid", args![user]);
        }
        if let Some(organization) = filter.organization {
            conditions.and(
                "c.organization = (SELECT o.external_id FROM organizations o WHERE o.id = $1::uuid AND o.source = r.source)",
                args![organization],
            );
        }
        let sql = format!(
            "SELECT c.position, c.user_id::text, c.external_id, c.organization, c.fields::text, r.source, r.actor, \
             coalesce(r.answered_at, r.finished_at, r.started_at)::text \
             FROM changes c JOIN runs r ON r.id = c.run_id{} ORDER BY c.position LIMIT {limit}",
            conditions.sql()
        );
        let rows = self.rows(&sql, conditions.args()).await?;
        rows.into_iter().map(|row| read(row, run, filter, from)).collect()
    }
}

/// The fields of one change that were put back, without those that were told already.
fn read(
    mut r: Row,
    run: RunId,
    filter: &DriftFilter,
    from: Option<&DriftPlace>,
) -> Result<(u64, Vec<Drift>), StoreError> {
    let position = r.count()?;
    let (user, external_id) = (r.parsed()?, r.text()?);
    let organization = r.opt_text()?.filter(|id| !id.is_empty());
    let fields = r.opt_json()?.unwrap_or_default();
    let (source, actor, at) = (r.text()?, r.text()?, r.time()?);
    let told = from
        .filter(|place| place.position == position)
        .and_then(|place| place.field.as_ref());
    let wanted =
        |field: &Field| filter.field.as_ref().is_none_or(|f| f == field) && told.is_none_or(|told| field > told);
    let items = fields_from(&fields)
        .into_iter()
        .filter(|(field, step)| step.drift && wanted(field))
        .map(|(field, step)| Drift {
            place: DriftPlace {
                run,
                position,
                field: Some(field.clone()),
            },
            source: source.clone(),
            user,
            external_id: external_id.clone(),
            organization: organization.clone(),
            field,
            before: step.before,
            after: step.after,
            at,
            actor: actor.clone(),
        });
    Ok((position, items.collect()))
}
