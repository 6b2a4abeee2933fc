//! Stands between the server and the LDAP library: every message from the server is checked before anybody else sees
//! it, and no more is let through than the reader has asked for. Never decodes entries, never answers the server.
//!
//! The library takes an answer that it does not expect as a reason to panic, recurses as deep as the server likes and
//! queues without a limit; so what passes here is well formed, answers the request that is under way, and fits the
//! window. Entries do not go to the library at all, but straight to the reader: they are nearly all there is, and the
//! library takes longer over each than the server did.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// What passed the guard while a search is under way, in the order of arrival. Holds room in the window until it is
/// dropped.
#[derive(Debug)]
pub(super) enum Passed {
    /// Whole messages, each a good entry.
    Entries {
        /// The messages, one after another.
        arrived: Vec<u8>,
        #[expect(dead_code, reason = "held for the room that it stands for")]
        room: OwnedSemaphorePermit,
    },
    /// The library was given one message that is no entry.
    ToLibrary {
        #[expect(dead_code, reason = "held for the room that it stands for")]
        room: OwnedSemaphorePermit,
    },
}

/// What the two directions and the reader share.
#[derive(Debug)]
pub(super) struct Window {
    state: Mutex<State>,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    /// The request under way: its id and operation.
    pending: Option<(i32, u8)>,
    cause: Option<Cause>,
}

/// What becomes of a checked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// An entry: to the reader.
    Reader,
    /// Another answer to a search: to the library, and the reader is told.
    Announced,
    /// An answer to something else, for which the library waits.
    Library,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            room: Arc::new(Semaphore::new(WINDOW_BYTES_MAX)),
        }
    }
}

impl Window {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the window")
    }

    /// Why the connection ended; `None` while it has not, or when it was told already.
    pub(super) fn take_cause(&self) -> Option<Cause> {
        self.state().cause.take()
    }

    /// Waits for room for `length` bytes; a message larger than the window goes alone.
    async fn room(&self, length: usize) -> Result<OwnedSemaphorePermit, Cause> {
        let permits = u32::try_from(length.min(WINDOW_BYTES_MAX)).expect("the window is smaller than 4 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        room.map_err(|_| Cause::Closed)
    }

    /// Checks that `answer` belongs to the request under way (RFC 4511, section 4.1.1.1).
    fn check(&self, answer: &ber::Message<'_>) -> Result<Way, Cause> {
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
        Ok(match (request, answer.operation) {
            (_, op::SEARCH_ENTRY) => Way::Reader,
            (op::SEARCH_REQUEST, _) => Way::Announced,
            _ => Way::Library,
        })
    }

    /// The length of the message at the start of `bytes`, once all of it is there and good, and where it goes.
    fn check_next(&self, bytes: &[u8]) -> Result<Option<(usize, Way)>, Cause> {
        let Some(length) = whole_message(bytes)? else {
            return Ok(None);
        };
        let way = self.check(&ber::message(&bytes[..length])?)?;
        Ok(Some((length, way)))
    }

    fn begin(&self, id: i32, operation: u8) {
        self.state().pending = Some((id, operation));
    }
}

/// Carries messages between `server` and `client` until one of them ends; leaves the cause in `window`. What belongs
/// to a search is announced in `passed`, which is bounded by the room in the window.
pub(super) async fn run(
    server: Box<dyn Transport>,
    client: UnixStream,
    window: Arc<Window>,
    passed: UnboundedSender<Passed>,
) {
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_client, mut to_client) = client.into_split();
    let cause = tokio::select! {
        ended = answers(&mut from_server, &mut to_client, &window, &passed) => ended.err(),
        ended = requests(&mut from_client, &mut to_server, &window) => ended.err(),
    };
    // Both ends are still open here: whoever sees the end finds the cause.
    window.state().cause = cause;
}

async fn answers(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    window: &Window,
    passed: &UnboundedSender<Passed>,
) -> Result<(), Cause> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let (length, found) = entries_at_start(&buffer, window);
        // What comes before is good, even where the server says next that it goes down.
        if length > 0 {
            let room = window.room(length).await?;
            let arrived = take_start(&mut buffer, length);
            passed
                .send(Passed::Entries { arrived, room })
                .map_err(|_| Cause::Closed)?;
        }
        let Some((length, way)) = found? else {
            buffer.reserve(READ_BYTES);
            if server.read_buf(&mut buffer).await? == 0 {
                return Err(Cause::Closed);
            }
            continue;
        };
        if way == Way::Announced {
            let room = window.room(length).await?;
            passed.send(Passed::ToLibrary { room }).map_err(|_| Cause::Closed)?;
        }
        client.write_all(&buffer[..length]).await?;
        buffer.drain(..length);
    }
}

