//! The digests of what we hold, in memory while a listing streams by: 16 bytes and a bit for each entry.
//!
//! An entry whose digest is here says what it said before, and its user is as that left it: nothing to stage, nothing
//! to write. The set is a filter only. Whatever is not in it is staged and compared in SQL.

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use sqlx::PgPool;

use super::error::StoreError;
use super::row::args;
use super::{Pools, Store, postgres};
use crate::domain::decide::Policy;
use crate::domain::field::{Authority, Field};
use crate::domain::id::Digest;
use crate::domain::run::Scope;

/// How many records SQLite aggregates into one answer: a row costs more to fetch there than to read.
const RECORDS_AT_ONCE: i64 = 20_000;

/// How many connections SQLite reads with, each a part of the records: one alone keeps one core busy, and this is all
/// that a run waits for before it can look at entries.
const READERS: usize = 2;

/// How far from its likely place a digest is looked for first.
const NEAR: usize = 64;

/// Hexadecimal digits of a digest, as it is stored.
const DIGEST_CHARS: usize = 32;

/// The names of the roles that the directory granted the user `u`, sorted, one a line.
const ROLES_OF_ONE: &str = "coalesce((SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m \
    JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin = 'directory'), '')";

/// The same for all users in one pass over the memberships: how many, the first and the last.
const ROLES_OF_ALL: &str = "LEFT JOIN (SELECT m.user_id, count(*) AS count, min(g.name) AS first, max(g.name) AS last \
    FROM memberships m JOIN groups g ON g.id = m.group_id WHERE g.kind = 'role' AND m.origin = 'directory' \
    GROUP BY m.user_id) granted ON granted.user_id = r.user_id";

/// Digests whose users are in step, and of those that are not.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Sorted.
    clean: Vec<u128>,
    /// One bit for each of `clean`: whether the listing had it.
    seen: Vec<u64>,
    /// Records whose user was changed locally, or is out of step otherwise: always compared.
    doubtful: Vec<u128>,
    seen_count: u64,
}

impl Known {
    /// A set from unsorted digests.
    pub(super) fn new(mut clean: Vec<u128>, doubtful: Vec<u128>) -> Self {
        clean.sort_unstable();
        let words = clean.len().div_ceil(64);
        Self {
            clean,
            seen: vec![0; words],
            doubtful,
            seen_count: 0,
        }
    }

    /// Where a digest stands. Digests are spread evenly, so its value tells about where: the search begins there, and
    /// stays within a few cache lines that a search of the whole would not.
    fn find(&self, digest: u128) -> Option<usize> {
        let length = self.clean.len();
        // The first 64 bits, as a share of the length.
        let near = (((digest >> 64) * length as u128) >> 64) as usize;
        let mut reach = NEAR;
        loop {
            let (from, to) = (near.saturating_sub(reach), near.saturating_add(reach).min(length));
            let within = self.clean.get(from..to)?;
            let before = from > 0 && within.first().is_some_and(|first| digest < *first);
            let after = to < length && within.last().is_some_and(|last| digest > *last);
            if !before && !after {
                return within.binary_search(&digest).ok().map(|at| from + at);
            }
            reach *= 4;
        }
    }

    /// Whether this entry is unchanged and its user in step; marks it as seen.
    pub(super) fn see(&mut self, digest: Digest) -> bool {
        let Some(at) = self.find(digest.0) else {
            return false;
        };
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.seen_count += 1;
        }
        true
    }

    /// Whether the listing had this entry, unchanged.
    pub(super) fn was_seen(&self, digest: Digest) -> bool {
        self.find(digest.0)
            .is_some_and(|at| self.seen[at / 64] & (1 << (at % 64)) != 0)
    }

    /// How many different entries were seen unchanged.
    pub(super) fn seen_count(&self) -> u64 {
        self.seen_count
    }

    /// Digests of records of which the listing may lack the entry: the unseen, and the doubtful.
    pub(super) fn unseen(&self) -> impl Iterator<Item = Digest> {
        let unseen = self
            .clean
            .iter()
            .enumerate()
            .filter(|(at, _)| self.seen[at / 64] & (1 << (at % 64)) == 0);
        unseen
            .map(|(_, digest)| digest)
            .chain(&self.doubtful)
            .copied()
            .map(Digest)
    }
}

