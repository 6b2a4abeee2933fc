//! Limits that stop a run before its first write. A brake never changes a plan: it holds it, whole, for a person.

use std::fmt;

use super::id::ExternalId;
use super::plan::Counts;

/// What a brake watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrakeName {
    /// Users who may no longer sign in (disabled or deleted).
    Disable,
    /// Users created.
    Create,
    /// Users whose address changes.
    EmailChange,
    /// Users whose directory roles change.
    RoleChange,
    /// A listing without entries where we have users.
    Empty,
    /// The first run of a source, where the configuration wants to see it.
    FirstRun,
}

impl BrakeName {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Create => "create",
            Self::EmailChange => "email_change",
            Self::RoleChange => "role_change",
            Self::Empty => "empty",
            Self::FirstRun => "first_run",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Disable => "disabled",
            Self::Create => "created",
            Self::EmailChange => "given another e-mail address",
            Self::RoleChange => "given other roles",
            Self::Empty | Self::FirstRun => "touched",
        }
    }
}

/// One limit: a share of the scope's users or a count, whichever is met first, but never below the floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// From 0 to 1, of the active users that this source owns in the scope.
    pub share: f64,
    /// A number of users.
    pub count: u64,
    /// Up to this many always pass: three users and one leaver is no accident.
    pub floor: u64,
}

impl Limit {
    /// The largest number that passes where the scope has `base` users. One more holds the run.
    pub fn of(&self, base: u64) -> u64 {
        // Far below 2^53 users, so the product is exact enough; rounding down is the careful side.
        let by_share = (self.share * base as f64 + 1e-9).floor() as u64;
        by_share.min(self.count).max(self.floor)
    }
}

/// All limits of a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brakes {
    /// For [`BrakeName::Disable`].
    pub disable: Limit,
    /// For [`BrakeName::Create`]; not counted while a source has no record, or an organization no user yet.
    pub create: Limit,
    /// For [`BrakeName::EmailChange`].
    pub email_change: Limit,
    /// For [`BrakeName::RoleChange`].
    pub role_change: Limit,
    /// How many hours of earlier runs count too.
    pub window_hours: u32,
    /// Whether an empty listing of a scope with users is held.
    pub hold_empty: bool,
    /// Whether the first run of a source is held.
    pub hold_first_run: bool,
}

/// What was counted for one scope: the run as a whole, or one organization in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weighed {
    /// The organization; `None` for the run as a whole.
    pub organization: Option<ExternalId>,
    /// Active users that this source owns in the scope, before the run.
    pub base: u64,
    /// What this run would do.
    pub now: Counts,
    /// What earlier runs of the window did on their own (released plans were looked at, and do not count).
    pub earlier: Counts,
}

/// What the run as a whole saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Entries that the listing had in scope, bad ones included.
    pub entries: u64,
    /// Whether the source has no record yet.
    pub first_run: bool,
    /// Whether one organization is read that has no user here yet.
    pub new_organization: bool,
}

/// Why a run is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which brake.
    pub name: BrakeName,
    /// The organization, or `None` for the run.
    pub organization: Option<ExternalId>,
    /// What was counted.
    pub value: u64,
    /// What would have passed.
    pub limit: u64,
    /// What was seen, what is likely, how to go on: two or three sentences.
    pub explanation: String,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explanation)
    }
}

/// Judges a plan: every hold, the run's own first, then by organization and brake. Empty: it may proceed.
///
/// `scopes` has the run as a whole first.
pub fn brake(brakes: &Brakes, circumstances: Circumstances, scopes: &[Weighed]) -> Vec<Hold> {
    let mut holds = Vec::new();
    if let Some(run) = scopes.iter().find(|w| w.organization.is_none()) {
        if brakes.hold_empty && circumstances.entries == 0 && run.base > 0 {
            holds.push(empty(run.base));
        }
        if brakes.hold_first_run && circumstances.first_run && run.now.has_changes() {
            holds.push(Hold {
                name: BrakeName::FirstRun,
                organization: None,
                value: run.now.create + run.now.update,
                limit: 0,
                explanation: "This is the first run of the source, and first_run = \"hold\" asks for a look at it. Read the plan, then release or reject it.".into(),
            });
        }
    }
    for scope in scopes {
        let now = &scope.now;
        let was = &scope.earlier;
        let watched = [
            (
                BrakeName::Disable,
                brakes.disable,
                now.disable + now.delete,
                was.disable + was.delete,
            ),
            (BrakeName::Create, brakes.create, now.create, was.create),
            (
                BrakeName::EmailChange,
                brakes.email_change,
                now.email_change,
                was.email_change,
            ),
            (
                BrakeName::RoleChange,
                brakes.role_change,
                now.role_change,
                was.role_change,
            ),
        ];
        for (name, limit, value, earlier) in watched {
            // A firm that is new here brings all its people at once; only the run as a whole can weigh them.
            let first_of_organization = scope.organization.is_some() && scope.base == 0;
            if name == BrakeName::Create
                && (circumstances.first_run || circumstances.new_organization || first_of_organization)
            {
                continue;
            }
            let limit = limit.of(scope.base);
            // Nothing of this kind now: what earlier runs did cannot be stopped any more.
            if value > 0 && value + earlier > limit {
                holds.push(too_many(name, scope, value, earlier, limit, brakes.window_hours));
            }
        }
    }
    holds
}

fn empty(base: u64) -> Hold {
    Hold {
        name: BrakeName::Empty,
        organization: None,
        value: 0,
        limit: 1,
        explanation: format!(
            "The directory answered without an error and listed nobody, while {base} active users here came from it. That is what an identity without the right to read, a wrong base or filter, or a service that has lost its data looks like. Look at the rights of the identity first; release the plan only if the directory is really empty."
        ),
    }
}

fn too_many(name: BrakeName, scope: &Weighed, value: u64, earlier: u64, limit: u64, window_hours: u32) -> Hold {
    let place = match &scope.organization {
        Some(id) => format!("in organization {id}"),
        None => "in this run".to_owned(),
    };
    let before = match earlier {
        0 => String::new(),
        n => format!(", after {n} in the last {window_hours} hours"),
    };
    let likely = match name {
        BrakeName::Disable => {
            "A filter or base that was edited, a replica that lags or a directory that lost data looks like this; so does a firm that really closed."
        }
        BrakeName::Create => "A filter or base that was widened looks like this; so does a large firm that joined.",
        BrakeName::EmailChange => {
            "A mapping that reads another attribute looks like this; so does a firm that changed its domain."
        }
        _ => "A changed role mapping looks like this; so does a reorganization at the directory.",
    };
    Hold {
        name,
        organization: scope.organization.clone(),
        value: value + earlier,
        limit,
        explanation: format!(
            "{value} of {} active users {place} would be {}{before}; {limit} pass without a question. {likely} Read the plan, then release it by its hash or reject it.",
            scope.base,
            name.noun()
        ),
    }
}

#[cfg(test)]
#[path = "brake_tests.rs"]
mod tests;
