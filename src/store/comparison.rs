//! Comparing a listing with what we hold. Entries that differ are staged in a temporary table; the database joins them
//! with records and users, works out what needs more than one row, and hands the cases out as a stream.
//!
//! Nothing here judges. Everything lives on one connection, and is gone when that ends.

use std::collections::BTreeSet;

use futures_util::stream::{BoxStream, StreamExt};

use super::case::{Case, Staged, StagedEntry, parse_id, read_case, record_columns};
use super::error::StoreError;
use super::known::Known;
use super::newcomers::{Arriving, Newcomers};
use super::row::{Arg, Row, args};
use super::said::{self, SAID_CELLS, said_columns, said_of};
use super::sql::{Engine, statements};
use super::users::USER_COLUMNS;
use super::{Session, Store};
use crate::domain::decide::Policy;
use crate::domain::field::{Authority, Field};
use crate::domain::id::{Digest, ExternalId, RunId, SourceName};
use crate::domain::quarantine::QuarantineCode;
use crate::domain::run::Scope;

/// How many rows are staged at once.
const ROWS_AT_ONCE: usize = 2_000;

/// Most rounds in which addresses are followed from holder to holder. A longer chain stays in quarantine for a run.
const CHAIN_ROUNDS_MAX: u32 = 1_000;

/// The comparison of one run.
pub struct Comparison {
    store: Store,
    pub(super) session: Session,
    scope: Scope,
    pub(super) known: Known,
    run: RunId,
    newcomers: Option<Arriving>,
    judged_early: bool,
    rows: Vec<Vec<Arg>>,
    position: u64,
    nameless: u64,
    /// Entries that were seen unchanged, and turned out to be contested.
    contested: u64,
}

impl std::fmt::Debug for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparison")
            .field("scope", &self.scope)
            .field("staged", &self.position)
            .finish_non_exhaustive()
    }
}

/// The temporary tables of a comparison.
const TEMPORARY: [&str; 3] = ["staged", "unseen", "moved"];

const STAGED: &str = concat!(
    "staged (position, external_id, organization, email_key, administers, code, detail, ",
    said_columns!(),
    ")"
);
const STAGED_COLUMNS: usize = 7 + SAID_CELLS;
const STAGED_TABLE: &str = "staged (position bigint NOT NULL, external_id text COLLATE \"C\" NOT NULL, \
    organization text COLLATE \"C\" NOT NULL, email_key text COLLATE \"C\", digest text, covered bigint, email text, \
    first_name text, last_name text, phone text, title text, kind text, license text, billable boolean, status text, \
    roles text, attributes text, administers boolean, code text, detail text, absent boolean NOT NULL DEFAULT false, \
    user_id uuid, holder_id uuid, leaving boolean NOT NULL DEFAULT false)";