/// The roles of the user `u`, where [`ROLES_OF_ALL`] was joined. Hardly anybody has more than two.
fn roles_of_all() -> String {
    format!(
        "CASE coalesce(granted.count, 0) WHEN 0 THEN '' WHEN 1 THEN granted.first \
         WHEN 2 THEN granted.first || '\n' || granted.last ELSE {ROLES_OF_ONE} END"
    )
}

/// The condition under which the user `u` of the record `r` is as the record says, for every field that is the
/// directory's. `roles` gives the user's roles.
fn clean(policy: &Policy<'_>, roles: &str) -> String {
    let mut all = vec![
        "NOT r.absent".to_owned(),
        "lower(u.kind) <> 'employee'".to_owned(),
        "(u.status = r.status OR (u.status = 'disabled' AND coalesce(u.disabled_by, 'admin') <> 'directory'))"
            .to_owned(),
    ];
    for field in policy
        .mapping
        .fields()
        .filter(|f| policy.authority(f) == Authority::Directory)
    {
        all.push(match &field {
            Field::Status => continue,
            Field::Email => "u.email = r.email".to_owned(),
            Field::Organization => "u.organization_id IS NOT DISTINCT FROM r.organization_id".to_owned(),
            Field::Billable => "u.billable IS NOT DISTINCT FROM r.billable".to_owned(),
            Field::Roles => format!("{roles} = r.roles"),
            Field::Attribute(name) => {
                format!("coalesce(u.attributes ->> '{name}', '') = coalesce(r.attributes ->> '{name}', '')")
            }
            column => format!("coalesce(u.{column}, '') = coalesce(r.{column}, '')"),
        });
    }
    all.join(" AND ")
}

/// The condition under which the record `r` is in `scope`.
fn within(scope: &Scope) -> String {
    // Source names have letters, digits, `-` and `_` alone; ids travel as quoted text.
    let source = &scope.source;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let narrowed = match (&scope.external_id, &scope.organization) {
        (Some(id), _) => format!("r.external_id = {}", quoted(id.as_str())),
        (None, Some(organization)) => format!(
            "r.organization_id = (SELECT id FROM organizations WHERE source = '{source}' AND external_id = {})",
            quoted(organization.as_str())
        ),
        (None, None) => {
            "(r.organization_id IS NULL OR r.organization_id IN (SELECT id FROM organizations WHERE followed))".into()
        }
    };
    format!("r.source = '{source}' AND {narrowed}")
}

/// What is read of each record: its digest, and one letter for its state.
fn digest_and_state(policy: &Policy<'_>, roles: &str) -> String {
    // A link whose user is gone is in step: the user was deleted here, and is not to come back.
    format!(
        "r.digest || CASE WHEN u.id IS NULL OR ({}) THEN 'c' WHEN r.absent AND u.status <> 'active' THEN 'a' ELSE 'd' END",
        clean(policy, roles)
    )
}

/// Digests as they are read, not yet sorted.
#[derive(Default)]
struct Read {
    clean: Vec<u128>,
    doubtful: Vec<u128>,
}

impl Read {
    /// Takes what [`digest_and_state`] gave for one record.
    fn take(&mut self, one: &[u8]) {
        let Some((state, digest)) = one.split_last() else {
            return;
        };
        let digest = std::str::from_utf8(digest)
            .ok()
            .and_then(|text| text.parse::<Digest>().ok());
        match (digest, state) {
            (Some(d), b'c') => self.clean.push(d.0),
            (Some(d), b'd') => self.doubtful.push(d.0),
            // Absent already, and disabled for it: there is nothing left to do about it.
            _ => {}
        }
    }
}

