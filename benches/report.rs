//! The tables: Markdown whose columns also line up on a terminal. Medians, with the smallest and the largest of several
//! runs; what was promised beside what came.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::{Measured, Run};

/// Of the promises: shares of a floor.
const LDAP_UNCHANGED: f64 = 1.15;
const LDAP_FIRST: f64 = 1.8;
const CONNEX_UNCHANGED: f64 = 1.6;
const CONNEX_FIRST: f64 = 2.5;
const CHANGED: f64 = 1.5;
/// Of the time that a run applies.
const LOCKED: f64 = 1.0;

/// Milliseconds of an answer of the API while a run is under way.
const ANSWER_MS: f64 = 100.0;

/// Up to how many people the smaller limit of memory holds, and both limits in MiB.
const SMALL: usize = 100_000;
const PEAK_MIB_SMALL: f64 = 64.0;
const PEAK_MIB_LARGE: f64 = 160.0;

/// All tables of one size.
pub(crate) fn tables(people: usize, all: &[Measured]) -> String {
    let mut text = format!("\n## {} people\n\n", thousands(people as u64));
    text.push_str(&runs(all));
    text.push('\n');
    text.push_str(&phases(all));
    text.push('\n');
    text.push_str(&answers(all));
    text.push('\n');
    text.push_str(&floors(all));
    text.push('\n');
    text.push_str(&promises(all));
    text
}

fn runs(all: &[Measured]) -> String {
    let mut rows = vec![words(&[
        "source",
        "engine",
        "run",
        "wall s",
        "CPU s",
        "database CPU s",
        "directory CPU s",
        "peak MiB",
        "rows of users",
        "rows in all",
        "WAL kB",
    ])];
    for one in all {
        for (name, runs) in kinds(one) {
            rows.extend(run_row(one, name, runs));
        }
    }
    table(&rows, 3)
}

fn run_row(one: &Measured, name: &str, runs: &[Run]) -> Option<Vec<String>> {
    let middle = median_run(runs)?;
    let server = middle.written.server_cpu.map_or("in CPU".to_owned(), seconds);
    Some(vec![
        one.source.to_owned(),
        one.engine.to_owned(),
        name.to_owned(),
        spread(&runs.iter().map(|run| run.cost.wall).collect::<Vec<_>>()),
        seconds(middle.cost.cpu),
        server,
        seconds(middle.directory_cpu),
        format!("{:.0}", peak_mib(runs)),
        thousands(middle.written.users),
        thousands(middle.written.rows),
        thousands(middle.written.wal_bytes.div_ceil(1000)),
    ])
}

/// The phases of the program, as it names them; what is not among them is starting and ending.
const PHASES: [&str; 5] = ["preparing", "reading", "deciding", "weighing", "applying"];

fn phases(all: &[Measured]) -> String {
    let mut head = words(&["source", "engine", "seconds of"]);
    head.extend(words(&PHASES));
    head.push("the rest".to_owned());
    let mut rows = vec![head];
    for one in all {
        for (name, runs) in kinds(one) {
            let Some(run) = median_run(runs) else { continue };
            let of = |name: &str| {
                run.phases
                    .iter()
                    .find(|(phase, _)| phase == name)
                    .map_or(Duration::ZERO, |(_, t)| *t)
            };
            let mut row = vec![one.source.to_owned(), one.engine.to_owned(), name.to_owned()];
            row.extend(PHASES.map(|name| seconds(of(name))));
            let known: Duration = PHASES.into_iter().map(of).sum();
            row.push(seconds(run.cost.wall.saturating_sub(known)));
            rows.push(row);
        }
    }
    table(&rows, 3)
}

