//! A ConneX-style directory: organizations and their accounts, read page by page over HTTPS. Follows no redirect and
//! no link, never sends a credential to another origin, and never takes a broken answer for an empty one.

mod account;
mod client;
mod find;
mod organization;
mod place;
mod retry;
pub mod settings;
mod tally;
mod tls;
mod token;
mod walk;
mod wire;

use async_trait::async_trait;

pub use settings::{Auth, Settings};

use crate::domain::entry::Batch;
use crate::domain::id::{ExternalId, SourceName};

use super::{BatchSender, Listing, ListingScope, Lookup, Probe, Source, SourceError, SourceErrorKind};
use client::Client;

/// A source of `kind = "connex"`.
#[derive(Debug)]
pub struct Connex {
    settings: Settings,
    client: Client,
}

impl Connex {
    /// Checks the settings and makes ready; nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, SourceError> {
        let client = Client::new(&settings)?;
        Ok(Self { settings, client })
    }

    async fn list_unbounded(&self, scope: &ListingScope, batches: &BatchSender) -> Result<Listing, SourceError> {
        match scope {
            ListingScope::Source => {
                let organizations = self.walk_organizations(batches).await?;
                let accounts = self.walk_accounts(&["users"], batches).await?;
                Ok(join(organizations, accounts))
            }
            ListingScope::Organization(id) => {
                let organization = self.organization(id).await?.ok_or_else(|| {
                    SourceError::new(
                        SourceErrorKind::NotFound,
                        format!(
                            "{} has no organization `{}` (any more): look it up there, or unfollow it here",
                            self.client.host(),
                            id.as_str().escape_debug()
                        ),
                    )
                })?;
                let batch = Batch {
                    organizations: vec![organization],
                    ..Batch::default()
                };
                batches.send(batch).await.map_err(|_| walk::cancelled())?;
                self.walk_accounts(&["organizations", id.as_str(), "users"], batches)
                    .await
            }
        }
    }
}

/// One proof of two walks: complete only if both are.
fn join(organizations: Listing, mut accounts: Listing) -> Listing {
    accounts.pages += organizations.pages;
    accounts.proof.splice(0..0, organizations.proof);
    if !organizations.complete {
        accounts.complete = false;
        let both = [organizations.reason, accounts.reason.take()];
        accounts.reason = Some(both.into_iter().flatten().collect::<Vec<_>>().join("; "));
        accounts.as_of = None;
    } else if accounts.complete {
        // The earlier of the two clocks: what changed between the walks is asked for again next time.
        accounts.as_of = organizations.as_of.or(accounts.as_of);
    }
    accounts
}

#[async_trait]
impl Source for Connex {
    fn name(&self) -> &SourceName {
        &self.settings.name
    }

    async fn list(&self, scope: &ListingScope, batches: BatchSender) -> Result<Listing, SourceError> {
        let limit = self.settings.listing_timeout;
        tokio::select! {
            listing = tokio::time::timeout(limit, self.list_unbounded(scope, &batches)) => {
                listing.unwrap_or_else(|_| {
                    Err(SourceError::new(
                        SourceErrorKind::Timeout,
                        format!(
                            "the listing of {} took longer than the {} seconds it may: look for what slows it down, or allow it more",
                            self.client.host(),
                            limit.as_secs_f64()
                        ),
                    ))
                })
            }
            () = batches.closed() => Err(walk::cancelled()),
        }
    }

    async fn lookup(&self, id: &ExternalId) -> Result<Lookup, SourceError> {
        self.account(id).await
    }

    async fn find_organization(
        &self,
        wanted: &str,
    ) -> Result<Vec<crate::domain::entry::DirectoryOrganization>, SourceError> {
        self.find(wanted).await
    }

    async fn probe(&self) -> Vec<Probe> {
        self.probe_steps().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_walks_make_one_proof() {
        let whole = |as_of: &str| Listing::complete(1, 1, vec![as_of.into()], Some(as_of.into()));
        let joined = join(whole("earlier"), whole("later"));
        assert!(joined.complete);
        assert_eq!(
            (joined.entries, joined.pages, joined.proof),
            (1, 2, vec!["earlier".into(), "later".into()])
        );
        assert_eq!(joined.as_of.as_deref(), Some("earlier"));

        let joined = join(Listing::incomplete(0, 1, vec![], "a page is missing"), whole("later"));
        assert!(!joined.complete);
        assert_eq!(joined.reason.as_deref(), Some("a page is missing"));
        assert_eq!(joined.as_of, None);

        let joined = join(whole("earlier"), Listing::incomplete(0, 1, vec![], "cut off"));
        assert_eq!((joined.complete, joined.reason.as_deref()), (false, Some("cut off")));
    }
}
