//! What a run shows on a terminal while it is under way. Nothing where there is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{Terminal, number};
use crate::engine::{Observer, Phase, Progress};

/// A line that moves, on standard error.
pub(super) struct Display {
    bar: ProgressBar,
}

impl Display {
    /// A display for the run of `source`.
    pub(super) fn new(terminal: &Terminal, source: &str) -> Self {
        if !terminal.is_interactive() {
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        bar.set_prefix(source.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Display {
    fn progress(&self, progress: Progress) {
        self.bar.set_message(line(progress, self.bar.elapsed()));
    }
}

fn line(progress: Progress, elapsed: Duration) -> String {
    let Progress {
        phase,
        entries,
        pages,
        changes,
    } = progress;
    let mut parts = vec![phase.as_str().to_owned()];
    if entries > 0 {
        parts.push(format!("{} entries", number(entries)));
        parts.push(format!("{} pages", number(pages)));
    }
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    if phase == Phase::Reading && entries > 0 {
        parts.push(format!("{}/s", number(entries.saturating_mul(1_000) / millis)));
    }
    if changes > 0 {
        parts.push(format!("{} changes", number(changes)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_phase_entries_pages_and_rate() {
        let progress = Progress {
            phase: Phase::Reading,
            entries: 12_000,
            pages: 12,
            changes: 0,
        };
        assert_eq!(
            line(progress, Duration::from_secs(4)),
            "reading, 12,000 entries, 12 pages, 3,000/s"
        );
        let progress = Progress {
            phase: Phase::Deciding,
            changes: 1_000,
            ..progress
        };
        assert_eq!(
            line(progress, Duration::from_secs(5)),
            "deciding, 12,000 entries, 12 pages, 1,000 changes"
        );
    }
}