fn answers(all: &[Measured]) -> String {
    let mut rows = vec![words(&[
        "source",
        "engine",
        "list of users during",
        "run s",
        "answers",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "peak MiB of the daemon",
    ])];
    for one in all {
        for (name, answers) in [("first load", one.daemon.first), ("unchanged", one.daemon.unchanged)] {
            rows.push(vec![
                one.source.to_owned(),
                one.engine.to_owned(),
                name.to_owned(),
                seconds(answers.run),
                thousands(answers.count as u64),
                milliseconds(answers.p50),
                milliseconds(answers.p99),
                milliseconds(answers.longest),
                format!("{:.0}", mib(one.daemon.peak_kib)),
            ]);
        }
    }
    table(&rows, 3)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn kinds(one: &Measured) -> [(&'static str, &[Run]); 3] {
    [
        ("first load", &one.first),
        ("unchanged", &one.unchanged),
        ("1 % changed", &one.changed),
    ]
}

fn floors(all: &[Measured]) -> String {
    let mut rows = vec![words(&[
        "source",
        "engine",
        "export s",
        "export CPU s",
        "user rows in s",
        "user rows out s",
    ])];
    for one in all {
        let cpu: Vec<Duration> = one.export.iter().map(|cost| cost.cpu).collect();
        rows.push(vec![
            one.source.to_owned(),
            one.engine.to_owned(),
            spread(&walls(one)),
            seconds(median(&cpu)),
            spread(&one.rows_in),
            spread(&one.rows_out),
        ]);
    }
    table(&rows, 2)
}

fn walls(one: &Measured) -> Vec<Duration> {
    one.export.iter().map(|cost| cost.wall).collect()
}

fn promises(all: &[Measured]) -> String {
    let mut rows = vec![words(&[
        "source",
        "engine",
        "what has to be reached",
        "measured",
        "at most",
        "met",
    ])];
    for one in all {
        for (name, measured, most) in promises_of(one) {
            let met = if measured <= most { "yes" } else { "MISSED" };
            let number = |n: f64| {
                if (0.1..10.0).contains(&most) {
                    format!("{n:.2}")
                } else {
                    format!("{n:.0}")
                }
            };
            rows.push(vec![
                one.source.to_owned(),
                one.engine.to_owned(),
                name.to_owned(),
                number(measured),
                number(most),
                met.to_owned(),
            ]);
        }
    }
    table(&rows, 3)
}

/// Name, measured, at most.
fn promises_of(one: &Measured) -> Vec<(&'static str, f64, f64)> {
    let wall = |runs: &[Run]| median(&runs.iter().map(|run| run.cost.wall).collect::<Vec<_>>()).as_secs_f64();
    let (first, unchanged, changed) = (wall(&one.first), wall(&one.unchanged), wall(&one.changed));
    let export = median(&walls(one)).as_secs_f64();
    let (rows_in, rows_out) = (median(&one.rows_in).as_secs_f64(), median(&one.rows_out).as_secs_f64());
    let peak = [&one.first, &one.unchanged, &one.changed]
        .map(|runs| peak_mib(runs))
        .into_iter()
        .fold(0.0, f64::max);
    let written = one
        .unchanged
        .iter()
        .map(|run| run.written.users)
        .max()
        .unwrap_or_default();
    let mut promises = if one.source == "LDAP" {
        vec![
            ("unchanged / export", unchanged / export, LDAP_UNCHANGED),
            (
                "first load / larger of export and rows in",
                first / export.max(rows_in),
                LDAP_FIRST,
            ),
        ]
    } else {
        vec![
            (
                "unchanged / (export + rows out)",
                unchanged / (export + rows_out),
                CONNEX_UNCHANGED,
            ),
            ("first load / rows in", first / rows_in, CONNEX_FIRST),
        ]
    };
    let most = if one.people <= SMALL {
        PEAK_MIB_SMALL
    } else {
        PEAK_MIB_LARGE
    };
    promises.push(("1 % changed / unchanged", changed / unchanged, CHANGED));
    promises.push(("peak memory, MiB", peak, most));
    promises.push(("peak memory of the daemon, MiB", mib(one.daemon.peak_kib), most));
    if let Some(locked) = one.locked {
        let (longest, applying) = (locked.longest.as_secs_f64(), locked.applying.as_secs_f64());
        promises.push((
            "write lock at a stretch / apply, first load",
            longest / applying,
            LOCKED,
        ));
    }
    let slowest = one.daemon.first.p99.max(one.daemon.unchanged.p99).as_secs_f64() * 1000.0;
    promises.push(("p99 of a list of users meanwhile, ms", slowest, ANSWER_MS));
    promises.push(("rows of users written when unchanged", written as f64, 0.0));
    promises
}

fn peak_mib(runs: &[Run]) -> f64 {
    mib(runs.iter().map(|run| run.cost.peak_kib).max().unwrap_or_default())
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn median_run(runs: &[Run]) -> Option<&Run> {
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by_key(|run| run.cost.wall);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The middle one; of an even number the smaller of the two, which is one that was measured.
fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

/// The median, and between what it lies where there are several.
fn spread(times: &[Duration]) -> String {
    match (times.iter().min(), times.iter().max()) {
        (Some(least), Some(most)) if times.len() > 1 => {
            format!("{} ({}–{})", seconds(median(times)), seconds(*least), seconds(*most))
        }
        _ => seconds(median(times)),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A table of Markdown; the first columns are words and go to the left, the rest go to the right.
fn table(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(3)
    };
    let widths: Vec<usize> = (0..columns).map(|at| width(at).max(3)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (at, cell) in row.iter().enumerate() {
            let wide = widths[at];
            let _ = if at < left {
                write!(text, "| {cell:<wide$} ")
            } else {
                write!(text, "| {cell:>wide$} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (at, wide) in widths.iter().enumerate() {
                let (rule, end) = ("-".repeat(wide + 1), if at < left { "-" } else { ":" });
                let _ = write!(text, "|{rule}{end}");
            }
            text.push_str("|\n");
        }
    }
    text
}
