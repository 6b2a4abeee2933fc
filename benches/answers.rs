//! How long the API takes for a list of users while the same daemon reads a directory: a first load, and then the same
//! directory once more.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode, header};
use serde_json::Value as Json;
use tokio::runtime::Handle;

use crate::Outcome;
use crate::child::{self, Server};
use crate::client::Client;
use crate::program::{BINARY, Program};

/// What is asked for again and again.
pub(crate) const LIST: &str = "/api/v1/users?limit=50";

/// Between an answer and the next question: somebody who clicks is slower.
const PAUSE: Duration = Duration::from_millis(5);

/// How often the run is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// Longest start of the daemon, and longest run, that are waited for.
const START_MAX: Duration = Duration::from_secs(60);
const RUN_MAX: Duration = Duration::from_secs(3600);

/// The answers during one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answers {
    pub(crate) count: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
    /// How long the run took in the daemon.
    pub(crate) run: Duration,
}

/// What a daemon did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Daemon {
    pub(crate) first: Answers,
    pub(crate) unchanged: Answers,
    pub(crate) peak_kib: u64,
}

/// Starts the daemon on an empty database, and has it load `source` twice.
pub(crate) fn measure(runtime: &Handle, work: &Path, database: &str, source: &str) -> Outcome<Daemon> {
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    // A day of the year on which nobody measures: only what is asked for here is to run.
    let source = source.replacen("name = ", "schedule = \"0 0 0 29 2 *\"\nname = ", 1);
    let http = format!("[http]\nlisten = \"{address}\"\npublic_url = \"http://{address}\"\n");
    let program = Program::new(work, database, &(http + &source))?;
    let made = program.run(&["token", "create", "bench", "--scope", "admin"])?;
    if made.code != 0 {
        return Err(format!("rollcall token create: {}", made.stderr).into());
    }
    let arguments = ["--config".as_ref(), program.config().as_os_str(), "serve".as_ref()];
    let mut daemon = Server::start(BINARY.as_ref(), &arguments, Stdio::null())?;
    let token = made.stdout.trim();
    runtime.block_on(async {
        ready(&mut daemon, address).await?;
        let first = during(address, token).await?;
        let unchanged = during(address, token).await?;
        let peak_kib = child::peak_kib(daemon.0.id())?;
        Ok(Daemon {
            first,
            unchanged,
            peak_kib,
        })
    })
}

async fn ready(daemon: &mut Server, address: SocketAddr) -> Outcome<()> {
    let deadline = Instant::now() + START_MAX;
    while Instant::now() < deadline && daemon.0.try_wait()?.is_none() {
        if let Ok(mut client) = Client::connect(address, None).await
            && let Ok((answer, _)) = client.ask(Method::GET, "/healthz", None).await
            && answer.status == StatusCode::OK
        {
            return Ok(());
        }
        // Between two looks; it tells readiness to systemd alone.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("rollcall serve does not answer".into())
}

/// Asks for a run, and for the list of users until it has ended.
async fn during(address: SocketAddr, token: &str) -> Outcome<Answers> {
    let mut asking = Client::connect(address, Some(token)).await?;
    let mut watching = Client::connect(address, Some(token)).await?;
    let started = Instant::now();
    let (asked, body) = watching
        .ask(Method::POST, "/api/v1/sources/bench/sync", Some("{}"))
        .await?;
    let place = asked
        .headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let (StatusCode::ACCEPTED, Some(place)) = (asked.status, place) else {
        return Err(format!("no run was begun: {}", String::from_utf8_lossy(&body)).into());
    };
    let mut times = Vec::new();
    let mut looked = Instant::now();
    loop {
        let at = Instant::now();
        let (answer, body) = asking.ask(Method::GET, LIST, None).await?;
        times.push(at.elapsed());
        if answer.status != StatusCode::OK {
            return Err(format!("the list of users: {}", String::from_utf8_lossy(&body)).into());
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            if ended(&mut watching, place).await? {
                break;
            }
        }
        if started.elapsed() > RUN_MAX {
            return Err("the run does not end".into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    let run = started.elapsed();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    Ok(Answers {
        count: times.len(),
        p50: at(0.50),
        p99: at(0.99),
        longest: at(1.0),
        run,
    })
}

/// Whether the run has ended; it must have been applied.
async fn ended(client: &mut Client, place: &str) -> Outcome<bool> {
    let path = place.find("/api/").map_or(place, |at| &place[at..]);
    let (_, body) = client.ask(Method::GET, path, None).await?;
    let run: Json = serde_json::from_slice(&body)?;
    match run["state"].as_str() {
        Some("applied") => Ok(true),
        Some("queued" | "waiting" | "running") => Ok(false),
        _ => Err(format!("the run was not applied: {run:#}").into()),
    }
}