statements! {
    /// Creations that were judged while they streamed by, and have to be judged with the others after all.
    STAGE_CREATIONS = concat!("INSERT INTO staged (position, external_id, organization, email_key, ", said_columns!(), ") \
        SELECT c.position, c.external_id, c.organization, lower(c.email), ", said_of!("c"),
        " FROM changes c JOIN moved m ON m.position = c.position WHERE c.run_id = $1::uuid");
    MOVED_BY_ORGANIZATION = "SELECT c.organization, count(*) FROM changes c JOIN moved m ON m.position = c.position \
        WHERE c.run_id = $1::uuid GROUP BY c.organization";
    MOVE_ALL = "INSERT INTO moved (position) SELECT position FROM changes \
        WHERE run_id = $1::uuid AND action = 'create' AND position < $2";
    FORGET_CREATIONS = "DELETE FROM changes WHERE run_id = $1::uuid AND position IN (SELECT position FROM moved)";
    MANY = "SELECT count(*) - count(DISTINCT external_id) FROM staged";
    MARK_DUPLICATES = "UPDATE staged SET code = $1, detail = $2, email_key = NULL WHERE external_id IN \
        (SELECT external_id FROM staged GROUP BY external_id HAVING count(DISTINCT coalesce(digest, code)) > 1)";
    DROP_DUPLICATES = "DELETE FROM staged WHERE position > (SELECT min(s.position) FROM staged s WHERE s.external_id = staged.external_id)";
    STAGE_ABSENT = "INSERT INTO staged (position, external_id, organization, absent) \
        SELECT 0, r.external_id, coalesce(o.external_id, ''), true \
        FROM records r JOIN unseen n ON n.digest = r.digest JOIN users u ON u.id = r.user_id AND u.status = 'active' \
        LEFT JOIN organizations o ON o.id = r.organization_id \
        WHERE r.source = $1 AND NOT EXISTS (SELECT 1 FROM staged s WHERE s.external_id = r.external_id)";
    CLAIMED_TWICE = "UPDATE staged SET code = $1, detail = $2 || email_key || $3 WHERE code IS NULL AND NOT absent AND email_key IN \
        (SELECT email_key FROM staged WHERE code IS NULL AND NOT absent GROUP BY email_key HAVING count(*) > 1)";
    /// In a run of a part of the source: what a whole run found contested, and still claims the same address.
    STILL_CLAIMED = "UPDATE staged SET code = $2, detail = $3 || email_key || $4 WHERE code IS NULL AND NOT absent AND EXISTS \
        (SELECT 1 FROM quarantine q WHERE q.source = $1 AND q.external_id = staged.external_id AND q.code = $2 \
         AND q.detail LIKE '%' || staged.email_key || '%')";
    FIND_LINKS = "UPDATE staged SET user_id = r.user_id FROM records r WHERE r.source = $1 AND r.external_id = staged.external_id";
    FIND_HOLDERS = "UPDATE staged SET holder_id = u.id FROM users u WHERE lower(u.email) = staged.email_key \
        AND staged.code IS NULL AND NOT staged.absent AND (staged.user_id IS NULL OR staged.user_id <> u.id)";
    UNCHANGED_RIVALS = "SELECT s.external_id, r.external_id, r.digest, o.external_id FROM staged s \
        JOIN records r ON r.user_id = s.holder_id AND r.source = $1 LEFT JOIN organizations o ON o.id = r.organization_id \
        WHERE s.code IS NULL AND lower(r.email) = s.email_key AND NOT EXISTS (SELECT 1 FROM staged t WHERE t.external_id = r.external_id)";
    MARK_CLAIMED = "UPDATE staged SET code = $2, detail = $3 || email_key || $4, holder_id = NULL WHERE external_id = $1";
    FIND_LEAVING = "UPDATE staged SET leaving = true WHERE code IS NULL AND NOT absent AND user_id IS NOT NULL AND EXISTS \
        (SELECT 1 FROM users u LEFT JOIN organizations o ON o.id = u.organization_id WHERE u.id = staged.user_id \
         AND lower(u.email) <> staged.email_key AND lower(u.kind) <> 'employee' AND coalesce(o.kind, '') <> 'self')";
    /// Without another administrator none of them is disabled, and so none changes its address either.
    KEEP_ADMINISTRATORS = "UPDATE staged SET leaving = false WHERE leaving AND user_id IN (SELECT m.user_id FROM memberships m \
        JOIN groups g ON g.id = m.group_id AND g.kind = 'role' WHERE g.name = $1)";
    KEEP_STUCK = "UPDATE staged SET leaving = false WHERE leaving AND holder_id IS NOT NULL AND NOT EXISTS \
        (SELECT 1 FROM staged t WHERE t.user_id = staged.holder_id AND t.leaving)";
    FREE_ADDRESSES = "UPDATE staged SET holder_id = NULL WHERE holder_id IS NOT NULL AND EXISTS \
        (SELECT 1 FROM staged t WHERE t.user_id = staged.holder_id AND t.leaving)";
    ADMINISTRATOR_REMAINS = "SELECT 1 FROM memberships m JOIN groups g ON g.id = m.group_id AND g.kind = 'role' \
        JOIN users u ON u.id = m.user_id AND u.status = 'active' WHERE g.name = $1 AND NOT EXISTS \
        (SELECT 1 FROM staged s WHERE s.user_id = u.id AND s.code IS NULL \
         AND (s.absent OR s.status = 'disabled' OR (m.origin = 'directory' AND NOT coalesce(s.administers, $2)))) LIMIT 1";
}

