//! The plan of a run while it is decided: counted, hashed and stored case by case, so that it is never held in memory.

use std::collections::BTreeMap;

use super::run::Quarantine;
use crate::domain::decide::{Decision, Policy};
use crate::domain::id::{ExternalId, RunId};
use crate::domain::plan::{Counts, PlanHasher};
use crate::domain::run::PlanSummary;
use crate::store::{Case, OrganizationChange, PlanWriter, QUARANTINE_STORED_MAX, Staged, Store, StoreError};

/// A decided plan, with what the brakes need of it.
pub(super) struct Decided {
    pub(super) plan: PlanSummary,
    pub(super) by_organization: BTreeMap<Option<ExternalId>, Counts>,
}

/// A plan that grows.
pub(super) struct Draft<'a> {
    policy: Policy<'a>,
    organizations: Vec<OrganizationChange>,
    hasher: PlanHasher,
    writer: PlanWriter,
    counts: Counts,
    by_organization: BTreeMap<Option<ExternalId>, Counts>,
    quarantined: Vec<Quarantine>,
}

impl<'a> Draft<'a> {
    /// A plan without changes yet; `unchanged` entries were recognized while they streamed by.
    pub(super) fn new(
        store: &Store,
        run: RunId,
        policy: Policy<'a>,
        organizations: Vec<OrganizationChange>,
        unchanged: u64,
    ) -> Self {
        let mut hasher = PlanHasher::default();
        for organization in &organizations {
            hasher.add_organization(&organization.external_id, &organization.text());
        }
        let counts = Counts {
            unchanged,
            ..Counts::default()
        };
        let writer = PlanWriter::new(store, run);
        Self {
            policy,
            organizations,
            hasher,
            writer,
            counts,
            by_organization: BTreeMap::new(),
            quarantined: Vec::new(),
        }
    }

    /// Takes one decision. Cases come in the order of the plan.
    pub(super) async fn take(&mut self, case: Case, decision: Decision) -> Result<(), StoreError> {
        let entry = match &case.content {
            Some(Staged::Mapped(entry)) => Some(&**entry),
            _ => None,
        };
        match decision {
            Decision::Unchanged => self.counts.unchanged += u64::from(case.content.is_some()),
            Decision::Remember => {
                self.counts.unchanged += 1;
                if let (Some(entry), Some(record)) = (entry, &case.record) {
                    self.hasher.add_remembered(entry.digest());
                    self.writer.remember(entry, record.user, record.digest).await?;
                }
            }
            Decision::Change(change) => {
                self.hasher.add(&change);
                self.counts.add(&change);
                let organization = self.by_organization.entry(change.organization.clone()).or_default();
                organization.add(&change);
                self.writer.change(&change, entry, &self.policy).await?;
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
