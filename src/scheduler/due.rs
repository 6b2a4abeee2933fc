//! When a source is due: six fields of cron, in a real time zone, so that three in the morning stays three in the
//! morning when the clocks change. Pure: the time is passed in.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// When a source is read by itself.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
    jitter: Duration,
}

/// What is to be done about a source at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// Write down when it is due: it was not known, or the schedule or the clock has changed.
    Plan(Timestamp),
    /// It is due now, and next at that time. What was missed meanwhile is made up for by this one run.
    Run(Timestamp),
}

impl Schedule {
    /// A schedule of six fields, seconds first, meant in `zone`, each occurrence up to `jitter` later.
    ///
    /// # Errors
    /// One sentence, where it is no such schedule, or never comes.
    pub fn new(cron: &str, zone: &str, jitter: Duration) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let parsed = parser
            .parse(cron)
            .map_err(|e| format!("`{cron}` is no schedule of six fields of cron, seconds first ({e})"))?;
        let tz = match zone {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| format!("this machine knows no time zone {name}"))?,
        };
        Ok(Self {
            text: format!("{cron} {zone}"),
            cron: parsed,
            zone: tz,
            jitter,
        })
    }

    /// The schedule and its zone, as they are kept beside the time that was worked out from them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first occurrence after `now`; `None` where there is none any more.
    pub fn after(&self, now: Timestamp) -> Option<Timestamp> {
        let start = now.to_zoned(self.zone.clone());
        self.cron
            .find_next_occurrence(&start, false)
            .ok()
            .map(|zoned| zoned.timestamp())
    }

    /// The next `count` occurrences after `now`.
    pub fn next_times(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.after(now), |last| self.after(*last))
            .take(count)
            .collect()
    }

    /// When `source` starts for the first occurrence after `now`: each source a little later, and each time by another
    /// amount, so that not all of them ask at once.
    fn start_after(&self, source: &str, now: Timestamp) -> Option<Timestamp> {
        let due = self.after(now)?;
        let seconds = self.jitter.as_secs();
        if seconds == 0 {
            return Some(due);
        }
        // FNV-1a: spread is wanted, not secrecy.
        let hash = source
            .bytes()
            .chain(due.as_second().to_be_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        due.checked_add(Duration::from_secs(hash % (seconds + 1))).ok()
    }

    /// What is to be done at `now`, where `due` was written down under `schedule`.
    pub(super) fn step(&self, source: &str, schedule: Option<&str>, due: Option<Timestamp>, now: Timestamp) -> Step {
        let Some(next) = self.start_after(source, now) else {
            return Step::Wait;
        };
        match due {
            Some(due) if schedule == Some(self.text.as_str()) => {
                // A clock that was put back would leave the source waiting for a time long after its next occurrence.
                let too_late = self
                    .after(now)
                    .and_then(|t| t.checked_add(self.jitter).ok())
                    .is_some_and(|t| due > t);
                match () {
                    () if due <= now => Step::Run(next),
                    () if too_late => Step::Plan(next),
                    () => Step::Wait,
                }
            }
            _ => Step::Plan(next),
        }
    }
}

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;
