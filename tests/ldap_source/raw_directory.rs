//! A socket that plays an LDAP server: answers each request with the bytes that a test gives. Knows just enough BER
//! to read requests and to write answers that slapd never would.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rollcall::sources::ldap::{Bind, Settings};

use super::settings;

pub(crate) const BIND: u8 = 0x60;
pub(crate) const SEARCH: u8 = 0x63;
pub(crate) const EXTENDED: u8 = 0x77;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: u8,
    /// The tag of its operation.
    pub(crate) operation: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn contains(&self, part: &[u8]) -> bool {
        self.bytes.windows(part.len()).any(|window| window == part)
    }
}

/// Answers a request on the stream; `false` closes the connection.
type Answer = dyn Fn(&Request, &mut TcpStream) -> bool + Send + Sync;

/// A server on a free port; it ends with the process of the test.
pub(crate) struct RawDirectory {
    port: u16,
    /// Everything that was asked, over all connections.
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

impl RawDirectory {
    pub(crate) fn start(answer: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || converse(stream, &*answer, &seen));
            }
        });
        Self { port, requests }
    }

    /// Answers every search with what `answer` gives, and binds with success.
    pub(crate) fn searching(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |request, stream| match request.operation {
            SEARCH => stream.write_all(&answer(request)).is_ok(),
            BIND => stream.write_all(&result(request.id, 0x61, 0, "")).is_ok(),
            _ => false,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Settings that read it, without a bind.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            bind: Bind::Anonymous,
            base_dn: "dc=raw,dc=example".into(),
            page_size: 2,
            ..settings(self.url())
        }
    }
}

fn converse(mut stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<Request>>) {
    while let Some(request) = read_request(&mut stream) {
        seen.lock().expect("whole").push(request.clone());
        if !answer(&request, &mut stream) {
            return;
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let length = match head[1] {
        short @ 0..0x80 => usize::from(short),
        long => {
            let mut digits = vec![0; usize::from(long & 0x7f)];
            stream.read_exact(&mut digits).ok()?;
            digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit))
        }
    };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).ok()?;
    // The id has one byte: no test asks more than a hundred things of one connection.
    let (id, operation) = (*bytes.get(2)?, *bytes.get(3)?);
    Some(Request { id, operation, bytes })
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short").to_be_bytes();
    let mut all = vec![tag];
    match content.len() {
        0..0x80 => all.push(length[3]),
        _ => {
            all.push(0x84);
            all.extend(length);
        }
    }
    all.extend(content);
    all
}

pub(crate) fn message(id: u8, operation: u8, content: &[u8], controls: &[u8]) -> Vec<u8> {
    tlv(
        0x30,
        &[tlv(2, &[id]), tlv(operation, content), controls.to_vec()].concat(),
    )
}

/// A search result entry.
pub(crate) fn entry(id: u8, dn: &[u8], attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let attributes = attributes.iter().map(|(name, values)| {
        let values: Vec<_> = values.iter().flat_map(|value| tlv(4, value)).collect();
        tlv(0x30, &[tlv(4, name.as_bytes()), tlv(0x31, &values)].concat())
    });
    message(
        id,
        0x64,
        &[tlv(4, dn), tlv(0x30, &attributes.collect::<Vec<_>>().concat())].concat(),
        b"",
    )
}

/// A person with `uid` and `mail`.
pub(crate) fn person(id: u8, uid: &str) -> Vec<u8> {
    let mail = format!("{uid}@firm.example");
    let dn = format!("uid={uid},dc=raw,dc=example");
    entry(
        id,
        dn.as_bytes(),
        &[("uid", &[uid.as_bytes()]), ("mail", &[mail.as_bytes()])],
    )
}

/// A result of the operation with the tag `operation`.
pub(crate) fn result(id: u8, operation: u8, code: u8, text: &str) -> Vec<u8> {
    message(
        id,
        operation,
        &[tlv(10, &[code]), tlv(4, b""), tlv(4, text.as_bytes())].concat(),
        b"",
    )
}

/// The end of a search, with a paging control where there is a cookie.
pub(crate) fn done(id: u8, code: u8, cookie: Option<&[u8]>) -> Vec<u8> {
    let control = cookie.map(|cookie| {
        let value = tlv(0x30, &[tlv(2, &[0]), tlv(4, cookie)].concat());
        tlv(
            0xa0,
            &tlv(0x30, &[tlv(4, b"1.2.840.113556.1.4.319"), tlv(4, &value)].concat()),
        )
    });
    let body = [tlv(10, &[code]), tlv(4, b""), tlv(4, b"")].concat();
    message(id, 0x65, &body, &control.unwrap_or_default())
}

/// A search reference.
pub(crate) fn reference(id: u8, url: &str) -> Vec<u8> {
    message(id, 0x73, &tlv(4, url.as_bytes()), b"")
}
