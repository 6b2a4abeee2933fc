//! Organizations: what is here, what a run found new or changed, and whom scheduled runs cover.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::Store;
use super::audit::Actor;
use super::conditions::{Conditions, Page};
use super::error::{StoreError, StoreErrorKind};
use super::row::{Arg, Row, args};
use super::sql::statements;
use super::users::like;
use super::version::Expected;
use crate::domain::id::{ExternalId, OrganizationId, RunId, SourceName};

/// One organization.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// Its id here.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// `consultant`, `bidder`, …, or `self` for the agency's own.
    pub kind: String,
    /// The source that lists it, and its id there.
    pub link: Option<(SourceName, ExternalId)>,
    /// Whether scheduled runs cover it.
    pub followed: bool,
    /// `active` or `closed`.
    pub status: String,
    /// Further attributes.
    pub attributes: Json,
    /// How many users it has.
    pub users: u64,
    /// How many of them are active.
    pub active_users: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The last run that was applied to all of it.
    pub last_run: Option<RunId>,
}

/// Which organizations to read.
#[derive(Debug, Clone, Default)]
pub struct OrganizationFilter {
    /// Part of the name or of the city, or the whole external id.
    pub query: Option<String>,
    /// One source.
    pub source: Option<SourceName>,
    /// `active` or `closed`.
    pub status: Option<String>,
    /// Whether it is followed.
    pub followed: Option<bool>,
    /// One.
    pub id: Option<OrganizationId>,
    /// At most so many.
    pub limit: u64,
}

/// An organization that a run found new or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationChange {
    /// Its id here, given now where it is new.
    pub id: OrganizationId,
    /// Its id at the directory.
    pub external_id: ExternalId,
    /// Whether it is new here.
    pub is_new: bool,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether the directory calls it closed.
    pub closed: bool,
    /// Whether scheduled runs cover it.
    pub followed: bool,
    /// Further attributes.
    pub attributes: Json,
}

statements! {
    OF_SOURCE = "SELECT external_id, id::text, name, kind, followed, status, attributes::text FROM organizations WHERE source = $1";
    FOLLOW = "UPDATE organizations SET followed = $2, updated_at = $3::timestamptz WHERE id = $1::uuid AND followed <> $2";
    SELF_ORGANIZATION = "SELECT id::text, name FROM organizations WHERE kind = 'self'";
    INSERT_SELF = "INSERT INTO organizations (id, name, kind, followed, status, created_at, updated_at) \
        VALUES ($1::uuid, $2, 'self', false, 'active', $3::timestamptz, $3::timestamptz)";
    RENAME_SELF = "UPDATE organizations SET name = $1, updated_at = $2::timestamptz WHERE kind = 'self' AND name <> $1";
    RUN_ORGANIZATIONS = "SELECT is_new, name FROM run_organizations WHERE run_id = $1::uuid ORDER BY external_id";
    NAMES_OF_RUN = "SELECT external_id, name FROM run_organizations WHERE run_id = $1::uuid";
    BY_SOURCE_ID = "SELECT id::text FROM organizations WHERE ($1::text IS NULL OR source = $1) AND external_id = $2";
    BY_NAME = "SELECT id::text FROM organizations WHERE ($1::text IS NULL OR source = $1) AND lower(name) = lower($2)";
    BY_ORGANIZATION_ID = "SELECT id::text FROM organizations WHERE id = $1::uuid";
}

/// What a run needs of an organization that is here already.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownOrganization {
    /// Its id here.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether scheduled runs cover it.
    pub followed: bool,
    /// Whether it is closed.
    pub closed: bool,
    /// Further attributes.
    pub attributes: Json,
}

/// The columns that [`read`] reads, of `organizations o`.
const ORGANIZATION_COLUMNS: &str = "o.id::text, o.name, o.kind, o.source, o.external_id, o.followed, o.status, o.attributes::text, \
    (SELECT count(*) FROM users u WHERE u.organization_id = o.id), \
    (SELECT count(*) FROM users u WHERE u.organization_id = o.id AND u.status = 'active'), o.updated_at::text, \
    (SELECT r.id::text FROM runs r WHERE r.source = o.source AND r.organization = o.external_id AND r.state = 'applied' \
        AND r.external_id IS NULL ORDER BY r.id DESC LIMIT 1), \
    (SELECT r.id::text FROM runs r WHERE r.source = o.source AND r.organization IS NULL AND r.state = 'applied' \
        AND r.external_id IS NULL ORDER BY r.id DESC LIMIT 1)";

