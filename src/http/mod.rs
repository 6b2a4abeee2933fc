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
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
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
    engine: Engine,
    roles: RolePolicy,
    settings: Settings,
    /// When the use of each token was last written down, by its id.
    uses: Mutex<HashMap<Uuid, Timestamp>>,
}

impl App {
    /// The state of handlers that work on `engine`; `roles` says who administers.
    pub fn new(engine: Engine, roles: RolePolicy, settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                roles,
                settings,
                uses: Mutex::default(),
            }),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// The store.
    pub fn store(&self) -> &Store {
        self.shared.engine.store()
    }

    /// Which roles administer, for what is done by hand.
    pub fn roles(&self) -> RolePolicy {
        self.shared.roles.clone()
    }

    /// The same, with what this source may grant; one that is not configured any more may grant nothing.
    fn roles_of(&self, _source: &str) -> RolePolicy {
        self.roles()
    }

    /// The sources that are configured and enabled.
    fn setups(&self) -> Vec<Setup> {
        Vec::new()
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
    let (routes, _) = api::routes().split_for_parts();
    routes
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(CompressionLayer::new().gzip(true))
        .layer(axum::middleware::map_response(headers::secure))
        .with_state(app)
}
