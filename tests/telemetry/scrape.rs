//! A running daemon, scraped: every metric of the catalogue and no other, every series of a source from the start, and
//! values that follow what happens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rollcall::telemetry::METRICS;
use serde_json::{Value as Json, json};

use super::exposition::Exposition;
use super::lines::{deliver, program};
use crate::harness::daemon::{Api, Daemon, eventually, token};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(every_series_is_there_from_the_start, numbers_follow_what_happens);

/// A daemon with a delivered file, its program, and a client that may do everything.
struct Served {
    program: Program,
    daemon: Daemon,
    api: Api,
}

impl Served {
    async fn start(db: &Database, people: usize) -> Self {
        let program = program(db, "people.csv", people);
        let config = std::fs::read_to_string(program.config()).expect("configuration");
        program.configure(&format!("[http]\nlisten = \"127.0.0.1:0\"\n\n{config}"));
        let token = token(&program, "scraper", "admin");
        let daemon = Daemon::start(&program).await;
        let api = daemon.api(&token);
        Self { program, daemon, api }
    }

    async fn scrape(&self) -> Exposition {
        let answer = self.api.get("/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        assert!(
            kind.is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")),
            "{kind:?}"
        );
        Exposition::parse(&answer.text)
    }

    /// Scrapes until it is as it is to be.
    async fn until(&self, what: &str, is: impl Fn(&Exposition) -> bool) -> Exposition {
        eventually(what, async || Some(self.scrape().await).filter(&is)).await
    }

    async fn post(&self, path: &str, body: Json) -> Json {
        self.api.post(path, body).await.is(200)
    }

    /// Runs the source to its end; how it ended.
    async fn sync(&self) -> Json {
        self.post("/sources/delivery/sync?wait=60", json!({})).await
    }
}

async fn every_series_is_there_from_the_start(db: Database) {
    let served = Served::start(&db, 3).await;
    // The scheduler has its first look behind the start; requests have series once there was one.
    served
        .until("a tick", |scraped| {
            scraped.value("rollcall_scheduler_last_tick_timestamp_seconds", "") > 1.7e9
        })
        .await;
    let scraped = served.scrape().await;
    let found: BTreeSet<&str> = scraped.metrics.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(found, known);
    for metric in METRICS {
        let family = &scraped.metrics[metric.name];
        assert_eq!(
            (family.kind.as_str(), family.help.as_str()),
            (metric.kind.as_str(), metric.means),
            "{}",
            metric.name
        );
        assert!(!family.samples.is_empty(), "{} has no series", metric.name);
        let mut labels: Vec<String> = metric.labels.iter().map(|&label| label.to_owned()).collect();
        labels.sort();
        assert_eq!(family.labels, [labels].into(), "{}", metric.name);
        if metric.labels.contains(&"source") {
            let of_source = family.samples.keys().all(|series| series.contains("source=delivery"));
            assert!(of_source, "{family:#?}");
        }
    }
    let zeros = [
        "rollcall_runs_held",
        "rollcall_run_held_age_seconds",
        "rollcall_quarantined_entries",
        "rollcall_source_paused",
    ];
    for name in zeros {
        assert_eq!(scraped.value(name, "source=delivery"), 0.0, "{name}");
    }
    assert_eq!(
        scraped.value("rollcall_listing_age_seconds", "source=delivery"),
        f64::INFINITY
    );
    assert_eq!(
        scraped.value("rollcall_source_errors_total", "code=source_tls,source=delivery"),
        0.0
    );
    assert_eq!(scraped.value("rollcall_database_up", ""), 1.0);
    assert_eq!(
        scraped.value("rollcall_build_info", concat!("version=", env!("CARGO_PKG_VERSION"))),
        1.0
    );
    assert!(scraped.value("rollcall_http_connections", "") >= 1.0);
    let memory = scraped.value("process_resident_memory_bytes", "");
    assert!((1e6..1e9).contains(&memory), "{memory}");
    // Nothing that a client makes up becomes a label.
    served.api.get("/users/canary-of-a-path?token=canary").await;
    let brew = reqwest::Method::from_bytes(b"BREW").expect("a method");
    served.api.send(served.api.request(brew, "/canary")).await;
    let text = served.api.get("/metrics").await.text;
    assert!(!text.contains("canary"), "{text}");
}

