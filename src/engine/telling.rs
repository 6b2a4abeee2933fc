//! What a run says in the log when it begins, goes on and ends. Decides nothing.

use super::EngineError;
use super::events::Phase;
use crate::domain::id::{RunId, SourceName};
use crate::domain::plan::Counts;
use crate::store::{Actor, Lease, NewRun, RunRow, StoreError, StoreErrorKind};
use crate::telemetry::{Event, Extent, Sentence, Who, Word, emit};

/// A run waits for its turn.
pub(super) fn queued(run: RunId, new: &NewRun) {
    emit(&Event::RunQueued {
        run,
        source: &new.scope.source,
        scope: asked_extent(new),
        dry_run: new.dry_run,
        actor: Who(&new.actor.0),
    });
}

/// A run begins.
pub(super) fn began(run: RunId, new: &NewRun) {
    emit(&Event::RunStarted {
        run,
        source: &new.scope.source,
        scope: asked_extent(new),
        dry_run: new.dry_run,
        actor: Who(&new.actor.0),
    });
}

/// A run that waited begins.
pub(super) fn claimed(source: &SourceName, row: &RunRow) {
    emit(&Event::RunStarted {
        run: row.id,
        source,
        scope: extent(row),
        dry_run: row.dry_run,
        actor: Who(&row.actor),
    });
}

/// A lease was taken; what its last holder left behind is written down as failed.
pub(super) fn leased(lease: &Lease) {
    if lease.taken_over {
        emit(&Event::LeaseTakenOver {
            source: &lease.source,
            epoch: lease.epoch,
        });
    }
    for run in &lease.interrupted {
        interrupted(*run, &lease.source);
    }
}

/// A lease was taken by another process while its run was under way.
pub(super) fn lost(lease: &Lease) {
    emit(&Event::LeaseLost {
        source: &lease.source,
        epoch: lease.epoch,
    });
}

/// A run was cut off, or left behind by a process that ended.
pub(super) fn interrupted(run: RunId, source: &SourceName) {
    emit(&Event::RunInterrupted { run, source });
}

fn asked_extent(new: &NewRun) -> Extent {
    match (&new.scope.organization, &new.scope.external_id) {
        (_, Some(_)) => Extent::User(new.user_id),
        (Some(_), None) => Extent::Organization(new.organization_id),
        (None, None) => Extent::Source,
    }
}

/// A run enters a phase.
pub(super) fn entered(run: RunId, source: &SourceName, phase: Phase) {
    emit(&Event::RunPhase {
        run,
        source,
        phase: phase.as_str(),
    });
}

/// A plan was made that cannot be applied any more.
pub(super) fn decides_again(run: RunId, source: &SourceName, why: &EngineError) {
    emit(&Event::RunDecidedAgain {
        run,
        source,
        code: why.code(),
    });
}

/// A run has ended, and even that could not be written down: because another process has done so, or the database does
/// not answer.
pub(super) fn unwritten(run: RunId, lease: &Lease, error: &StoreError) {
    if error.kind == StoreErrorKind::LeaseLost {
        return lost(lease);
    }
    emit(&Event::RunUnwritten {
        run,
        source: &lease.source,
        error: Sentence(&error.message),
    });
}

/// A run has ended, as its row says.
pub(super) fn ended(source: &SourceName, row: &RunRow, refused_roles: u64) {
    let run = row.id;
    if refused_roles > 0 {
        emit(&Event::RunRolesRefused {
            run,
            source,
            entries: refused_roles,
        });
    }
    match row.state.as_str() {
        "planned" => planned(source, row),
        "applied" => applied(source, row),
        "held" => held(source, row),
        "incomplete" => incomplete(source, row),
        _ => {
            let error = row.error.as_ref();
            emit(&Event::RunFailed {
                run,
                source,
                scope: extent(row),
                code: Word(error.map_or("unknown", |e| &e.code)),
                error: Sentence(error.map_or("no reason was written down", |e| &e.message)),
                duration_ms: duration_ms(row),
            });
        }
    }
}

