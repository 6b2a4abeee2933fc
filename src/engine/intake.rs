//! Taking in what a source yields: organizations are compared, entries mapped, and what differs is staged.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json, json};

use super::Setup;
use crate::domain::entry::{Batch, DirectoryOrganization, Entry, OrganizationRef, Received};
use crate::domain::id::{ExternalId, OrganizationId};
use crate::domain::quarantine::{QuarantineCode, Quarantined};
use crate::domain::run::Scope;
use crate::domain::text::{normalize, normalized};
use crate::store::{Comparison, KnownOrganization, OrganizationChange, Staged, StagedEntry, Store, StoreError};

/// Longest text kept of an organization's name.
const NAME_CHARS_MAX: usize = 200;

/// The intake of one run.
pub(super) struct Intake<'a> {
    setup: &'a Setup,
    scope: &'a Scope,
    store: Store,
    here: HashMap<ExternalId, KnownOrganization>,
    changed: BTreeMap<ExternalId, OrganizationChange>,
    /// Entries in scope, bad ones included.
    pub(super) in_scope: u64,
    /// Entries of organizations that are not followed.
    pub(super) not_followed: u64,
    /// Entries that asked for an administrative role that the source may not grant.
    pub(super) refused_roles: u64,
}

impl<'a> Intake<'a> {
    pub(super) async fn new(setup: &'a Setup, scope: &'a Scope, store: &Store) -> Result<Self, StoreError> {
        let here = store.known_organizations(&scope.source).await?;
        let store = store.clone();
        Ok(Self {
            setup,
            scope,
            store,
            here,
            changed: BTreeMap::new(),
            in_scope: 0,
            not_followed: 0,
            refused_roles: 0,
        })
    }

    /// Organizations that are new or changed, by id.
    pub(super) fn organizations(&self) -> Vec<OrganizationChange> {
        self.changed.values().cloned().collect()
    }

    /// Takes in a batch.
    pub(super) async fn batch(&mut self, batch: Batch, into: &mut Comparison) -> Result<(), StoreError> {
        for organization in batch.organizations {
            self.organization(organization);
        }
        for received in batch.entries {
            self.entry(received, into).await?;
        }
        Ok(())
    }

