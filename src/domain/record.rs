//! What the directory said of one entry when we last applied it: the base of the three-way comparison.

use super::field::Values;
use super::id::{Digest, ExternalId, UserId};

/// The record of one entry, with its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The entry's id.
    pub id: ExternalId,
    /// The user that it is linked to. A link whose user is gone says that the user was deleted here, and is not to
    /// come back until somebody lifts it.
    pub user: UserId,
    /// The organization that it was in, by external id.
    pub organization: Option<ExternalId>,
    /// Digest of what was said.
    pub digest: Digest,
    /// What was said, field by field.
    pub values: Values,
    /// Whether the last complete listing lacked it.
    pub absent: bool,
}