fn planned(source: &SourceName, row: &RunRow) {
    let counts = row.counts.unwrap_or_default();
    emit(&Event::RunPlanned {
        run: row.id,
        source,
        scope: extent(row),
        create: counts.create,
        update: counts.update,
        enable: counts.enable,
        disable: counts.disable,
        delete: counts.delete,
        unchanged: counts.unchanged,
        drift: counts.drift,
        quarantine: counts.quarantine,
        holds: count(row.holds.len()),
        duration_ms: duration_ms(row),
    });
}

fn applied(source: &SourceName, row: &RunRow) {
    let counts = row.counts.unwrap_or_default();
    emit(&Event::RunApplied {
        run: row.id,
        source,
        scope: extent(row),
        create: counts.create,
        update: counts.update,
        enable: counts.enable,
        disable: counts.disable,
        delete: counts.delete,
        unchanged: counts.unchanged,
        drift: counts.drift,
        quarantine: counts.quarantine,
        duration_ms: duration_ms(row),
    });
}

fn held(source: &SourceName, row: &RunRow) {
    let counts = row.counts.unwrap_or_default();
    let first = row.holds.first();
    emit(&Event::RunHeld {
        run: row.id,
        source,
        scope: extent(row),
        brake: Word(first.map_or("unknown", |hold| &hold.name)),
        // The organization's own id may be its name, so it stays out of the log.
        in_organization: first.is_some_and(|hold| hold.scope != "run"),
        value: first.map_or(0, |hold| hold.value),
        limit: first.map_or(0, |hold| hold.limit),
        holds: count(row.holds.len()),
        plan: Word(row.plan_hash.as_deref().unwrap_or_default()),
        create: counts.create,
        update: counts.update,
        enable: counts.enable,
        disable: counts.disable,
        delete: counts.delete,
        duration_ms: duration_ms(row),
    });
}

fn incomplete(source: &SourceName, row: &RunRow) {
    let listing = row.listing.as_ref();
    emit(&Event::RunIncomplete {
        run: row.id,
        source,
        scope: extent(row),
        entries: listing.map_or(0, |l| l.entries),
        pages: listing.map_or(0, |l| l.pages),
        reason: Sentence(row.error.as_ref().map_or("no reason was given", |e| &e.message)),
        duration_ms: duration_ms(row),
    });
}

/// A held run was released, and is applied.
pub(super) fn released(source: &SourceName, row: &RunRow, actor: &Actor) {
    let Counts {
        create,
        update,
        enable,
        disable,
        delete,
        drift,
        ..
    } = row.counts.unwrap_or_default();
    emit(&Event::RunReleased {
        run: row.id,
        source,
        plan: Word(row.plan_hash.as_deref().unwrap_or_default()),
        actor: Who(&actor.0),
        create,
        update,
        enable,
        disable,
        delete,
        drift,
    });
}

/// A held run was not released.
pub(super) fn release_refused(run: RunId, actor: &Actor, error: &EngineError) {
    emit(&Event::RunReleaseRefused {
        run,
        code: error.code(),
        actor: Who(&actor.0),
        error: Sentence(&error.to_string()),
    });
}

/// A held run was rejected.
pub(super) fn rejected(source: &SourceName, run: RunId, actor: &Actor) {
    emit(&Event::RunRejected {
        run,
        source,
        actor: Who(&actor.0),
    });
}

/// What a run covers, by the ids that are ours.
pub fn extent(row: &RunRow) -> Extent {
    match (&row.organization, &row.external_id) {
        (_, Some(_)) => Extent::User(row.user_id),
        (Some(_), None) => Extent::Organization(row.organization_id),
        (None, None) => Extent::Source,
    }
}

fn duration_ms(row: &RunRow) -> u64 {
    let ended = row.finished_at.unwrap_or(row.started_at);
    u64::try_from(ended.as_millisecond() - row.started_at.as_millisecond()).unwrap_or(0)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
