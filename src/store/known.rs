//! The digests of what we hold, in memory while a listing streams by: 16 bytes and a bit for each entry.
//!
//! An entry whose digest is here says what it said before, and unless its user is out of step there is nothing to
//! stage and nothing to write. The set is a filter only. Whatever is not in it is staged and compared in SQL. Which
//! users are out of step is worked out while the listing is read, since both take their time; entries of theirs that
//! were passed over meanwhile are staged in the end, from their records, which say the same.

use tokio::task::JoinHandle;

use super::error::{StoreError, StoreErrorKind};
use super::row::args;
use super::sql::Engine;
use super::{Pools, Store, postgres};
use crate::domain::decide::Policy;
use crate::domain::field::{Authority, Field};
use crate::domain::id::{Digest, UserId};
use crate::domain::run::Scope;

/// How many records SQLite aggregates into one answer: a row costs more to fetch there than to read.
const RECORDS_AT_ONCE: i64 = 20_000;

/// How far from its likely place a digest is looked for first.
const NEAR: usize = 64;

/// Hexadecimal digits of a digest, as it is stored.
const DIGEST_CHARS: usize = 32;

/// A digest, a letter, and a UUID with its hyphens.
const OUT_OF_STEP_CHARS: usize = DIGEST_CHARS + 1 + 36;

/// The names of the roles that the directory granted the user `u`, sorted, one a line.
const ROLES_OF_ONE: &str = "coalesce((SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m \
    JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin = 'directory'), '')";

/// The same for all users in one pass over the memberships: how many, the first and the last.
const ROLES_OF_ALL: &str = "LEFT JOIN (SELECT m.user_id, count(*) AS count, min(g.name) AS first, max(g.name) AS last \
    FROM memberships m JOIN groups g ON g.id = m.group_id WHERE g.kind = 'role' AND m.origin = 'directory' \
    GROUP BY m.user_id) granted ON granted.user_id = r.user_id";

/// The digests of all records in the scope, and in time which of them have users that are out of step.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Sorted.
    all: Vec<u128>,
    /// One bit for each of `all`: whether the listing had it.
    seen: Vec<u64>,
    seen_count: u64,
    /// Sorted: records whose user was changed locally, or is out of step otherwise. Their entries are always compared.
    doubtful: Vec<u128>,
    /// Sorted: those of them that are absent already, and their users disabled for it: nothing is left to do about it.
    gone: Vec<u128>,
    looking: Option<Looking>,
}

