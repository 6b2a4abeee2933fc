//! That docs/http-api.md and the OpenAPI document say what there is.

use std::collections::BTreeSet;

use rollcall::http::Code;
use serde_json::Value as Json;

use super::Served;
use crate::harness::database::Database;
use crate::harness::program::Program;

fn manual() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http-api.md");
    std::fs::read_to_string(path).expect("the document")
}

fn openapi() -> Json {
    Program::new("").json(&["openapi"])
}

/// Every operation: `GET /api/v1/runs/{id}`.
fn operations(openapi: &Json) -> BTreeSet<String> {
    let paths = openapi["paths"].as_object().expect("paths");
    let methods = ["get", "post", "put", "patch", "delete"];
    paths
        .iter()
        .flat_map(|(path, item)| {
            let own = methods.into_iter().filter(|method| item.get(*method).is_some());
            own.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

#[test]
fn every_code_is_in_the_manual_with_its_status() {
    let manual = manual();
    for code in Code::ALL {
        let row = format!("\n| `{}` | {} |", code.as_str(), code.status().as_u16());
        assert!(manual.contains(&row), "docs/http-api.md has no row{row}");
    }
    let rows = manual.lines().filter(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let code = cells.next().is_some_and(|cell| cell.starts_with('`'));
        code && cells.next().is_some_and(|cell| cell.parse::<u16>().is_ok())
    });
    assert_eq!(
        rows.count(),
        Code::ALL.len(),
        "docs/http-api.md has a code that there is not"
    );
}

#[test]
fn every_operation_is_in_the_manual_with_an_example() {
    let (manual, operations) = (manual(), operations(&openapi()));
    assert!(operations.len() > 20, "{operations:?}");
    let headings: BTreeSet<String> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .map(|operation| match operation.split_once(' ') {
            Some((method, path)) if !["/healthz", "/readyz", "/metrics"].contains(&path) => {
                format!("{method} /api/v1{path}")
            }
            _ => operation.to_owned(),
        })
        .collect();
    assert_eq!(
        headings, operations,
        "the headings of docs/http-api.md are not the operations that there are"
    );
    for section in manual.split("\n### `").skip(1) {
        let heading = section.lines().next().unwrap_or_default();
        assert!(
            section.contains("curl "),
            "docs/http-api.md has no example of `{heading}"
        );
    }
}

#[test]
fn the_description_is_whole() {
    let openapi = openapi();
    let text = openapi.to_string();
    let schemas = openapi["components"]["schemas"].as_object().expect("schemas");
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in openapi["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let Some(responses) = operation["responses"].as_object() else {
                continue;
            };
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let is_open = operation.get("security").is_none();
            let should = ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"].contains(&path.as_str());
            assert_eq!(is_open, should, "{method} {path}");
            assert!(
                responses.contains_key("500") && responses.contains_key("401") != is_open,
                "{method} {path}"
            );
            let named = path.matches('{').count();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            assert_eq!(of_path.count(), named, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_serves_what_the_command_prints() {
    let served = Served::new(Database::sqlite().await).await;
    let answer = served.daemon.api("").get("/openapi.json").await;
    assert_eq!(answer.is(200), openapi());
    // What it names is there: nobody is told of a path that there is not.
    for operation in operations(&openapi()) {
        let (method, path) = operation.split_once(' ').expect("two words");
        let path = path.strip_prefix("/api/v1").unwrap_or(path).replace(['{', '}'], "");
        let method = method.parse().expect("a method");
        let answer = served
            .daemon
            .api("")
            .send(served.daemon.api("").request(method, &path))
            .await;
        assert!([200, 401].contains(&answer.status.as_u16()), "{operation}: {answer:#?}");
    }
}