impl Comparison {
    /// Begins a comparison: makes the temporary tables, and reads the digests of what we hold in the scope.
    ///
    /// Where the source has no record yet, entries become changes of the plan of `run` while they stream by.
    pub async fn begin(store: &Store, run: RunId, scope: &Scope, policy: &Policy<'_>) -> Result<Self, StoreError> {
        let mut session = store.session().await?;
        let mut conn = session.conn();
        let engine = conn.engine();
        for table in TEMPORARY {
            conn.execute(&conn.engine().drop_temporary_table(table), args![])
                .await?;
        }
        for table in [
            STAGED_TABLE,
            "unseen (digest text PRIMARY KEY)",
            "moved (position bigint PRIMARY KEY)",
        ] {
            conn.execute(&engine.temporary_table(table), args![]).await?;
        }
        let known = Known::load(store, scope, policy).await?;
        let whole = scope.organization.is_none() && scope.external_id.is_none();
        let is_first = whole && !store.has_records(&scope.source).await?;
        Ok(Self {
            store: store.clone(),
            session,
            scope: scope.clone(),
            known,
            run,
            newcomers: is_first.then(|| Arriving::new(store, run, policy)),
            judged_early: false,
            rows: Vec::new(),
            position: 0,
            nameless: 0,
            contested: 0,
        })
    }

    /// Whether an entry says what it said before, and its user is in step: then there is nothing to do with it.
    pub fn is_unchanged(&mut self, digest: Digest) -> bool {
        self.known.see(digest)
    }

    /// Whether nothing was staged, and nothing is missing.
    pub fn is_idle(&self) -> bool {
        self.position == 0 && self.known.unseen().next().is_none()
    }

    /// How many entries were seen unchanged and are not contested, each counted once.
    pub fn unchanged(&self) -> u64 {
        self.known.seen_count() - self.contested
    }

    /// Stages an entry; a newcomer is judged at once.
    pub async fn stage(&mut self, entry: StagedEntry, policy: &Policy<'_>) -> Result<(), StoreError> {
        let position = self.position;
        self.position += 1;
        let content = match (entry.content, &mut self.newcomers) {
            (Staged::Mapped(mapped), Some(newcomers)) => return newcomers.take(&self.store, *mapped).await,
            (content, _) => content,
        };
        let id = match entry.id {
            Some(id) => id.as_str().to_owned(),
            None => {
                self.nameless += 1;
                format!("?{}", self.nameless)
            }
        };
        if let Some(newcomers) = &mut self.newcomers {
            newcomers.pass(&id);
        }
        let mut row: Vec<Arg> = Vec::with_capacity(STAGED_COLUMNS);
        let organization = entry.organization.as_ref().map_or("", ExternalId::as_str);
        row.extend([position.into(), id.into(), organization.into()]);
        match content {
            Staged::Mapped(mapped) => {
                let roles = mapped.values.set(&Field::Roles);
                let administers = roles.iter().any(|role| policy.mapping.roles().administers(role));
                row.extend([mapped.email.key().into(), administers.into()]);
                row.extend(std::iter::repeat_n(Arg::Text(None), 2));
                said::put(&mut row, mapped.digest(), mapped.values);
            }
            Staged::Bad(why) => {
                row.extend([Arg::Text(None), Arg::Bool(None)]);
                row.extend([why.code.as_str().into(), why.detail.as_str().into()]);
                said::put_nothing(&mut row);
            }
        }
        self.rows.push(row);
        if self.rows.len() >= ROWS_AT_ONCE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        self.session.conn().bulk_insert(STAGED, STAGED_COLUMNS, rows).await
    }

