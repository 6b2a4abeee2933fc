//! The plan of a run as people read it: grouped by organization, then one line of totals, then what was held or kept
//! out and why, and what to do next.

use std::collections::BTreeMap;

use super::changes_view::{Names, address_width, change, tally};
use super::exit::Failure;
use super::terminal::{BOLD, CYAN, DIM, GREEN, RED, Terminal, YELLOW, number, paint, plural, wrap};
use crate::domain::id::ExternalId;
use crate::domain::plan::Counts;
use crate::engine::Quarantine;
use crate::store::{RunRow, Store, StoredChange, Tally};

/// Most changes of a plan that are shown at once: about three screens.
const CHANGES_SHOWN_MAX: u64 = 60;

/// Most changes of one organization that are shown where the plan is longer than that.
const CHANGES_OF_ONE_ORGANIZATION: u64 = 8;

/// Most quarantined entries that are shown with a plan.
const QUARANTINE_SHOWN_MAX: usize = 10;

/// The names of a source's organizations, those that the run has found included.
pub(super) async fn names(store: &Store, run: &RunRow) -> Result<Names, Failure> {
    let mut names = Names::new();
    if let Ok(source) = crate::domain::id::SourceName::parse(&run.source) {
        let known = store.known_organizations(&source).await?;
        names.extend(known.into_iter().map(|(id, o)| (id.as_str().to_owned(), o.name)));
    }
    names.extend(store.organizations_of_run(run.id).await?);
    Ok(names)
}

/// The whole answer to `sync` and `runs show`.
pub(super) async fn run(
    store: &Store,
    row: &RunRow,
    quarantined: &[Quarantine],
    terminal: &Terminal,
) -> Result<String, Failure> {
    let mut out = header(row, terminal);
    if row.counts.is_some() {
        out.push_str(&plan(store, row, terminal).await?);
        let (new, changed) = store.run_organizations(row.id).await?;
        out.push_str(&organizations(new.len() as u64, changed.len() as u64, row));
    }
    out.push_str(&quarantine(row, quarantined, terminal));
    out.push_str(&outcome(row, terminal));
    Ok(out)
}

/// The changes, cut to a readable length.
async fn plan(store: &Store, row: &RunRow, terminal: &Terminal) -> Result<String, Failure> {
    let tallies = store.tallies(row.id).await?;
    let all: u64 = tallies.values().map(Tally::all).sum();
    if all == 0 {
        return Ok(String::new());
    }
    let each = if all > CHANGES_SHOWN_MAX {
        CHANGES_OF_ONE_ORGANIZATION
    } else {
        CHANGES_SHOWN_MAX
    };
    let changes = store.first_changes(row.id, each, CHANGES_SHOWN_MAX).await?;
    let organizations = tallies.len() as u64;
    let view = View {
        names: names(store, row).await?,
        tallies,
        terminal,
        shortened: true,
    };
    let mut out = view.groups(&changes, None);
    let more = all.saturating_sub(changes.len() as u64);
    if more > 0 {
        let hint = format!(
            "{} {} of {} changes shown, in {}; see all of them with `rollcall runs changes {}`",
            terminal.signs.more,
            changes.len(),
            number(all),
            plural(organizations, "organization"),
            row.id
        );
        out.push_str(&format!("\n{}\n", paint(DIM, hint)));
    }
    Ok(out)
}

fn header(row: &RunRow, terminal: &Terminal) -> String {
    let mut what = row.source.clone();
    if let Some(organization) = &row.organization {
        what.push_str(&format!(", organization {organization}"));
    }
    if let Some(user) = &row.external_id {
        what.push_str(&format!(", entry {user}"));
    }
    if row.dry_run {
        what.push_str(", dry run");
    }
    let mut out = format!("{}  {}\n", paint(BOLD, what), paint(DIM, format!("run {}", row.id)));
    if let Some(listing) = &row.listing {
        let mark = if listing.complete {
            paint(GREEN, terminal.signs.yes)
        } else {
            paint(RED, terminal.signs.no)
        };
        let word = if listing.complete { "complete" } else { "not complete" };
        let entries = if listing.entries == 1 {
            "1 entry".to_owned()
        } else {
            format!("{} entries", number(listing.entries))
        };
        out.push_str(&format!(
            "{mark} read {entries} in {}, {word}",
            plural(listing.pages, "page")
        ));
        if let Some(finished) = row.finished_at {
            let millis = finished.duration_since(row.started_at).as_millis();
            out.push_str(&format!(", {}.{} s", millis / 1_000, millis % 1_000 / 100));
        }
        out.push('\n');
        if !listing.proof.is_empty() {
            out.push_str(&paint(DIM, wrap(&listing.proof.join("; "), terminal.width, "  ")));
        }
    }
    out
}

