//! What a run spent its time on, by the events that the program itself logs when it enters a phase.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

/// The environment in which the program tells its phases: some lines a run, and nothing of its libraries.
pub(crate) const ENVIRONMENT: [(&str, &str); 1] = [("ROLLCALL_LOG", "rollcall=debug")];

/// How long each phase took, in their order; a phase that was entered twice has both times.
pub(crate) type Phases = Vec<(String, Duration)>;

/// Reads the log of one run, in lines of JSON. Empty where it tells no phases.
pub(crate) fn read(log: &str) -> Phases {
    let mut phases: Phases = Vec::new();
    let mut open: Option<(String, Timestamp)> = None;
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Json>(line) else {
            continue;
        };
        let name = event["event"].as_str().unwrap_or_default();
        let at = event["ts"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let (true, Some(at)) = (name.starts_with("run."), at) else {
            continue;
        };
        if let Some((phase, since)) = open.take() {
            let took = Duration::try_from(at.duration_since(since)).unwrap_or_default();
            match phases.iter_mut().find(|(known, _)| *known == phase) {
                Some((_, sum)) => *sum += took,
                None => phases.push((phase, took)),
            }
        }
        if name == "run.phase" {
            open = event["phase"].as_str().map(|phase| (phase.to_owned(), at));
        }
    }
    phases
}