    /// Stages the newcomers that more than their own row speaks of.
    async fn stage_contested(&mut self) -> Result<(), StoreError> {
        let Some(newcomers) = &mut self.newcomers else {
            return Ok(());
        };
        newcomers.written().await?;
        let held = self.store.held_addresses(&newcomers.addresses()).await?;
        let contested = newcomers.contested(&held);
        if contested.is_empty() {
            return Ok(());
        }
        let mut conn = self.session.conn();
        for portion in contested.chunks(ROWS_AT_ONCE) {
            let rows = portion.iter().map(|position| vec![(*position).into()]).collect();
            conn.bulk_insert("moved (position)", 1, rows).await?;
        }
        let mut by_organization = Vec::new();
        for mut row in conn.rows(MOVED_BY_ORGANIZATION, args![self.run]).await? {
            by_organization.push((ExternalId::parse(row.text()?).ok(), row.count()?));
        }
        newcomers.leave_out(&contested, &by_organization);
        self.stage_moved().await
    }

    async fn stage_moved(&mut self) -> Result<(), StoreError> {
        let mut conn = self.session.conn();
        conn.execute(STAGE_CREATIONS, args![self.run]).await?;
        let _turn = self.store.turn_to_write().await?;
        conn.execute(FORGET_CREATIONS, args![self.run]).await.map(drop)
    }

    /// What was judged while it streamed by, as a part of the plan. The other rows of the plan come after
    /// [`Comparison::staged`].
    pub fn take_newcomers(&mut self) -> Newcomers {
        let taken = self.newcomers.take();
        self.judged_early |= taken.is_some();
        taken.map(Arriving::finish).unwrap_or_default()
    }

    /// How many entries were staged, or judged at once.
    pub fn staged(&self) -> u64 {
        self.position
    }

