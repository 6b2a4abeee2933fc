//! The rules for one file of `src`. Each answers what is wrong, one sentence a breach.

use super::code::Code;

/// Which top-level module may name which. `cli` is the composition root: it may name all, and nothing names it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &["domain"]),
    ("config", &["config", "domain"]),
    ("sources", &["sources", "domain"]),
    ("store", &["store", "domain"]),
    ("engine", &["engine", "domain", "sources", "store", "telemetry"]),
    ("telemetry", &["telemetry", "domain"]),
    ("scheduler", &["scheduler", "domain", "engine", "store", "telemetry"]),
    ("http", &["http", "domain", "engine", "scheduler", "store", "telemetry"]),
    ("lifecycle", &[]),
    (
        "cli",
        &[
            "cli",
            "config",
            "domain",
            "engine",
            "http",
            "lifecycle",
            "scheduler",
            "sources",
            "store",
            "telemetry",
        ],
    ),
    ("main", &[]),
    ("lib", &[]),
];

/// The kinds of sources: the engine knows the trait, and no kind.
const KINDS_OF_SOURCES: &[&str] = &["connex", "file", "ldap"];

/// Libraries, and the few places where each is named. The sample directory is a server of its own.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("ldap3", &["src/sources/ldap/"]),
    ("lber", &["src/sources/ldap/"]),
    ("reqwest", &["src/sources/connex/"]),
    ("sqlx", &["src/store/"]),
    ("axum", &["src/http/", "src/cli/directory/"]),
    ("hyper", &["src/http/"]),
    ("hyper_util", &["src/http/"]),
    ("tower", &["src/http/"]),
    ("tower_http", &["src/http/"]),
    ("utoipa", &["src/http/"]),
    ("utoipa_axum", &["src/http/"]),
    ("askama", &["src/cli/directory/"]),
    ("clap", &["src/cli/"]),
    ("tracing", &["src/telemetry/"]),
    ("tracing_journald", &["src/telemetry/"]),
    ("tracing_subscriber", &["src/telemetry/"]),
    ("metrics", &["src/telemetry/"]),
    ("metrics_exporter_prometheus", &["src/telemetry/"]),
    ("indicatif", &["src/cli/"]),
    ("tokio_cron_scheduler", &["src/scheduler/"]),
    ("sd_notify", &["src/lifecycle.rs"]),
    ("anyhow", &["src/cli/"]),
];

/// What the core may name besides itself. No async, no input or output, no clock, no wire format.
const CORE_MAY_USE: &[&str] = &[
    "crate",
    "jiff",
    "regex",
    "sha2",
    "std",
    "thiserror",
    "unicode_normalization",
    "uuid",
];

/// Of the standard library, what the core may not.
const CORE_MAY_NOT_USE: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread", "time"];

fn module(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split(['/', '.']).next().unwrap_or(below)
}

/// Who may import whom.
pub(crate) fn imports(path: &str, code: &Code) -> Vec<String> {
    let here = module(path);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == here) else {
        return vec![format!(
            "module `{here}` has no rule in MAY_IMPORT; say whom it may import"
        )];
    };
    let mut broken = Vec::new();
    for found in code.crate_paths(path) {
        let parts: Vec<&str> = found.split("::").collect();
        let there = parts.get(1).copied().unwrap_or_default();
        let is_module = MAY_IMPORT.iter().any(|(known, _)| *known == there);
        if is_module && !allowed.contains(&there) {
            broken.push(format!("`{found}`: {here} may not import {there}"));
        }
        let kind = parts.get(2).copied().unwrap_or_default();
        if here == "engine" && there == "sources" && KINDS_OF_SOURCES.contains(&kind) {
            broken.push(format!("`{found}`: the engine knows the trait, and no kind of source"));
        }
    }
    broken
}

/// Which library is named where.
pub(crate) fn libraries(path: &str, code: &Code) -> Vec<String> {
    LIBRARIES
        .iter()
        .filter(|(_, places)| !places.iter().any(|place| path.starts_with(place)))
        .filter(|(library, _)| names_library(code, library))
        .map(|(library, places)| format!("{library} belongs below {}", places.join(" and ")))
        .collect()
}

