//! Single questions to a directory: one account, one organization, and whether it can be read at all. Absence is
//! believed only where the API itself says 404.

use tokio::sync::mpsc;

use super::Connex;
use super::client::Answer;
use super::walk::{Accounts, Content, Fetched, Organizations};
use super::wire::{self, Item, NoPage, Page};
use crate::domain::entry::{DirectoryOrganization, Received};
use crate::domain::id::ExternalId;
use crate::sources::{BATCHES_IN_FLIGHT_MAX, Lookup, Probe, SourceError, SourceErrorKind as Kind};

impl Connex {
    /// One account, by its id.
    pub(super) async fn account(&self, id: &ExternalId) -> Result<Lookup, SourceError> {
        let url = self.client.url(&["users", id.as_str()])?;
        let wrong = |came: &str| self.client.protocol(&url, came, "the account that was asked for");
        let body = match self.client.get(&url).await? {
            Answer::Found(body) => body,
            Answer::Absent => return Ok(Lookup::NotFound),
            Answer::Gone => return Err(wrong("410")),
        };
        let item = wire::account(&body, &self.settings.wanted, self.settings.json_depth_levels_max)
            .map_err(|NoPage(came)| wrong(&came))?;
        match item {
            Item::Present(account) if Accounts::id(&account) == Some(id.as_str()) => {
                Ok(Lookup::Found(Box::new(account)))
            }
            Item::Present(_) | Item::Nameless => Err(wrong("another account, or none")),
            Item::Deleted => Err(wrong("a tombstone")),
        }
    }

    /// One organization, by its id; `None` where the directory says that there is none.
    pub(super) async fn organization(&self, id: &ExternalId) -> Result<Option<DirectoryOrganization>, SourceError> {
        let url = self.client.url(&["organizations", id.as_str()])?;
        let wrong = |came: &str| self.client.protocol(&url, came, "the organization that was asked for");
        let body = match self.client.get(&url).await? {
            Answer::Found(body) => body,
            Answer::Absent => return Ok(None),
            Answer::Gone => return Err(wrong("410")),
        };
        match wire::organization(&body, self.settings.json_depth_levels_max).map_err(|NoPage(came)| wrong(&came))? {
            Item::Present(organization) if organization.id == *id => Ok(Some(organization)),
            Item::Present(_) | Item::Nameless => Err(wrong("another organization, or none")),
            Item::Deleted => Err(wrong("a tombstone")),
        }
    }

    /// Organizations by id, else by name without regard to case.
    pub(super) async fn find(&self, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
        if let Ok(id) = ExternalId::parse(wanted)
            && !matches!(wanted, "." | "..")
            && let Some(organization) = self.organization(&id).await?
        {
            return Ok(vec![organization]);
        }
        let wanted = wanted.trim().to_lowercase();
        let (sender, mut batches) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let walk = async {
            // The sender goes out of scope with the walk, which ends the other half.
            let sender = sender;
            self.walk_organizations(&sender).await
        };
        let filter = async {
            let mut found = Vec::new();
            while let Some(batch) = batches.recv().await {
                let named = |one: &DirectoryOrganization| one.name.trim().to_lowercase() == wanted;
                found.extend(batch.organizations.into_iter().filter(named));
            }
            found
        };
        let (listing, found) = tokio::join!(walk, filter);
        match listing?.reason {
            Some(reason) if found.is_empty() => Err(SourceError::new(Kind::Unavailable, reason)),
            _ => Ok(found),
        }
    }

    /// The steps of a connection up to the first that fails.
    pub(super) async fn probe_steps(&self) -> Vec<Probe> {
        let mut steps = Vec::new();
        let organizations = self.first_page::<Organizations>("organizations").await;
        let failed_at = match &organizations {
            Err(error) if is_connection(error.kind) => 0,
            Err(error) if error.kind == Kind::Authentication => 1,
            _ => 2,
        };
        let seen = [
            ("connect", format!("{} answers", self.client.host())),
            ("authenticate", "the credentials are accepted".to_owned()),
        ];
        for (step, text) in seen.into_iter().take(failed_at) {
            steps.push(probe(step, Ok(text)));
        }
        let organizations = organizations.map(|page| describe_organizations(&page));
        let failed = organizations.is_err();
        steps.push(probe(
            ["connect", "authenticate", "organizations"][failed_at],
            organizations,
        ));
        if !failed {
            let users = self.first_page::<Accounts>("users").await;
            steps.push(probe("users", users.map(|page| self.describe_accounts(&page))));
        }
        steps
    }

    async fn first_page<C: Content>(&self, resource: &str) -> Result<Page<C::Of>, SourceError> {
        let url = self.client.url(&[resource])?;
        match self.fetch::<C>(&url, None).await? {
            Fetched::Page(page) => Ok(page),
            Fetched::Absent => Err(super::client::not_there(&url)),
            Fetched::Expired => Err(self.client.protocol(&url, "410", "the first page")),
        }
    }

    fn describe_accounts(&self, page: &Page<Received>) -> String {
        let entries: Vec<_> = page
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Present(Received::Entry(entry)) => Some(entry),
                _ => None,
            })
            .collect();
        let mut text = format!("{} readable accounts in the first page", entries.len());
        let unreadable = present(page) - entries.len();
        if unreadable > 0 {
            text.push_str(&format!(", {unreadable} that cannot be read"));
        }
        text.push_str(&of_total(page));
        for name in self.settings.wanted.iter() {
            let having = entries.iter().filter(|entry| entry.attributes.has(name)).count();
            text.push_str(&format!("; `{name}` in {having}"));
        }
        text
    }
}

fn probe(step: &str, outcome: Result<String, SourceError>) -> Probe {
    Probe {
        step: step.to_owned(),
        outcome,
    }
}

/// Whether it failed before the server had a say about credentials.
fn is_connection(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::Timeout | Kind::Tls)
}

fn present<T>(page: &Page<T>) -> usize {
    page.items.iter().filter(|item| !matches!(item, Item::Deleted)).count()
}

fn of_total<T>(page: &Page<T>) -> String {
    page.total
        .map(|total| format!(", of {total} in all"))
        .unwrap_or_default()
}

fn describe_organizations(page: &Page<DirectoryOrganization>) -> String {
    let asked = page
        .items
        .iter()
        .filter(|item| matches!(item, Item::Present(one) if one.requested_access != Some(false)))
        .count();
    format!(
        "{} organizations in the first page, of which {asked} want access{}",
        present(page),
        of_total(page)
    )
}
