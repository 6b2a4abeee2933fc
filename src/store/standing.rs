//! How one organization stands: when it was last synced, what was put back then, what is kept out. Changes nothing.

use jiff::Timestamp;

use super::Store;
use super::error::StoreError;
use super::organizations::Organization;
use super::row::args;
use super::sql::statements;

statements! {
    SYNCED = "SELECT coalesce(answered_at, finished_at, started_at)::text FROM runs WHERE id = $1::uuid";
    PUT_BACK = "SELECT count(*) FROM changes c WHERE c.run_id = $1::uuid AND c.drift AND c.organization = $2";
    KEPT_OUT = "SELECT count(*) FROM quarantine WHERE source = $1 AND organization = $2";
}

/// How one organization stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// When a run was last applied to all of it.
    pub synced_at: Option<Timestamp>,
    /// Of how many of its users that run put something back.
    pub put_back: u64,
    /// How many of its entries are in quarantine.
    pub quarantined: u64,
}

impl Store {
    /// How one organization stands.
    pub async fn organization_standing(&self, organization: &Organization) -> Result<Standing, StoreError> {
        let mut standing = Standing::default();
        let Some((source, id)) = &organization.link else {
            return Ok(standing);
        };
        if let Some(run) = organization.last_run {
            if let Some(mut row) = self.row(SYNCED, args![run]).await? {
                standing.synced_at = row.opt_time()?;
            }
            if let Some(mut row) = self.row(PUT_BACK, args![run, id]).await? {
                standing.put_back = row.count()?;
            }
        }
        if let Some(mut row) = self.row(KEPT_OUT, args![source, id]).await? {
            standing.quarantined = row.count()?;
        }
        Ok(standing)
    }
}
