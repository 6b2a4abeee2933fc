//! Who may ask what: tokens, their scopes and their ends.

use reqwest::Method;
use serde_json::json;

use super::Served;
use crate::harness::daemon::{eventually, token};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_token_does_what_its_scope_says,
    a_token_that_is_revoked_or_expired_is_dead_at_the_next_request,
    a_token_is_shown_once_and_kept_as_a_hash,
);

async fn a_token_does_what_its_scope_says(db: Database) {
    let served = Served::synced(db).await;
    let run = served.admin.get("/runs?limit=1").await.is(200)["items"][0]["run"].clone();
    let run = run.as_str().expect("an id");
    let starts = ["/sources/connex/sync", "/organizations/paving/sync", "/users/p01/sync"];
    let answers = [
        format!("/runs/{run}/release"),
        format!("/runs/{run}/reject"),
        "/sources/connex/pause".to_owned(),
        "/sources/connex/resume".to_owned(),
    ];
    let body = |path: &str| match path.ends_with("/release") {
        true => json!({"plan": "0".repeat(64)}),
        false => json!({}),
    };
    for (scope, may) in [("read", 0), ("sync", 1), ("admin", 2)] {
        let api = served.daemon.api(&token(&served.stage.program, scope, scope));
        assert_eq!(api.get("/sources").await.status, 200);
        for (needs, paths) in [(1, starts.map(str::to_owned).to_vec()), (2, answers.to_vec())] {
            for path in paths {
                let answer = api.post(&path, body(&path)).await;
                if needs > may {
                    let said = answer.problem(403, "forbidden");
                    let needed = ["read", "sync", "admin"][needs];
                    assert_eq!(answer.is(403)["needed_scope"], needed, "{path}: {said}");
                    assert!(
                        answer.header("www-authenticate").contains("insufficient_scope"),
                        "{path}"
                    );
                } else {
                    assert!([200, 202, 409].contains(&answer.status.as_u16()), "{path}: {answer:#?}");
                }
            }
        }
    }
}

async fn a_token_that_is_revoked_or_expired_is_dead_at_the_next_request(db: Database) {
    let served = Served::new(db).await;
    let program = &served.stage.program;
    let short = program.ok(&["token", "create", "short", "--expires", "2s"]);
    let long = token(program, "long", "read");
    let (short, long) = (served.daemon.api(short.trim_end()), served.daemon.api(&long));
    assert_eq!(long.get("/runs").await.status, 200);
    program.ok(&["token", "revoke", "long"]);
    let dead = long.get("/runs").await;
    assert!(dead.problem(401, "unauthenticated").contains("revoked"));
    assert!(dead.header("www-authenticate").contains("invalid_token"));
    let said = eventually("the end of the token", async || {
        let answer = short.get("/runs").await;
        (answer.status != 200).then(|| answer.problem(401, "unauthenticated"))
    });
    assert!(said.await.contains("expired"));
    // Its name is free again.
    token(program, "long", "read");
    // The others live.
    assert_eq!(served.admin.get("/runs").await.status, 200);
}

async fn a_token_is_shown_once_and_kept_as_a_hash(db: Database) {
    let mut served = Served::new(db).await;
    let program = &served.stage.program;
    let shown = program.ok(&["token", "create", "nightly", "--scope", "sync", "--expires", "90d"]);
    let secret = shown.strip_suffix('\n').expect("one line");
    assert!(secret.starts_with("rollcall_") && secret.len() == 73, "{shown}");
    assert!(program.fails(1, &["token", "create", "nightly"]).contains("already"));
    assert!(
        program
            .fails(64, &["token", "create", "a@b.example"])
            .contains("no name")
    );
    assert!(
        program
            .fails(64, &["token", "create", "x", "--expires", "soon"])
            .contains("90d")
    );
    assert!(program.fails(1, &["token", "revoke", "nobody"]).contains("token list"));
    assert_eq!(served.daemon.api(secret).get("/runs").await.status, 200);
    let used = eventually("the use of the token", async || {
        let tokens = program.json(&["token", "list", "--output", "json"]);
        let token = tokens
            .as_array()
            .expect("a list")
            .iter()
            .find(|t| t["name"] == "nightly")
            .cloned();
        token.filter(|token| token["last_used_at"].is_string())
    })
    .await;
    assert_eq!((&used["scope"], &used["state"]), (&"sync".into(), &"active".into()));
    assert_eq!(used["prefix"], secret[..15], "{used}");
    let kept = served
        .stage
        .db
        .query("SELECT hash, prefix, name, created_by FROM tokens")
        .await;
    assert!(!kept.iter().any(|row| row.contains(&secret[20..])), "{kept:?}");
    let audit = served
        .stage
        .db
        .query("SELECT action, CAST(details AS text) FROM audit")
        .await;
    assert!(audit.iter().any(|row| row.starts_with("token.created")), "{audit:?}");
    assert!(!audit.iter().any(|row| row.contains(&secret[20..])), "{audit:?}");
    served.daemon.signal("TERM");
    assert!(served.daemon.ended().await.success());
    let log = served.daemon.lines().join("\n");
    assert!(!log.contains(&secret[20..]), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_valid_token_only_the_open_paths_answer() {
    let served = Served::new(Database::sqlite().await).await;
    let nobody = served.daemon.api("");
    for open in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/api/v1/healthz",
        "/api/v1/readyz",
    ] {
        let answer = eventually(open, async || {
            let answer = nobody.get(open).await;
            (answer.status == 200).then_some(answer)
        });
        assert!(!answer.await.text.contains("paving"), "{open}");
    }
    for path in ["/sources", "/runs", "/runs/x", "/users", "/organizations", "/audit"] {
        let answer = nobody.get(path).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"rollcall\"", "{path}");
    }
    let right = token(&served.stage.program, "right", "admin");
    let wrong = format!("{}{}", &right[..72], if right.ends_with('0') { '1' } else { '0' });
    for bad in ["x", "rollcall_", &wrong, &right.to_uppercase(), &format!("{right}0")] {
        let answer = served.daemon.api(bad).get("/runs").await;
        answer.problem(401, "unauthenticated");
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    for header in [format!("Basic {right}"), right.clone(), "Bearer".into(), String::new()] {
        let request = nobody.request(Method::GET, "/runs").header("authorization", &header);
        nobody.send(request).await.problem(401, "unauthenticated");
    }
    // A token in the address would stand in the logs of everything on the way.
    let in_query = nobody.get(&format!("/runs?token={right}")).await;
    in_query.problem(401, "unauthenticated");
    let lower = nobody
        .request(Method::GET, "/runs")
        .header("authorization", format!("bearer {right}"));
    assert_eq!(nobody.send(lower).await.status, 200);
}
