//! A sample directory for demonstrations and tests: the ConneX-style API with organizations and accounts that can be
//! edited, over the API and on a page. It is a toy of one process: never a place for real people's data.

mod access;
mod api;
pub mod arguments;
mod cursor;
mod edit;
pub mod model;
mod page;
mod problem;
pub mod sample;
pub mod store;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

pub use sample::Sample;
pub use store::{Data, Directory, Refusal};

use access::Access;

/// Where `rollcall directory` listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8481";
/// Life of an issued token, in seconds.
pub const TOKEN_LIFE_SECONDS: i64 = 600;
/// Life of a cursor, in seconds.
pub const CURSOR_LIFE_SECONDS: i64 = 3600;
/// Items of one page at most; the protocol says so.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Time for requests under way when it is stopped, in seconds: a half-sent one would never end.
pub const STOP_SECONDS_MAX: u64 = 5;
/// Bytes of a request at most: an account with every field at its longest is far below.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// Tells the time; passed in by the composition root, so that a test may turn it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What a directory is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A data file, which is read at the start and written after every edit.
    pub data: Option<PathBuf>,
    /// What to hold where there is no data file.
    pub sample: Sample,
    /// The time.
    pub clock: Clock,
    /// Fixed bearer tokens. With neither these nor `clients`, everybody is let in.
    pub tokens: Vec<SecretString>,
    /// OAuth2 clients: id and secret.
    pub clients: Vec<(String, SecretString)>,
    /// Life of an issued token; [`TOKEN_LIFE_SECONDS`].
    pub token_life: SignedDuration,
    /// Life of a cursor; [`CURSOR_LIFE_SECONDS`].
    pub cursor_life: SignedDuration,
    /// Items of one page at most, up to [`PAGE_ITEMS_MAX`].
    pub page_items_max: usize,
}

impl Options {
    /// The default sample on `listen`, open to everybody.
    pub fn new(listen: SocketAddr, clock: Clock) -> Self {
        Self {
            listen,
            data: None,
            sample: Sample::default(),
            clock,
            tokens: Vec::new(),
            clients: Vec::new(),
            token_life: SignedDuration::from_secs(TOKEN_LIFE_SECONDS),
            cursor_life: SignedDuration::from_secs(CURSOR_LIFE_SECONDS),
            page_items_max: PAGE_ITEMS_MAX,
        }
    }
}

/// Why a directory did not start, or stopped; in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The data file.
    #[error("{0}")]
    Data(#[from] Refusal),
    /// The address.
    #[error("{listen} cannot be listened on: choose another address with --listen")]
    Listen {
        /// Which one.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The server.
    #[error("the directory's server ended by itself: report it as a bug")]
    Server(#[source] std::io::Error),
}

/// What every handler may use.
#[derive(Debug, Clone)]
pub(super) struct App {
    directory: Directory,
    access: Arc<Access>,
    cursor_life: SignedDuration,
    page_items_max: usize,
    /// Told apart from an earlier process, whose revisions began at 0 too.
    started: Timestamp,
}

/// A directory that is being served.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its data.
    pub directory: Directory,
    access: Arc<Access>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// The base URL, as a source is told it.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}", self.addr)).expect("an address makes a URL")
    }

    /// Makes every issued token unknown, as a server does that is started again.
    pub fn revoke_issued_tokens(&self) {
        self.access.revoke_issued();
    }

    /// Stops it, and waits until it has: requests under way are finished, within [`STOP_SECONDS_MAX`].
    pub async fn stop(mut self) -> Result<(), DirectoryError> {
        // Where nobody listens any more it has stopped by itself, and the task says why.
        let _ = self.stop.send(());
        match tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), &mut self.task).await {
            Ok(outcome) => ended(outcome),
            Err(_) => {
                self.task.abort();
                Ok(())
            }
        }
    }
}

fn ended(outcome: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), DirectoryError> {
    outcome
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(DirectoryError::Server)
}

/// Starts a directory in this process.
pub async fn start(options: Options) -> Result<Running, DirectoryError> {
    let data = match &options.data {
        Some(file) => Data::load(file)?,
        None => options.sample.generate(),
    };
    let directory = Directory::new(data, options.clock.clone(), options.data.clone());
    let access = Arc::new(Access::new(&options));
    let app = App {
        directory: directory.clone(),
        access: Arc::clone(&access),
        cursor_life: options.cursor_life,
        page_items_max: options.page_items_max.clamp(1, PAGE_ITEMS_MAX),
        started: options.clock.now(),
    };
    let refused = |cause| DirectoryError::Listen {
        listen: options.listen,
        cause,
    };
    let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
    let addr = listener.local_addr().map_err(refused)?;
    let (stop, stopped) = oneshot::channel();
    let router = router(app, addr);
    let task = tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(async {
                // An error says that the handle was dropped, which stops it as well.
                let _ = stopped.await;
            })
            .await
    });
    Ok(Running {
        addr,
        directory,
        access,
        stop,
        task,
    })
}

/// Serves a directory until `shutdown`; `started` is told where it listens.
pub async fn serve(
    options: Options,
    started: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), DirectoryError> {
    let mut running = start(options).await?;
    started(running.addr);
    tokio::select! {
        () = shutdown => running.stop().await,
        outcome = &mut running.task => ended(outcome),
    }
}

fn router(app: App, addr: SocketAddr) -> Router {
    let api = api::routes()
        .merge(edit::routes())
        .layer(from_fn_with_state(app.clone(), access::require_token))
        .merge(access::routes());
    // The page asks for no token. Where tokens are asked for, it is for whoever sits at this machine.
    let page = if app.access.is_open() || addr.ip().is_loopback() {
        page::routes()
    } else {
        Router::new()
    };
    api.merge(page)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(axum::middleware::from_fn(access::same_origin))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(app)
}
