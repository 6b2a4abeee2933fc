//! Stands between the server and the LDAP library: every message from the server is checked before the library sees
//! it, and no more is let through than the reader has asked for. Never decodes entries, never answers the server.
//!
//! The library takes an answer that it does not expect as a reason to panic, recurses as deep as the server likes and
//! queues without a limit; so what passes here is well formed, answers the request that is under way, and fits the
//! window.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::ber::{self, Malformed, operation};

/// Bytes that may lie between us and the reader. A page of a thousand entries is about one megabyte, so the server
/// keeps sending while a page is compared; a larger window would only hold more memory.
const WINDOW_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that are read from the server at once.
const READ_BYTES: usize = 64 * 1024;

/// Longest part of a server's text that is quoted.
const QUOTE_CHARS_MAX: usize = 200;

/// A connection to a server: TCP, TLS or a Unix socket.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why the guard ended a connection.
#[derive(Debug)]
pub(super) enum Cause {
    /// The server closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// The server sent something that is refused.
    Malformed(Malformed),
    /// The server sent an answer to nothing that was asked.
    Unasked,
    /// The server said that it closes it: its code and its words.
    Notice(u32, String),
}

impl From<Malformed> for Cause {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// What the two directions and the reader share.
#[derive(Debug, Default)]
pub(super) struct Window {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The request under way: its id and operation.
    pending: Option<(i32, u8)>,
    /// Lengths of the messages let through and not yet consumed, oldest first.
    lengths: VecDeque<usize>,
    in_flight: usize,
    waiting: bool,
    cause: Option<Cause>,
}

impl Window {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the window")
    }

    /// The reader has taken one message out of the library: there is room for its length again.
    pub(super) fn consumed(&self) {
        let mut state = self.state();
        if let Some(length) = state.lengths.pop_front() {
            state.in_flight -= length;
        }
        if state.waiting {
            drop(state);
            self.room.notify_one();
        }
    }

    /// Why the connection ended; `None` while it has not, or when it was told already.
    pub(super) fn take_cause(&self) -> Option<Cause> {
        self.state().cause.take()
    }

    /// Lets a message through where there is room; a message larger than the window goes alone.
    fn admit(&self, length: usize) -> bool {
        let mut state = self.state();
        let fits = state.lengths.is_empty() || state.in_flight + length <= WINDOW_BYTES_MAX;
        state.waiting = !fits;
        if fits {
            state.in_flight += length;
            state.lengths.push_back(length);
        }
        fits
    }

    async fn admitted(&self, length: usize) {
        while !self.admit(length) {
            self.room.notified().await;
        }
    }

    /// Checks that `answer` belongs to the request under way (RFC 4511, section 4.1.1.1).
    fn check(&self, answer: &ber::Message<'_>) -> Result<(), Cause> {
        use operation as op;
        if answer.id == 0 && answer.operation == op::EXTENDED_RESPONSE {
            let text: String = answer
                .text
                .chars()
                .filter(|c| !c.is_control())
                .take(QUOTE_CHARS_MAX)
                .collect();
            return Err(Cause::Notice(answer.code, text));
        }
        let mut state = self.state();
        let Some((id, request)) = state.pending.filter(|(id, _)| *id == answer.id) else {
            return Err(Cause::Unasked);
        };
        let ends = match (request, answer.operation) {
            (op::BIND_REQUEST, op::BIND_RESPONSE)
            | (op::SEARCH_REQUEST, op::SEARCH_DONE)
            | (op::EXTENDED_REQUEST, op::EXTENDED_RESPONSE) => true,
            (op::SEARCH_REQUEST, op::SEARCH_ENTRY | op::SEARCH_REFERENCE | op::INTERMEDIATE) => false,
            _ => return Err(Cause::Unasked),
        };
        state.pending = if ends { None } else { Some((id, request)) };
        Ok(())
    }

    /// The length of the message at the start of `bytes`, once all of it is there and good.
    fn check_next(&self, bytes: &[u8]) -> Result<Option<usize>, Cause> {
        let Some(length) = whole_message(bytes)? else {
            return Ok(None);
        };
        self.check(&ber::message(&bytes[..length])?)?;
        Ok(Some(length))
    }

    fn begin(&self, id: i32, operation: u8) {
        self.state().pending = Some((id, operation));
    }
}

