//! A run as it goes, as Server-Sent Events.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::Served;
use crate::harness::daemon::{Api, Daemon, eventually};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_run_is_followed_to_its_result,
    a_run_of_another_process_is_followed_too,
);

/// One event: its name, its id and its data.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Json,
}

/// An open stream.
struct Stream {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    text: String,
}

impl Stream {
    async fn open(api: &Api, run: &Json) -> Self {
        let path = format!("/runs/{}/events", run.as_str().expect("an id"));
        let request = api.request(Method::GET, &path).header("accept-encoding", "gzip");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"));
        Self {
            bytes: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.split_once(": "));
                    let mut values = lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
                    values.next().unwrap_or_default()
                };
                let event = Event {
                    name: field("event"),
                    id: field("id"),
                    data: serde_json::from_str(&field("data")).unwrap_or_default(),
                };
                self.text = rest.to_owned();
                if !event.name.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let next = tokio::time::timeout(Duration::from_secs(60), self.bytes.next()).await;
            let piece = next.expect("the stream goes on")?.expect("bytes");
            self.text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    /// Every event to the end.
    async fn rest(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

async fn a_run_is_followed_to_its_result(db: Database) {
    let served = Served::new(db).await;
    let (store, lease) = served.hold_source().await;
    let run = served.admin.post("/sources/connex/sync", json!({})).await.is(202)["run"].clone();
    let mut stream = Stream::open(&served.admin, &run).await;
    let first = stream.next().await.expect("an event");
    assert_eq!(
        (first.name.as_str(), &first.data["state"]),
        ("progress", &"queued".into()),
        "{first:?}"
    );
    assert_eq!((&first.data["run"], &first.data["phase"]), (&run, &Json::Null));
    store.release_lease(&lease).await.expect("given back");
    let rest = stream.rest().await;
    let last = rest.last().expect("a result");
    assert_eq!(
        (last.name.as_str(), last.id.as_str()),
        ("result", "result"),
        "{rest:#?}"
    );
    let stored = served
        .admin
        .get(&format!("/runs/{}", run.as_str().expect("an id")))
        .await
        .is(200);
    assert_eq!((&last.data["state"], &last.data), (&"applied".into(), &stored));
    assert!(
        rest[..rest.len() - 1].iter().all(|event| event.name == "progress"),
        "{rest:#?}"
    );

    // Once it has ended, the result is all there is; who has it is not to come again.
    let again = Stream::open(&served.admin, &run).await.rest().await;
    assert_eq!(again.len(), 1, "{again:#?}");
    assert_eq!(again[0].data, stored);
    let path = format!("/runs/{}/events", run.as_str().expect("an id"));
    let seen = served
        .admin
        .request(Method::GET, &path)
        .header("last-event-id", "result");
    assert_eq!(served.admin.send(seen).await.status, 204);
}

async fn a_run_of_another_process_is_followed_too(db: Database) {
    let served = Served::new(db).await;
    // Two daemons, and a stream at each: whichever carries the run out, for one of them it is the other.
    let second = Daemon::start(&served.stage.program).await;
    let (store, lease) = served.hold_source().await;
    let run = served.admin.post("/sources/connex/sync", json!({})).await.is(202)["run"].clone();
    let mut streams = Vec::new();
    for api in [served.admin.clone(), second.api(&served.secret)] {
        let mut stream = Stream::open(&api, &run).await;
        assert_eq!(stream.next().await.expect("an event").data["state"], "queued");
        streams.push(stream);
    }
    store.release_lease(&lease).await.expect("given back");
    for stream in streams {
        let rest = stream.rest().await;
        assert_eq!(rest.last().expect("a result").data["state"], "applied", "{rest:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_counted_and_end_with_the_daemon() {
    // A quarter of the connections may be streams.
    let mut served = Served::with(Database::sqlite().await, "max_connections = 12\n").await;
    let (_store, _lease) = served.hold_source().await;
    let run = served.admin.post("/sources/connex/sync", json!({})).await.is(202)["run"].clone();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = Stream::open(&served.admin, &run).await;
        assert_eq!(stream.next().await.expect("an event").name, "progress");
        streams.push(stream);
    }
    let path = format!("/runs/{}/events", run.as_str().expect("an id"));
    served.admin.get(&path).await.problem(503, "too_many_streams");
    assert_eq!(served.admin.get("/runs").await.status, 200);
    // A stream that somebody leaves makes place for another.
    streams.pop();
    let mut fourth = eventually("a place", async || {
        let answer = served
            .admin
            .request(Method::GET, &path)
            .send()
            .await
            .expect("an answer");
        (answer.status() == 200).then_some(Stream {
            bytes: answer.bytes_stream().boxed(),
            text: String::new(),
        })
    })
    .await;
    assert_eq!(fourth.next().await.expect("an event").name, "progress");
    streams.push(fourth);

    // Somebody who waits for a run is answered, and streams end, at once.
    let waiting = tokio::spawn({
        let api = served.admin.clone();
        async move { api.post("/sources/connex/sync?wait=60", json!({"dry_run": true})).await }
    });
    eventually("the waiting request", async || {
        let dry = served
            .stage
            .db
            .query("SELECT state FROM runs WHERE state = 'queued' AND dry_run")
            .await;
        (dry.len() == 1).then_some(())
    })
    .await;
    let asked = Instant::now();
    served.daemon.signal("TERM");
    for stream in streams {
        let rest = stream.rest().await;
        assert!(rest.iter().all(|event| event.name == "progress"), "{rest:#?}");
    }
    assert!(served.daemon.ended().await.success());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    let answered = waiting.await.expect("no panic");
    assert_eq!(answered.is(202)["state"], "queued");
}
