//! The accept loop. A client that is slow, silent or one of thousands is closed, and the others are answered; on stop
//! what is under way is finished. Knows nothing of what is asked and answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::connection::{Socket, Watched};
use crate::telemetry::{self, Event};

/// Most bytes of a request's head, and of what is kept of a body that nobody has read yet. Times the connections this
/// is the memory that strangers can take.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long nothing is accepted after the system refused a connection, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What clients may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections. One more closes the one that has waited longest for its client; where every one is being
    /// answered, it waits.
    pub max_connections: usize,
    /// How long a new connection may be silent.
    pub first_byte_timeout: Duration,
    /// How long the head of a request may take, from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long the client may take nothing of its answer.
    pub request_timeout: Duration,
    /// How long answers that are under way when the server stops may still take.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            request_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(15),
        }
    }
}

/// Whether the server is stopping; each request carries it, so that an endless answer ends.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns when the server stops.
    pub(super) async fn stopped(mut self) {
        // A sender that is gone has stopped, too.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// Answers what comes to `listener` until `shutdown` is there and what was under way has ended.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: impl Future<Output = ()>) {
    let (stop, stopping) = watch::channel(false);
    let server = Arc::new(Server {
        limits,
        router,
        stopping,
        open: Mutex::default(),
        room: Arc::default(),
    });
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = tasks.join_next() => continue,
            accepted = server.accept(&listener) => accepted,
        };
        let Some((socket, number, watched)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tasks.spawn(Arc::clone(&server).converse(socket, number, watched));
    }
    drop(listener);
    // There is a receiver: the server holds one.
    let _ = stop.send(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    // What is left then is cut off when the set of tasks is dropped.
    let _ = tokio::time::timeout(server.limits.stop_timeout, all).await;
}

struct Server {
    limits: Limits,
    router: Router,
    stopping: watch::Receiver<bool>,
    open: Mutex<Open>,
    room: Arc<Notify>,
}

/// The connections that count, by number; later ones have higher numbers.
#[derive(Default)]
struct Open {
    last: u64,
    connections: BTreeMap<u64, Arc<Watched>>,
}

impl Server {
    /// The next connection, once there is room for it; `None` where the system refused one.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, u64, Arc<Watched>)> {
        // First room, then the connection: what waits meanwhile waits with the system, which has a limit of its own.
        self.have_room().await;
        let (socket, _) = listener.accept().await.ok()?;
        // Small answers are not to wait for more; where this fails they are merely slower.
        let _ = socket.set_nodelay(true);
        self.make_room();
        let watched = Arc::new(Watched::new(Arc::clone(&self.room)));
        let number = self.with_open(|open| {
            open.last += 1;
            open.connections.insert(open.last, Arc::clone(&watched));
            open.last
        });
        Some((socket, number, watched))
    }

    fn with_open<T>(&self, work: impl FnOnce(&mut Open) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when one more can be taken, if need be by closing another.
    async fn have_room(&self) {
        loop {
            let changed = self.room.notified();
            let has_room = self.with_open(|open| {
                open.connections.len() < self.limits.max_connections
                    || open.connections.values().any(|one| one.waiting_since().is_some())
            });
            if has_room {
                return;
            }
            changed.await;
        }
    }

    /// Closes the connection that has waited longest for its client, where there are as many as there may be.
    fn make_room(&self) {
        let evicted = self.with_open(|open| {
            if open.connections.len() < self.limits.max_connections {
                return None;
            }
            let waiting = open
                .connections
                .iter()
                .filter_map(|(number, one)| Some((one.waiting_since()?, *number)));
            let (_, oldest) = waiting.min()?;
            open.connections.remove(&oldest)
        });
        if let Some(evicted) = evicted {
            evicted.evicted.notify_one();
            telemetry::emit(&Event::HttpRefused {
                reason: "there were as many connections as there may be (http.max_connections), so the one that had waited longest was closed",
            });
        }
    }

    /// One connection, to its end.
    async fn converse(self: Arc<Self>, socket: TcpStream, number: u64, watched: Arc<Watched>) {
        let io = TokioIo::new(Socket::new(socket, Arc::clone(&watched)));
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let answering = watched.answer();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Stopping(self.stopping.clone()));
            let router = self.router.clone();
            async move {
                let Ok(response) = router.oneshot(request).await;
                Ok::<_, Infallible>(response.map(|body| answering.body(body)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Our own time-outs tell silence, a slow head and idleness apart.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        let _counted = telemetry::metrics::connected();
        let mut stopped = pin!(Stopping(self.stopping.clone()).stopped());
        let mut is_stopping = false;
        loop {
            tokio::select! {
                // How a connection ends is the client's business.
                _ = connection.as_mut() => break,
                reason = watched.overdue(&self.limits) => {
                    if watched.waiting_since().is_none() {
                        telemetry::emit(&Event::HttpRefused { reason });
                    }
                    break;
                }
                () = watched.evicted.notified() => break,
                () = &mut stopped, if !is_stopping => {
                    if watched.awaits_request() {
                        break;
                    }
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        self.with_open(|open| open.connections.remove(&number));
        self.room.notify_one();
    }
}

/// Binds the address, or says why that cannot be.
///
/// # Errors
/// As the system says, with the address.
pub async fn bind(listen: std::net::SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("the API cannot listen on {listen} ({error}); is another program there? Set http.listen"),
        )
    })
}
