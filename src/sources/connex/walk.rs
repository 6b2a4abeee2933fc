//! Walks a paged listing from its beginning to its stated end, sending each page on while the next one is fetched.
//! Decides nothing about who is missing: it says what arrived and what speaks against that being all.

use url::Url;

use super::client::{Answer, not_there};
use super::place::{origin, place};
use super::tally::{Tally, Turn};
use super::wire::{self, Item, NoPage, Page};
use super::{Connex, Settings};
use crate::domain::entry::{Batch, DirectoryOrganization, Received};
use crate::sources::{BatchSender, Listing, SourceError, SourceErrorKind as Kind};

/// How often a walk begins again when its cursor has expired.
const RESTARTS_MAX: u32 = 2;

/// That nobody listens any more.
pub(super) fn cancelled() -> SourceError {
    SourceError::new(
        Kind::Cancelled,
        "the listing was stopped before its end because the run was: start it again",
    )
}

/// What a page holds.
pub(super) trait Content: Send + Sync {
    /// One item.
    type Of: Send;
    /// The plural, for messages.
    const WHAT: &'static str;
    /// Decodes a page.
    fn parse(body: &[u8], settings: &Settings) -> Result<Page<Self::Of>, NoPage>;
    /// The id of an item, where it is known.
    fn id(item: &Self::Of) -> Option<&str>;
    /// Puts items where they belong.
    fn batch(items: Vec<Self::Of>) -> Batch;
}

/// Pages of accounts.
pub(super) struct Accounts;

impl Content for Accounts {
    type Of = Received;
    const WHAT: &'static str = "accounts";
    fn parse(body: &[u8], settings: &Settings) -> Result<Page<Received>, NoPage> {
        wire::accounts(body, &settings.wanted, settings.json_depth_levels_max)
    }
    fn id(item: &Received) -> Option<&str> {
        match item {
            Received::Entry(entry) => Some(entry.id.as_str()),
            Received::Unreadable { id, .. } => id.as_ref().map(|id| id.as_str()),
        }
    }
    fn batch(entries: Vec<Received>) -> Batch {
        Batch {
            organizations: Vec::new(),
            entries,
            pages: 1,
        }
    }
}

/// Pages of organizations.
pub(super) struct Organizations;

impl Content for Organizations {
    type Of = DirectoryOrganization;
    const WHAT: &'static str = "organizations";
    fn parse(body: &[u8], settings: &Settings) -> Result<Page<DirectoryOrganization>, NoPage> {
        wire::organizations(body, settings.json_depth_levels_max)
    }
    fn id(item: &DirectoryOrganization) -> Option<&str> {
        Some(item.id.as_str())
    }
    fn batch(organizations: Vec<DirectoryOrganization>) -> Batch {
        Batch {
            organizations,
            entries: Vec::new(),
            pages: 1,
        }
    }
}

/// A fetched page.
pub(super) enum Fetched<T> {
    Page(Page<T>),
    Absent,
    Expired,
}

impl Connex {
    pub(super) async fn walk_organizations(&self, batches: &BatchSender) -> Result<Listing, SourceError> {
        self.walk::<Organizations>(&self.client.url(&["organizations"])?, batches)
            .await
    }

    pub(super) async fn walk_accounts(&self, path: &[&str], batches: &BatchSender) -> Result<Listing, SourceError> {
        self.walk::<Accounts>(&self.client.url(path)?, batches).await
    }

    async fn walk<C: Content>(&self, url: &Url, batches: &BatchSender) -> Result<Listing, SourceError> {
        let mut tally = Tally::new(C::WHAT, self.settings.pages_max, self.settings.entries_max);
        let mut cursor: Option<String> = None;
        let mut fetched = self.fetch::<C>(url, None).await;
        loop {
            let page = match fetched {
                Ok(Fetched::Page(page)) => page,
                Ok(Fetched::Expired) if cursor.is_some() && tally.restarts() < RESTARTS_MAX => {
                    tally.restart();
                    cursor = None;
                    fetched = self.fetch::<C>(url, None).await;
                    continue;
                }
                Ok(Fetched::Expired) => return after_expiry(url, tally),
                Ok(Fetched::Absent) if cursor.is_none() => return Err(not_there(url)),
                Ok(Fetched::Absent) => {
                    return Err(self
                        .client
                        .protocol(url, "404 in the middle of a listing", "the next page"));
                }
                Err(error) => return after_error(error, tally),
            };
            let (batch, turn) = take::<C>(&mut tally, &page.next, page.items, page.total, page.as_of);
            let send = async { batches.send(batch).await.map_err(|_| cancelled()) };
            match turn {
                Turn::Next => {
                    let next = page.next.expect("a walk goes on only with a cursor");
                    check_cursor(url, &next)?;
                    let (sent, following) = tokio::join!(send, self.fetch::<C>(url, Some(&next)));
                    sent?;
                    (fetched, cursor) = (following, Some(next));
                }
                Turn::End => {
                    send.await?;
                    return Ok(tally.finish());
                }
                Turn::Stop(reason) => {
                    send.await?;
                    return Ok(tally.broken(format!("{}: {reason}", origin(url))));
                }
            }
        }
    }