async fn numbers_follow_what_happens(db: Database) {
    let served = Served::start(&db, 30).await;
    assert_eq!(served.sync().await["state"], "applied");
    deliver(&served.program, 3);
    let held = served.sync().await;
    assert_eq!(held["state"], "held");
    let scraped = served.scrape().await;
    let of = |name: &str, labels: &str| scraped.value(name, labels);
    assert_eq!(of("rollcall_runs_total", "source=delivery,state=applied"), 1.0);
    assert_eq!(of("rollcall_runs_total", "source=delivery,state=held"), 1.0);
    assert_eq!(of("rollcall_changes_total", "kind=create,source=delivery"), 30.0);
    assert_eq!(of("rollcall_changes_total", "kind=disable,source=delivery"), 0.0);
    assert_eq!(of("rollcall_runs_held", "source=delivery"), 1.0);
    assert!(of("rollcall_listing_age_seconds", "source=delivery") < 600.0);
    let held_age = of("rollcall_run_held_age_seconds", "source=delivery");
    assert!((0.0..600.0).contains(&held_age), "{held_age}");

    let (run, plan) = (held["run"].as_str().expect("an id"), &held["plan"]["hash"]);
    served
        .post(&format!("/runs/{run}/release"), json!({ "plan": plan }))
        .await;
    std::fs::remove_file(served.program.directory().join("people.csv")).expect("removed");
    assert_eq!(served.sync().await["state"], "failed");
    served.post("/sources/delivery/pause", json!({})).await;
    let fresh = served
        .until("the pause", |scraped| {
            scraped.value("rollcall_source_paused", "source=delivery") == 1.0
        })
        .await;
    let of = |name: &str, labels: &str| fresh.value(name, labels);
    assert_eq!(of("rollcall_answers_total", "answer=released,source=delivery"), 1.0);
    assert_eq!(of("rollcall_changes_total", "kind=disable,source=delivery"), 27.0);
    assert_eq!(
        of("rollcall_source_errors_total", "code=source_not_found,source=delivery"),
        1.0
    );
    assert_eq!(of("rollcall_runs_total", "source=delivery,state=failed"), 1.0);
    assert_eq!(of("rollcall_runs_held", "source=delivery"), 0.0);
    assert_eq!(of("rollcall_run_held_age_seconds", "source=delivery"), 0.0);
    assert_eq!(of("rollcall_log_events_total", "level=error"), 1.0);
    let runs = fresh.metrics["rollcall_run_duration_seconds"].samples["_count{source=delivery}"];
    assert_eq!(runs, 3.0);
    let route = "method=POST,route=/api/v1/runs/{id}/release,status=200";
    assert_eq!(of("rollcall_http_requests_total", route), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_keeps_no_scrape_waiting() {
    let db = Database::postgres().await;
    let mut served = Served::start(&db, 3).await;
    assert_eq!(served.sync().await["state"], "applied");
    served
        .until("a complete listing", |scraped| {
            scraped.value("rollcall_listing_age_seconds", "source=delivery") < 600.0
        })
        .await;
    let (server, name) = db.url.rsplit_once('/').expect("a database");
    let admin = Database::of(format!("{server}/postgres"));
    admin
        .sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .await;
    let cut = format!("SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = '{name}'");
    admin.query(&cut).await;
    let away = served
        .until("a database that is away", |scraped| {
            scraped.value("rollcall_database_up", "") == 0.0
        })
        .await;
    // What is known goes on being said, and grows older.
    let age = away.value("rollcall_listing_age_seconds", "source=delivery");
    let begun = Instant::now();
    let later = served
        .until("an older listing", |scraped| {
            scraped.value("rollcall_listing_age_seconds", "source=delivery") > age
        })
        .await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(
        later.value("rollcall_changes_total", "kind=create,source=delivery"),
        3.0
    );
    served
        .until("the outage", |scraped| {
            scraped.value("rollcall_database_outages_total", "") == 1.0
        })
        .await;
    admin
        .sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        .await;
    served
        .until("the database again", |scraped| {
            scraped.value("rollcall_database_up", "") == 1.0
        })
        .await;
    served.daemon.line("database.back").await;
    served.daemon.line("database.unreachable").await;
}
