//! A source that hangs or panics fails its own run, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rollcall::domain::brake::{Brakes, Limit};
use rollcall::domain::entry::DirectoryOrganization;
use rollcall::domain::field::Authorities;
use rollcall::domain::id::{ExternalId, SourceName};
use rollcall::domain::mapping::Mapping;
use rollcall::domain::roles::RolePolicy;
use rollcall::engine::{Engine, Request, Setup};
use rollcall::scheduler::{Managed, Registry, Scheduler};
use rollcall::sources::{BatchSender, Listing, ListingScope, Lookup, Probe, Source, SourceError};
use rollcall::store::Actor;
use tokio::sync::watch;

use super::process::Daemon;
use super::world::{World, runs};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_source_that_panics_or_hangs_fails_its_own_run,
    a_directory_that_never_answers_is_given_up,
);

/// What a source does instead of listing.
#[derive(Clone, Copy)]
enum Manner {
    Panics,
    Hangs,
    ListsNobody,
}

struct Misbehaved(SourceName, Manner);

#[async_trait]
impl Source for Misbehaved {
    fn name(&self) -> &SourceName {
        &self.0
    }

    async fn list(&self, _: &ListingScope, _: BatchSender) -> Result<Listing, SourceError> {
        match self.1 {
            Manner::Panics => panic!("a defect of a test"),
            Manner::Hangs => std::future::pending().await,
            Manner::ListsNobody => Ok(Listing::complete(0, 1, vec!["the end was stated".into()], None)),
        }
    }

    async fn lookup(&self, _: &ExternalId) -> Result<Lookup, SourceError> {
        Ok(Lookup::NotFound)
    }

    async fn find_organization(&self, _: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
        Ok(Vec::new())
    }

    async fn probe(&self) -> Vec<Probe> {
        Vec::new()
    }
}

const LIMIT: Limit = Limit {
    share: 0.1,
    count: 100,
    floor: 5,
};

fn managed(name: &str, manner: Manner) -> Managed {
    let name = SourceName::parse(name).expect("a name");
    Managed {
        setup: Setup {
            source: Arc::new(Misbehaved(name, manner)),
            mapping: Arc::new(Mapping::new(
                BTreeMap::new(),
                RolePolicy::default(),
                "consultant".into(),
                false,
            )),
            authorities: Arc::new(Authorities::default()),
            brakes: Brakes {
                disable: LIMIT,
                create: LIMIT,
                email_change: LIMIT,
                role_change: LIMIT,
                window_hours: 24,
                hold_empty: true,
                hold_first_run: false,
            },
            correlate_by_email: false,
            default_kind: "consultant".into(),
        },
        kind: "connex".into(),
        schedule: None,
        run_timeout: Duration::from_secs(2),
    }
}

async fn a_source_that_panics_or_hangs_fails_its_own_run(db: Database) {
    let registry = Registry {
        sources: vec![
            managed("panics", Manner::Panics),
            managed("hangs", Manner::Hangs),
            managed("well", Manner::ListsNobody),
        ],
        ..Registry::default()
    };
    let scheduler = Scheduler::new(Engine::new(db.store().await), registry);
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.run(stopping, || {}).await }
    });
    for round in ["first", "again"] {
        for (source, state, code) in [
            ("panics", "failed", "source_panicked"),
            ("hangs", "failed", "timed_out"),
            ("well", "applied", "-"),
        ] {
            let name = SourceName::parse(source).expect("a name");
            let request = Request {
                organization: None,
                user: None,
                dry_run: false,
                actor: Actor("api:test".into()),
            };
            let asked = scheduler.request(&name, request).await.expect("queued");
            let row = scheduler.wait(asked.run, Duration::from_secs(60)).await.expect("known");
            let said = row.error.as_ref().map_or("-", |error| error.code.as_str());
            assert_eq!((row.state.as_str(), said), (state, code), "{source}, {round}");
        }
        assert_eq!(scheduler.under_way(), 0);
    }
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(25), running)
        .await
        .expect("it ends in time")
        .expect("it does not panic");
}

async fn a_directory_that_never_answers_is_given_up(db: Database) {
    let world = World::new(&db, "never").await;
    let config = world.configuration("* * * * * *");
    world
        .program
        .configure(&format!("{config}first_byte_timeout = \"1s\"\n"));
    world.shut();
    let daemon = Daemon::start(&world.program);
    let failed = daemon.wait("run.failed", |_| true);
    assert!(
        failed["error"]
            .as_str()
            .is_some_and(|why| why.contains("was silent for")),
        "{failed}"
    );
    world.open();
    daemon.wait("run.applied", |_| true);
    assert_eq!(daemon.stop().0, 0);
    let ended = runs(&db).await;
    assert!(
        ended.iter().any(|line| line.starts_with("failed|source_timeout")),
        "{ended:?}"
    );
}
