//! A run as it goes, as Server-Sent Events (HTML, section 9.2): how far it is, then the result. One that another
//! process carries out is followed in the database.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::{Code, Problem};
use super::super::extract::Path;
use super::super::server::Stopping;
use super::super::{App, wire};
use super::ProblemDocument;
use super::runs::{has_ended, known};
use crate::domain::id::RunId;
use crate::domain::token::TokenScope;
use crate::engine::Progress;
use crate::store::RunRow;

/// How often a run is looked up that waits, or that another process carries out.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Least time between two events: people read no faster.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When a client that lost its stream is to come back.
const RETRY: Duration = Duration::from_secs(2);

/// Longest stream. Its client comes back by itself, and its token is looked at again.
const STREAM_MAX: Duration = Duration::from_secs(15 * 60);

/// The id of the last event. A client that has it wants nothing more.
const RESULT: &str = "result";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RunProgress {
    /// The run.
    run: String,
    /// `queued` or `running`.
    state: String,
    /// `preparing`, `reading`, `confirming`, `deciding`, `weighing` or `applying`; null where another process carries it
    /// out, or none yet.
    phase: Option<&'static str>,
    /// Entries read so far.
    entries: u64,
    /// Pages read so far.
    pages: u64,
    /// Changes decided so far.
    changes: u64,
}

/// One event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the stream writes; nothing makes one")]
struct RunEvent {
    /// `progress` or `result`.
    #[schema(example = "progress")]
    event: String,
    /// What a client that comes back sends as `Last-Event-ID`.
    id: String,
    /// JSON: how far the run is (`run`, `state`, `phase`, `entries`, `pages`, `changes`), or the run itself.
    data: String,
}

/// A run as it goes: events `progress`, then one `result` with the run, and the end.
#[utoipa::path(
    get, path = "/runs/{id}/events", tag = "runs", operation_id = "followRun",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "Server-Sent Events", body = RunEvent, content_type = "text/event-stream"),
        (status = 204, description = "The client has seen the result: `Last-Event-ID` says so"),
        (status = 503, description = "Too many streams are open, or the database cannot be asked", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn events(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.need(TokenScope::Read)?;
    let row = known(&app, &id).await?;
    if headers.get("last-event-id").is_some_and(|seen| seen == RESULT) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = app.stream_place().ok_or_else(|| {
        Problem::new(
            Code::TooManyStreams,
            "as many event streams are open as there may be; close one, or ask GET /runs/{id} now and then",
        )
    })?;
    let follower = Follower {
        app,
        run: row.id,
        row: Some(row),
        progress: None,
        told: None,
        events: 0,
        until: Instant::now() + STREAM_MAX,
        ended: false,
        _place: place,
    };
    let events = stream::unfold(follower, Follower::next);
    let events = futures_util::StreamExt::take_until(events, async move {
        match stopping {
            Some(Extension(stopping)) => stopping.stopped().await,
            None => std::future::pending().await,
        }
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// Somebody who watches a run.
struct Follower {
    app: App,
    run: RunId,
    /// The run as it was last looked up; none where it has to be looked up again.
    row: Option<RunRow>,
    /// How far it is, where this process carries it out.
    progress: Option<watch::Receiver<Progress>>,
    /// What was told last, and when.
    told: Option<(RunProgress, Instant)>,
    events: u64,
    until: Instant,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.ended || Instant::now() >= self.until {
                return None;
            }
            let Some(row) = self.look().await else {
                // The database does not answer, or the run is gone; the next look tells which.
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            if has_ended(&row) {
                self.ended = true;
                let event = Event::default().event("result").id(RESULT).json_data(wire::run(&row));
                return Some((Ok(event.unwrap_or_default()), self));
            }
            let far = self.far(&row);
            if self.told.as_ref().is_none_or(|(told, _)| *told != far) {
                self.events += 1;
                let event = Event::default().event("progress").id(self.events.to_string());
                let event = event.retry(RETRY).json_data(&far).unwrap_or_default();
                self.told = Some((far, Instant::now()));
                self.row = Some(row);
                return Some((Ok(event), self));
            }
            self.wait(row).await;
        }
    }

    /// The run as it stands. While this process carries it out, what was looked up last is still true.
    async fn look(&mut self) -> Option<RunRow> {
        if let Some(row) = self.row.take() {
            return Some(row);
        }
        let row = self.app.store().run(self.run).await.ok()??;
        if self.progress.is_none() {
            self.progress = self.app.scheduler().progress(self.run);
        }
        Some(row)
    }

    fn far(&mut self, row: &RunRow) -> RunProgress {
        let far = self.progress.as_mut().map(|progress| *progress.borrow_and_update());
        RunProgress {
            run: self.run.to_string(),
            state: row.state.clone(),
            phase: far.map(|far| far.phase.as_str()),
            entries: far.map_or(0, |far| far.entries),
            pages: far.map_or(0, |far| far.pages),
            changes: far.map_or(0, |far| far.changes),
        }
    }

    /// Waits until there may be something to tell.
    async fn wait(&mut self, row: RunRow) {
        let earliest = self.told.as_ref().map(|(_, at)| *at + PAUSE);
        match &mut self.progress {
            Some(progress) if row.state == "running" => {
                if progress.changed().await.is_ok() {
                    self.row = Some(row);
                    if let Some(earliest) = earliest {
                        tokio::time::sleep_until(earliest).await;
                    }
                } else {
                    // It has ended here: how, stands in the database.
                    self.progress = None;
                }
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
