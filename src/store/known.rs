//! The digests of what we hold, in memory while a listing streams by: 16 bytes and a bit for each entry.
//!
//! An entry whose digest is here says what it said before, and its user is as that left it: nothing to stage, nothing
//! to write. The set is a filter only. Whatever is not in it is staged and compared in SQL.

use super::error::StoreError;
use super::row::args;
use super::{Pools, Store, postgres};
use crate::domain::decide::Policy;
use crate::domain::field::{Authority, Field};
use crate::domain::id::Digest;
use crate::domain::run::Scope;

/// How many records SQLite aggregates into one answer: a row costs more to fetch there than to read.
const RECORDS_AT_ONCE: i64 = 20_000;

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

    /// Whether this entry is unchanged and its user in step; marks it as seen.
    pub(super) fn see(&mut self, digest: Digest) -> bool {
        let Ok(at) = self.clean.binary_search(&digest.0) else {
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
        self.clean
            .binary_search(&digest.0)
            .is_ok_and(|at| self.seen[at / 64] & (1 << (at % 64)) != 0)
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

/// The condition under which the user `u` of the record `r` is as the record says, for every field that is the
/// directory's.
fn clean(policy: &Policy<'_>) -> String {
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
            Field::Roles => "coalesce((SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m \
                JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin = 'directory'), '') = r.roles"
                .to_owned(),
            Field::Attribute(name) => format!("coalesce(u.attributes ->> '{name}', '') = coalesce(r.attributes ->> '{name}', '')"),
            column => format!("coalesce(u.{column}, '') = coalesce(r.{column}, '')"),
        });
    }
    all.join(" AND ")
}

impl Known {
    /// Reads the digests of what we hold in `scope`, and which of them have a user that is out of step.
    pub(super) async fn load(store: &Store, scope: &Scope, policy: &Policy<'_>) -> Result<Self, StoreError> {
        // Source names have letters, digits, `-` and `_` alone; ids travel as quoted text.
        let mut within = format!("r.source = '{}'", scope.source);
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match (&scope.external_id, &scope.organization) {
        (Some(id), _) => within.push_str(&format!(" AND r.external_id = {}", quoted(id.as_str()))),
        (None, Some(organization)) => within.push_str(&format!(
            " AND r.organization_id = (SELECT id FROM organizations WHERE source = '{}' AND external_id = {})",
            scope.source,
            quoted(organization.as_str())
        )),
        (None, None) => within.push_str(
            " AND (r.organization_id IS NULL OR r.organization_id IN (SELECT id FROM organizations WHERE followed))",
        ),
    }
        // A link whose user is gone is in step: the user was deleted here, and is not to come back.
        let state = format!(
            "CASE WHEN u.id IS NULL OR ({}) THEN 'c' WHEN r.absent AND u.status <> 'active' THEN 'a' ELSE 'd' END",
            clean(policy)
        );
        let from = "FROM records r LEFT JOIN users u ON u.id = r.user_id";
        let (mut clean, mut doubtful) = (Vec::new(), Vec::new());
        let mut take = |digest: &[u8], state: u8| {
            let digest = std::str::from_utf8(digest)
                .ok()
                .and_then(|text| text.parse::<Digest>().ok());
            match (digest, state) {
                (Some(d), b'c') => clean.push(d.0),
                (Some(d), b'd') => doubtful.push(d.0),
                // Absent already, and disabled for it: there is nothing left to do about it.
                _ => {}
            }
        };
        match &store.pools {
            Pools::Postgres(pool) => {
                let query = format!("SELECT r.digest || {state} {from} WHERE {within}");
                postgres::copy_out(pool, &query, |line| {
                    if let Some((state, digest)) = line.split_last() {
                        take(digest, *state);
                    }
                })
                .await?;
            }
            Pools::Sqlite(_) => {
                let last = store
                    .row("SELECT coalesce(max(rowid), 0) FROM records", args![])
                    .await?
                    .map_or(Ok(0), |mut r| r.int())?;
                for from_row in (0..=last).step_by(usize::try_from(RECORDS_AT_ONCE).unwrap_or(usize::MAX)) {
                    let sql = format!(
                        "SELECT coalesce(group_concat(r.digest || {state}, ''), '') {from} WHERE {within} AND r.rowid > $1 AND r.rowid <= $2"
                    );
                    let Some(mut row) = store.row(&sql, args![from_row, from_row + RECORDS_AT_ONCE]).await? else {
                        continue;
                    };
                    for one in row.text()?.as_bytes().chunks_exact(33) {
                        take(&one[..32], one[32]);
                    }
                }
            }
        }
        Ok(Self::new(clean, doubtful))
    }
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
}
