//! A raw HTTP/1.1 socket that plays a broken or hostile server: a test says, request by request, which bytes come
//! back and when. One request a connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The how-manieth of the server, from 0.
    pub(crate) number: usize,
    /// `GET`, `POST`.
    pub(crate) method: String,
    /// The path, still percent-encoded.
    pub(crate) path: String,
    /// The query's pairs.
    pub(crate) query: HashMap<String, String>,
    /// The headers, their names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// The body.
    pub(crate) body: String,
}

impl Request {
    /// The `cursor` parameter.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.query.get("cursor").map(String::as_str)
    }
}

/// What comes back.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, then silence for ever.
    Stall(Vec<u8>),
    /// These bytes one by one with a pause before each.
    Drip(Vec<u8>, Duration),
    /// These bytes, then the second ones over and over until nobody reads them.
    Endless(Vec<u8>, Vec<u8>),
}

impl Reply {
    /// A whole answer.
    pub(crate) fn full(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::Bytes(answer(status, headers, body.as_ref(), body.as_ref().len()))
    }

    /// A whole JSON answer; a problem document from 400 on.
    pub(crate) fn json(status: u16, body: impl AsRef<[u8]>) -> Self {
        let content = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        Self::full(status, &[("content-type", content)], body)
    }

    /// A problem document.
    pub(crate) fn problem(status: u16, headers: &[(&str, &str)]) -> Self {
        let mut all = vec![("content-type", "application/problem+json")];
        all.extend_from_slice(headers);
        Self::full(status, &all, format!(r#"{{"status": {status}}}"#))
    }
}

/// The bytes of an answer whose head promises `length` bytes.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8], length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nconnection: close\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A server that is running; it ends when it is dropped.
pub(crate) struct RawServer {
    addr: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawServer {
    /// Answers each request with what `script` says.
    pub(crate) async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, script).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, seen) = (Arc::new(script), Arc::clone(&requests));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, seen, tls) = (Arc::clone(&script), Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(socket, &*script, &seen).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => converse(socket, &*script, &seen).await,
                            // The client refused us, which is what such a test wants.
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self {
            addr,
            scheme,
            requests,
            task,
        }
    }

    /// The base URL.
    pub(crate) fn url(&self) -> Url {
        self.url_of("127.0.0.1")
    }

    /// The base URL under another name of this machine.
    pub(crate) fn url_of(&self, host: &str) -> Url {
        let text = format!("{}://{host}:{}", self.scheme, self.addr.port());
        text.parse().expect("a URL")
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic inside").clone()
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    script: &(impl Fn(&Request) -> Reply + ?Sized),
    seen: &Mutex<Vec<Request>>,
) -> Option<()> {
    let mut request = read(&mut socket).await?;
    {
        let mut seen = seen.lock().expect("no panic inside");
        request.number = seen.len();
        seen.push(request.clone());
    }
    match script(&request) {
        Reply::Bytes(bytes) => socket.write_all(&bytes).await.ok()?,
        Reply::Stall(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            std::future::pending::<()>().await;
        }
        Reply::Drip(bytes, pause) => {
            for byte in bytes {
                tokio::time::sleep(pause).await;
                socket.write_all(&[byte]).await.ok()?;
            }
        }
        Reply::Endless(head, again) => {
            socket.write_all(&head).await.ok()?;
            while socket.write_all(&again).await.is_ok() {}
        }
    }
    socket.shutdown().await.ok()
}

async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |text| text.parse().expect("a number"));
    while bytes.len() < head_end + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        number: 0,
        method,
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers,
        body: String::from_utf8_lossy(&bytes[head_end + 4..]).into_owned(),
    })
}
