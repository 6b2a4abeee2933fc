//! The proof with which a listing ends, and the answer to a look-up by id.

use crate::domain::entry::Received;

/// What is known about a listing when it has ended. Only a complete one can show that somebody is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Whether every page arrived, the end was stated, and nothing speaks against it.
    pub complete: bool,
    /// Accounts that arrived, duplicates included.
    pub entries: u64,
    /// Pages that arrived.
    pub pages: u64,
    /// What was seen that speaks for completeness, one short sentence each.
    pub proof: Vec<String>,
    /// Why it is not complete, in one sentence with what to do; `None` when it is.
    pub reason: Option<String>,
    /// The server's clock when the listing began, as the server wrote it.
    pub as_of: Option<String>,
}

impl Listing {
    /// A complete listing with its proof.
    pub fn complete(entries: u64, pages: u64, proof: Vec<String>, as_of: Option<String>) -> Self {
        Self {
            complete: true,
            entries,
            pages,
            proof,
            reason: None,
            as_of,
        }
    }

    /// An incomplete listing and why.
    pub fn incomplete(entries: u64, pages: u64, proof: Vec<String>, reason: impl Into<String>) -> Self {
        Self {
            complete: false,
            entries,
            pages,
            proof,
            reason: Some(reason.into()),
            as_of: None,
        }
    }
}

/// The answer to "is this account still there?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It is there, as stated now.
    Found(Box<Received>),
    /// The directory says that there is no such account.
    NotFound,
}
