//! How a run reads its scope: the listing of a source or an organization, one entry, and once more who is missing.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::EngineError;
use super::events::Phase;
use super::intake::Intake;
use super::run::Run;
use super::scope::linked_user;
use crate::domain::entry::{Batch, Received};
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};
use crate::domain::run::Scope;
use crate::sources::{BATCHES_IN_FLIGHT_MAX, Listing, ListingScope, Lookup, SourceError};
use crate::store::{Comparison, Staged, StagedEntry};

/// Most entries missing from one organization's listing that are looked up one by one; what is beyond is not taken for
/// missing by that run.
const CONFIRMATIONS_MAX: usize = 1_000;

/// How many of them are asked for at once.
const CONFIRMATIONS_AT_ONCE: usize = 8;

impl Run<'_> {
    /// Begins to read the scope. Of one entry nothing is read ahead.
    pub(super) fn start_reading(&self) -> Option<Reading> {
        let wanted = match (&self.scope.external_id, &self.scope.organization) {
            (Some(_), _) => return None,
            (None, Some(id)) => ListingScope::Organization(id.clone()),
            (None, None) => ListingScope::Source,
        };
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let source = Arc::clone(&self.setup.source);
        let listing = AbortOnDrop(tokio::spawn(async move { source.list(&wanted, sender).await }));
        Some(Reading { batches, listing })
    }

    /// Reads the scope into the comparison.
    pub(super) async fn read(
        &mut self,
        reading: Option<Reading>,
        intake: &mut Intake<'_>,
        comparison: &mut Comparison,
    ) -> Result<Listing, EngineError> {
        let Reading { mut batches, listing } = match (&self.scope.external_id, reading) {
            (Some(id), _) => return self.read_one(id, intake, comparison).await,
            (None, Some(reading)) => reading,
            (None, None) => unreachable!("a reading is started for every scope but one entry"),
        };
        while let Some(batch) = batches.recv().await {
            self.progress.entries += batch.entries.len() as u64;
            self.progress.pages += batch.pages;
            intake.batch(batch, comparison).await?;
            self.observer.progress(self.progress);
        }
        Ok(listing.join(self.scope).await??)
    }

    /// Reads one entry by its id: found or not, the answer is complete.
    async fn read_one(
        &mut self,
        id: &ExternalId,
        intake: &mut Intake<'_>,
        comparison: &mut Comparison,
    ) -> Result<Listing, EngineError> {
        let source = Arc::clone(&self.setup.source);
        let wanted = id.clone();
        let asking = AbortOnDrop(tokio::spawn(async move { source.lookup(&wanted).await }));
        match asking.join(self.scope).await?? {
            Lookup::Found(received) => {
                self.learn_organization(&received, intake, comparison).await?;
                intake.entry(*received, comparison).await?;
                self.progress.entries = 1;
                Ok(Listing::complete(
                    1,
                    1,
                    vec!["the directory was asked for this entry, and has it".into()],
                    None,
                ))
            }
            Lookup::NotFound
                if comparison.is_idle() && linked_user(comparison.store(), &self.scope.source, id).await?.is_none() =>
            {
                Err(EngineError::NotFound(format!(
                    "there is no user {id}, neither here nor in the directory of source {}; check the id",
                    self.scope.source
                )))
            }
            Lookup::NotFound => Ok(Listing::complete(
                0,
                1,
                vec!["the directory was asked for this entry, and has no such one".into()],
                None,
            )),
        }
    }

    /// Asks for the organization of an entry that names one which is not known here, or not followed: it may be new, or
    /// have asked for access since.
    async fn learn_organization(
        &self,
        received: &Received,
        intake: &mut Intake<'_>,
        comparison: &mut Comparison,
    ) -> Result<(), EngineError> {
        let Received::Entry(entry) = received else {
            return Ok(());
        };
        let unknown = entry
            .organization
            .as_ref()
            .filter(|o| o.name.is_none() && !intake.covers(entry));
        let Some(organization) = unknown else { return Ok(()) };
        let found = self.setup.source.find_organization(organization.id.as_str()).await?;
        let organizations = found.into_iter().filter(|o| o.id == organization.id).collect();
        let batch = Batch {
            organizations,
            ..Batch::default()
        };
        Ok(intake.batch(batch, comparison).await?)
    }

    /// Asks for entries by their ids that were taken for unchanged, and are to be compared after all.
    pub(super) async fn read_again(
        &mut self,
        ids: Vec<ExternalId>,
        intake: &mut Intake<'_>,
        comparison: &mut Comparison,
    ) -> Result<(), EngineError> {
        for id in ids {
            if let Lookup::Found(received) = self.setup.source.lookup(&id).await? {
                intake.entry(*received, comparison).await?;
            }
        }
        Ok(())
    }

    /// Who is missing from one organization may have moved to another: each is asked for by its id.
    pub(super) async fn confirm_absences(
        &mut self,
        intake: &mut Intake<'_>,
        comparison: &mut Comparison,
    ) -> Result<(), EngineError> {
        let missing = comparison.absent().await?;
        if missing.is_empty() || intake.in_scope == 0 {
            // Nobody left at all: the brake for an empty listing asks a person instead.
            return Ok(());
        }
        self.enter(Phase::Confirming);
        let source = &self.setup.source;
        let asked = stream::iter(missing.into_iter().enumerate())
            .map(|(at, id)| async move {
                let answer: Result<Lookup, Option<SourceError>> = match at {
                    n if n >= CONFIRMATIONS_MAX => Err(None),
                    _ => source.lookup(&id).await.map_err(Some),
                };
                (answer, id)
            })
            .buffered(CONFIRMATIONS_AT_ONCE);
        let answers: Vec<_> = asked.collect().await;
        for (answer, id) in answers {
            match answer {
                Ok(Lookup::NotFound) => {}
                Ok(Lookup::Found(received)) => {
                    self.learn_organization(&received, intake, comparison).await?;
                    // Of an organization that is known and not followed: nobody's of ours any more.
                    let moved_away = matches!(&*received, Received::Entry(entry) if intake.leaves_out(entry));
                    if !moved_away {
                        comparison.not_absent(&id).await?;
                        intake.entry(*received, comparison).await?;
                    }
                }
                Err(_) => {
                    comparison.not_absent(&id).await?;
                    let why = "the listing lacks it, and the directory could not be asked for it by its id, so it is not taken for missing; the next run asks again";
                    let content = Staged::Bad(Quarantined::new(QuarantineCode::NotConfirmed, why));
                    let entry = StagedEntry {
                        id: Some(id),
                        organization: self.scope.organization.clone(),
                        content,
                    };
                    comparison.stage(entry, &self.setup.policy()).await?;
                }
            }
        }
        Ok(())
    }
}

/// A listing under way.
pub(super) struct Reading {
    batches: mpsc::Receiver<Batch>,
    listing: AbortOnDrop<Result<Listing, SourceError>>,
}

/// A task that ends with the run that started it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self, scope: &Scope) -> Result<T, EngineError> {
        (&mut self.0)
            .await
            .map_err(|_| EngineError::Panicked(scope.source.to_string()))
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