fn names_library(code: &Code, library: &str) -> bool {
    let used = |(at, _): (usize, &str)| {
        let before = code.code[..at].chars().next_back();
        let own = code.code[..at].trim_end().ends_with("::");
        !own && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    };
    code.code.match_indices(&format!("{library}::")).any(used)
}

/// That the core stays pure.
pub(crate) fn purity(path: &str, code: &Code) -> Vec<String> {
    if module(path) != "domain" {
        return vec![];
    }
    let mut broken: Vec<String> = ["async", "await"]
        .into_iter()
        .filter(|word| code.has_word(word))
        .map(|word| format!("`{word}`: the core does not wait for anything"))
        .collect();
    for line in code.code.lines().map(str::trim) {
        let Some(used) = line.strip_prefix("use ").or_else(|| line.strip_prefix("pub use ")) else {
            continue;
        };
        let first = used
            .trim_start_matches("::")
            .split([':', ';', ' '])
            .next()
            .unwrap_or_default();
        if !CORE_MAY_USE.contains(&first) && !matches!(first, "super" | "self") {
            broken.push(format!("`{line}`: the core may not use {first}"));
        }
    }
    let forbidden = code.paths(&["std"]).into_iter().filter(|found| {
        let part = found.split("::").nth(1).unwrap_or_default();
        CORE_MAY_NOT_USE.contains(&part)
    });
    broken.extend(forbidden.map(|found| format!("`{found}`: the core reads no clock and does no input or output")));
    broken
}

/// That a file says what it is.
pub(crate) fn head(_: &str, code: &Code) -> Vec<String> {
    if code.text.starts_with("//! ") {
        vec![]
    } else {
        vec!["the file does not begin with `//!`: say what it does, and what it must never do".into()]
    }
}

/// Nothing half done, nothing silenced without a reason.
pub(crate) fn short_cuts(_: &str, code: &Code) -> Vec<String> {
    let mut broken = Vec::new();
    if code.has_word("unsafe") {
        broken.push("`unsafe` stands nowhere".into());
    }
    if code.code.contains(".unwrap()") {
        broken.push("`.unwrap()` outside of tests: use `expect` with the invariant, or an error".into());
    }
    for name in ["todo", "unimplemented", "dbg"] {
        if code.code.contains(&format!("{name}!")) {
            broken.push(format!("`{name}!` is for work that is not done"));
        }
    }
    for name in ["TODO", "FIXME", "XXX"] {
        if code.text.split(|c: char| !c.is_alphanumeric()).any(|word| word == name) {
            broken.push(format!("`{name}`: do it, or leave it away"));
        }
    }
    for (at, opening) in code.code.match_indices("allow(") {
        let attribute = code.code[..at].ends_with("#[") || code.code[..at].ends_with("#![");
        let inside = &code.code[at + opening.len()..];
        let inside = &inside[..inside.find(")]").unwrap_or(inside.len())];
        if attribute && !inside.contains("reason") {
            broken.push(format!("`#[allow({})]` has no reason", inside.trim()));
        }
    }
    broken
}

/// A limit of length; with `target`, a ceiling of something that is too long already.
pub(crate) fn too_long(what: &str, lines: usize, limit: usize, target: Option<usize>) -> Vec<String> {
    match target {
        _ if lines > limit => vec![format!("{what} has {lines} lines, more than {limit}; take it apart")],
        Some(target) if lines <= target => {
            vec![format!(
                "{what} has {lines} lines now: remove it from the list of what is too long"
            )]
        }
        _ => vec![],
    }
}