/// A look at all users, under way beside the listing. It ends with what started it.
#[derive(Debug)]
struct Looking(JoinHandle<Result<Vec<OutOfStep>, StoreError>>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A record whose user is not as it says.
#[derive(Debug, Clone, Copy)]
struct OutOfStep {
    digest: u128,
    user: UserId,
    gone: bool,
}

impl Known {
    /// A set from unsorted digests.
    pub(super) fn new(mut all: Vec<u128>) -> Self {
        all.sort_unstable();
        let words = all.len().div_ceil(64);
        Self {
            all,
            seen: vec![0; words],
            ..Self::default()
        }
    }

    /// Waits until it is known whose users are out of step. Gives those users of whom an entry was seen already and
    /// taken for unchanged: it is to be compared after all.
    pub(super) async fn settle(&mut self) -> Result<Vec<UserId>, StoreError> {
        let Some(mut looking) = self.looking.take() else {
            return Ok(vec![]);
        };
        let found = (&mut looking.0).await.map_err(|_| {
            let message =
                "the comparison of users with their records broke off; sync again, and report it if it stays so";
            StoreError::new(StoreErrorKind::Internal, message)
        })??;
        Ok(self.doubt(&found))
    }

    /// Takes note of users that are out of step; gives those of whom an entry was seen.
    fn doubt(&mut self, found: &[OutOfStep]) -> Vec<UserId> {
        let mut again = Vec::new();
        for one in found {
            self.doubtful.push(one.digest);
            if one.gone {
                self.gone.push(one.digest);
            }
            let Some(at) = self.find(one.digest) else { continue };
            let (word, bit) = (at / 64, 1_u64 << (at % 64));
            if self.seen[word] & bit != 0 {
                self.seen[word] &= !bit;
                self.seen_count -= 1;
                again.push(one.user);
            }
        }
        self.doubtful.sort_unstable();
        self.gone.sort_unstable();
        again
    }

    /// Where a digest stands. Digests are spread evenly, so its value tells about where: the search begins there, and
    /// stays within a few cache lines that a search of the whole would not.
    fn find(&self, digest: u128) -> Option<usize> {
        let length = self.all.len();
        // The first 64 bits, as a share of the length.
        let near = (((digest >> 64) * length as u128) >> 64) as usize;
        let mut reach = NEAR;
        loop {
            let (from, to) = (near.saturating_sub(reach), near.saturating_add(reach).min(length));
            let within = self.all.get(from..to)?;
            let before = from > 0 && within.first().is_some_and(|first| digest < *first);
            let after = to < length && within.last().is_some_and(|last| digest > *last);
            if !before && !after {
                return within.binary_search(&digest).ok().map(|at| from + at);
            }
            reach *= 4;
        }
    }

    /// Whether this entry is unchanged, and its user in step as far as that is known; marks it as seen.
    pub(super) fn see(&mut self, digest: Digest) -> bool {
        if self.doubtful.binary_search(&digest.0).is_ok() {
            return false;
        }
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
            .all
            .iter()
            .enumerate()
            .filter(|(at, _)| self.seen[at / 64] & (1 << (at % 64)) == 0);
        unseen
            .map(|(_, digest)| *digest)
            .filter(|digest| self.gone.binary_search(digest).is_err())
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

/// What is asked of the records in a scope: a text of always the same length for each, and for which of them.
struct Question {
    what: String,
    from: String,
    within: String,
}

impl Question {
    /// The digests of all.
    fn digests(engine: Engine, scope: &Scope) -> Self {
        Self {
            what: "r.digest".into(),
            from: format!("FROM records r {}", in_order(engine, scope)),
            within: within(scope),
        }
    }

    /// Those whose users are out of step: the digest, a letter, the id of the user.
    fn out_of_step(engine: Engine, scope: &Scope, policy: &Policy<'_>) -> Self {
        // One pass over all memberships is cheaper than a look-up for each user, and dearer than a look-up for a few.
        // SQLite looks up as fast as it passes.
        let (roles, granted) = match engine {
            Engine::Postgres if is_whole(scope) => (roles_of_all(), ROLES_OF_ALL),
            Engine::Postgres => (ROLES_OF_ONE.to_owned(), ""),
            // From the user's few memberships to their groups, however many groups there are.
            Engine::Sqlite => (ROLES_OF_ONE.replace("JOIN groups", "CROSS JOIN groups"), ""),
        };
        Self {
            what: "r.digest || CASE WHEN r.absent AND u.status <> 'active' THEN 'a' ELSE 'd' END || u.id::text".into(),
            // A link whose user is gone is in step: the user was deleted here, and is not to come back.
            from: format!(
                "FROM records r {} {} users u ON u.id = r.user_id {granted}",
                in_order(engine, scope),
                match engine {
                    Engine::Postgres => "JOIN",
                    // From the records to the users, never the other way round.
                    Engine::Sqlite => "CROSS JOIN",
                }
            ),
            within: format!("{} AND NOT coalesce({}, false)", within(scope), clean(policy, &roles)),
        }
    }
}

/// How the records of a scope are gone through. With statistics SQLite would take those of one organization after the
/// other by their index, which jumps about in the table and takes four times as long as the table from end to end.
fn in_order(engine: Engine, scope: &Scope) -> &'static str {
    match engine {
        Engine::Sqlite if is_whole(scope) => "NOT INDEXED",
        _ => "",
    }
}

fn is_whole(scope: &Scope) -> bool {
    scope.organization.is_none() && scope.external_id.is_none()
}

impl Known {
    /// Reads the digests of what we hold in `scope`, and begins to look which of them have a user that is out of step:
    /// that takes longer, and is not needed before the listing has ended. In a small scope it is done at once.
    pub(super) async fn load(store: &Store, scope: &Scope, policy: &Policy<'_>) -> Result<Self, StoreError> {
        let digests = ask(
            store,
            &Question::digests(store.engine(), scope),
            DIGEST_CHARS,
            digest_of,
        )
        .await?;
        let mut known = Self::new(digests);
        let question = Question::out_of_step(store.engine(), scope, policy);
        if is_whole(scope) {
            let store = store.clone();
            let looking = async move { ask(&store, &question, OUT_OF_STEP_CHARS, out_of_step_of).await };
            known.looking = Some(Looking(tokio::spawn(looking)));
        } else {
            known.doubt(&ask(store, &question, OUT_OF_STEP_CHARS, out_of_step_of).await?);
        }
        Ok(known)
    }
}

fn digest_of(text: &[u8]) -> Option<u128> {
    let digest: Digest = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(digest.0)
}

fn out_of_step_of(text: &[u8]) -> Option<OutOfStep> {
    let (digest, rest) = text.split_at_checked(DIGEST_CHARS)?;
    let (state, user) = rest.split_first()?;
    Some(OutOfStep {
        digest: digest_of(digest)?,
        user: std::str::from_utf8(user).ok()?.parse().ok()?,
        gone: *state == b'a',
    })
}

/// Asks a question of which each answer has `chars` bytes, and reads the answers; what cannot be read is left out, and
/// compared like anything else that is not known.
async fn ask<T>(
    store: &Store,
    question: &Question,
    chars: usize,
    read: fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    let Question { what, from, within } = question;
    let mut answers = Vec::new();
    match &store.pools {
        Pools::Postgres(pool) => {
            let query = format!("SELECT {what} {from} WHERE {within}");
            postgres::copy_out(pool, &query, |line| answers.extend(read(line))).await?;
        }
        Pools::Sqlite(_) => {
            let sql = format!(
                "SELECT coalesce(group_concat({what}, ''), '') {from} WHERE {within} AND r.rowid > $1 AND r.rowid <= $2"
            );
            // One after the other on one and the same connection: each has a page cache of its own to fill.
            let mut session = store.session().await?;
            let last = session
                .conn()
                .rows("SELECT coalesce(max(rowid), 0) FROM records", args![])
                .await?
                .first_mut()
                .map_or(Ok(0), |row| row.int())?;
            let step = usize::try_from(RECORDS_AT_ONCE).unwrap_or(usize::MAX);
            for from_row in (0..=last).step_by(step) {
                let bounds = args![from_row, from_row + RECORDS_AT_ONCE];
                for mut row in session.conn().rows(&sql, bounds).await? {
                    answers.extend(row.text()?.as_bytes().chunks_exact(chars).filter_map(read));
                }
            }
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_left() {
        let mut known = Known::new(vec![5, 1, 3, 9, 7]);
        assert!(known.see(Digest(3)) && known.see(Digest(3)) && known.see(Digest(9)));
        assert!(!known.see(Digest(2)));
        assert_eq!(known.seen_count(), 2);
        let found = |digest, gone| OutOfStep {
            digest,
            user: UserId(uuid::Uuid::from_u128(digest)),
            gone,
        };
        // One was seen, one was not, and one is gone for good.
        let again = known.doubt(&[found(9, false), found(5, false), found(7, true)]);
        assert_eq!(again, [UserId(uuid::Uuid::from_u128(9))]);
        assert!(!known.see(Digest(9)) && !known.see(Digest(5)) && !known.see(Digest(7)));
        assert_eq!(known.seen_count(), 1);
        assert!(known.was_seen(Digest(3)) && !known.was_seen(Digest(9)));
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
            let known = Known::new(all.clone());
            for digest in &all {
                assert_eq!(known.all[known.find(*digest).expect("it is there")], *digest);
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
