//! Where log lines go and which: text or JSON on standard error, or the journal's own fields where standard error is
//! the journal. What libraries say is let through from warnings on, whatever is asked for: below, they print data.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::declare::TARGET;
use super::emit;
use super::events::Event;
use super::line::{Lines, Shape};
use super::value::Sentence;

/// The environment variable that says what is logged.
const VARIABLE: &str = "ROLLCALL_LOG";

/// Reads the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; for the journal, where standard error is it.
    Text,
    /// One JSON object a line, always on standard error.
    Json,
}

/// How the log is to be.
pub struct Settings {
    /// The form of a line.
    pub format: Format,
    /// Whether text may have colour.
    pub color: bool,
    /// What is logged where the environment does not say.
    pub level: &'static str,
    /// Reads the time.
    pub clock: Clock,
}

/// Starts logging, and says there what a panic would say on standard error. Only the first call of a process counts.
pub fn start(settings: Settings) {
    let asked = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let parsed = asked.as_deref().map(str::parse::<EnvFilter>);
    let is_refused = matches!(parsed, Some(Err(_)));
    let level = match settings.level {
        // Who asked for a log is told why it is none.
        "off" if is_refused => "warn",
        level => level,
    };
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| {
        let libraries = if level == "off" { "error" } else { "warn" };
        EnvFilter::new(format!("{libraries},rollcall={level}"))
    });
    let own = |target: &str| target == "rollcall" || target.starts_with("rollcall::");
    let quiet = filter_fn(move |meta| own(meta.target()) || *meta.level() <= LevelFilter::WARN);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match (settings.format, journal()) {
        (Format::Text, Some(journal)) => Box::new(journal),
        (Format::Text, None) => Box::new(Lines {
            shape: Shape::Text { color: settings.color },
            clock: settings.clock,
        }),
        (Format::Json, _) => Box::new(Lines {
            shape: Shape::Json,
            clock: settings.clock,
        }),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(quiet).with_filter(filter));
    if subscriber.try_init().is_err() {
        return;
    }
    if is_refused {
        emit(&Event::LogFilterRefused { used: level });
    }
    std::panic::set_hook(Box::new(panicked));
}

/// Tells a defect by its place alone: what it says may hold data of the directory.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let event = Event::TaskPanicked {
        location: Sentence(&location),
    };
    if tracing::enabled!(target: TARGET, tracing::Level::ERROR) {
        emit(&event);
    } else {
        let _ = writeln!(
            std::io::stderr(),
            "rollcall: the program has a defect at {location}; please report it"
        );
    }
}

/// The journal, if standard error is connected to it: sd-daemon(3) says that `$JOURNAL_STREAM` then has the device and
/// inode number of the stream. A service that was given another standard error keeps to that.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
    if stream != format!("{}:{}", stderr.dev(), stderr.ino()) {
        return None;
    }
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    };
    let layer = tracing_journald::layer().ok()?;
    Some(
        layer
            .with_syslog_identifier("rollcall".into())
            .with_field_prefix(Some("ROLLCALL".into()))
            .with_priority_mappings(priorities),
    )
}