impl Known {
    /// Reads the digests of what we hold in `scope`, and which of them have a user that is out of step.
    pub(super) async fn load(store: &Store, scope: &Scope, policy: &Policy<'_>) -> Result<Self, StoreError> {
        let read = match &store.pools {
            Pools::Postgres(pool) => postgres_records(pool, scope, policy).await?,
            Pools::Sqlite(_) => sqlite_records(store, scope, policy).await?,
        };
        Ok(Self::new(read.clean, read.doubtful))
    }
}

async fn postgres_records(pool: &PgPool, scope: &Scope, policy: &Policy<'_>) -> Result<Read, StoreError> {
    let whole = scope.organization.is_none() && scope.external_id.is_none();
    // One pass over all memberships is cheaper than a look-up for each user, and dearer than a look-up for a few.
    let (roles, granted) = match whole {
        true => (roles_of_all(), ROLES_OF_ALL),
        false => (ROLES_OF_ONE.to_owned(), ""),
    };
    let what = digest_and_state(policy, &roles);
    let within = within(scope);
    let query = format!("SELECT {what} FROM records r LEFT JOIN users u ON u.id = r.user_id {granted} WHERE {within}");
    let mut read = Read::default();
    postgres::copy_out(pool, &query, |line| read.take(line)).await?;
    Ok(read)
}

async fn sqlite_records(store: &Store, scope: &Scope, policy: &Policy<'_>) -> Result<Read, StoreError> {
    let what = digest_and_state(policy, ROLES_OF_ONE);
    let within = within(scope);
    let sql = format!(
        "SELECT coalesce(group_concat({what}, ''), '') FROM records r LEFT JOIN users u ON u.id = r.user_id \
         WHERE {within} AND r.rowid > $1 AND r.rowid <= $2"
    );
    let last = store
        .row("SELECT coalesce(max(rowid), 0) FROM records", args![])
        .await?
        .map_or(Ok(0), |mut row| row.int())?;
    let step = usize::try_from(RECORDS_AT_ONCE).unwrap_or(usize::MAX);
    let mut portions = stream::iter((0..=last).step_by(step))
        .map(|from| sqlite_portion(store, &sql, from).boxed())
        .buffered(READERS);
    let mut read = Read::default();
    while let Some(portion) = portions.next().await {
        portion?
            .as_bytes()
            .chunks_exact(DIGEST_CHARS + 1)
            .for_each(|one| read.take(one));
    }
    Ok(read)
}

/// One portion of the records, whose rowids come after `from`.
async fn sqlite_portion(store: &Store, sql: &str, from: i64) -> Result<String, StoreError> {
    let row = store.row(sql, args![from, from + RECORDS_AT_ONCE]).await?;
    row.map_or(Ok(String::new()), |mut row| row.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_left() {
        let mut known = Known::new(vec![5, 1, 3], vec![9]);
        assert!(known.see(Digest(3)) && known.see(Digest(3)));
        assert!(!known.see(Digest(9)) && !known.see(Digest(2)));
        assert_eq!(known.seen_count(), 1);
        assert!(known.was_seen(Digest(3)) && !known.was_seen(Digest(5)));
        assert_eq!(known.unseen().collect::<Vec<_>>(), [Digest(1), Digest(5), Digest(9)]);
    }

    #[test]
    fn a_digest_is_found_wherever_it_stands() {
        let even = (0..5_000_u128).map(|at| at << 115 | at);
        let crowded = (0..5_000_u128).map(|at| at * 3);
        let apart = (0..2_000_u128).chain((0..2_000).map(|at| u128::MAX - at * 2));
        for all in [
            even.collect::<Vec<_>>(),
            crowded.collect(),
            apart.collect(),
            vec![],
            vec![7],
        ] {
            let known = Known::new(all.clone(), vec![]);
            for digest in &all {
                assert_eq!(known.clean[known.find(*digest).expect("it is there")], *digest);
            }
            let others = all
                .iter()
                .map(|digest| digest ^ 1 << 60)
                .chain([0, 1 << 127, u128::MAX]);
            for other in others.filter(|other| !all.contains(other)).take(500) {
                assert_eq!(known.find(other), None);
            }
        }
    }
}
