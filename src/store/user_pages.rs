//! The list of users, page by page, in bounded time however many there are.
//!
//! A page goes on after a key (keyset paging), along an index. What no index serves (part of a name) is looked for among
//! a bounded number of rows: such a page may be short, or empty, and the list goes on all the same.

use uuid::Uuid;

use super::Store;
use super::conditions::{Conditions, Page};
use super::error::StoreError;
use super::row::args;
use super::sql::statements;
use super::users::{USER_ROW, UserFilter, UserRow, like, read_row};

/// How many rows one page looks at for what no index serves: few at first, for most filters let many through; then as
/// many as are read in some ten milliseconds. In the order of addresses each row is somewhere else on the disk; in the
/// order of ids they lie together.
const WALKED_BY_ADDRESS: [u64; 2] = [1_000, 7_000];
const WALKED_BY_ID: [u64; 2] = [1_000, 19_000];

/// Up to how many users of one organization or role are all read and sorted: more are found by walking.
const SORTED_MAX: u64 = 5_000;

statements! {
    FEW_OF_ORGANIZATION = "SELECT count(*) FROM (SELECT 1 FROM users WHERE organization_id = $1::uuid LIMIT $2) AS few";
    FEW_OF_ROLE = "SELECT count(*) FROM (SELECT 1 FROM memberships WHERE group_id = $1::uuid LIMIT $2) AS few";
    ROLE = "SELECT id::text FROM groups WHERE kind = 'role' AND name = $1";
}

/// By what users are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserKey {
    /// Their addresses, in the order of bytes, without regard to the case of A to Z.
    #[default]
    Address,
    /// When they were created here: ids of users that Rollcall created sort by time.
    Created,
}

/// The order of a list of users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserOrder {
    /// By what.
    pub key: UserKey,
    /// Whether the last come first.
    pub descending: bool,
}

impl UserOrder {
    /// The key as an expression that an index serves, or as one that none does.
    fn column(self, indexed: bool) -> &'static str {
        match (self.key, indexed) {
            (UserKey::Address, true) => "lower(u.email)",
            (UserKey::Address, false) => "(lower(u.email) || '')",
            (UserKey::Created, true) => "u.id",
            (UserKey::Created, false) => "(u.id::text || '')",
        }
    }

    fn cast(self, indexed: bool) -> &'static str {
        match (self.key, indexed) {
            (UserKey::Created, true) => "::uuid",
            _ => "",
        }
    }

    fn word(self) -> &'static str {
        if self.descending { "DESC" } else { "ASC" }
    }

    fn key_of(self, user: &UserRow) -> String {
        match self.key {
            UserKey::Address => user.email.to_ascii_lowercase(),
            UserKey::Created => user.id.to_string(),
        }
    }

    /// How many rows one page looks at, one time after the other.
    fn walked(self) -> [u64; 2] {
        match self.key {
            UserKey::Address => WALKED_BY_ADDRESS,
            UserKey::Created => WALKED_BY_ID,
        }
    }

    /// A key that came back from outside; `None` where it cannot be one.
    fn parsed(self, key: &str) -> Option<String> {
        match self.key {
            UserKey::Address => (!key.contains('\0')).then(|| key.to_owned()),
            UserKey::Created => Some(Uuid::try_parse(key).ok()?.to_string()),
        }
    }

    fn after(self, conditions: &mut Conditions, key: &str, indexed: bool) {
        let sign = if self.descending { '<' } else { '>' };
        let condition = format!("{} {sign} $1{}", self.column(indexed), self.cast(indexed));
        conditions.and(&condition, args![key]);
    }

    fn up_to(self, conditions: &mut Conditions, key: &str) {
        let sign = if self.descending { ">=" } else { "<=" };
        let condition = format!("{} {sign} $1{}", self.column(true), self.cast(true));
        conditions.and(&condition, args![key]);
    }
}

/// A search in the order of addresses answers whose address begins with the text first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stretch {
    /// Every user.
    All,
    /// Those whose address begins with the text.
    Beginning,
    /// Those of whom it is in the middle of the address, or in the name, in the order of their creation: so they are
    /// found ten times as fast as in the order of addresses.
    Rest,
}

impl Stretch {
    fn sign(self) -> char {
        match self {
            Self::All => 'a',
            Self::Beginning => 'b',
            Self::Rest => 'r',
        }
    }

    /// The order in which its users are listed.
    fn order(self, asked: UserOrder) -> UserOrder {
        match self {
            Self::All | Self::Beginning => asked,
            Self::Rest => UserOrder {
                key: UserKey::Created,
                descending: false,
            },
        }
    }
}