fn read(mut row: Row) -> Result<Organization, StoreError> {
    read_from(&mut row)
}

fn read_from(r: &mut Row) -> Result<Organization, StoreError> {
    let (id, name, kind) = (r.parsed()?, r.text()?, r.text()?);
    let (source, external_id) = (r.opt_text()?, r.opt_text()?);
    Ok(Organization {
        id,
        name,
        kind,
        link: source
            .zip(external_id)
            .and_then(|(s, e)| Some((SourceName::parse(&s).ok()?, ExternalId::parse(e).ok()?))),
        followed: r.flag()?,
        status: r.text()?,
        attributes: r.opt_json()?.unwrap_or_else(|| json!({})),
        users: r.count()?,
        active_users: r.count()?,
        updated_at: r.time()?,
        last_run: {
            let (own, whole): (Option<RunId>, Option<RunId>) = (r.opt_parsed()?, r.opt_parsed()?);
            own.max(whole)
        },
    })
}

impl Store {
    /// Organizations in the order of their names.
    pub async fn organizations(&self, filter: &OrganizationFilter) -> Result<Vec<Organization>, StoreError> {
        let conditions = self.conditions(filter);
        let sql = format!(
            "SELECT {ORGANIZATION_COLUMNS} FROM organizations o{} ORDER BY lower(o.name), o.id LIMIT {}",
            conditions.sql(),
            filter.limit.min(100_000)
        );
        let rows = self.rows(&sql, conditions.args()).await?;
        rows.into_iter().map(read).collect()
    }

