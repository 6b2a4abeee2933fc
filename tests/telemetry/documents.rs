//! docs/log-events.md and docs/metrics.md against the catalogues in the code, both ways.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rollcall::telemetry::{CATALOGUE, Entry, FIELDS, METRICS, Metric};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The section that an event has in the document, from its heading to the next.
fn section(event: &Entry) -> String {
    let fields: Vec<String> = event.fields.iter().map(|field| format!("`{field}`")).collect();
    let mut text = format!(
        "### `{}` · {}\n\nFields: {}\n\n{}\n",
        event.name,
        event.level.to_ascii_lowercase(),
        fields.join(", "),
        event.means
    );
    if let Some(remedy) = event.remedy {
        text.push_str(&format!("\nTo do: {remedy}.\n"));
    }
    text
}

/// The lines of a document that differ from what the code says.
#[track_caller]
fn assert_same(document: &str, has: &[String], wants: &[String]) {
    let has: BTreeSet<&String> = has.iter().collect();
    let wants: BTreeSet<&String> = wants.iter().collect();
    let lacks: Vec<_> = wants.difference(&has).collect();
    let extra: Vec<_> = has.difference(&wants).collect();
    assert!(
        lacks.is_empty() && extra.is_empty(),
        "{document} lacks {lacks:#?}\nand has, while the code does not: {extra:#?}"
    );
}

#[test]
fn the_document_has_every_event_as_the_code_has_it() {
    let document = read("docs/log-events.md");
    let mut parts = document.split("\n### ");
    parts.next();
    let has: Vec<String> = parts
        .map(|part| {
            let end = part.find("\n## ").unwrap_or(part.len());
            format!("### {}\n", part[..end].trim_end())
        })
        .collect();
    let wants: Vec<String> = CATALOGUE.iter().map(section).collect();
    assert!(wants.len() > 30, "{}", wants.len());
    assert_same("docs/log-events.md", &has, &wants);
}

/// The rows of a table whose first cell is code, without those of other tables.
fn rows<'d>(document: &'d str, heading: &str) -> Vec<String> {
    let from = document.find(heading).unwrap_or_else(|| panic!("no {heading}"));
    let rest = &document[from + heading.len()..];
    let table: &'d str = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_document_has_every_field_as_the_code_has_it() {
    let has = rows(&read("docs/log-events.md"), "\n## Fields\n");
    let wants: Vec<String> = FIELDS
        .iter()
        .map(|(name, means)| format!("| `{name}` | {means} |"))
        .collect();
    assert_same("docs/log-events.md", &has, &wants);
}

#[test]
fn every_field_is_explained_and_none_for_nothing() {
    let used: BTreeSet<&str> = CATALOGUE.iter().flat_map(|event| event.fields).copied().collect();
    let explained: BTreeSet<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(used, explained);
    assert_eq!(explained.len(), FIELDS.len(), "a field is explained twice");
}

#[test]
fn names_are_stable_words_and_unique() {
    let names: BTreeSet<&str> = CATALOGUE.iter().map(|event| event.name).collect();
    assert_eq!(names.len(), CATALOGUE.len());
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let plain = parts
            .iter()
            .all(|part| part.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        assert!(parts.len() == 2 && plain, "{name}");
    }
    // A warning that says nothing to do is noise.
    let idle = CATALOGUE
        .iter()
        .filter(|event| matches!(event.level, "WARN" | "ERROR") && event.remedy.is_none());
    assert_eq!(idle.map(|event| event.name).collect::<Vec<_>>(), [""; 0]);
}

fn sources(directory: PathBuf, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("readable directory") {
        let path = entry.expect("readable directory").path();
        if path.is_dir() {
            sources(path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            // These two say what becomes of an event that is written elsewhere.
            && !path.ends_with("telemetry/count.rs")
            && !path.ends_with("telemetry/pace.rs")
        {
            into.push(read(path));
        }
    }
}

/// `run.held` as the variant that is `RunHeld`.
fn variant(name: &str) -> String {
    let words = name.split(['.', '_']);
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

#[test]
fn every_event_is_written_somewhere() {
    let mut texts = Vec::new();
    sources(root().join("src"), &mut texts);
    let text = texts.concat();
    let silent: Vec<&str> = CATALOGUE
        .iter()
        .map(|event| event.name)
        .filter(|name| !text.contains(&format!("Event::{} {{", variant(name))))
        .collect();
    assert_eq!(silent, [""; 0], "declared, and never emitted");
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{}` | {} | {} | {} |",
        metric.name,
        metric.kind.as_str(),
        labels.join(", "),
        metric.means
    )
}

#[test]
fn the_document_has_every_metric_as_the_code_has_it() {
    let document = read("docs/metrics.md");
    let has = rows(&document, "\n## Metrics\n");
    let wants: Vec<String> = METRICS.iter().map(row).collect();
    assert!(wants.len() > 20);
    assert_same("docs/metrics.md", &has, &wants);
}

#[test]
fn names_of_metrics_follow_the_conventions() {
    for metric in METRICS {
        let name = metric.name;
        assert!(name.starts_with("rollcall_") || name.starts_with("process_"), "{name}");
        assert_eq!(metric.kind.as_str() == "counter", name.ends_with("_total"), "{name}");
        assert!(
            !name.ends_with("_ms") && !name.contains("minutes"),
            "{name}: base units"
        );
    }
}

/// The metrics that a PromQL expression names.
fn named_metrics(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("rollcall_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn alerts_name_metrics_that_are_there() {
    let alerts = read("docs/alerts.yml");
    let expressions: Vec<&str> = alerts
        .lines()
        .filter(|line| line.trim_start().starts_with("expr:"))
        .collect();
    assert!(expressions.len() >= 6, "{expressions:#?}");
    for expression in expressions {
        let named = named_metrics(expression);
        let unknown: Vec<_> = named
            .iter()
            .filter(|name| METRICS.iter().all(|metric| metric.name != **name))
            .collect();
        assert!(unknown.is_empty(), "{expression}: {unknown:?}");
        assert!(!named.is_empty() || expression.contains("up{"), "{expression}");
    }
    // The document shows the same rules.
    let document = read("docs/metrics.md");
    for name in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/metrics.md does not explain {name}"
        );
    }
}