/// How many bytes of whole, good entries `buffer` begins with; then the length and the way of the message after them,
/// where it is there and no entry.
fn entries_at_start(buffer: &[u8], window: &Window) -> (usize, Result<Option<(usize, Way)>, Cause>) {
    let mut length = 0;
    loop {
        match window.check_next(&buffer[length..]) {
            Ok(Some((entry, Way::Reader))) => length += entry,
            found => return (length, found),
        }
    }
}

/// Takes the first `length` bytes out of `buffer`, copying whichever part is the smaller.
fn take_start(buffer: &mut Vec<u8>, length: usize) -> Vec<u8> {
    if length < buffer.len() / 2 || length < READ_BYTES / 4 {
        return buffer.drain(..length).collect();
    }
    let mut rest = Vec::with_capacity(buffer.len() - length + READ_BYTES);
    rest.extend_from_slice(&buffer[length..]);
    buffer.truncate(length);
    std::mem::replace(buffer, rest)
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
pub(super) fn whole_message(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    Ok(ber::message_header(bytes)?
        .map(|header| header.total)
        .filter(|total| *total <= bytes.len()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

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

    fn length_of(passed: &Passed) -> usize {
        match passed {
            Passed::Entries { arrived, .. } => arrived.len(),
            Passed::ToLibrary { .. } => 0,
        }
    }

    #[tokio::test]
    async fn an_unread_flood_stops_at_the_window() {
        let (server, mut flood) = tokio::io::duplex(4096);
        let (client, _reader) = UnixStream::pair().expect("a pair");
        let window = Arc::new(Window::default());
        window.begin(1, operation::SEARCH_REQUEST);
        let message = entry(1, &[b'x'; 60_000]);
        let length = message.len();
        let sent = WINDOW_BYTES_MAX / length + 10;
        let (sender, mut passed) = mpsc::unbounded_channel();
        let guard = tokio::spawn(run(Box::new(server), client, Arc::clone(&window), sender));
        let writer = tokio::spawn(async move {
            for _ in 0..sent {
                flood.write_all(&message).await.expect("the guard reads");
            }
            flood
        });
        let mut unread = Vec::new();
        let early = Duration::from_millis(50);
        while let Ok(Some(some)) = tokio::time::timeout(early, passed.recv()).await {
            unread.push(some);
        }
        let held: usize = unread.iter().map(length_of).sum();
        assert!(
            held <= WINDOW_BYTES_MAX && held + 3 * length > WINDOW_BYTES_MAX,
            "{held}"
        );
        // The next one is there only when something was consumed.
        unread.clear();
        let mut received = held;
        while received < sent * length {
            received += length_of(&passed.recv().await.expect("credited back"));
        }
        drop(writer.await.expect("written"));
        guard.await.expect("ended");
        assert!(matches!(window.take_cause(), Some(Cause::Closed)));
    }

    #[tokio::test]
    async fn entries_pass_to_the_reader_and_the_rest_to_the_library() {
        let (server, mut peer) = tokio::io::duplex(4096);
        let (client, mut library) = UnixStream::pair().expect("a pair");
        let window = Arc::new(Window::default());
        window.begin(7, operation::SEARCH_REQUEST);
        let (sender, mut passed) = mpsc::unbounded_channel();
        let entries = [entry(7, b"one"), entry(7, b"two")].concat();
        let done = [0x30, 12, 2, 1, 7, 0x65, 7, 10, 1, 0, 4, 0, 4, 0];
        peer.write_all(&entries).await.expect("room");
        peer.write_all(&done).await.expect("room");
        drop(peer);
        run(Box::new(server), client, Arc::clone(&window), sender).await;
        let mut arrived = Vec::new();
        let mut announced = 0;
        while let Some(some) = passed.recv().await {
            match some {
                Passed::Entries { arrived: bytes, .. } if announced == 0 => arrived.extend(bytes),
                Passed::Entries { .. } => panic!("an entry after the end"),
                Passed::ToLibrary { .. } => announced += 1,
            }
        }
        assert_eq!((arrived, announced), (entries, 1));
        let mut given = Vec::new();
        library.read_to_end(&mut given).await.expect("an end");
        assert_eq!(given, done);
    }

    #[tokio::test]
    async fn an_answer_to_nothing_ends_the_connection() {
        let (server, mut peer) = tokio::io::duplex(4096);
        let (client, mut reader) = UnixStream::pair().expect("a pair");
        let window = Arc::new(Window::default());
        let (sender, mut passed) = mpsc::unbounded_channel();
        peer.write_all(&entry(9, b"unasked")).await.expect("room");
        run(Box::new(server), client, Arc::clone(&window), sender).await;
        assert!(matches!(window.take_cause(), Some(Cause::Unasked)));
        assert_eq!(reader.read(&mut [0; 8]).await.expect("an end"), 0);
        assert!(passed.recv().await.is_none());
    }
}
