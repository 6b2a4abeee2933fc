//! The API: who may ask, what is asked, and the documents that are answered. A handler extracts, checks the scope, calls
//! one function of the engine or the store, and answers. Nothing is judged here, and no SQL is spoken.

mod api;
mod auth;
mod connection;
pub mod csv;
mod error;
mod extract;
mod headers;
mod openapi;
mod page;
mod precondition;
mod server;
mod telling;
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use axum::Router;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use uuid::Uuid;

pub use auth::Caller;
pub use error::{Code, Problem};
pub use openapi::document;
pub use server::{Limits, bind, serve};

use crate::domain::id::SourceName;
use crate::domain::roles::RolePolicy;
use crate::engine::{Engine, Setup};
use crate::scheduler::Scheduler;
use crate::store::{Store, TokenRow};

/// Seconds for which the use of a token is not written down again.
const USE_SECONDS: i64 = 60;

/// What the configuration says about answers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most bytes of a request's body.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Most event streams that are open at once.
    pub max_streams: usize,
    /// Whether the metrics have a listener of their own.
    pub metrics_apart: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            max_streams: 256,
            metrics_apart: false,
        }
    }
}

/// What handlers share.
#[derive(Debug, Clone)]
pub struct App {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    scheduler: Scheduler,
    settings: Settings,
    streams: Arc<Semaphore>,
    /// When the use of each token was last written down, by its id.
    uses: Mutex<HashMap<Uuid, Timestamp>>,
}

impl App {
    /// The state of handlers that ask `scheduler` for runs, and its engine for everything else.
    pub fn new(scheduler: Scheduler, settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                scheduler,
                streams: Arc::new(Semaphore::new(settings.max_streams)),
                settings,
                uses: Mutex::default(),
            }),
        }
    }

    /// The scheduler.
    pub fn scheduler(&self) -> &Scheduler {
        &self.shared.scheduler
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.shared.scheduler.engine()
    }

    /// The store.
    pub fn store(&self) -> &Store {
        self.engine().store()
    }

    /// Which roles administer, for what is done by hand.
    pub fn roles(&self) -> RolePolicy {
        self.scheduler().registry().roles.clone()
    }

    /// The same, with what this source may grant; one that is not configured any more may grant nothing.
    fn roles_of(&self, source: &str) -> RolePolicy {
        let registry = self.scheduler().registry();
        let managed = SourceName::parse(source).ok().and_then(|name| registry.source(&name));
        managed.map_or_else(
            || registry.roles.clone(),
            |managed| managed.setup.mapping.roles().clone(),
        )
    }

    /// A place among the event streams, for as long as it is kept; `None` where all are taken.
    fn stream_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.streams).try_acquire_owned().ok()
    }

    /// The sources that are configured and enabled.
    fn setups(&self) -> Vec<Setup> {
        let registry = self.scheduler().registry();
        registry.sources.iter().map(|managed| managed.setup.clone()).collect()
    }

    /// One of them.
    fn setup(&self, source: &SourceName) -> Option<Setup> {
        self.setups().into_iter().find(|setup| setup.name() == source)
    }

    /// The limits.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Has the use of a token written down, at most once a minute, behind the answer: on SQLite it may have to wait
    /// for a run that is writing.
    fn note_use(&self, token: TokenRow) {
        let now = self.store().now();
        let fresh = |at: Timestamp| now.duration_since(at).as_secs() < USE_SECONDS;
        let mut uses = self.shared.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.get(&token.id).is_some_and(|at| fresh(*at)) {
            return;
        }
        uses.insert(token.id, now);
        drop(uses);
        let store = self.store().clone();
        tokio::spawn(async move {
            // The time of a use is told as a help to people; that it is missing harms nobody.
            let _ = store.touch_token(&token).await;
        });
    }
}

/// Every path of the API.
pub fn router(app: App) -> Router {
    let has_metrics = !app.settings().metrics_apart;
    let (routes, _) = api::routes(has_metrics).split_for_parts();
    finish(routes.merge(api::below_prefix(has_metrics)), app)
}

/// The metrics alone, for a listener of their own.
pub fn metrics_router(app: App) -> Router {
    let (routes, _) = api::metrics_route().split_for_parts();
    finish(routes, app)
}

/// What is true of every answer. A panic is answered before it is told, and whatever is told has its headers.
fn finish(routes: Router<App>, app: App) -> Router {
    routes
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(axum::middleware::from_fn(telling::tell))
        .layer(CompressionLayer::new().gzip(true))
        .layer(axum::middleware::map_response(headers::secure))
        .with_state(app)
}
