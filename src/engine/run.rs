//! One run from its lease to its end. A dry run is the same run, stopped at the one place where runs stop.

use futures_util::stream::StreamExt;
use jiff::ToSpan;

use super::draft::{Decided, Draft};
use super::events::{Observer, Phase, Progress};
use super::heartbeat::Heartbeat;
use super::intake::Intake;
use super::reading::Reading;
use super::{Engine, EngineError, Setup, telling};
use crate::domain::brake::{Circumstances, Hold, brake};
use crate::domain::decide::{Case as DomainCase, Decision, Facts, Policy, Presence, decide};
use crate::domain::id::{ExternalId, RunId, SourceName};
use crate::domain::quarantine::Quarantined;
use crate::domain::run::{PlanSummary, Scope, Verdict, verdict};
use crate::store::{
    Actor, Applied, Case, Comparison, Lease, Listed, NewRun, QUARANTINE_STORED_MAX, Released, RunError, RunRow, Staged,
};

/// How often a plan is decided anew where the table changed between decision and apply.
const DECISIONS_MAX: u32 = 3;

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// One organization, by its id at the directory.
    pub organization: Option<ExternalId>,
    /// One entry.
    pub user: Option<ExternalId>,
    /// Whether to stop before the first write.
    pub dry_run: bool,
    /// Who asks.
    pub actor: Actor,
}

impl Request {
    /// What it covers of `source`.
    pub(super) fn scope(&self, source: &SourceName) -> Scope {
        Scope {
            source: source.clone(),
            organization: self.organization.clone(),
            external_id: self.user.clone(),
        }
    }
}

/// An entry that a run kept out: its id, its organization, and why.
pub type Quarantine = (String, Option<ExternalId>, Quarantined);

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The run, as it is stored.
    pub run: RunRow,
    /// Entries kept out, at most [`QUARANTINE_STORED_MAX`].
    pub quarantined: Vec<Quarantine>,
    /// Entries that asked for an administrative role that the source may not grant.
    pub refused_roles: u64,
}

/// How the work of a run ended, before it is written down.
enum Ending {
    Incomplete(String),
    Stopped(&'static str, PlanSummary, Vec<Hold>),
    Applied,
}

/// What a run found, besides its plan.
#[derive(Default)]
struct Findings {
    quarantined: Vec<Quarantine>,
    refused_roles: u64,
}

/// One run under way.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) setup: &'a Setup,
    request: &'a Request,
    pub(super) scope: &'a Scope,
    id: RunId,
    lease: &'a Lease,
    pub(super) observer: &'a dyn Observer,
    pub(super) progress: Progress,
    found: Findings,
}

impl Engine {
    /// Runs a source, or one organization or entry of it, from listing to apply.
    ///
    /// What goes wrong after the run has begun is written down with it, and answered in the report.
    ///
    /// # Errors
    /// Where no run could begin: [`EngineError::is_busy`] while another holds the source, or the database fails.
    pub async fn sync(&self, setup: &Setup, request: &Request, observer: &dyn Observer) -> Result<Report, EngineError> {
        let scope = request.scope(setup.name());
        let lease = self.lease(&scope.source).await?;
        let heartbeat = Heartbeat::start(self, &lease);
        let result = self.begin_and_run(&scope, setup, request, &lease, observer).await;
        drop(heartbeat);
        let returned = self.store.release_lease(&lease).await;
        let report = result?;
        returned?;
        Ok(report)
    }

    /// What is written down of a run when it is asked for, or begins.
    pub(super) async fn new_run(&self, scope: &Scope, request: &Request) -> Result<NewRun, EngineError> {
        let organization_id = match &scope.organization {
            Some(id) => self
                .store
                .known_organizations(&scope.source)
                .await?
                .get(id)
                .map(|o| o.id),
            None => None,
        };
        let user_id = match &scope.external_id {
            Some(id) => super::scope::linked_user(&self.store, &scope.source, id).await?,
            None => None,
        };
        Ok(NewRun {
            scope: scope.clone(),
            organization_id,
            user_id,
            mode: "full".into(),
            dry_run: request.dry_run,
            actor: request.actor.clone(),
        })
    }

    async fn begin_and_run(
        &self,
        scope: &Scope,
        setup: &Setup,
        request: &Request,
        lease: &Lease,
        observer: &dyn Observer,
    ) -> Result<Report, EngineError> {
        let new = self.new_run(scope, request).await?;
        let id = self.store.start_run(&new, lease).await?;
        telling::began(id, &new);
        self.run_begun(id, scope, setup, request, lease, observer).await
    }

