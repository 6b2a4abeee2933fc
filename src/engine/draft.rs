//! The plan of a run while it is decided: counted, hashed and stored case by case, so that it is never held in memory.

use std::collections::BTreeMap;

use super::run::Quarantine;
use crate::domain::decide::Decision;
use crate::domain::id::{ExternalId, RunId};
use crate::domain::plan::{ChangeDigest, Counts, PlanHasher};
use crate::domain::run::PlanSummary;
use crate::store::{
    Case, Comparison, OrganizationChange, PlanWriter, QUARANTINE_STORED_MAX, Staged, Store, StoreError,
};

/// A decided plan, with what the brakes need of it.
pub(super) struct Decided {
    pub(super) plan: PlanSummary,
    pub(super) by_organization: BTreeMap<Option<ExternalId>, Counts>,
}

/// A plan that grows.
pub(super) struct Draft {
    organizations: Vec<OrganizationChange>,
    hasher: PlanHasher,
    writer: PlanWriter,
    counts: Counts,
    by_organization: BTreeMap<Option<ExternalId>, Counts>,
    quarantined: Vec<Quarantine>,
}

impl Draft {
    /// A plan with nothing in it but what was recognized while it streamed by: unchanged entries, and newcomers.
    pub(super) fn new(
        store: &Store,
        run: RunId,
        organizations: Vec<OrganizationChange>,
        comparison: &mut Comparison,
    ) -> Self {
        let newcomers = comparison.take_newcomers();
        let mut hasher = PlanHasher::with_changes(newcomers.digests);
        for organization in &organizations {
            hasher.add_organization(&organization.external_id, &organization.text());
        }
        let counts = Counts {
            unchanged: comparison.unchanged(),
            ..newcomers.counts
        };
        let writer = PlanWriter::new(store, run, comparison.staged());
        Self {
            organizations,
            hasher,
            writer,
            counts,
            by_organization: newcomers.by_organization,
            quarantined: Vec::new(),
        }
    }

    /// How many changes it has so far.
    pub(super) fn changes(&self) -> u64 {
        let counts = &self.counts;
        counts.create + counts.update + counts.disable + counts.enable + counts.delete
    }

    /// Takes one decision.
    pub(super) async fn take(&mut self, case: Case, decision: Decision) -> Result<(), StoreError> {
        let is_listed = case.content.is_some();
        let entry = match case.content {
            Some(Staged::Mapped(entry)) => Some(*entry),
            _ => None,
        };
        match decision {
            Decision::Unchanged => self.counts.unchanged += u64::from(is_listed),
            Decision::Remember => {
                self.counts.unchanged += 1;
                if let (Some(entry), Some(record)) = (entry, &case.record) {
                    let digest = entry.digest();
                    self.hasher.add(ChangeDigest::remembered(digest));
                    self.writer.remember(entry, digest, record.user, record.digest).await?;
                }
            }
            Decision::Change(change) => {
                self.hasher.add(ChangeDigest::of(&change));
                self.counts.add(&change);
                let organization = self.by_organization.entry(change.organization.clone()).or_default();
                organization.add(&change);
                self.writer.change(&change, entry).await?;
            }
            Decision::Quarantine(why) => {
                self.counts.quarantine += 1;
                if self.quarantined.len() < QUARANTINE_STORED_MAX {
                    self.quarantined.push((case.id, case.organization, why));
                }
            }
        }
        Ok(())
    }

    /// Stores what is left; answers the plan, and what was kept out of it.
    pub(super) async fn finish(self) -> Result<(Decided, Vec<Quarantine>), StoreError> {
        self.writer.finish(&self.organizations).await?;
        let plan = PlanSummary {
            hash: self.hasher.finish(),
            counts: self.counts,
        };
        Ok((
            Decided {
                plan,
                by_organization: self.by_organization,
            },
            self.quarantined,
        ))
    }
}