    /// Before a plan is decided anew: what was judged while it streamed by is staged as everything else, since what
    /// was true of it may have changed.
    pub async fn reconsider(&mut self, policy: &Policy<'_>) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.judged_early) {
            return Ok(());
        }
        let mut conn = self.session.conn();
        conn.execute("DELETE FROM moved", args![]).await?;
        conn.execute(MOVE_ALL, args![self.run, self.position]).await?;
        self.stage_moved().await?;
        self.conclude(policy).await
    }

    /// Whether some entry had no readable id: nobody knows who it was, so nobody can be shown to be missing.
    pub fn has_nameless(&self) -> bool {
        self.nameless > 0
    }

    /// Adds what the listing lacks. Only after a complete listing.
    pub async fn find_absent(&mut self) -> Result<(), StoreError> {
        self.flush().await?;
        let mut conn = self.session.conn();
        conn.execute("CREATE INDEX IF NOT EXISTS staged_id ON staged (external_id)", args![])
            .await?;
        let mut unseen = self.known.unseen().peekable();
        if unseen.peek().is_none() {
            return Ok(());
        }
        while unseen.peek().is_some() {
            let portion: Vec<Vec<Arg>> = unseen
                .by_ref()
                .take(ROWS_AT_ONCE)
                .map(|digest| vec![digest.into()])
                .collect();
            conn.bulk_insert("unseen (digest)", 1, portion).await?;
        }
        drop(unseen);
        conn.execute(STAGE_ABSENT, args![&self.scope.source]).await.map(drop)
    }

    /// Every entry that the listing lacks: to be looked up once more, one by one.
    pub async fn absent(&mut self) -> Result<Vec<ExternalId>, StoreError> {
        let sql = "SELECT external_id FROM staged WHERE absent ORDER BY external_id";
        let rows = self.session.conn().rows(sql, args![]).await?;
        rows.into_iter().map(|mut row| parse_id(row.text()?)).collect()
    }

    /// Takes back that an entry is absent: it was found elsewhere, or could not be asked for.
    pub async fn not_absent(&mut self, id: &ExternalId) -> Result<(), StoreError> {
        self.session
            .conn()
            .execute("DELETE FROM staged WHERE absent AND external_id = $1", args![id])
            .await
            .map(drop)
    }

    /// Works out what needs more than one row: duplicates, addresses claimed twice, and who holds an address.
    pub async fn conclude(&mut self, policy: &Policy<'_>) -> Result<(), StoreError> {
        self.flush().await?;
        self.stage_contested().await?;
        let source = self.scope.source.clone();
        let mut conn = self.session.conn();
        conn.execute("CREATE INDEX IF NOT EXISTS staged_id ON staged (external_id)", args![])
            .await?;
        if conn.engine() == Engine::Postgres {
            conn.execute("ANALYZE staged", args![]).await?;
        }
        let duplicates = conn.rows(MANY, args![]).await?.first_mut().map_or(Ok(0), Row::int)?;
        if duplicates > 0 {
            conn.execute(MARK_DUPLICATES, args![QuarantineCode::DuplicateId.as_str(), TWICE])
                .await?;
            conn.execute(DROP_DUPLICATES, args![]).await?;
        }
        conn.execute(FIND_LINKS, args![&source]).await?;
        self.both_ways(&source).await?;
        let mut conn = self.session.conn();
        let claimed = QuarantineCode::AddressClaimedTwice.as_str();
        conn.execute(CLAIMED_TWICE, args![claimed, CLAIMED_BEFORE, CLAIMED_AFTER])
            .await?;
        if self.scope.organization.is_some() || self.scope.external_id.is_some() {
            conn.execute(STILL_CLAIMED, args![&source, claimed, CLAIMED_BEFORE, CLAIMED_AFTER])
                .await?;
        }
        conn.execute(FIND_HOLDERS, args![]).await?;
        self.unchanged_rivals(&source).await?;
        if policy.authority(&Field::Email) == Authority::Directory {
            self.free_addresses(policy).await?;
        }
        Ok(())
    }

    /// An id that came both unchanged and changed is a duplicate too.
    async fn both_ways(&mut self, source: &SourceName) -> Result<(), StoreError> {
        let sql = "SELECT r.external_id, r.digest FROM staged s JOIN records r ON r.source = $1 AND r.external_id = s.external_id WHERE NOT s.absent";
        let mut both = Vec::new();
        {
            let mut rows = self.session.conn().stream(sql, args![source]);
            while let Some(row) = rows.next().await {
                let mut row = row?;
                let (id, digest) = (row.text()?, row.parsed::<Digest>()?);
                if self.known.was_seen(digest) {
                    both.push(id);
                }
            }
        }
        self.contested += both.len() as u64;
        for id in both {
            let sql = "UPDATE staged SET code = $2, detail = $3, email_key = NULL WHERE external_id = $1";
            self.session
                .conn()
                .execute(sql, args![id, QuarantineCode::DuplicateId.as_str(), TWICE])
                .await?;
        }
        Ok(())
    }

    /// An address that a staged entry claims, and that an unchanged entry of this listing has: both are out.
    async fn unchanged_rivals(&mut self, source: &SourceName) -> Result<(), StoreError> {
        let rows = self.session.conn().rows(UNCHANGED_RIVALS, args![source]).await?;
        let mut out = BTreeSet::new();
        for mut row in rows {
            let (claimant, holder) = (row.text()?, row.text()?);
            let digest = row.parsed::<Digest>()?;
            let organization = row.opt_text()?.unwrap_or_default();
            if !self.known.was_seen(digest) {
                continue;
            }
            let mut conn = self.session.conn();
            let code = QuarantineCode::AddressClaimedTwice.as_str();
            let row = args![&claimant, code, CLAIMED_BEFORE, CLAIMED_AFTER];
            conn.execute(MARK_CLAIMED, row).await?;
            if out.insert(holder.clone()) {
                self.contested += 1;
                let detail = format!(
                    "another entry claims the same e-mail address as this one ({claimant}); neither is touched until the directory decides"
                );
                let insert =
                    "INSERT INTO staged (position, external_id, organization, code, detail) VALUES (0, $1, $2, $3, $4)";
                conn.execute(insert, args![holder, organization, code, detail]).await?;
            }
        }
        Ok(())
    }

    /// Addresses whose holders move to another one in this run are free; who cannot move, stays, and so on.
    async fn free_addresses(&mut self, policy: &Policy<'_>) -> Result<(), StoreError> {
        let mut conn = self.session.conn();
        let some = conn
            .rows("SELECT 1 FROM staged WHERE holder_id IS NOT NULL LIMIT 1", args![])
            .await?;
        if some.is_empty() {
            return Ok(());
        }
        conn.execute("CREATE INDEX IF NOT EXISTS staged_user ON staged (user_id)", args![])
            .await?;
        conn.execute(FIND_LEAVING, args![]).await?;
        if !self.administrator_remains(policy).await? {
            for role in self.store.administrative_roles(policy.mapping.roles()).await? {
                self.session.conn().execute(KEEP_ADMINISTRATORS, args![role]).await?;
            }
        }
        let mut conn = self.session.conn();
        for round in 0.. {
            if conn.execute(KEEP_STUCK, args![]).await? == 0 {
                break;
            }
            if round >= CHAIN_ROUNDS_MAX {
                return Ok(());
            }
        }
        conn.execute(FREE_ADDRESSES, args![]).await.map(drop)
    }

    /// Whether an active administrator is left, whatever happens to those that the run touches.
    pub async fn administrator_remains(&mut self, policy: &Policy<'_>) -> Result<bool, StoreError> {
        let held = self.store.administrative_roles(policy.mapping.roles()).await?;
        let mut conn = self.session.conn();
        for role in held {
            if !conn.rows(ADMINISTRATOR_REMAINS, args![role, false]).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every staged case in the order of the plan: by organization, then by id, byte by byte.
    pub fn cases<'c>(&'c mut self, policy: &Policy<'c>) -> BoxStream<'c, Result<Case, StoreError>> {
        let columns = concat!(
            "s.external_id, s.organization, s.absent, s.code, s.detail, s.holder_id::text, ",
            said_of!("s"),
            ", ",
            record_columns!()
        );
        let sql = format!(
            "SELECT {columns}, {USER_COLUMNS} FROM staged s \
             LEFT JOIN records r ON r.source = $1 AND r.external_id = s.external_id \
             LEFT JOIN organizations ro ON ro.id = r.organization_id \
             LEFT JOIN users u ON u.id = r.user_id LEFT JOIN organizations uo ON uo.id = u.organization_id \
             ORDER BY s.organization, s.external_id"
        );
        let roles = policy.mapping.roles();
        let rows = self.session.conn().stream(&sql, args![&self.scope.source]);
        rows.map(move |row| read_case(row?, roles)).boxed()
    }

    /// The store that it compares with.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Drops the temporary tables before the connection is used by others.
    pub async fn end(mut self) -> Result<(), StoreError> {
        if let Some(newcomers) = &mut self.newcomers {
            newcomers.written().await?;
        }
        let mut conn = self.session.conn();
        for table in TEMPORARY {
            conn.execute(&conn.engine().drop_temporary_table(table), args![])
                .await?;
        }
        Ok(())
    }
}

const TWICE: &str =
    "the listing has this id more than once, with different contents; the directory has to make up its mind";
const CLAIMED_BEFORE: &str = "more than one entry of this listing claims ";
const CLAIMED_AFTER: &str = "; neither is touched until the directory gives them different addresses";