impl Store {
    /// One page of the users that `filter` means; `after` is the `next` of the page before, in the same order and with
    /// the same filter. The `id`, `after` and `limit` of the filter are not looked at.
    ///
    /// `None` where `after` cannot come from such a page.
    pub async fn user_page(
        &self,
        filter: &UserFilter,
        order: UserOrder,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Option<Page<UserRow>>, StoreError> {
        let begins = filter.query.is_some() && order == UserOrder::default();
        let stretches: &[Stretch] = match begins {
            true => &[Stretch::Beginning, Stretch::Rest],
            false => &[Stretch::All],
        };
        let (mut at, mut key) = (0, None);
        if let Some(after) = after {
            let sign = after.chars().next();
            let Some(found) = stretches.iter().position(|s| Some(s.sign()) == sign) else {
                return Ok(None);
            };
            at = found;
            if after.len() > 1 {
                key = match stretches[at].order(order).parsed(&after[1..]) {
                    Some(parsed) => Some(parsed),
                    None => return Ok(None),
                };
            }
        }
        let Some(walk) = self.walk(filter).await? else {
            return Ok(Some(Page {
                items: vec![],
                next: None,
            }));
        };
        let mut items: Vec<UserRow> = Vec::new();
        loop {
            let stretch = stretches[at];
            let room = limit - items.len() as u64;
            let page = self.stretch(&walk, order, stretch, key, room).await?;
            items.extend(page.items);
            if let Some(next) = page.next {
                let next = Some(format!("{}{next}", stretch.sign()));
                return Ok(Some(Page { items, next }));
            }
            (at, key) = (at + 1, None);
            match stretches.get(at) {
                None => return Ok(Some(Page { items, next: None })),
                Some(further) if items.len() as u64 == limit => {
                    let next = Some(further.sign().to_string());
                    return Ok(Some(Page { items, next }));
                }
                Some(_) => {}
            }
        }
    }

    /// How the users of a filter are found; `None` where there is no such role.
    async fn walk<'f>(&self, filter: &'f UserFilter) -> Result<Option<Walk<'f>>, StoreError> {
        let mut walk = Walk {
            filter,
            role: None,
            sorted: false,
        };
        let mut questions = Vec::new();
        if let Some(organization) = filter.organization {
            questions.push((FEW_OF_ORGANIZATION, organization.to_string()));
        }
        if let Some(role) = &filter.role {
            let Some(mut row) = self.row(ROLE, args![role]).await? else {
                return Ok(None);
            };
            let id: Uuid = row.parsed()?;
            walk.role = Some(id);
            questions.push((FEW_OF_ROLE, id.to_string()));
        }
        for (sql, id) in questions {
            if let Some(mut row) = self.row(sql, args![id, SORTED_MAX + 1]).await? {
                walk.sorted |= row.count()? <= SORTED_MAX;
            }
        }
        Ok(Some(walk))
    }

    /// One page of one stretch. It looks at few rows first, and at more where they do not fill it.
    async fn stretch(
        &self,
        walk: &Walk<'_>,
        order: UserOrder,
        stretch: Stretch,
        after: Option<String>,
        limit: u64,
    ) -> Result<Page<UserRow>, StoreError> {
        let order = stretch.order(order);
        let mut all = Page {
            items: Vec::new(),
            next: after,
        };
        for rows_max in order.walked() {
            let room = limit - all.items.len() as u64;
            let page = self
                .window(walk, order, stretch, all.next.as_deref(), room, rows_max)
                .await?;
            all.items.extend(page.items);
            all.next = page.next;
            if all.next.is_none() || all.items.len() as u64 == limit {
                break;
            }
        }
        Ok(all)
    }

    async fn window(
        &self,
        walk: &Walk<'_>,
        order: UserOrder,
        stretch: Stretch,
        after: Option<&str>,
        limit: u64,
        rows_max: u64,
    ) -> Result<Page<UserRow>, StoreError> {
        let indexed = !walk.sorted;
        let mut conditions = served(walk.filter, stretch);
        if let Some(after) = after {
            order.after(&mut conditions, after, indexed);
        }
        let mut bound = None;
        if indexed && walk.is_searched(stretch) {
            bound = self.bound(&conditions, order, rows_max).await?;
            if let Some(bound) = &bound {
                order.up_to(&mut conditions, bound);
            }
        }
        walk.searched(stretch, &mut conditions);
        let sql = format!(
            "{USER_ROW}{} ORDER BY {} {} LIMIT {}",
            conditions.sql(),
            order.column(indexed),
            order.word(),
            limit + 1
        );
        let rows = self.rows(&sql, conditions.args()).await?;
        let users = rows.into_iter().map(read_row).collect::<Result<_, _>>()?;
        let mut page = Page::cut(users, limit, |user| order.key_of(user));
        page.next = page.next.or(bound);
        Ok(page)
    }

    /// The key of the last row that this page may look at; `None` where the list ends before.
    async fn bound(
        &self,
        conditions: &Conditions,
        order: UserOrder,
        rows_max: u64,
    ) -> Result<Option<String>, StoreError> {
        let (last, key) = (if order.descending { "min" } else { "max" }, order.column(true));
        let sql = format!(
            "SELECT count(*), {last}(walked.k::text) FROM (SELECT {key} AS k FROM users u{} ORDER BY {key} {} \
             LIMIT {rows_max}) AS walked",
            conditions.sql(),
            order.word()
        );
        let Some(mut row) = self.row(&sql, conditions.args()).await? else {
            return Ok(None);
        };
        let walked = row.count()?;
        Ok(row.opt_text()?.filter(|_| walked == rows_max))
    }
}

