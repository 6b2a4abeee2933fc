//! Runs that wait for their turn. The queue is the table of runs itself: who holds the lease of a source takes the
//! next one that waits for it, and what is asked twice waits once.

use super::Store;
use super::Tx;
use super::error::{StoreError, StoreErrorKind};
use super::lease::Lease;
use super::row::{Arg, Row, args};
use super::runs::{NewRun, RunError};
use super::sql::statements;
use crate::domain::id::{RunId, SourceName};

/// How often a request is looked up and written before it counts as a defect: between the two, another process may
/// have taken the run that was waiting.
const ATTEMPTS_MAX: u32 = 10;

statements! {
    SAME = "SELECT id::text FROM runs WHERE source = $1 AND state IN ('queued', 'running') \
        AND coalesce(organization, '') = coalesce($2, '') AND coalesce(external_id, '') = coalesce($3, '') \
        AND dry_run = $4 ORDER BY id LIMIT 1";
    QUEUE = "INSERT INTO runs (id, source, organization, external_id, organization_id, user_id, mode, dry_run, actor, \
        state, epoch, queued_at, started_at) VALUES ($1::uuid, $2, $3, $4, $5::uuid, $6::uuid, $7, $8, $9, 'queued', 0, \
        $10::timestamptz, $10::timestamptz) ON CONFLICT DO NOTHING";
    /// The narrower a run is, the sooner somebody waits for it.
    CLAIM = "UPDATE runs SET state = 'running', epoch = $2, started_at = $3::timestamptz, \
        first_run = NOT EXISTS (SELECT 1 FROM records WHERE source = $1) \
        WHERE state = 'queued' AND id = (SELECT q.id FROM runs q WHERE q.source = $1 AND q.state = 'queued' \
        ORDER BY q.external_id IS NULL, q.organization IS NULL, q.id LIMIT 1) RETURNING id::text";
    WAITING = "SELECT DISTINCT source FROM runs WHERE state = 'queued' ORDER BY source";
    REFUSE = "UPDATE runs SET state = 'failed', finished_at = $2::timestamptz, error = $3::jsonb \
        WHERE source = $1 AND state = 'queued'";
    ABANDONED = "SELECT DISTINCT source FROM runs WHERE state = 'running'";
}

fn same(new: &NewRun) -> [Arg; 4] {
    let scope = &new.scope;
    [
        (&scope.source).into(),
        scope.organization.as_ref().map(|o| o.as_str()).into(),
        scope.external_id.as_ref().map(|i| i.as_str()).into(),
        new.dry_run.into(),
    ]
}

fn parsed(mut row: Row) -> Result<RunId, StoreError> {
    row.parsed()
}

impl Store {
    /// Puts a run into the queue; answers its id, and whether it is a new one. What is waiting or under way for the
    /// same scope is not asked for twice.
    pub async fn queue_run(&self, new: &NewRun) -> Result<(RunId, bool), StoreError> {
        // Pressed fifty times, forty-nine need no right to write.
        if let Some(same) = self.row(SAME, &same(new)).await? {
            return Ok((parsed(same)?, false));
        }
        let mut tx = self.begin().await?;
        let queued = self.queue_in(&mut tx, new).await?;
        tx.commit().await?;
        Ok(queued)
    }

    /// The same inside of a transaction.
    pub(super) async fn queue_in(&self, tx: &mut Tx, new: &NewRun) -> Result<(RunId, bool), StoreError> {
        let scope = &new.scope;
        let organization = scope.organization.as_ref().map(|o| o.as_str());
        let external_id = scope.external_id.as_ref().map(|i| i.as_str());
        for _ in 0..ATTEMPTS_MAX {
            if let Some(same) = tx.row(SAME, &same(new)).await? {
                return Ok((parsed(same)?, false));
            }
            let id = RunId(self.new_id());
            let row = args![
                id,
                &scope.source,
                organization,
                external_id,
                new.organization_id.map(|o| o.to_string()),
                new.user_id.map(|u| u.to_string()),
                &new.mode,
                new.dry_run,
                &new.actor.0,
                self.now()
            ];
            if tx.execute(QUEUE, row).await? == 1 {
                return Ok((id, true));
            }
        }
        Err(StoreError::new(
            StoreErrorKind::Internal,
            format!(
                "a run of source {} could not be queued: others ask for the same one again and again; ask once more",
                scope.source
            ),
        ))
    }

    /// Takes the next waiting run of the source whose lease is held: the narrowest scope first, then the oldest.
    pub async fn claim_run(&self, lease: &Lease) -> Result<Option<RunId>, StoreError> {
        let mut tx = self.begin().await?;
        let claimed = tx.row(CLAIM, args![&lease.source, lease.epoch, self.now()]).await?;
        tx.commit().await?;
        claimed.map(|mut row| row.parsed()).transpose()
    }

    /// The sources that have runs waiting.
    pub async fn waiting_sources(&self) -> Result<Vec<SourceName>, StoreError> {
        self.source_names(WAITING).await
    }

    /// The sources that have a run under way, or one that was left behind.
    pub async fn running_sources(&self) -> Result<Vec<SourceName>, StoreError> {
        self.source_names(ABANDONED).await
    }

    /// Fails every waiting run of a source that nobody can carry out; answers how many there were.
    pub async fn refuse_waiting(&self, source: &SourceName, error: &RunError) -> Result<u64, StoreError> {
        self.execute(REFUSE, args![source, self.now(), serde_json::json!(error).to_string()])
            .await
    }

    async fn source_names(&self, sql: &str) -> Result<Vec<SourceName>, StoreError> {
        let rows = self.rows(sql, args![]).await?;
        rows.into_iter()
            .map(|mut row| {
                SourceName::parse(&row.text()?).map_err(|e| StoreError::new(StoreErrorKind::Internal, e.to_string()))
            })
            .collect()
    }
}