    /// Takes in one organization as the directory lists it.
    fn organization(&mut self, said: DirectoryOrganization) {
        let by_hand = self.scope.organization.as_ref() == Some(&said.id);
        let mut attributes: Map<String, Json> = said
            .attributes
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), json!(normalize(key, value).ok()??))))
            .collect();
        if let Some(asked) = said.requested_access {
            attributes.insert("requested_access".into(), json!(asked));
        }
        let name = name_of(&said.name, &said.id).into_owned();
        let known = self.here.get(&said.id);
        let kind = said.kind.as_deref().and_then(plain_kind);
        let change = match known {
            None => OrganizationChange {
                id: OrganizationId(self.store.new_id()),
                external_id: said.id.clone(),
                is_new: true,
                name,
                kind: kind.unwrap_or_else(|| self.setup.default_kind.clone()),
                closed: said.closed,
                followed: by_hand || said.requested_access.unwrap_or(true),
                attributes: attributes.into(),
            },
            Some(known) => {
                let asked_before = known.attributes.get("requested_access") == Some(&json!(true));
                let asks_now = said.requested_access == Some(true) && !asked_before;
                // What other programs keep in the attributes of an organization stays.
                let mut merged = known.attributes.as_object().cloned().unwrap_or_default();
                merged.extend(attributes);
                OrganizationChange {
                    id: known.id,
                    external_id: said.id.clone(),
                    is_new: false,
                    name,
                    kind: kind.unwrap_or_else(|| known.kind.clone()),
                    closed: said.closed,
                    followed: known.followed || asks_now || by_hand,
                    attributes: merged.into(),
                }
            }
        };
        self.keep(change);
    }

    /// Remembers an organization where it differs from what is here.
    fn keep(&mut self, change: OrganizationChange) {
        let now = KnownOrganization {
            id: change.id,
            name: change.name.clone(),
            kind: change.kind.clone(),
            followed: change.followed,
            closed: change.closed,
            attributes: change.attributes.clone(),
        };
        if self.here.get(&change.external_id) != Some(&now) {
            let mut change = change;
            change.is_new |= self.changed.get(&change.external_id).is_some_and(|c| c.is_new);
            self.here.insert(change.external_id.clone(), now);
            self.changed.insert(change.external_id.clone(), change);
        }
    }

    /// An organization that is known only because entries name it.
    fn named_by_entry(&mut self, said: &OrganizationRef) {
        let Some(name) = &said.name else { return };
        let name = name_of(name, &said.id);
        if self.here.get(&said.id).is_some_and(|known| known.name == name) {
            return;
        }
        let name = name.into_owned();
        let known = self.here.get(&said.id);
        let by_hand = self.scope.organization.as_ref() == Some(&said.id);
        let change = OrganizationChange {
            id: known.map_or_else(|| OrganizationId(self.store.new_id()), |k| k.id),
            external_id: said.id.clone(),
            is_new: known.is_none(),
            name,
            kind: known.map_or_else(|| self.setup.default_kind.clone(), |k| k.kind.clone()),
            closed: known.is_some_and(|k| k.closed),
            followed: by_hand || known.is_none_or(|k| k.followed),
            attributes: known.map_or_else(|| json!({}), |k| k.attributes.clone()),
        };
        self.keep(change);
    }

    /// Takes in one account.
    pub(super) async fn entry(&mut self, received: Received, into: &mut Comparison) -> Result<(), StoreError> {
        let staged = match received {
            Received::Unreadable { id, reason } => StagedEntry {
                id,
                organization: None,
                content: Staged::Bad(reason),
            },
            Received::Entry(entry) => match self.judge(&entry, into) {
                Judged::NotFollowed => {
                    self.not_followed += 1;
                    return Ok(());
                }
                Judged::Unchanged => {
                    self.in_scope += 1;
                    return Ok(());
                }
                Judged::Differs(content) => StagedEntry {
                    organization: entry.organization.map(|o| o.id),
                    id: Some(entry.id),
                    content,
                },
            },
        };
        self.in_scope += 1;
        into.stage(staged, &self.setup.policy()).await
    }

    /// Maps an entry, and looks whether it says what it said before.
    fn judge(&mut self, entry: &Entry, into: &mut Comparison) -> Judged {
        if let Some(said) = &entry.organization {
            self.named_by_entry(said);
        }
        let kind = match entry.organization.as_ref().map(|said| self.here.get(&said.id)) {
            // Covered by nobody's decision: not ours to touch.
            Some(Some(known)) if !known.followed => return Judged::NotFollowed,
            // It may have been made while we were reading; its people must not be taken for missing.
            Some(None) => {
                return Judged::Differs(Staged::Bad(Quarantined::new(
                    QuarantineCode::NotConfirmed,
                    "its organization was not in the listing of organizations; the next run will know it",
                )));
            }
            Some(Some(known)) => Some(known.kind.as_str()),
            None => None,
        };
        match self.setup.mapping.view(entry, kind) {
            Ok(view) => {
                self.refused_roles += u64::from(view.asks_too_much());
                if into.is_unchanged(view.digest()) {
                    return Judged::Unchanged;
                }
                Judged::Differs(Staged::Mapped(Box::new(view.to_mapped())))
            }
            Err(why) => Judged::Differs(Staged::Bad(why)),
        }
    }

    /// Whether the entry belongs to an organization that is known here and not followed.
    pub(super) fn leaves_out(&self, entry: &Entry) -> bool {
        let known = entry.organization.as_ref().and_then(|o| self.here.get(&o.id));
        known.is_some_and(|known| !known.followed)
    }

    /// Whether the entry belongs to an organization that is covered.
    pub(super) fn covers(&self, entry: &Entry) -> bool {
        match &entry.organization {
            None => true,
            Some(o) => self.here.get(&o.id).is_some_and(|known| known.followed),
        }
    }
}

/// What a look at an entry gave.
enum Judged {
    NotFollowed,
    Unchanged,
    Differs(Staged),
}

fn name_of<'v>(said: &'v str, id: &'v ExternalId) -> Cow<'v, str> {
    let end = said.char_indices().nth(NAME_CHARS_MAX).map_or(said.len(), |(at, _)| at);
    match normalized(&"the name", &said[..end]) {
        Ok(Some(name)) => name,
        // A name that cannot be shown: the id can.
        _ => id.as_str().into(),
    }
}

/// A kind that an organization may have; `self` is the agency's own alone.
fn plain_kind(said: &str) -> Option<String> {
    let kind = said.trim().to_ascii_lowercase();
    let plain = kind
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    (plain && !kind.is_empty() && kind.len() <= 63 && kind != "self" && kind != "employee").then_some(kind)
}