    /// Carries out a run that is written down as running.
    pub(super) async fn run_begun(
        &self,
        id: RunId,
        scope: &Scope,
        setup: &Setup,
        request: &Request,
        lease: &Lease,
        observer: &dyn Observer,
    ) -> Result<Report, EngineError> {
        let progress = Progress {
            phase: Phase::Preparing,
            entries: 0,
            pages: 0,
            changes: 0,
        };
        let mut run = Run {
            engine: self,
            setup,
            request,
            scope,
            id,
            lease,
            observer,
            progress,
            found: Findings::default(),
        };
        match run.work().await {
            Ok(Ending::Applied) => {}
            Ok(Ending::Stopped(state, plan, holds)) => {
                self.store.finish_run(id, state, Some(&plan), &holds, None).await?
            }
            Ok(Ending::Incomplete(reason)) => {
                let error = RunError {
                    code: "incomplete".into(),
                    message: reason,
                };
                self.store.finish_run(id, "incomplete", None, &[], Some(&error)).await?;
            }
            Err(error) => {
                let why = error.to_run_error();
                if let Err(unwritten) = self.store.finish_run(id, "failed", None, &[], Some(&why)).await {
                    // The cause is worth more than its consequence; the next run marks this one as failed.
                    telling::unwritten(id, lease, &unwritten);
                    return Err(error);
                }
            }
        }
        let Findings {
            quarantined,
            refused_roles,
        } = run.found;
        let row = self.known_run(id).await?;
        telling::ended(&scope.source, &row, refused_roles);
        Ok(Report {
            run: row,
            quarantined,
            refused_roles,
        })
    }
}

