//! Random edits on both sides, synced and compared with a naive model of what must hold afterwards.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rollcall::cli::directory::model::{Account, AccountStatus};

use super::model_world::{Edit, Held, Picture, World, edit};

/// What must hold after a run of everything.
fn check(before: &Picture, after: &Picture, said: &BTreeMap<String, Account>) {
    for id in said.keys() {
        assert!(
            after.linked.contains_key(id) || after.quarantine.contains(id),
            "{id} was lost"
        );
    }
    for (id, held) in &after.linked {
        let was = before.linked.get(id).and_then(Option::as_ref);
        let Some(held) = held else {
            assert_eq!(was, None, "{id}: no run deletes anybody");
            continue;
        };
        assert!(
            before.linked.get(id) != Some(&None),
            "{id}: who was deleted here does not come back"
        );
        if let Some(was) = was {
            assert_eq!(
                (&held.license, &held.id),
                (&was.license, &was.id),
                "{id}: what is ours stays"
            );
        }
        match (said.get(id), was) {
            (Some(_), Some(was)) if after.quarantine.contains(id) => assert_eq!(held, was, "{id}: kept out, untouched"),
            (Some(account), _) => check_present(account, held, was),
            (None, Some(was)) => {
                let expected = match (was.status.as_str(), was.disabled_by.as_str()) {
                    ("active", _) => ("disabled", "directory"),
                    (status, by) => (status, by),
                };
                assert_eq!(
                    (held.status.as_str(), held.disabled_by.as_str()),
                    expected,
                    "{id}: absent"
                );
                assert_eq!(
                    (&held.email, &held.title),
                    (&was.email, &was.title),
                    "{id}: absent, and as it was"
                );
            }
            (None, None) => panic!("{id} was linked though no directory has it"),
        }
    }
    for id in &after.quarantine {
        let account = said.get(id).expect("only who is listed is kept out");
        let key = account.email.to_lowercase();
        let rivals = said.values().filter(|one| one.email.to_lowercase() == key).count();
        let own = after
            .linked
            .get(id)
            .and_then(Option::as_ref)
            .map(|held| held.id.as_str());
        let holder = after.addresses.get(&key).map(String::as_str);
        assert!(
            rivals > 1 || (holder.is_some() && holder != own),
            "{id} is kept out without a reason"
        );
    }
    let employees = |picture: &Picture| {
        let all = picture.others.iter().filter(|row| row.contains("|employee|"));
        all.cloned().collect::<Vec<_>>()
    };
    assert_eq!(employees(before), employees(after), "employees are never touched");
}

fn check_present(account: &Account, held: &Held, was: Option<&Held>) {
    let id = &account.id;
    assert_eq!(
        (&held.email, &held.first_name, &held.title, &held.organization),
        (
            &account.email,
            &account.first_name,
            &account.title.clone().unwrap_or_default(),
            &account.organization_id
        ),
        "{id}: as the directory has it"
    );
    let ours = was.is_some_and(|was| was.status == "disabled" && was.disabled_by != "directory");
    let expected = match account.status {
        _ if ours => "disabled",
        AccountStatus::Active => "active",
        AccountStatus::Disabled => "disabled",
    };
    assert_eq!(held.status, expected, "{id}: {was:?}");
}

async fn scenario(rounds: Vec<Vec<Edit>>) {
    let mut world = World::new().await;
    for edits in rounds {
        for edit in &edits {
            world.make(edit).await;
        }
        let before = world.look().await;
        let run = world.sync(None, None).await.run;
        assert_eq!(run.state, "applied", "{run:?}");
        let after = world.look().await;
        check(&before, &after, &world.said());
        let again = world.sync(None, None).await.run;
        let counts = again.counts.expect("a plan");
        assert!(
            again.state == "applied" && !counts.has_changes(),
            "a second run has nothing to do: {again:?}"
        );
        let settled = world.look().await;
        assert_eq!((&settled.linked, &settled.others), (&after.linked, &after.others));
        assert_eq!(settled.quarantine, after.quarantine);
    }
}

#[test]
fn whatever_is_edited_a_run_brings_both_sides_together() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    let rounds = prop::collection::vec(prop::collection::vec(edit(), 1..9), 2..5);
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&rounds, |rounds| {
        runtime.block_on(scenario(rounds));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
