//! The one place that knows the order of a run: lease, listing, comparison, decision, brakes, apply.
//! Never speaks SQL or a wire format, and never judges an entry.

mod answer;
mod draft;
mod error;
mod events;
mod heartbeat;
mod intake;
mod queue;
mod reading;
mod run;
mod scope;
mod telling;
mod why;

use std::sync::Arc;

pub use error::EngineError;
pub use events::{Observer, Phase, Progress, Silent};
pub use queue::{Claimed, INTERRUPTED};
pub use run::{Quarantine, Report, Request};
pub use scope::{find_organization, find_user};
pub use telling::extent;
pub use why::why_disabled;

use crate::domain::brake::Brakes;
use crate::domain::decide::Policy;
use crate::domain::field::Authorities;
use crate::domain::id::SourceName;
use crate::domain::mapping::Mapping;
use crate::sources::Source;
use crate::store::Store;

/// A source with everything that decides what its entries mean here.
#[derive(Clone)]
pub struct Setup {
    /// The source.
    pub source: Arc<dyn Source>,
    /// What its directory states.
    pub mapping: Arc<Mapping>,
    /// Who decides each field.
    pub authorities: Arc<Authorities>,
    /// The limits that stop a run before its first write.
    pub brakes: Brakes,
    /// Whether a user without a link may be found by address.
    pub correlate_by_email: bool,
    /// The kind of organizations of which the directory states none.
    pub default_kind: String,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("source", self.name())
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// The source's name.
    pub fn name(&self) -> &SourceName {
        self.source.name()
    }

    /// Who decides what.
    pub fn policy(&self) -> Policy<'_> {
        Policy {
            source: self.source.name(),
            mapping: &self.mapping,
            authorities: &self.authorities,
            correlate_by_email: self.correlate_by_email,
        }
    }
}

/// Runs sources against a store.
#[derive(Debug, Clone)]
pub struct Engine {
    store: Store,
}

impl Engine {
    /// An engine on `store`, whose schema is this version's.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
