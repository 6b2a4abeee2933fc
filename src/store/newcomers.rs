//! Entries of a source that has no record yet. Each is a creation unless more than its own row speaks against it, so it
//! is judged while it streams by, and its change is written at once: nothing has to come back out of the database.
//!
//! What more than one row decides (an id or an address that comes twice, an address that is somebody's here) is found
//! by hashes held in memory, which may err on one side alone: a collision sends an entry the long way for nothing.
//! Those few are moved to the staged entries, and judged there as in every other run.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU64;

use tokio::sync::mpsc;

use super::error::StoreError;
use super::plan_writer::{Creation, GivenColumns, write_creations};
use super::row::args;
use super::{Pools, Store, StoreErrorKind, postgres};
use crate::domain::decide::Policy;
use crate::domain::field::Field;
use crate::domain::id::{Digest, ExternalId, RunId, UserId};
use crate::domain::mapping::Mapped;
use crate::domain::plan::{ChangeDigest, Counts, Given};
use crate::domain::text::email_key;

/// How many changes are written at once.
const ROWS_AT_ONCE: usize = 2_000;

/// How many such portions may wait for the one that is being written.
const PORTIONS_WAITING_MAX: usize = 1;

/// The creations of a plan that were judged while they streamed by.
#[derive(Debug, Default)]
pub struct Newcomers {
    /// The digest of each.
    pub digests: Vec<ChangeDigest>,
    /// How many there are.
    pub counts: Counts,
    /// The same, by organization.
    pub by_organization: BTreeMap<Option<ExternalId>, Counts>,
}

/// One entry that streamed by, at the place of its position.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: NonZeroU64,
    /// Of a creation.
    address: Option<NonZeroU64>,
}

/// Newcomers while they stream by.
pub(super) struct Arriving {
    seen: Vec<Seen>,
    digests: Vec<ChangeDigest>,
    by_organization: BTreeMap<Option<ExternalId>, Counts>,
    given: Given,
    portion: Vec<Creation>,
    writing: Writing,
}

/// The task that writes portions while the next are read. It ends with what started it.
struct Writing {
    sender: Option<mpsc::Sender<Vec<Creation>>>,
    task: tokio::task::JoinHandle<Result<(), StoreError>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writing {
    fn start(store: &Store, run: RunId, given: GivenColumns) -> Self {
        let (sender, mut portions) = mpsc::channel(PORTIONS_WAITING_MAX);
        let store = store.clone();
        let task = tokio::spawn(async move {
            while let Some(portion) = portions.recv().await {
                write_creations(&store, run, &given, portion).await?;
            }
            Ok(())
        });
        Self {
            sender: Some(sender),
            task,
        }
    }

    async fn send(&mut self, portion: Vec<Creation>) -> Result<(), StoreError> {
        let sent = match &self.sender {
            Some(sender) => sender.send(portion).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { self.end().await }
    }

    /// Waits until everything is written.
    async fn end(&mut self) -> Result<(), StoreError> {
        if self.sender.take().is_none() {
            return Ok(());
        }
        (&mut self.task).await.map_err(|_| {
            StoreError::new(
                StoreErrorKind::Internal,
                "the task that writes the plan ended before its time; this is a defect worth reporting",
            )
        })?
    }
}

fn hash(text: &str) -> NonZeroU64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
}

impl Arriving {
    pub(super) fn new(store: &Store, run: RunId, policy: &Policy<'_>) -> Self {
        let given = policy.given();
        let stated: Vec<Field> = policy.mapping.fields().collect();
        let columns = GivenColumns::new(&given, stated.iter());
        Self {
            seen: Vec::new(),
            digests: Vec::new(),
            by_organization: BTreeMap::new(),
            given,
            portion: Vec::new(),
            writing: Writing::start(store, run, columns),
        }
    }

    /// Takes an entry that is staged; its place is its position.
    pub(super) fn pass(&mut self, id: &str) {
        self.seen.push(Seen {
            id: hash(id),
            address: None,
        });
        // Nothing refers to it: it is left out as what is moved is.
        self.digests.push(ChangeDigest::remembered(Digest(0)));
    }

    /// Takes a creation; its place is its position.
    pub(super) async fn take(&mut self, store: &Store, entry: Mapped) -> Result<(), StoreError> {
        self.seen.push(Seen {
            id: hash(entry.id.as_str()),
            address: Some(hash(&entry.email.key())),
        });
        let digest = entry.digest();
        self.digests.push(ChangeDigest::of_creation(digest, &self.given));
        match self.by_organization.get_mut(&entry.organization) {
            Some(counts) => counts.create += 1,
            None => {
                let counts = self.by_organization.entry(entry.organization.clone()).or_default();
                counts.create += 1;
            }
        }
        self.portion.push(Creation {
            position: self.seen.len() as u64 - 1,
            user: UserId(store.new_id()),
            digest,
            entry,
        });
        if self.portion.len() < ROWS_AT_ONCE {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.portion, Vec::with_capacity(ROWS_AT_ONCE));
        self.writing.send(full).await
    }