/// What a plan is shown with.
pub(super) struct View<'a> {
    /// Names of organizations.
    pub(super) names: Names,
    /// All changes of each organization, also those that are not shown.
    pub(super) tallies: BTreeMap<Option<ExternalId>, Tally>,
    /// Where it is shown.
    pub(super) terminal: &'a Terminal,
    /// Whether only the first changes of an organization are shown, so that the rest is to be mentioned.
    pub(super) shortened: bool,
}

impl View<'_> {
    /// Changes under the names of their organizations. The text before ended with the change `above`.
    pub(super) fn groups(&self, changes: &[StoredChange], above: Option<&StoredChange>) -> String {
        let mut out = String::new();
        let mut above = above.map(|c| &c.change.organization);
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let organization = &first.change.organization;
            let group: Vec<&StoredChange> = rest
                .iter()
                .take_while(|c| c.change.organization == *organization)
                .collect();
            let counts = self.tallies.get(organization).copied().unwrap_or_default();
            if above != Some(organization) {
                let name = match organization {
                    Some(id) => self.names.get(id.as_str()).map_or(id.as_str(), String::as_str),
                    None => "Without an organization",
                };
                out.push_str(&format!(
                    "\n{}  {}\n",
                    paint(BOLD, name),
                    tally(&counts, self.terminal.signs)
                ));
            }
            let width = address_width(&group, self.terminal);
            for one in &group {
                out.push_str(&change(one, &self.names, self.terminal, width));
            }
            let left = counts.all().saturating_sub(group.len() as u64);
            if self.shortened && left > 0 {
                out.push_str(&format!(
                    "    {}\n",
                    paint(DIM, format!("{} {} more here", self.terminal.signs.more, number(left)))
                ));
            }
            above = Some(organization);
            rest = &rest[group.len()..];
        }
        out
    }
}

fn organizations(new: u64, changed: u64, row: &RunRow) -> String {
    let tense = if row.state == "applied" { "" } else { " to be" };
    match (new, changed) {
        (0, 0) => String::new(),
        (n, 0) => format!("\n{}{tense} added\n", plural(n, "organization")),
        (0, c) => format!("\n{}{tense} updated\n", plural(c, "organization")),
        (n, c) => format!("\n{}{tense} added, {} updated\n", plural(n, "organization"), number(c)),
    }
}

fn quarantine(row: &RunRow, quarantined: &[Quarantine], terminal: &Terminal) -> String {
    let all = row.counts.map_or(0, |c| c.quarantine);
    if all == 0 {
        return String::new();
    }
    let noun = if all == 1 { "entry is" } else { "entries are" };
    let mut out = format!(
        "\n{}\n",
        paint(YELLOW.bold(), format!("{} {noun} kept out (quarantine):", number(all)))
    );
    for (id, organization, why) in quarantined.iter().take(QUARANTINE_SHOWN_MAX) {
        let of = organization
            .as_ref()
            .map(|o| format!("  {}", paint(DIM, o)))
            .unwrap_or_default();
        let id = paint(BOLD, id.escape_debug());
        out.push_str(&format!("  {} {id}{of}\n", paint(YELLOW, "!")));
        out.push_str(&wrap(&why.detail, terminal.width, "      "));
    }
    if all > quarantined.len().min(QUARANTINE_SHOWN_MAX) as u64 {
        out.push_str(&format!(
            "  {}\n",
            paint(DIM, "see all of them with `rollcall quarantine`")
        ));
    }
    out
}

