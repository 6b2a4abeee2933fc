//! Entries that are kept out, in one place: why, since when, how often. Gone when cured.

use jiff::Timestamp;

use super::conditions::Conditions;
use super::error::StoreError;
use super::row::{Arg, Row, args};
use super::sql::statements;
use super::{Store, Tx};
use crate::domain::id::{ExternalId, RunId, SourceName};
use crate::domain::quarantine::Quarantined;
use crate::domain::run::Scope;

/// One entry in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// Its source.
    pub source: SourceName,
    /// Its id; `?` and a number where the directory gave none.
    pub external_id: String,
    /// Its organization, where that is known.
    pub organization: Option<String>,
    /// The stable code of the reason.
    pub code: String,
    /// What was seen and what to do.
    pub detail: String,
    /// When it was first seen so.
    pub first_seen_at: Timestamp,
    /// When it was last seen so.
    pub last_seen_at: Timestamp,
    /// In how many runs.
    pub times: u64,
}

statements! {
    UPSERT = "INSERT INTO quarantine (source, external_id, organization, code, detail, first_seen_at, last_seen_at, times, run_id) \
        VALUES ($1, $2, $3, $4, $5, $6::timestamptz, $6::timestamptz, 1, $7::uuid) \
        ON CONFLICT (source, external_id) DO UPDATE SET organization = excluded.organization, code = excluded.code, \
        detail = excluded.detail, last_seen_at = excluded.last_seen_at, times = quarantine.times + 1, run_id = excluded.run_id";
    CURE = "DELETE FROM quarantine WHERE source = $1 AND run_id <> $2::uuid \
        AND ($3::text IS NULL OR organization = $3) AND ($4::text IS NULL OR external_id = $4)";
    LIST = "SELECT source, external_id, organization, code, detail, first_seen_at::text, last_seen_at::text, times \
        FROM quarantine WHERE ($1::text IS NULL OR source = $1) ORDER BY source, organization, external_id LIMIT $2";
}

/// What one run kept out, within [`super::plan::QUARANTINE_STORED_MAX`].
pub(super) async fn replace(
    tx: &mut Tx,
    scope: &Scope,
    run: RunId,
    now: Timestamp,
    rows: &[(String, Option<ExternalId>, Quarantined)],
    all_known: bool,
) -> Result<(), StoreError> {
    for (id, organization, why) in rows {
        let organization = organization.as_ref().map(|o| o.as_str().to_owned());
        tx.execute(
            UPSERT,
            args![
                &scope.source,
                id,
                organization,
                why.code.as_str(),
                &why.detail,
                now,
                run
            ],
        )
        .await?;
    }
    if all_known {
        let organization = scope.organization.as_ref().map(|o| o.as_str().to_owned());
        let external_id = scope.external_id.as_ref().map(|i| i.as_str().to_owned());
        tx.execute(CURE, args![&scope.source, run, organization, external_id])
            .await?;
    }
    Ok(())
}

/// Which entries in quarantine to read.
#[derive(Debug, Clone, Default)]
pub struct QuarantineFilter {
    /// Of one source.
    pub source: Option<SourceName>,
    /// Of one organization, by its id at the directory.
    pub organization: Option<String>,
    /// One entry, by its id.
    pub external_id: Option<String>,
    /// For one reason.
    pub code: Option<String>,
}

fn read(mut r: Row) -> Result<QuarantineRow, StoreError> {
    let source = r.text()?;
    Ok(QuarantineRow {
        source: SourceName::parse(&source)
            .map_err(|e| StoreError::new(super::StoreErrorKind::Internal, e.to_string()))?,
        external_id: r.text()?,
        organization: r.opt_text()?,
        code: r.text()?,
        detail: r.text()?,
        first_seen_at: r.time()?,
        last_seen_at: r.time()?,
        times: r.count()?,
    })
}

impl Store {
    /// One page of the entries in quarantine, by source and id; `after` is the source and the id of the last one of the
    /// page before. There are [`super::plan::QUARANTINE_STORED_MAX`] of a run at the most.
    pub async fn quarantine_page(
        &self,
        filter: &QuarantineFilter,
        after: Option<(&str, &str)>,
        limit: u64,
    ) -> Result<Vec<QuarantineRow>, StoreError> {
        let mut conditions = Conditions::default();
        if let Some(source) = &filter.source {
            conditions.and("source = $1", args![source]);
        }
        if let Some(organization) = &filter.organization {
            conditions.and("organization = $1", args![organization]);
        }
        if let Some(id) = &filter.external_id {
            conditions.and("external_id = $1", args![id]);
        }
        if let Some(code) = &filter.code {
            conditions.and("code = $1", args![code]);
        }
        if let Some((source, id)) = after {
            conditions.and("(source, external_id) > ($1, $2)", args![source, id]);
        }
        let sql = format!(
            "SELECT source, external_id, organization, code, detail, first_seen_at::text, last_seen_at::text, times \
             FROM quarantine{} ORDER BY source, external_id LIMIT {limit}",
            conditions.sql()
        );
        let rows = self.rows(&sql, conditions.args()).await?;
        rows.into_iter().map(read).collect()
    }

    /// Every entry in quarantine, of one source or of all.
    pub async fn quarantine(&self, source: Option<&SourceName>, limit: u64) -> Result<Vec<QuarantineRow>, StoreError> {
        let source = Arg::Text(source.map(|s| s.as_str().to_owned()));
        let rows = self.rows(LIST, &[source, limit.into()]).await?;
        rows.into_iter().map(read).collect()
    }
}
