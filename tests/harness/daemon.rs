//! `rollcall serve` as a process of its own, and a client of its API.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value as Json;

use super::program::Program;

/// How long anything may take that is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often somebody who waits looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a configuration needs for a daemon of a test: any free port, and no run but those that are asked for. It
/// begins inside of `[source_defaults]`, and ends inside of `[http]`.
pub(crate) const QUIET: &str = "schedule = \"0 0 3 1 1 *\"\n[http]\nlisten = \"127.0.0.1:0\"\n";

/// A daemon, which ends with this value.
pub(crate) struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where it has ended already, there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts the daemon of a configuration whose `http.listen` has port 0, and waits until it is ready.
    pub(crate) async fn start(program: &Program) -> Self {
        let mut child = program
            .command(&["--log-format", "json", "serve"])
            .spawn()
            .expect("the daemon starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stderr, kept) = (child.stderr.take().expect("a pipe"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().expect("no panic inside").push(line);
            }
        });
        let mut daemon = Self {
            child,
            lines,
            address: String::new(),
        };
        let ready = daemon.line("daemon.ready").await;
        daemon.address = ready["listen"].as_str().expect("an address").to_owned();
        daemon
    }

    /// Address and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic inside").clone()
    }

    /// The first line of an event, once it is there.
    pub(crate) async fn line(&mut self, event: &str) -> Json {
        let until = Instant::now() + DEADLINE;
        loop {
            let lines = self.lines();
            let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Json>(line).ok());
            if let Some(found) = parsed.into_iter().find(|line| line["event"] == event) {
                return found;
            }
            let ended = self.child.try_wait().expect("a child").is_some();
            assert!(!ended && Instant::now() < until, "no {event} in {lines:#?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the end of the daemon", async || {
            self.child.try_wait().expect("a child")
        })
        .await
    }

    /// A client that sends this token.
    pub(crate) fn api(&self, token: &str) -> Api {
        Api {
            base: format!("http://{}", self.address),
            token: token.to_owned(),
            client: client(),
        }
    }
}

/// A client of its own connections, which takes answers as they come.
pub(crate) fn client() -> reqwest::Client {
    // No test speaks TLS with it, and a client is made with a provider all the same; another test may have been first.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_gzip().build().expect("a client")
}

/// Makes a token of `scope`.
pub(crate) fn token(program: &Program, name: &str, scope: &str) -> String {
    let shown = program.ok(&["token", "create", name, "--scope", scope]);
    shown.trim_end().to_owned()
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A client of the API.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Api {
    /// A request, to be completed.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let at_root = ["/healthz", "/readyz", "/metrics", "/api/v1/"];
        let path = if at_root.iter().any(|root| path.starts_with(root)) {
            path.to_owned()
        } else {
            format!("/api/v1{path}")
        };
        let request = self.client.request(method, format!("{}{path}", self.base));
        if self.token.is_empty() {
            request
        } else {
            request.bearer_auth(&self.token)
        }
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole answer"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts a JSON document.
    pub(crate) async fn post(&self, path: &str, body: Json) -> Answer {
        let request = self.request(Method::POST, path);
        let request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        self.send(request).await
    }
}

impl Answer {
    /// The answer as JSON, where it has this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("no JSON ({e}): {self:#?}"))
    }

    /// The sentence of a problem, where it has this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        let document = self.is(status);
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:#?}");
        assert_eq!(document["code"], code, "{self:#?}");
        assert_eq!(document["status"], status, "{self:#?}");
        for key in ["type", "title", "detail"] {
            assert!(document[key].as_str().is_some_and(|text| !text.is_empty()), "{self:#?}");
        }
        document["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:#?}"));
        value.to_str().expect("text")
    }
}