fn outcome(row: &RunRow, terminal: &Terminal) -> String {
    let mut out = String::from("\n");
    let counts = row.counts.unwrap_or_default();
    match row.state.as_str() {
        "applied" if !counts.has_changes() => {
            out.push_str(&format!(
                "{} {}\n",
                paint(GREEN, terminal.signs.yes),
                paint(BOLD, unchanged(&counts))
            ));
        }
        "applied" => out.push_str(&format!(
            "{} {}\n",
            paint(GREEN, terminal.signs.yes),
            totals("Applied", &counts, true)
        )),
        "planned" if !counts.has_changes() => out.push_str(&format!("{}\n", paint(BOLD, unchanged(&counts)))),
        "planned" => {
            out.push_str(&format!("{}\n", totals("Plan", &counts, false)));
            out.push_str(&holds(row, terminal));
            if row.holds.is_empty() {
                out.push_str(&paint(
                    DIM,
                    format!(
                        "Nothing was written. Apply it with the same command without --dry-run.{}",
                        "\n"
                    ),
                ));
            }
        }
        "held" => {
            out.push_str(&format!("{}\n", totals("Held", &counts, false)));
            out.push_str(&holds(row, terminal));
            let hash = row.plan_hash.as_deref().unwrap_or_default();
            out.push_str(&format!("  read it     rollcall runs changes {}\n", row.id));
            out.push_str(&format!(
                "  release it  rollcall runs release {} --plan {hash}\n",
                row.id
            ));
            out.push_str(&format!("  reject it   rollcall runs reject {}\n", row.id));
        }
        "rejected" => {
            let by = row.answered_by.as_deref().unwrap_or("somebody");
            out.push_str(&format!(
                "{} by {by}; nothing was written\n",
                totals("Rejected", &counts, false)
            ));
        }
        state => {
            let message = row.error.as_ref().map_or("", |e| e.message.as_str());
            out.push_str(&format!(
                "{} {}",
                paint(RED.bold(), terminal.signs.no),
                wrap(&format!("{state}: {message}"), terminal.width, "").trim_start()
            ));
            out.push_str(&paint(DIM, "Nothing was written; nobody was disabled.\n"));
        }
    }
    out
}

fn holds(row: &RunRow, terminal: &Terminal) -> String {
    let mut out = String::new();
    for hold in row.holds.iter().take(5) {
        let title = format!(
            "brake {} ({}): {} against {}",
            hold.name,
            hold.scope,
            number(hold.value),
            number(hold.limit)
        );
        out.push_str(&format!("\n{}\n", paint(RED.bold(), title)));
        out.push_str(&wrap(&hold.explanation, terminal.width.min(100), "  "));
    }
    if row.holds.len() > 5 {
        out.push_str(&format!(
            "  {} and {} more brakes\n",
            terminal.signs.more,
            row.holds.len() - 5
        ));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn unchanged(counts: &Counts) -> String {
    if counts.unchanged == 0 {
        return "No changes".to_owned();
    }
    format!(
        "No changes: {} as they should be",
        if counts.unchanged == 1 {
            "1 user is".to_owned()
        } else {
            format!("{} users are", number(counts.unchanged))
        }
    )
}

/// One line of totals; what is zero is left out.
pub(super) fn totals(title: &str, counts: &Counts, done: bool) -> String {
    let words = if done {
        ["created", "updated", "disabled", "enabled", "deleted"]
    } else {
        ["to create", "to update", "to disable", "to enable", "to delete"]
    };
    let of = [
        counts.create,
        counts.update,
        counts.disable,
        counts.enable,
        counts.delete,
    ];
    let styles = [GREEN, YELLOW, RED, GREEN, RED];
    let mut parts: Vec<String> = Vec::new();
    for ((n, word), style) in of.into_iter().zip(words).zip(styles).filter(|((n, _), _)| *n > 0) {
        let drift = if word.ends_with("update") || word == "updated" {
            counts.drift
        } else {
            0
        };
        let back = if drift > 0 {
            format!(" ({} put back)", paint(CYAN, number(drift)))
        } else {
            String::new()
        };
        parts.push(format!("{} {word}{back}", paint(style, number(n))));
    }
    if parts.is_empty() {
        parts.push("nothing to change".into());
    }
    if counts.unchanged > 0 {
        parts.push(format!("{} unchanged", number(counts.unchanged)));
    }
    if counts.quarantine > 0 {
        parts.push(format!("{} in quarantine", paint(YELLOW, number(counts.quarantine))));
    }
    format!("{}: {}", paint(BOLD, title), parts.join(", "))
}
