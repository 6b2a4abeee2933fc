//! How fast a directory is read into the user table, beside the floor of the same machine in the same minutes: what
//! `make bench` runs. Takes the real binary as a process, a real slapd, pages over HTTP, SQLite and PostgreSQL.
//!
//! Prints tables and writes them as Markdown below the build directory. A time is never asserted, and a target that is
//! missed is shown as missed; a run that does not do what it should ends everything with an error.

mod answers;
mod child;
mod client;
mod database;
mod lock;
mod machine;
mod measure;
mod pages;
mod people;
mod phases;
mod postgres;
mod program;
mod report;
mod slapd;
mod sqlite;
mod wal;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::runtime::{Handle, Runtime};

use database::Database;
use measure::{Directory, Measured, measure};
use pages::Pages;
use postgres::Postgres;
use slapd::Slapd;
use sqlite::Sqlite;

/// Errors are for the person who started this: a sentence is enough.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// From this many people on, one run of each kind is made where nothing else was asked for: the smaller sizes vary
/// more, and cost less.
const LARGE: usize = 1_000_000;

/// How often the smaller sizes are run.
const REPEATS: usize = 3;

/// What is to be measured.
struct Plan {
    sizes: Vec<usize>,
    sources: Vec<String>,
    engines: Vec<String>,
    repeats: Option<usize>,
}

fn main() -> Outcome<()> {
    let runtime = Runtime::new()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [mode, people, ..] if mode == pages::SERVE => runtime.block_on(pages::serve(people.parse()?)),
        [mode, address, ..] if mode == pages::READ => runtime.block_on(pages::read(address.parse()?)),
        // What cargo passes to a benchmark says nothing here.
        _ => bench(&runtime, &Plan::from_environment()?),
    }
}

impl Plan {
    fn from_environment() -> Outcome<Self> {
        let words = |name: &str, default: &str, known: &[&str]| -> Outcome<Vec<String>> {
            let text = std::env::var(name).unwrap_or_default();
            let text = if text.trim().is_empty() { default } else { text.as_str() };
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            match words
                .iter()
                .find(|word| !known.is_empty() && !known.contains(&word.as_str()))
            {
                Some(word) => Err(format!("{name} knows {}, and not `{word}`", known.join(" and ")).into()),
                None => Ok(words),
            }
        };
        let number = |word: &String| word.parse::<usize>().map_err(|_| format!("`{word}` is no number"));
        let sizes = words("SIZES", "10000 100000 1000000", &[])?;
        let repeats = words("RUNS", "0", &[])?;
        Ok(Self {
            sizes: sizes.iter().map(number).collect::<Result<_, _>>()?,
            sources: words("SOURCES", "ldap connex", &["ldap", "connex"])?,
            engines: words("ENGINES", "sqlite postgres", &["sqlite", "postgres"])?,
            repeats: repeats.first().map(number).transpose()?.filter(|n| *n > 0),
        })
    }

    fn repeats(&self, people: usize) -> usize {
        self.repeats.unwrap_or(if people >= LARGE { 1 } else { REPEATS })
    }

    /// As it would be typed.
    fn command(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        let runs = self.repeats.map(|n| format!(" RUNS={n}")).unwrap_or_default();
        format!(
            "make bench SIZES=\"{}\" SOURCES=\"{}\" ENGINES=\"{}\"{runs}",
            sizes.join(" "),
            self.sources.join(" "),
            self.engines.join(" ")
        )
    }
}

fn bench(runtime: &Runtime, plan: &Plan) -> Outcome<()> {
    let cache = cache()?;
    let work = tempfile::tempdir_in(&cache)?;
    let mut report = String::new();
    let head = machine::describe(runtime.handle(), work.path(), &plan.command())?;
    tell(&mut report, &head);
    for people in &plan.sizes {
        let mut all = Vec::new();
        for source in &plan.sources {
            eprintln!("bench: {people} people, {source}: the directory is filled");
            let directory = directory(runtime.handle(), &cache, source, *people)?;
            for engine in &plan.engines {
                eprintln!("bench: {people} people, {source}, {engine}");
                all.push(one(runtime.handle(), work.path(), &directory, engine, *people, plan)?);
            }
        }
        tell(&mut report, &report::tables(*people, &all));
    }
    let file = cache.join("report.md");
    fs::write(&file, report)?;
    eprintln!("bench: the same as Markdown is in {}", file.display());
    Ok(())
}

fn one(
    runtime: &Handle,
    work: &Path,
    directory: &Directory,
    engine: &str,
    people: usize,
    plan: &Plan,
) -> Outcome<Measured> {
    let mut database: Box<dyn Database> = match engine {
        "postgres" => Box::new(Postgres::new(runtime.clone(), work.to_owned())?),
        _ => Box::new(Sqlite::new(runtime.clone(), work.to_owned())),
    };
    measure(
        runtime,
        work,
        directory,
        database.as_mut(),
        people,
        plan.repeats(people),
    )
}

fn directory(runtime: &Handle, cache: &Path, source: &str, people: usize) -> Outcome<Directory> {
    Ok(match source {
        "ldap" => Directory::Ldap(Slapd::start(cache, people)?),
        _ => Directory::Connex(Pages::start(people)?, runtime.clone()),
    })
}

/// Below the build directory: filled directories, the report, and what is thrown away again.
fn cache() -> Outcome<PathBuf> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let cache = temporary.parent().unwrap_or(temporary).join("bench");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

fn tell(report: &mut String, text: &str) {
    println!("{text}");
    report.push_str(text);
    report.push('\n');
}