impl Run<'_> {
    pub(super) fn enter(&mut self, phase: Phase) {
        self.progress.phase = phase;
        telling::entered(self.id, &self.scope.source, phase);
        self.observer.progress(self.progress);
    }

    async fn work(&mut self) -> Result<Ending, EngineError> {
        self.enter(Phase::Preparing);
        let policy = self.setup.policy();
        // The directory is asked while we read what we hold of it.
        let reading = self.start_reading();
        let mut comparison = Comparison::begin(&self.engine.store, self.id, self.scope, &policy).await?;
        let ending = self.compare(reading, &mut comparison).await;
        // A plan that is to be forgotten must not be written any more.
        let ended = comparison.end().await;
        let ending = ending?;
        ended?;
        Ok(ending)
    }

    /// Reads the scope, compares it with what we hold, and settles what comes of it.
    async fn compare(&mut self, reading: Option<Reading>, comparison: &mut Comparison) -> Result<Ending, EngineError> {
        let store = &self.engine.store;
        let policy = self.setup.policy();
        let mut intake = Intake::new(self.setup, self.scope, store).await?;
        self.enter(Phase::Reading);
        let mut listing = self.read(reading, &mut intake, comparison).await?;
        if intake.not_followed > 0 {
            listing.proof.push(match intake.not_followed {
                1 => "1 entry belongs to an organization that is not followed".to_owned(),
                n => format!("{n} entries belong to organizations that are not followed"),
            });
        }
        if comparison.has_nameless() {
            listing
                .proof
                .push("some entries have no readable id, so nobody is taken for missing".into());
        }
        self.found.refused_roles = intake.refused_roles;
        let listed = Listed {
            complete: listing.complete,
            entries: listing.entries,
            pages: listing.pages,
            proof: listing.proof.clone(),
            reason: listing.reason.clone(),
        };
        store.set_listing(self.id, &listed).await?;
        if !listing.complete {
            let reason = listing.reason.unwrap_or_else(|| "the listing was not complete".into());
            return Ok(Ending::Incomplete(reason));
        }
        let unlike = comparison.settle(&policy).await?;
        self.read_again(unlike, &mut intake, comparison).await?;
        if !comparison.has_nameless() {
            comparison.find_absent().await?;
            if self.scope.organization.is_some() {
                self.confirm_absences(&mut intake, comparison).await?;
            }
        }
        comparison.conclude(&policy).await?;
        self.settle(comparison, &intake, listing.as_of).await
    }

    /// Decides, weighs, and applies; again where the table changed under the decision.
    async fn settle(
        &mut self,
        comparison: &mut Comparison,
        intake: &Intake<'_>,
        as_of: Option<String>,
    ) -> Result<Ending, EngineError> {
        let mut attempt = 1;
        loop {
            self.enter(Phase::Deciding);
            let decided = self.decide(comparison, intake).await?;
            self.enter(Phase::Weighing);
            let holds = self.weigh(&decided, intake.in_scope).await?;
            match verdict(self.request.dry_run, holds.clone()) {
                Verdict::Show => return Ok(Ending::Stopped("planned", decided.plan, holds)),
                Verdict::Hold(holds) => return Ok(Ending::Stopped("held", decided.plan, holds)),
                Verdict::Proceed => {}
            }
            self.enter(Phase::Applying);
            match self.apply(&decided.plan, as_of.clone()).await {
                Ok(()) => return Ok(Ending::Applied),
                Err(e) if attempt < DECISIONS_MAX && (e.is_stale() || is_transient(&e)) => {
                    attempt += 1;
                    telling::decides_again(self.id, &self.scope.source, &e);
                    comparison.reconsider(&self.setup.policy()).await?;
                    self.engine.store.forget_plan(self.id).await?;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Judges every staged case in the order of the plan, and writes the plan.
    async fn decide(&mut self, comparison: &mut Comparison, intake: &Intake<'_>) -> Result<Decided, EngineError> {
        let setup = self.setup;
        let policy = setup.policy();
        let store = self.engine.store.clone();
        let mut draft = Draft::new(&store, self.id, intake.organizations(), comparison);
        self.progress.changes = draft.changes();
        let administrator_remains = comparison.administrator_remains(&policy).await?;
        let mut cases = comparison.cases(&policy);
        while let Some(case) = cases.next().await {
            let case = case?;
            let holder = match case.holder {
                Some(id) => store.holder(&self.scope.source, id, setup.mapping.roles()).await?,
                None => None,
            };
            let facts = Facts {
                holder,
                administrator_remains,
            };
            let decision = judge(&case, &facts, &policy);
            if matches!(decision, Decision::Change(_)) {
                self.progress.changes += 1;
                if self.progress.changes.is_multiple_of(1_000) {
                    self.observer.progress(self.progress);
                }
            }
            draft.take(case, decision).await?;
        }
        drop(cases);
        let (decided, quarantined) = draft.finish().await?;
        self.found.quarantined = quarantined;
        Ok(decided)
    }

    /// What the brakes say to the plan.
    async fn weigh(&self, decided: &Decided, entries: u64) -> Result<Vec<Hold>, EngineError> {
        let brakes = &self.setup.brakes;
        let store = &self.engine.store;
        let counts = &decided.plan.counts;
        let watched = counts.create + counts.disable + counts.delete + counts.email_change + counts.role_change;
        // Without anything that a brake watches, only an empty listing or a first run can be held: no need to count
        // what the plan would be weighed against.
        let first_run_asked = brakes.hold_first_run && counts.has_changes();
        if entries > 0 && watched == 0 && !first_run_asked {
            return Ok(vec![]);
        }
        let window = i64::from(brakes.window_hours);
        let since = store.now().checked_sub(window.hours()).unwrap_or(jiff::Timestamp::MIN);
        let scopes = store.weigh(self.scope, &decided.by_organization, since).await?;
        let first_run = !store.has_records(&self.scope.source).await?;
        let new_organization = self.scope.organization.is_some() && scopes.first().is_some_and(|whole| whole.base == 0);
        // One entry that is gone is not an empty directory.
        let entries = if self.scope.external_id.is_some() {
            entries.max(1)
        } else {
            entries
        };
        Ok(brake(
            brakes,
            Circumstances {
                entries,
                first_run,
                new_organization,
            },
            &scopes,
        ))
    }

    async fn apply(&self, plan: &PlanSummary, as_of: Option<String>) -> Result<(), EngineError> {
        let quarantined = &self.found.quarantined;
        let all_known = quarantined.len() < QUARANTINE_STORED_MAX;
        let what = Applied {
            run: self.id,
            scope: self.scope,
            plan,
            lease: self.lease,
            roles: self.setup.mapping.roles(),
            actor: &self.request.actor,
            released: Released::ByRun {
                quarantined,
                all_known,
                as_of,
            },
        };
        Ok(self.engine.store.apply(&what).await?)
    }
}

fn is_transient(error: &EngineError) -> bool {
    matches!(error, EngineError::Store(e) if e.is_transient())
}

fn judge(case: &Case, facts: &Facts, policy: &Policy<'_>) -> Decision {
    let presence = match &case.content {
        Some(Staged::Mapped(entry)) => Presence::Present(entry),
        Some(Staged::Bad(why)) => Presence::Quarantined(why),
        None => Presence::Absent,
    };
    decide(
        DomainCase {
            presence,
            record: case.record.as_ref(),
            user: case.user.as_ref(),
            facts,
        },
        policy,
    )
}