/// The conditions that an index serves. The words stand in the statement itself, where the planner can compare them
/// with the conditions of a partial index.
fn served(filter: &UserFilter, stretch: Stretch) -> Conditions {
    let mut conditions = Conditions::default();
    if filter.status.as_deref() == Some("disabled") {
        conditions.and("u.status = 'disabled'", args![]);
    }
    if filter.kind.as_deref() == Some("employee") {
        conditions.and("u.kind = 'employee'", args![]);
    }
    if let (Stretch::Beginning, Some(query)) = (stretch, &filter.query) {
        let from = query.to_ascii_lowercase();
        let to = format!("{from}{}", char::MAX);
        conditions.and("lower(u.email) >= $1 AND lower(u.email) < $2", args![from, to]);
    }
    conditions
}

/// How the users of a filter are found.
struct Walk<'f> {
    filter: &'f UserFilter,
    /// The group that is the role of the filter.
    role: Option<Uuid>,
    /// Whether the organization or the role has so few users that all of them are read and sorted.
    sorted: bool,
}

impl Walk<'_> {
    fn is_searched(&self, stretch: Stretch) -> bool {
        let mut conditions = Conditions::default();
        self.searched(stretch, &mut conditions);
        !conditions.is_empty()
    }

    /// The conditions that each row is looked at for.
    fn searched(&self, stretch: Stretch, conditions: &mut Conditions) {
        let filter = self.filter;
        if filter.status.as_deref() == Some("active") {
            conditions.and("u.status = 'active'", args![]);
        }
        if let Some(kind) = filter.kind.as_deref().filter(|kind| *kind != "employee") {
            conditions.and("u.kind = $1", args![kind]);
        }
        if let Some(organization) = filter.organization {
            conditions.and("u.organization_id = $1::uuid", args![organization]);
        }
        if let Some(role) = self.role {
            // The id stands in the statement itself: the planner knows how many users each role has.
            let of_role = match self.sorted {
                true => format!("u.id IN (SELECT m.user_id FROM memberships m WHERE m.group_id = '{role}'::uuid)"),
                false => format!(
                    "EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id AND m.group_id = '{role}'::uuid)"
                ),
            };
            conditions.and(&of_role, args![]);
        }
        let Some(query) = &filter.query else { return };
        if stretch != Stretch::Beginning {
            conditions.and(CONTAINS, args![like(&query.to_ascii_lowercase()), like(query)]);
        }
        if stretch == Stretch::Rest {
            let from = query.to_ascii_lowercase();
            let to = format!("{from}{}", char::MAX);
            conditions.and("NOT (lower(u.email) >= $1 AND lower(u.email) < $2)", args![from, to]);
        }
    }
}

/// Whether an address or a name has a text in it. Addresses fold the letters A to Z alone; names as the database does.
pub(super) const CONTAINS: &str = "(lower(u.email) LIKE $1 ESCAPE '\\' OR \
    lower(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')) LIKE lower($2) ESCAPE '\\')";

/// The conditions on organization and role.
pub(super) fn narrowed(filter: &UserFilter, conditions: &mut Conditions) {
    if let Some(organization) = filter.organization {
        conditions.and("u.organization_id = $1::uuid", args![organization]);
    }
    if let Some(role) = &filter.role {
        conditions.and(
            "u.id IN (SELECT m.user_id FROM memberships m WHERE m.group_id = \
             (SELECT g.id FROM groups g WHERE g.kind = 'role' AND g.name = $1))",
            args![role],
        );
    }
}