    /// One page of organizations, in the order of the bytes of their names without regard to case; `after` is the
    /// `next` of the page before.
    ///
    /// `None` where `after` cannot come from such a page.
    pub async fn organization_page(
        &self,
        filter: &OrganizationFilter,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Option<Page<Organization>>, StoreError> {
        let key = self.engine().name_key("o.name");
        let mut conditions = self.conditions(filter);
        if let Some(after) = after {
            let Some((id, name)) = after.split_once(' ') else {
                return Ok(None);
            };
            let Ok(id) = uuid::Uuid::try_parse(id) else {
                return Ok(None);
            };
            if name.contains('\0') {
                return Ok(None);
            }
            conditions.and(&format!("({key}, o.id) > ($1, $2::uuid)"), args![name, id.to_string()]);
        }
        // Who they are first: only those of the page have their users counted.
        let some = format!(
            "SELECT o.id AS id, {key} AS k FROM organizations o{} ORDER BY {key}, o.id LIMIT {}",
            conditions.sql(),
            limit + 1
        );
        let sql = format!(
            "SELECT {ORGANIZATION_COLUMNS}, listed.k FROM ({some}) AS listed JOIN organizations o ON o.id = listed.id ORDER BY listed.k, listed.id"
        );
        let mut keyed = Vec::new();
        for mut row in self.rows(&sql, conditions.args()).await? {
            let organization = read_from(&mut row)?;
            keyed.push((row.text()?, organization));
        }
        let page = Page::cut(keyed, limit, |(name, organization)| {
            format!("{} {name}", organization.id)
        });
        Ok(Some(Page {
            items: page.items.into_iter().map(|(_, organization)| organization).collect(),
            next: page.next,
        }))
    }

    fn conditions(&self, filter: &OrganizationFilter) -> Conditions {
        let mut conditions = Conditions::default();
        if let Some(query) = &filter.query {
            let city = self.engine().json_text("o.attributes", "city");
            conditions.and(
                &format!(
                    "(lower(o.name) LIKE lower($1) ESCAPE '\\' OR o.external_id = $2 OR lower({city}) LIKE lower($1) ESCAPE '\\')"
                ),
                args![like(query), query],
            );
        }
        if let Some(source) = &filter.source {
            conditions.and("o.source = $1", args![source]);
        }
        if let Some(status) = &filter.status {
            conditions.and("o.status = $1", args![status]);
        }
        if let Some(followed) = filter.followed {
            conditions.and("o.followed = $1", args![followed]);
        }
        if let Some(id) = filter.id {
            conditions.and("o.id = $1::uuid", args![id]);
        }
        conditions
    }

    /// One organization.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        let filter = OrganizationFilter {
            id: Some(id),
            limit: 1,
            ..OrganizationFilter::default()
        };
        Ok(self.organizations(&filter).await?.into_iter().next())
    }

    /// Every organization that `wanted` can mean: a local id, an external id, else a name.
    pub async fn find_organizations(
        &self,
        source: Option<&SourceName>,
        wanted: &str,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let source = Arg::Text(source.map(|s| s.as_str().to_owned()));
        if let Ok(id) = uuid::Uuid::try_parse(wanted)
            && let Some(mut row) = self.row(BY_ORGANIZATION_ID, args![id.to_string()]).await?
        {
            return Ok(vec![row.parsed()?]);
        }
        for sql in [BY_SOURCE_ID, BY_NAME] {
            let rows = self.rows(sql, &[source.clone(), wanted.into()]).await?;
            if !rows.is_empty() {
                return rows.into_iter().map(|mut row| row.parsed()).collect();
            }
        }
        Ok(vec![])
    }

    /// Every organization of a source, by its id there.
    pub async fn known_organizations(
        &self,
        source: &SourceName,
    ) -> Result<HashMap<ExternalId, KnownOrganization>, StoreError> {
        let mut all = HashMap::new();
        for mut r in self.rows(OF_SOURCE, args![source]).await? {
            let Ok(external_id) = ExternalId::parse(r.text()?) else {
                continue;
            };
            let known = KnownOrganization {
                id: r.parsed()?,
                name: r.text()?,
                kind: r.text()?,
                followed: r.flag()?,
                closed: r.text()? == "closed",
                attributes: r.opt_json()?.unwrap_or_else(|| json!({})),
            };
            all.insert(external_id, known);
        }
        Ok(all)
    }

    /// Lets scheduled runs cover an organization, or not; answers whether that is new.
    ///
    /// # Errors
    /// [`StoreErrorKind::VersionMismatch`] where it is not one of the versions that the edit may meet.
    pub async fn follow(
        &self,
        id: OrganizationId,
        followed: bool,
        expected: &Expected,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let lock = format!("{BY_ORGANIZATION_ID}{}", self.engine().for_update());
        let gone = || StoreError::new(StoreErrorKind::NotFound, format!("there is no organization {id}"));
        tx.row(&lock, args![id]).await?.ok_or_else(gone)?;
        let sql = format!("SELECT {ORGANIZATION_COLUMNS} FROM organizations o WHERE o.id = $1::uuid");
        let row = tx.row(&sql, args![id]).await?.ok_or_else(gone)?;
        expected.check(&read(row)?.version())?;
        let changed = tx.execute(FOLLOW, args![id, followed, self.now()]).await? == 1;
        if changed {
            let action = if followed {
                "organization.followed"
            } else {
                "organization.unfollowed"
            };
            self.audit_organization(&mut tx, actor, action, id, json!({})).await?;
            tx.commit().await?;
        }
        Ok(changed)
    }

    /// The agency's own organization, where it was made already.
    pub async fn self_organization(&self) -> Result<Option<OrganizationId>, StoreError> {
        match self.row(SELF_ORGANIZATION, args![]).await? {
            Some(mut row) => row.parsed().map(Some),
            None => Ok(None),
        }
    }

    /// Makes sure that the agency's own organization is there, under its configured name.
    pub async fn ensure_self_organization(&self, name: &str) -> Result<OrganizationId, StoreError> {
        let found = self.row(SELF_ORGANIZATION, args![]).await?;
        if let Some(mut row) = found {
            let id = row.parsed()?;
            if row.text()? != name {
                self.execute(RENAME_SELF, args![name, self.now()]).await?;
            }
            return Ok(id);
        }
        let id = OrganizationId(self.new_id());
        match self.execute(INSERT_SELF, args![id, name, self.now()]).await {
            Ok(_) => Ok(id),
            // Another program was faster.
            Err(e) if e.kind == StoreErrorKind::Constraint => match self.row(SELF_ORGANIZATION, args![]).await? {
                Some(mut row) => row.parsed(),
                None => Err(e),
            },
            Err(e) => Err(e),
        }
    }

    /// Ids at the directory and names of the organizations that a run found new or changed.
    pub async fn organizations_of_run(&self, run: RunId) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.rows(NAMES_OF_RUN, args![run]).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect()
    }

    /// Names of the organizations that a run found: new ones, and changed ones.
    pub async fn run_organizations(&self, run: RunId) -> Result<(Vec<String>, Vec<String>), StoreError> {
        let (mut new, mut changed) = (vec![], vec![]);
        for mut row in self.rows(RUN_ORGANIZATIONS, args![run]).await? {
            if row.flag()? {
                new.push(row.text()?)
            } else {
                changed.push(row.text()?)
            }
        }
        Ok((new, changed))
    }
}
