//! One connection as the server watches it: what it is doing, since when, and whether its client still reads. Knows
//! nothing of what is asked and answered.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::server::Limits;

/// What a connection is doing. Whoever waits for the client can be closed to make room, whoever answers is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Silent,
    /// The head of a request has begun to come.
    Head,
    /// A request is being answered.
    Busy,
    /// An answer is out, and the next request may come.
    Idle,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Since when the client takes nothing of what is written to it.
    stalled: Option<Instant>,
}

/// What the server knows of a connection.
#[derive(Debug)]
pub(super) struct Watched {
    state: Mutex<State>,
    changed: Notify,
    /// Told when somebody may be closed who could not be before.
    room: Arc<Notify>,
    /// Told when this one is to go.
    pub(super) evicted: Notify,
}

impl Watched {
    pub(super) fn new(room: Arc<Notify>) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Silent,
                since: Instant::now(),
                stalled: None,
            }),
            changed: Notify::new(),
            room,
            evicted: Notify::new(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, phase: Phase) {
        self.with(|state| {
            state.phase = phase;
            state.since = Instant::now();
        });
        self.changed.notify_one();
        if phase == Phase::Idle {
            self.room.notify_one();
        }
    }

    /// Since when it waits for its client; `None` while it answers.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.with(|state| (state.phase != Phase::Busy).then_some(state.since))
    }

    /// Whether no answer was begun since the client's turn began: then nothing is lost with the connection.
    pub(super) fn awaits_request(&self) -> bool {
        self.with(|state| matches!(state.phase, Phase::Silent | Phase::Head))
    }

    /// A request has come in full, as far as its head goes. The answer ends when what this returns is dropped.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        self.enter(Phase::Busy);
        Answering(Arc::clone(self))
    }

    /// Returns when the client has had its time, with what it was too slow for.
    pub(super) async fn overdue(&self, limits: &Limits) -> &'static str {
        loop {
            let (end, reason) = self.with(|state| {
                let waits = match state.phase {
                    Phase::Silent => Some((limits.first_byte_timeout, "nothing came in time")),
                    Phase::Head => Some((limits.header_timeout, "the head of a request did not come in time")),
                    Phase::Idle => Some((limits.idle_timeout, "no further request came in time")),
                    Phase::Busy => None,
                };
                let waits = waits.map(|(most, reason)| (state.since + most, reason));
                let stalls = state.stalled.map(|since| {
                    let end = since + limits.request_timeout;
                    (end, "the client took nothing of its answer for too long")
                });
                match (waits, stalls) {
                    (Some(one), Some(other)) => {
                        (Some(one.0.min(other.0)), if one.0 < other.0 { one.1 } else { other.1 })
                    }
                    (Some((end, reason)), None) | (None, Some((end, reason))) => (Some(end), reason),
                    (None, None) => (None, ""),
                }
            });
            match end {
                Some(end) if end <= Instant::now() => return reason,
                Some(end) => tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    fn read_some(&self) {
        let begins = self.with(|state| matches!(state.phase, Phase::Silent | Phase::Idle));
        if begins {
            self.enter(Phase::Head);
        }
    }

    fn wrote(&self, pending: bool) {
        let changed = self.with(|state| {
            // The rest of an answer that a slow client still takes is no idleness.
            if !pending && state.phase == Phase::Idle {
                state.since = Instant::now();
            }
            match (pending, state.stalled) {
                (true, None) => state.stalled = Some(Instant::now()),
                (false, Some(_)) => state.stalled = None,
                _ => return false,
            }
            true
        });
        if changed {
            self.changed.notify_one();
        }
    }
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Answering(Arc<Watched>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

impl Answering {
    /// The body of the answer, which ends it.
    pub(super) fn body(self, inner: Body) -> Body {
        Body::new(AnswerBody {
            inner,
            _answering: self,
        })
    }
}

struct AnswerBody {
    inner: Body,
    _answering: Answering,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The socket, which tells its [`Watched`] what moves.
pub(super) struct Socket {
    inner: TcpStream,
    watched: Arc<Watched>,
}

impl Socket {
    pub(super) fn new(inner: TcpStream, watched: Arc<Watched>) -> Self {
        Self { inner, watched }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.watched.read_some();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched.wrote(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.watched.wrote(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
