//! Every event that the program writes, declared once. docs/log-events.md is compared with this file.
//! Adds no behaviour: what an event is written for is where it is emitted.

use std::net::SocketAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::declare::events;
use super::value::{Extent, Sentence, Who, Word};
use crate::domain::id::{OrganizationId, RunId, SourceName, UserId};

events! { <'a>
    RunQueued "run.queued" INFO { run: RunId, source: &'a SourceName, scope: Extent, dry_run: bool, actor: Who<'a> }
        says "run {run} of {source} waits for its turn ({scope}, asked for by {actor})";
        means "A run was asked for, by the schedule or by somebody, and stands in the queue.";
    RunStarted "run.started" INFO { run: RunId, source: &'a SourceName, scope: Extent, dry_run: bool, actor: Who<'a> }
        says "run {run} of {source} begins";
        means "A run has the lease of its source and begins to read.";
    RunPhase "run.phase" DEBUG { run: RunId, source: &'a SourceName, phase: &'static str }
        says "run {run} of {source} is {phase}";
        means "A run enters its next phase.";
    RunDecidedAgain "run.decided_again" INFO { run: RunId, source: &'a SourceName, code: &'static str }
        says "run {run} of {source} is decided again, because the table changed under it";
        means "Somebody edited a user between decision and apply, or a transaction was in the way. Nothing was written; the plan is made anew from what the table has now.";
    RunPlanned "run.planned" INFO {
        run: RunId, source: &'a SourceName, scope: Extent, create: u64, update: u64, enable: u64, disable: u64,
        delete: u64, unchanged: u64, drift: u64, quarantine: u64, holds: u64, duration_ms: u64,
    }
        says "dry run {run} of {source} would create {create}, update {update}, enable {enable}, disable {disable} and delete {delete}; nothing was written";
        means "A dry run has ended. `holds` counts the brakes that would have held it.";
    RunApplied "run.applied" INFO {
        run: RunId, source: &'a SourceName, scope: Extent, create: u64, update: u64, enable: u64, disable: u64,
        delete: u64, unchanged: u64, drift: u64, quarantine: u64, duration_ms: u64,
    }
        says "run {run} of {source} is applied: created {create}, updated {update}, enabled {enable}, disabled {disable}, deleted {delete}, unchanged {unchanged}";
        means "A run has written its plan, in one transaction. `drift` counts users of whom a local edit was put back, `quarantine` entries that were kept out.";
    RunRolesRefused "run.roles_refused" WARN { run: RunId, source: &'a SourceName, entries: u64 }
        says "in run {run}, {entries} entries of {source} asked for an administrative role that this source may not grant, and did not get it";
        do "see `rollcall runs show {run}`; if the directory may grant the role, say so in the configuration of the source";
        means "The directory gave people a role that administers here, and the configuration does not let it. Everything else of these entries was taken.";
    RunHeld "run.held" WARN {
        run: RunId, source: &'a SourceName, scope: Extent, brake: Word<'a>, in_organization: bool, value: u64,
        limit: u64, holds: u64, plan: Word<'a>, create: u64, update: u64, enable: u64, disable: u64, delete: u64,
        duration_ms: u64,
    }
        says "run {run} of {source} is held by the brake {brake} ({value}, where {limit} pass without a question); nothing was written";
        do "read it with `rollcall runs show {run}`, then `rollcall runs release {run} --plan {plan}` or `rollcall runs reject {run}`";
        means "The plan looks like an accident, so it waits for a person. `brake`, `value` and `limit` are of the first brake that held it, `holds` counts all.";
    RunIncomplete "run.incomplete" WARN {
        run: RunId, source: &'a SourceName, scope: Extent, entries: u64, pages: u64, reason: Sentence<'a>, duration_ms: u64,
    }
        says "run {run} of {source} read {entries} entries and not all of the directory, so nothing was written: {reason}";
        do "remove the cause at the directory or in the configuration; the next run reads anew";
        means "The listing has no proof of being complete, so nobody can be taken for missing.";
    RunFailed "run.failed" ERROR {
        run: RunId, source: &'a SourceName, scope: Extent, code: Word<'a>, error: Sentence<'a>, duration_ms: u64,
    }
        says "run {run} of {source} failed and wrote nothing: {error}";
        do "remove the cause; the next run begins anew";
        means "The directory could not be read, or the database could not be written. The code is one of those in docs/commands.md.";
    RunUnwritten "run.unwritten" ERROR { run: RunId, source: &'a SourceName, error: Sentence<'a> }
        says "how run {run} of {source} ended could not be written down: {error}";
        do "look at the database; the next run of the source marks this one as failed";
        means "A run failed, and so did writing that down. Nothing of it was applied.";
    RunInterrupted "run.interrupted" WARN { run: RunId, source: &'a SourceName }
        says "run {run} of {source} was interrupted and wrote nothing";
        do "no need to act, unless the program did not stop on purpose: then look at the lines before; the next run begins anew";
        means "The process that carried out the run was stopped or killed, or its lease was lost.";
    RunReleased "run.released" INFO {
        run: RunId, source: &'a SourceName, plan: Word<'a>, actor: Who<'a>, create: u64, update: u64, enable: u64,
        disable: u64, delete: u64, drift: u64,
    }
        says "held run {run} of {source} was released and applied: created {create}, updated {update}, enabled {enable}, disabled {disable}, deleted {delete}";
        means "Somebody read the plan of a held run and let exactly this plan pass.";
    RunReleaseRefused "run.release_refused" WARN { run: RunId, code: &'static str, actor: Who<'a>, error: Sentence<'a> }
        says "the release of run {run} was refused: {error}";
        do "where the plan is stale, run the source again and read the new plan";
        means "Somebody asked for a held plan to be applied, and it no longer fits, is another plan, or was answered already. Nothing was written.";
    RunRejected "run.rejected" INFO { run: RunId, source: &'a SourceName, actor: Who<'a> }
        says "held run {run} of {source} was rejected";
        means "Somebody refused the plan of a held run. Nothing of it was or will be applied.";

    SourceDue "source.due" DEBUG { source: &'a SourceName, due: Timestamp }
        says "{source} is due since {due}";
        means "The time of a scheduled run has come.";
    SourceMissed "source.missed" WARN { source: &'a SourceName, due: Timestamp, late_s: u64 }
        says "{source} was due at {due}, {late_s} s ago, and was not run then";
        do "no need to act: it runs once, now; look at the lines before if the program was not stopped on purpose";
        means "The program did not run, or stood still, when a source was due. However many times were missed, it is caught up once.";
    SourcePaused "source.paused" WARN { source: &'a SourceName, actor: Who<'a> }
        says "{source} is paused: its schedule starts nothing";
        do "resume it when the reason is gone";
        means "Somebody paused a source. What is asked for by hand is carried out all the same.";
    SourceResumed "source.resumed" INFO { source: &'a SourceName, actor: Who<'a> }
        says "{source} is resumed";
        means "Somebody ended the pause of a source.";
    LeaseLost "lease.lost" ERROR { source: &'a SourceName, epoch: i64 }
        says "the lease of {source} was lost to another process; its run writes nothing any more";
        do "look for a second daemon on this database, and whether this one stood still";
        means "A run held its source longer than its lease was renewed, and another process took it. The database refuses what the old one writes.";
    LeaseTakenOver "lease.taken_over" WARN { source: &'a SourceName, epoch: i64 }
        says "the lease of {source} was left behind by another process and is taken over";
        do "no need to act, if the process that held it was stopped; else look why it stood still";
        means "Another process held the source and did not renew its lease: it was killed, or stood still.";

    DaemonStarted "daemon.started" INFO { version: &'static str, sources: u64, database: &'static str }
        says "rollcall {version} starts on {database}; sources: {sources}";
        means "The daemon has read its configuration.";
    DaemonReady "daemon.ready" INFO { listen: SocketAddr }
        says "ready: the API answers at {listen}, and the schedule runs";
        means "The daemon has reached its database and begun to serve.";
    DaemonReloaded "daemon.reloaded" INFO { sources: u64 }
        says "the configuration was read again and is in force; sources: {sources}";
        means "SIGHUP was answered. Runs under way end with the configuration they began with.";
    DaemonReloadRefused "daemon.reload_refused" ERROR { error: Sentence<'a> }
        says "the configuration was read again and is broken, so the one before stays in force: {error}";
        do "correct it (`rollcall check` shows every mistake) and reload again";
        means "SIGHUP found a configuration that cannot be used.";
    DaemonRestartNeeded "daemon.restart_needed" WARN { section: &'static str }
        says "what [{section}] of the configuration says has changed, and takes effect at the next start";
        do "restart the daemon when it suits";
        means "SIGHUP was answered, and everything else is in force.";
    DaemonStopping "daemon.stopping" INFO { running: u64 }
        says "stopping; runs under way: {running}";
        means "The daemon takes no more work, and ends what is under way or breaks it off in time.";
    DaemonStopped "daemon.stopped" INFO { duration_ms: u64 }
        says "stopped after {duration_ms} ms";
        means "The daemon has ended in order.";
    DatabaseUnreachable "database.unreachable" ERROR { code: &'static str, error: Sentence<'a> }
        says "the database cannot be reached: {error}";
        do "look whether it runs; nothing is lost, and work goes on when it answers";
        means "A statement of the daemon itself could not be carried out. It is tried again, and this is said once until it succeeds.";
    DatabaseBack "database.back" INFO { down_ms: u64 }
        says "the database answers again, after {down_ms} ms";
        means "What `database.unreachable` said is over.";
    SchedulerStalled "scheduler.stalled" WARN { silent_s: u64 }
        says "no tick came for {silent_s} s, so the ticking was set up anew";
        do "no need to act, unless it is said again and again: then look at the load of the machine, and report this with the log";
        means "What wakes the scheduler fell silent: a machine that is overloaded or slept, or a clock that was put back. What is due meanwhile is run now.";
    ClockJumped "clock.jumped" WARN { by_s: i64 }
        says "the clock of this machine jumped by {by_s} s";
        do "look at its time synchronization; what is due now runs once, and leases are measured anew";
        means "Two looks at the clock are further apart than the time that passed between them.";
    TaskPanicked "task.panicked" ERROR { location: Sentence<'a> }
        says "a part of the program ended in a defect at {location}; the rest goes on";
        do "report it with the log";
        means "A defect of the program. A run in which it happened fails alone. What the defect said is not written, because it may hold data.";

    UserCreated "user.created" INFO { user: UserId, actor: Who<'a> }
        says "user {user} was created";
        means "An administrator created a user.";
    UserEdited "user.edited" INFO { user: UserId, actor: Who<'a> }
        says "user {user} was edited";
        means "An administrator edited a user. `rollcall users show` says what.";
    UserDisabled "user.disabled" INFO { user: UserId, actor: Who<'a> }
        says "user {user} was disabled";
        means "An administrator disabled a user; no run enables it again.";
    UserEnabled "user.enabled" INFO { user: UserId, actor: Who<'a> }
        says "user {user} was enabled";
        means "An administrator enabled a user.";
    UserDeleted "user.deleted" INFO { user: UserId, actor: Who<'a> }
        says "user {user} was deleted";
        means "An administrator deleted a user.";
    OrganizationFollowed "organization.followed" INFO { organization: OrganizationId, actor: Who<'a> }
        says "organization {organization} is followed";
        means "An administrator had scheduled runs cover an organization.";
    OrganizationUnfollowed "organization.unfollowed" INFO { organization: OrganizationId, actor: Who<'a> }
        says "organization {organization} is no longer followed";
        means "An administrator had scheduled runs leave an organization out. Its users stay as they are.";
    TokenCreated "token.created" INFO { token: Uuid, scope: &'static str, actor: Who<'a> }
        says "API token {token} was created with the scope {scope}";
        means "Somebody made an API token.";
    TokenRevoked "token.revoked" INFO { token: Uuid, actor: Who<'a> }
        says "API token {token} was revoked";
        means "Somebody revoked an API token; it is refused from now on.";
    TokenRefused "token.refused" WARN { reason: &'static str, token: Option<Uuid> }
        says "a request was refused for its API token: {reason}";
        do "if this goes on, look who asks (the proxy's log has the address) and revoke or renew the token";
        means "The API was asked with a token that is unknown, expired or revoked, or whose scope does not reach. Written at most once in ten seconds for a reason; the counter has each.";

    HttpRequest "http.request" DEBUG { method: &'static str, route: Word<'a>, status: u16, duration_us: u64 }
        says "{method} {route} was answered with {status} in {duration_us} µs";
        means "A request was answered. `route` is the template, without ids and without the query.";
    HttpFailed "http.failed" ERROR { method: &'static str, route: Word<'a>, status: u16, code: Word<'a>, error: Sentence<'a> }
        says "{method} {route} failed with {status}: {error}";
        do "look at the code and at the lines before";
        means "The program, or its database, could not answer a request that was in order.";
    HttpRefused "http.refused" WARN { reason: &'static str }
        says "a connection was refused: {reason}";
        do "raise the limit in [http] if these are your own clients";
        means "A limit of connections, time or size was met. Written at most once in ten seconds for a reason; the counter has each.";
    LogFilterRefused "log.filter_refused" WARN { used: &'static str }
        says "ROLLCALL_LOG cannot be read as a filter, so {used} is used";
        do "write a level (error, warn, info, debug, trace), or targets with levels, as in rollcall=debug";
        means "The environment variable that says what is logged has a mistake.";
}

/// The fields, by name; one name means the same in every event.
pub const FIELDS: &[(&str, &str)] = &[
    (
        "actor",
        "who asked: `schedule`, `cli:` and the account of the system, `api:` and the name of a token",
    ),
    ("brake", "the brake, as in [brakes] of the configuration"),
    ("by_s", "seconds, negative where the clock went back"),
    ("code", "the stable code of the error"),
    ("create", "users created, or to be created"),
    ("database", "the engine: sqlite or postgres"),
    ("delete", "users deleted, or to be deleted"),
    ("disable", "users disabled, or to be disabled"),
    ("down_ms", "milliseconds since the first failure"),
    ("drift", "users of whom a local edit of a directory's field is put back"),
    ("dry_run", "whether the run stops before its first write"),
    ("due", "when the source was due"),
    ("duration_ms", "milliseconds it took"),
    ("duration_us", "microseconds it took"),
    ("enable", "users enabled, or to be enabled"),
    ("entries", "entries read, or concerned"),
    ("epoch", "the number of the lease; each holder has a higher one"),
    ("error", "one sentence: what, where, what to do"),
    ("holds", "brakes that hold the plan, or would"),
    (
        "in_organization",
        "whether the brake weighed one organization, and not the run as a whole",
    ),
    ("late_s", "seconds since it was due"),
    ("limit", "what passes without a question"),
    ("listen", "address and port"),
    ("location", "file and line in the program's source"),
    ("method", "the HTTP method"),
    ("organization", "the id of the organization here"),
    ("pages", "pages read"),
    (
        "phase",
        "preparing, reading, confirming, deciding, weighing or applying",
    ),
    ("plan", "the hash of the plan"),
    ("quarantine", "entries kept out"),
    ("reason", "why, in words"),
    ("route", "the template of the path"),
    ("run", "the id of the run"),
    ("running", "runs under way"),
    (
        "scope",
        "what a run covers: source, or organization or user with its id here; of a token: read, sync or admin",
    ),
    ("section", "the section of the configuration"),
    ("silent_s", "seconds since its last sign of life"),
    ("source", "the name of the source"),
    ("sources", "sources that the configuration names"),
    ("status", "the HTTP status"),
    ("token", "the id of the API token, never the token"),
    ("unchanged", "entries that ask for nothing"),
    ("update", "users updated, or to be updated"),
    ("used", "the level that is used"),
    ("user", "the id of the user here"),
    ("value", "what was counted"),
    ("version", "the version of the program"),
];