/// Carries messages between `server` and `client` until one of them ends; leaves the cause in `window`.
pub(super) async fn run(server: Box<dyn Transport>, client: UnixStream, window: Arc<Window>) {
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_client, mut to_client) = client.into_split();
    let cause = tokio::select! {
        ended = answers(&mut from_server, &mut to_client, &window) => ended.err(),
        ended = requests(&mut from_client, &mut to_server, &window) => ended.err(),
    };
    // Both ends are still open here: whoever sees the end finds the cause.
    window.state().cause = cause;
}

async fn answers(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    window: &Window,
) -> Result<(), Cause> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let mut checked = 0;
        let refused = loop {
            let length = match window.check_next(&buffer[checked..]) {
                Ok(Some(length)) => length,
                Ok(None) => break None,
                Err(cause) => break Some(cause),
            };
            if !window.admit(length) {
                client.write_all(&buffer[..checked]).await?;
                buffer.drain(..checked);
                checked = 0;
                window.admitted(length).await;
            }
            checked += length;
        };
        client.write_all(&buffer[..checked]).await?;
        // What came before is good, even where the server says next that it goes down.
        if let Some(cause) = refused {
            return Err(cause);
        }
        buffer.drain(..checked);
        buffer.reserve(READ_BYTES);
        if server.read_buf(&mut buffer).await? == 0 {
            return Err(Cause::Closed);
        }
    }
}

async fn requests(
    client: &mut (impl AsyncRead + Unpin),
    server: &mut (impl AsyncWrite + Unpin),
    window: &Window,
) -> Result<(), Cause> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        if client.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(length) = whole_message(&buffer)? {
            let (id, operation) = ber::request(&buffer[..length])?;
            window.begin(id, operation);
            server.write_all(&buffer[..length]).await?;
            buffer.drain(..length);
        }
        server.flush().await?;
    }
}

/// The length of the message at the start of `bytes`, once all of it is there.
fn whole_message(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    Ok(ber::message_header(bytes)?
        .map(|header| header.total)
        .filter(|total| *total <= bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u8, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).expect("short");
        let wrap = |tag: u8, inner: Vec<u8>| {
            let mut all = vec![tag, 0x84];
            all.extend(u32::try_from(inner.len()).expect("short").to_be_bytes());
            all.extend(inner);
            all
        };
        let mut string = vec![4, 0x84];
        string.extend(length.to_be_bytes());
        string.extend(value);
        let mut inner = vec![2, 1, id];
        inner.extend(wrap(0x64, string));
        wrap(0x30, inner)
    }

    #[tokio::test]
    async fn an_unread_flood_stops_at_the_window() {
        let (server, mut flood) = tokio::io::duplex(4096);
        let (client, mut reader) = UnixStream::pair().expect("a pair");
        let window = Arc::new(Window::default());
        window.begin(1, operation::SEARCH_REQUEST);
        let message = entry(1, &[b'x'; 60_000]);
        let fits = WINDOW_BYTES_MAX / message.len();
        let guard = tokio::spawn(run(Box::new(server), client, Arc::clone(&window)));
        let length = message.len();
        let writer = tokio::spawn(async move {
            for _ in 0..fits + 10 {
                flood.write_all(&message).await.expect("the guard reads");
            }
            flood
        });
        let mut received = vec![0; length];
        for _ in 0..fits {
            reader.read_exact(&mut received).await.expect("within the window");
        }
        // The next one is there only when something was consumed.
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), reader.read_exact(&mut received)).await;
        assert!(early.is_err());
        for _ in 0..10 {
            window.consumed();
            reader.read_exact(&mut received).await.expect("credited back");
        }
        drop(writer.await.expect("written"));
        guard.await.expect("ended");
        assert!(matches!(window.take_cause(), Some(Cause::Closed)));
    }

    #[tokio::test]
    async fn an_answer_to_nothing_ends_the_connection() {
        let (server, mut peer) = tokio::io::duplex(4096);
        let (client, mut reader) = UnixStream::pair().expect("a pair");
        let window = Arc::new(Window::default());
        peer.write_all(&entry(9, b"unasked")).await.expect("room");
        run(Box::new(server), client, Arc::clone(&window)).await;
        assert!(matches!(window.take_cause(), Some(Cause::Unasked)));
        assert_eq!(reader.read(&mut [0; 8]).await.expect("an end"), 0);
    }
}
