//! How every source stands, in three statements that each read an index or a small table: asked at each scrape.

use super::Store;
use super::error::{StoreError, StoreErrorKind};
use super::row::args;
use super::sql::statements;
use crate::domain::id::SourceName;
use crate::domain::vitals::Vitals;

statements! {
    STATES = "SELECT k.source, s.complete_at::text, d.due_at::text, d.paused_at::text \
        FROM (SELECT source FROM source_state UNION SELECT source FROM schedules) k \
        LEFT JOIN source_state s ON s.source = k.source LEFT JOIN schedules d ON d.source = k.source";
    OPEN = "SELECT source, state, count(*), min(finished_at)::text FROM runs \
        WHERE state IN ('queued', 'running', 'held') GROUP BY source, state";
    QUARANTINED = "SELECT source, count(*) FROM quarantine GROUP BY source";
}

impl Store {
    /// How each source stands of which anything is known.
    pub async fn vitals(&self) -> Result<Vec<Vitals>, StoreError> {
        let mut all: Vec<Vitals> = Vec::new();
        let mut session = self.session().await?;
        let mut on = session.conn();
        for mut row in on.rows(STATES, args![]).await? {
            let vitals = of(&mut all, &row.text()?)?;
            vitals.complete_at = row.opt_time()?;
            vitals.due_at = row.opt_time()?;
            vitals.is_paused = row.opt_time()?.is_some();
        }
        for mut row in on.rows(OPEN, args![]).await? {
            let vitals = of(&mut all, &row.text()?)?;
            let (state, count, since) = (row.text()?, row.count()?, row.opt_time()?);
            match state.as_str() {
                "queued" => vitals.queued = count,
                "running" => vitals.running = count,
                _ => {
                    vitals.held = count;
                    vitals.held_since = since;
                }
            }
        }
        for mut row in on.rows(QUARANTINED, args![]).await? {
            let vitals = of(&mut all, &row.text()?)?;
            vitals.quarantined = row.count()?;
        }
        Ok(all)
    }
}

/// The vitals of a source, new where there are none yet.
fn of<'v>(all: &'v mut Vec<Vitals>, source: &str) -> Result<&'v mut Vitals, StoreError> {
    let at = match all.iter().position(|vitals| vitals.source.as_str() == source) {
        Some(at) => at,
        None => {
            let name =
                SourceName::parse(source).map_err(|e| StoreError::new(StoreErrorKind::Internal, e.to_string()))?;
            all.push(Vitals::new(name));
            all.len() - 1
        }
    };
    Ok(&mut all[at])
}