    /// Fetches and decodes one page.
    pub(super) async fn fetch<C: Content>(
        &self,
        url: &Url,
        cursor: Option<&str>,
    ) -> Result<Fetched<C::Of>, SourceError> {
        let mut request = url.clone();
        request
            .query_pairs_mut()
            .append_pair("limit", &self.settings.page_size.to_string())
            .extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        match self.client.get(&request).await? {
            Answer::Absent => Ok(Fetched::Absent),
            Answer::Gone => Ok(Fetched::Expired),
            Answer::Found(body) => C::parse(&body, &self.settings)
                .map(Fetched::Page)
                .map_err(|NoPage(came)| {
                    let expected = format!("a page of {} ({{\"items\": […], \"next\": …}})", C::WHAT);
                    self.client.protocol(url, &came, &expected)
                }),
        }
    }
}

/// Counts the items of a page, and makes a batch of those to send on.
fn take<C: Content>(
    tally: &mut Tally,
    next: &Option<String>,
    items: Vec<Item<C::Of>>,
    total: Option<u64>,
    as_of: Option<String>,
) -> (Batch, Turn) {
    let arrived = items.len();
    let mut kept = Vec::with_capacity(arrived);
    for item in items {
        match item {
            Item::Present(item) => {
                if tally.item(C::id(&item)) {
                    kept.push(item);
                }
            }
            Item::Nameless => {
                tally.item(None);
            }
            Item::Deleted => {}
        }
    }
    let turn = tally.page(arrived, total, as_of, next.as_deref());
    (C::batch(kept), turn)
}

/// What arrived stays true when the server fails later on; what it says against the protocol puts all in doubt.
fn after_error(error: SourceError, tally: Tally) -> Result<Listing, SourceError> {
    let partial = error.is_transient() || matches!(error.kind, Kind::Authentication | Kind::Forbidden);
    if partial && tally.has_arrived() {
        return Ok(tally.broken(error.message));
    }
    Err(error)
}

fn after_expiry(url: &Url, tally: Tally) -> Result<Listing, SourceError> {
    let message = format!(
        "{} said that its cursor had expired (410), {} times over: sync again, and if it stays so report it to its operator",
        place(url),
        tally.restarts() + 1
    );
    if tally.has_arrived() {
        return Ok(tally.broken(message));
    }
    Err(SourceError::new(Kind::Protocol, message))
}

/// Refuses a cursor that is a link to somewhere else. Nothing would go there, since a cursor is only ever a query
/// parameter; but a server that sends such a thing is not the one that was configured.
fn check_cursor(url: &Url, cursor: &str) -> Result<(), SourceError> {
    let target = if cursor.starts_with("//") || cursor.starts_with("\\\\") {
        url.join(cursor).ok()
    } else {
        Url::parse(cursor).ok().filter(Url::has_host)
    };
    match target {
        Some(target)
            if target.origin() != url.origin() || !target.username().is_empty() || target.password().is_some() =>
        {
            Err(SourceError::new(
                Kind::ForeignOrigin,
                format!(
                    "{} gave a `next` that leads to {}, which was not followed: find out what answers in the directory's place",
                    place(url),
                    if target.origin().is_tuple() {
                        origin(&target)
                    } else {
                        format!("a {}: address", target.scheme())
                    }
                ),
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_that_lead_elsewhere_are_refused() {
        let url: Url = "https://connex.example/api/v1/users".parse().expect("a URL");
        for foreign in [
            "https://elsewhere.example/api/v1/users",
            "http://connex.example/api/v1/users",
            "https://connex.example:8443/api/v1/users",
            "https://user:canary@connex.example/api/v1/users",
            "http://169.254.169.254/latest/meta-data",
            "//elsewhere.example/x",
            "ftp://connex.example/x",
            "custom://elsewhere.example/x",
        ] {
            let error = check_cursor(&url, foreign).expect_err(foreign);
            assert_eq!(error.kind, Kind::ForeignOrigin, "{foreign}");
            assert!(!error.message.contains("canary"), "{error}");
        }
        for opaque in [
            "b3BhcXVl==",
            "users:1234",
            "after=u-1&total=3",
            "1",
            "https://connex.example/api/v1/users?cursor=x",
        ] {
            assert!(check_cursor(&url, opaque).is_ok(), "{opaque}");
        }
    }
}
