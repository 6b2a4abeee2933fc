//! Runs that are asked for now and carried out when it is their turn: queued, claimed with the lease of their source,
//! run to their end, or given up.

use jiff::Timestamp;

use super::answer::scope_of;
use super::events::Observer;
use super::heartbeat::Heartbeat;
use super::{Engine, EngineError, Report, Request, Setup, telling};
use crate::domain::id::{RunId, SourceName};
use crate::domain::run::Scope;
use crate::store::{Actor, Lease, RunError, StoreError, StoreErrorKind};

/// The code of a run that the end of the daemon cut off, or that a dead process left behind.
pub const INTERRUPTED: &str = "interrupted";

/// A run whose turn it is, with the right to write. Its lease is kept up for as long as this lives.
#[derive(Debug)]
pub struct Claimed {
    run: RunId,
    scope: Scope,
    request: Request,
    lease: Lease,
    heartbeat: Heartbeat,
}

impl Claimed {
    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// What it covers.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What was asked.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The right to write, for giving it up where the run itself cannot any more.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }
}

impl Engine {
    /// Asks for a run; answers its id, and whether it is a new one. What is waiting or under way for the same scope is
    /// the same run.
    ///
    /// # Errors
    /// As the database says.
    pub async fn queue(&self, source: &SourceName, request: &Request) -> Result<(RunId, bool), EngineError> {
        let new = self.new_run(&request.scope(source), request).await?;
        let (run, is_new) = self.store.queue_run(&new).await?;
        if is_new {
            telling::queued(run, &new);
        }
        Ok((run, is_new))
    }

    /// Puts a run of a source that is due into its queue, and moves the time at which it is due next from `seen` to
    /// `next`: both, or neither where another process has done so. Without `run` only the time is moved.
    ///
    /// # Errors
    /// As the database says.
    pub async fn set_due(
        &self,
        source: &SourceName,
        schedule: &str,
        seen: Option<Timestamp>,
        next: Timestamp,
        run: Option<&Request>,
    ) -> Result<bool, EngineError> {
        let new = match run {
            Some(request) => Some(self.new_run(&request.scope(source), request).await?),
            None => None,
        };
        let moved = self
            .store
            .set_due(source, schedule, seen, Some(next), new.as_ref())
            .await?;
        if let (Some(Some((run, true))), Some(new)) = (moved, &new) {
            telling::queued(run, new);
        }
        Ok(moved.is_some())
    }

    /// Takes the lease of a source.
    pub(super) async fn lease(&self, source: &SourceName) -> Result<Lease, StoreError> {
        let lease = self.store.take_lease(source).await?;
        telling::leased(&lease);
        Ok(lease)
    }

    /// Takes the lease of a source and the next run that waits for it; `None` where none does.
    ///
    /// # Errors
    /// [`EngineError::is_busy`] while another run holds the source, or as the database says.
    pub async fn claim(&self, source: &SourceName) -> Result<Option<Claimed>, EngineError> {
        let lease = self.lease(source).await?;
        let heartbeat = Heartbeat::start(self, &lease);
        let run = match self.store.claim_run(&lease).await {
            Ok(Some(run)) => run,
            none_or_error => {
                drop(heartbeat);
                self.store.release_lease(&lease).await?;
                none_or_error?;
                return Ok(None);
            }
        };
        let row = self.known_run(run).await?;
        let scope = scope_of(&row)?;
        telling::claimed(source, &row);
        let request = Request {
            organization: scope.organization.clone(),
            user: scope.external_id.clone(),
            dry_run: row.dry_run,
            actor: Actor(row.actor),
        };
        Ok(Some(Claimed {
            run,
            scope,
            request,
            lease,
            heartbeat,
        }))
    }

    /// Carries out a claimed run, and gives its lease back.
    ///
    /// # Errors
    /// Where its end could not be written down; what went wrong in the run itself is in the report.
    pub async fn carry_out(
        &self,
        setup: &Setup,
        claimed: Claimed,
        observer: &dyn Observer,
    ) -> Result<Report, EngineError> {
        let Claimed {
            run,
            scope,
            request,
            lease,
            heartbeat,
        } = claimed;
        let result = self.run_begun(run, &scope, setup, &request, &lease, observer).await;
        drop(heartbeat);
        let returned = self.store.release_lease(&lease).await;
        let report = result?;
        returned?;
        Ok(report)
    }

    /// Ends a run that was cut off, and gives its lease back; answers whether it had not ended by itself.
    ///
    /// # Errors
    /// As the database says; the next holder of the lease then writes the end down.
    pub async fn give_up(&self, run: RunId, lease: &Lease, why: &RunError) -> Result<bool, EngineError> {
        let running = self.known_run(run).await?.state == "running";
        if running {
            self.store.finish_run(run, "failed", None, &[], Some(why)).await?;
            match why.code.as_str() {
                INTERRUPTED => telling::interrupted(run, &lease.source),
                _ => telling::ended(&lease.source, &self.known_run(run).await?, 0),
            }
        }
        self.store.release_lease(lease).await?;
        Ok(running)
    }

    /// Marks what a dead process left running, so that nobody waits for it.
    ///
    /// # Errors
    /// As the database says.
    pub async fn recover(&self) -> Result<(), EngineError> {
        for source in self.store.running_sources().await? {
            match self.lease(&source).await {
                Ok(lease) => self.store.release_lease(&lease).await?,
                Err(error) if error.kind == StoreErrorKind::LeaseHeld => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
