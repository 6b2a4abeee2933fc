//! A client of the API that sends what it is told, byte for byte, and hides nothing of what comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::daemon::{Daemon, token};
use crate::harness::program::Program;

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A daemon that runs nothing but what is asked for, and an administrator's token.
pub(super) struct Desk {
    /// The program, for commands beside the daemon.
    pub(super) program: Program,
    daemon: Daemon,
    token: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// Names in lower case, in the order in which they came.
    pub(super) headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub(super) body: String,
}

impl Answer {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// The body of an answer of this status.
    #[track_caller]
    pub(super) fn with(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// The code of a problem document of this status.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> String {
        let document = self.with(status);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(document["status"], status, "{self:?}");
        for key in ["type", "title", "detail"] {
            assert!(document[key].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        document["code"].as_str().expect("a code").to_owned()
    }
}

impl Desk {
    /// Starts a daemon. `config` ends inside of a source, or has none and ends inside of `[agency]`.
    pub(super) async fn open(config: &str) -> Self {
        let schedule = if config.contains("[[sources]]") {
            "schedule = \"0 0 3 1 1 *\"\n"
        } else {
            ""
        };
        let program = Program::new(&format!("{config}{schedule}[http]\nlisten = \"127.0.0.1:0\"\n"));
        let token = token(&program, "test", "admin");
        let daemon = Daemon::start(&program).await;
        Self { program, daemon, token }
    }

    /// What the daemon wrote to standard error.
    pub(super) fn log(&self) -> String {
        self.daemon.lines().join("\n")
    }

    /// A token of another scope.
    pub(super) fn token(&self, name: &str, scope: &str) -> String {
        token(&self.program, name, scope)
    }

    /// Sends a request with the administrator's token, unless the headers have another.
    #[track_caller]
    pub(super) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|| panic!("{method} {path} was not answered: {}", self.log()))
    }

    /// `GET` below `/api/v1`.
    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", &format!("/api/v1{path}"), &[], "")
    }

    /// A request with a JSON body below `/api/v1`.
    #[track_caller]
    pub(super) fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Json) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send(method, &format!("/api/v1{path}"), &all, &body.to_string())
    }

    /// The items of every page of a list.
    #[track_caller]
    pub(super) fn all(&self, path: &str) -> Vec<Json> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        for _ in 0..1_000 {
            let page = self.get(&format!("{path}{cursor}")).with(200);
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("{sign}cursor={next}"),
                None => return items,
            }
        }
        panic!("the list {path} does not end");
    }

    fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let mut socket = TcpStream::connect(self.daemon.address()).ok()?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.daemon.address()
        );
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            text.push_str(&format!("authorization: Bearer {}\r\n", self.token));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        socket.write_all(text.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).ok()?;
        answer(&bytes)
    }
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..at].to_vec()).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = match chunked {
        true => unchunked(&bytes[at + 4..])?,
        false => bytes[at + 4..].to_vec(),
    };
    Some(Answer {
        status,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

/// The content of a chunked body that has its end.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        let from = end + 2;
        if size == 0 {
            return Some(all);
        }
        all.extend_from_slice(rest.get(from..from + size)?);
        rest = rest.get(from + size + 2..)?;
    }
}