    /// Waits until all of them are written.
    pub(super) async fn written(&mut self) -> Result<(), StoreError> {
        let rest = std::mem::take(&mut self.portion);
        if !rest.is_empty() {
            self.writing.send(rest).await?;
        }
        self.writing.end().await
    }

    /// The positions of creations that more than one row speaks of: an id or an address that came twice, or an address
    /// of which `is_held` says that somebody may have it here.
    pub(super) fn contested(&self, held: &HashSet<NonZeroU64>) -> Vec<u64> {
        let ids = twice(self.seen.iter().map(|seen| seen.id).collect());
        let addresses = twice(self.seen.iter().filter_map(|seen| seen.address).collect());
        let is_contested = |seen: &Seen| {
            let claims = |address: &NonZeroU64| addresses.contains(address) || held.contains(address);
            seen.address
                .as_ref()
                .is_some_and(|address| ids.contains(&seen.id) || claims(address))
        };
        let all = self.seen.iter().enumerate();
        all.filter(|(_, seen)| is_contested(seen))
            .map(|(at, _)| at as u64)
            .collect()
    }

    /// The addresses that creations claim, sorted.
    pub(super) fn addresses(&self) -> Vec<NonZeroU64> {
        let mut all: Vec<NonZeroU64> = self.seen.iter().filter_map(|seen| seen.address).collect();
        all.sort_unstable();
        all
    }

    /// Leaves out what was moved: positions, and how many of each organization.
    pub(super) fn leave_out(&mut self, positions: &[u64], by_organization: &[(Option<ExternalId>, u64)]) {
        for position in positions {
            if let Some(seen) = usize::try_from(*position).ok().and_then(|at| self.seen.get_mut(at)) {
                seen.address = None;
            }
        }
        for (organization, moved) in by_organization {
            if let Some(counts) = self.by_organization.get_mut(organization) {
                counts.create -= moved;
            }
        }
    }

    /// What is left of them, as part of a plan.
    pub(super) fn finish(self) -> Newcomers {
        let Self {
            seen,
            digests,
            mut by_organization,
            ..
        } = self;
        by_organization.retain(|_, counts| counts.has_changes());
        let mut at = 0;
        let mut digests = digests;
        digests.retain(|_| {
            at += 1;
            seen[at - 1].address.is_some()
        });
        let create = digests.len() as u64;
        Newcomers {
            digests,
            counts: Counts {
                create,
                ..Counts::default()
            },
            by_organization,
        }
    }
}

/// Those that are in it more than once.
fn twice(mut all: Vec<NonZeroU64>) -> HashSet<NonZeroU64> {
    all.sort_unstable();
    all.windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
        .collect()
}

/// How many users SQLite aggregates into one answer: a row costs more to fetch there than to read.
const USERS_AT_ONCE: i64 = 20_000;

impl Store {
    /// Those of the hashes of addresses, which are sorted, of which some user here has an address.
    pub(super) async fn held_addresses(&self, claimed: &[NonZeroU64]) -> Result<HashSet<NonZeroU64>, StoreError> {
        let mut held = HashSet::new();
        let mut take = |address: &str| {
            let address = hash(&email_key(address));
            if claimed.binary_search(&address).is_ok() {
                held.insert(address);
            }
        };
        match &self.pools {
            Pools::Postgres(pool) => {
                let every = "SELECT email FROM users";
                postgres::copy_out(pool, every, |line| take(&String::from_utf8_lossy(line))).await?;
            }
            Pools::Sqlite(_) => {
                let last = self
                    .row("SELECT coalesce(max(rowid), 0) FROM users", args![])
                    .await?
                    .map_or(Ok(0), |mut row| row.int())?;
                let sql =
                    "SELECT coalesce(group_concat(email, char(10)), '') FROM users WHERE rowid > $1 AND rowid <= $2";
                for from in (0..=last).step_by(usize::try_from(USERS_AT_ONCE).unwrap_or(usize::MAX)) {
                    if let Some(mut row) = self.row(sql, args![from, from + USERS_AT_ONCE]).await? {
                        row.text()?.lines().for_each(&mut take);
                    }
                }
            }
        }
        Ok(held)
    }
}