#[test]
fn a_forbidden_import_is_found() {
    let broken = |path: &str, text: &str| imports(path, &Code::new(text)).len();
    assert_eq!(broken("src/domain/a.rs", "use super::b;\nuse crate::domain::c::D;"), 0);
    assert_eq!(broken("src/domain/a.rs", "use crate::store::Store;"), 1);
    assert_eq!(broken("src/domain/a.rs", "use super::super::store::Store;"), 1);
    assert_eq!(
        broken("src/sources/ldap/a.rs", "use crate::{domain::A, store::{B, C}};"),
        2
    );
    assert_eq!(broken("src/store/a.rs", "fn f() { crate::sources::x() }"), 1);
    assert_eq!(broken("src/store/a.rs", "use crate::cli;"), 1);
    assert_eq!(
        broken("src/engine/a.rs", "use crate::sources::{Source, ldap::Ldap};"),
        1
    );
    assert_eq!(
        broken("src/config/a.rs", "use crate::domain::A; // not crate::engine\n"),
        0
    );
    assert_eq!(
        broken(
            "src/cli/a.rs",
            "use crate::{config, engine::E, sources::ldap, store::S};"
        ),
        0
    );
    assert_eq!(broken("src/newcomer/a.rs", ""), 1);
}

#[test]
fn a_library_out_of_place_is_found() {
    let broken = |path: &str, text: &str| libraries(path, &Code::new(text)).len();
    assert_eq!(broken("src/store/a.rs", "use sqlx::Row;"), 0);
    assert_eq!(broken("src/engine/a.rs", "use sqlx::Row;"), 1);
    assert_eq!(
        broken("src/sources/file/a.rs", "fn f(x: ldap3::Ldap, y: reqwest::Client) {}"),
        2
    );
    assert_eq!(
        broken(
            "src/engine/a.rs",
            "use crate::sqlx::Row; // sqlx::Row\nuse my_sqlx::Row;"
        ),
        0
    );
}

#[test]
fn what_is_not_pure_is_found() {
    let broken = |text: &str| purity("src/domain/a.rs", &Code::new(text)).len();
    assert_eq!(broken("use std::fmt;\nuse super::b::C;\nuse uuid::Uuid;"), 0);
    assert_eq!(broken("use tokio::fs;"), 1);
    assert_eq!(broken("use std::{fmt, fs};"), 1);
    assert_eq!(broken("let now = std::time::SystemTime::now();"), 1);
    assert_eq!(broken("async fn f() { g().await }"), 2);
    assert_eq!(purity("src/engine/a.rs", &Code::new("use tokio::fs;")), [""; 0]);
}

#[test]
fn short_cuts_are_found() {
    let broken = |text: &str| short_cuts("src/a.rs", &Code::new(text)).len();
    assert_eq!(
        broken("let a = b.expect(\"a b\"); // .unwrap() and unsafe are words here"),
        0
    );
    assert_eq!(broken("b.unwrap();"), 1);
    assert_eq!(broken("#[cfg(test)]\nmod tests { fn t() { b.unwrap(); } }"), 0);
    assert_eq!(broken("unsafe { }"), 1);
    assert_eq!(broken("todo!(); dbg!(1); unimplemented!()"), 3);
    assert_eq!(broken(concat!("// TO", "DO: later")), 1);
    assert_eq!(broken("#[allow(dead_code)]"), 1);
    assert_eq!(broken("#![allow(\n dead_code\n)]"), 1);
    assert_eq!(broken("#[allow(dead_code, reason = \"because\")]"), 0);
    assert_eq!(broken("fn allow(a: u8) {}"), 0);
}

#[test]
fn length_and_head_are_looked_at() {
    assert_eq!(head("src/a.rs", &Code::new("//! Says it.\n")), [""; 0]);
    assert_eq!(head("src/a.rs", &Code::new("use a;\n//! Late.\n")).len(), 1);
    assert_eq!(too_long("f", 70, 70, None), [""; 0]);
    assert_eq!(too_long("f", 71, 70, None).len(), 1);
    assert_eq!(too_long("f", 90, 95, Some(70)), [""; 0]);
    assert_eq!(too_long("f", 96, 95, Some(70)).len(), 1);
    assert_eq!(too_long("f", 70, 95, Some(70)).len(), 1);
}
