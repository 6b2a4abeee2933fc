//! What the brakes weigh a plan against: the users of its scope, and what runs of the window did before.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Store;
use super::error::StoreError;
use super::row::{Row, args};
use super::sql::statements;
use crate::domain::brake::Weighed;
use crate::domain::id::{ExternalId, SourceName};
use crate::domain::plan::Counts;
use crate::domain::run::Scope;

statements! {
    BASES = "SELECT o.external_id, count(*) FROM records r JOIN users u ON u.id = r.user_id AND u.status = 'active' \
        LEFT JOIN organizations o ON o.id = r.organization_id \
        WHERE r.source = $1 AND (($2::text IS NULL AND coalesce(o.followed, $3)) OR o.external_id = $2) \
        GROUP BY o.external_id";
    EARLIER = "SELECT c.organization, c.action, CASE WHEN c.fields -> 'email' IS NOT NULL THEN 1 ELSE 0 END, \
        CASE WHEN c.fields -> 'roles' IS NOT NULL THEN 1 ELSE 0 END, count(*) \
        FROM runs r JOIN changes c ON c.run_id = r.id \
        WHERE r.source = $1 AND r.state = 'applied' AND r.answered_by IS NULL AND NOT r.first_run \
        AND r.finished_at > $2::timestamptz AND c.action <> 'remember' AND ($3::text IS NULL OR c.organization = $3) \
        GROUP BY 1, 2, 3, 4";
    HAS_RECORDS = "SELECT 1 FROM records WHERE source = $1 LIMIT 1";
}

impl Store {
    /// Whether the source has any record yet.
    pub async fn has_records(&self, source: &SourceName) -> Result<bool, StoreError> {
        Ok(self.row(HAS_RECORDS, args![source]).await?.is_some())
    }

    /// What the brakes weigh `now` against: active users of the scope, and what runs since `since` did by themselves.
    /// One user is weighed with the whole source, as what earlier runs did is: five changes of a day would stop any
    /// sixth otherwise.
    /// The scope as a whole comes first, then its organizations in the order of their ids.
    pub async fn weigh(
        &self,
        scope: &Scope,
        now: &BTreeMap<Option<ExternalId>, Counts>,
        since: Timestamp,
    ) -> Result<Vec<Weighed>, StoreError> {
        let organization = scope.organization.as_ref().map(|o| o.as_str().to_owned());
        let mut scopes: BTreeMap<Option<ExternalId>, Weighed> = BTreeMap::new();
        let mut whole = Weighed::default();
        for (key, counts) in now {
            add(&mut whole.now, counts);
            entry(&mut scopes, key).now = *counts;
        }
        for mut r in self
            .rows(BASES, args![&scope.source, organization.clone(), true])
            .await?
        {
            let key = r.opt_text()?.and_then(|o| ExternalId::parse(o).ok());
            let base = r.count()?;
            whole.base += base;
            entry(&mut scopes, &key).base = base;
        }
        for mut r in self.rows(EARLIER, args![&scope.source, since, organization]).await? {
            let key = r.opt_text()?.and_then(|o| ExternalId::parse(o).ok());
            let counts = earlier(&mut r)?;
            add(&mut whole.earlier, &counts);
            add(&mut entry(&mut scopes, &key).earlier, &counts);
        }
        // Users without an organization are weighed in the run as a whole; organizations that nothing happens to, not.
        let organizations = scopes
            .into_values()
            .filter(|w| w.organization.is_some() && w.now.has_changes());
        Ok(std::iter::once(whole).chain(organizations).collect())
    }
}

fn entry<'m>(scopes: &'m mut BTreeMap<Option<ExternalId>, Weighed>, key: &Option<ExternalId>) -> &'m mut Weighed {
    scopes.entry(key.clone()).or_insert_with(|| Weighed {
        organization: key.clone(),
        ..Weighed::default()
    })
}

fn earlier(r: &mut Row) -> Result<Counts, StoreError> {
    let action = r.text()?;
    let (email, roles, n) = (r.flag()?, r.flag()?, r.count()?);
    let of = |word: &str| if action == word { n } else { 0 };
    Ok(Counts {
        create: of("create"),
        disable: of("disable"),
        delete: of("delete"),
        email_change: if email { n } else { 0 },
        role_change: if roles { n } else { 0 },
        ..Counts::default()
    })
}

fn add(sum: &mut Counts, more: &Counts) {
    sum.create += more.create;
    sum.update += more.update;
    sum.disable += more.disable;
    sum.enable += more.enable;
    sum.delete += more.delete;
    sum.email_change += more.email_change;
    sum.role_change += more.role_change;
}
