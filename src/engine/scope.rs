//! From what a person types to the scope of a run: local ids, external ids, and names where they are unambiguous.

use super::{EngineError, Setup};
use crate::domain::id::{ExternalId, SourceName, UserId};
use crate::store::{Store, StoreError};

/// The organization of this source that `wanted` means, by its id at the directory; also one that only the directory
/// knows yet.
///
/// # Errors
/// [`EngineError::NotFound`] where it means none, or several.
pub async fn find_organization(store: &Store, setup: &Setup, wanted: &str) -> Result<ExternalId, EngineError> {
    let source = setup.name();
    let here = store.find_organizations(Some(source), wanted).await?;
    match here.as_slice() {
        [one] => {
            let organization = store.organization(*one).await?;
            match organization.and_then(|o| o.link) {
                Some((of, id)) if of == *source => return Ok(id),
                _ => {
                    return Err(EngineError::NotFound(format!(
                        "organization {wanted} does not come from source {source}; name one that does (`rollcall orgs list`)"
                    )));
                }
            }
        }
        [] => {}
        several => {
            return Err(ambiguous(
                "organization",
                wanted,
                several.iter().map(ToString::to_string),
            ));
        }
    }
    let there = setup.source.find_organization(wanted).await?;
    match there.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(EngineError::NotFound(format!(
            "no organization {wanted}, neither here nor in the directory of source {source}; check the spelling, or let the firm register in the directory first"
        ))),
        several => Err(ambiguous(
            "organization",
            wanted,
            several.iter().map(|o| o.id.to_string()),
        )),
    }
}

/// The entry of this source that `wanted` means: a local id, an e-mail address, or an external id, also one that only
/// the directory knows yet.
///
/// # Errors
/// [`EngineError::NotFound`] where it means a user without a directory, or several.
pub async fn find_user(store: &Store, setup: &Setup, wanted: &str) -> Result<ExternalId, EngineError> {
    let source = setup.name();
    let here = store.find_users(wanted).await?;
    match here.as_slice() {
        [one] => match store.link_of(*one).await? {
            Some((of, id)) if of == *source => Ok(id),
            // An id at another directory says nothing about this one.
            Some((_, id)) if id.as_str() == wanted => Ok(id),
            Some((of, _)) => Err(EngineError::NotFound(format!(
                "user {wanted} comes from source {of}, not from {source}; run `rollcall sync {of} --user {wanted}`"
            ))),
            None => Err(EngineError::NotFound(format!(
                "user {wanted} is a local account: no directory owns it, so there is nothing to sync"
            ))),
        },
        [] => ExternalId::parse(wanted)
            .map_err(|e| EngineError::NotFound(format!("no user {}: {e}", wanted.escape_debug()))),
        several => {
            // Two directories may give the same id to two people; the source that was named means its own.
            let mut ours = Vec::new();
            for user in several {
                ours.extend(store.link_of(*user).await?.filter(|(of, _)| of == source));
            }
            match ours.as_slice() {
                [(_, id)] => Ok(id.clone()),
                _ => Err(ambiguous("user", wanted, several.iter().map(ToString::to_string))),
            }
        }
    }
}

/// The user that is linked to an entry of this very source, also one that was disabled long ago for being absent.
pub(super) async fn linked_user(
    store: &Store,
    source: &SourceName,
    id: &ExternalId,
) -> Result<Option<UserId>, StoreError> {
    for user in store.find_users(id.as_str()).await? {
        if store.link_of(user).await? == Some((source.clone(), id.clone())) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

fn ambiguous(what: &str, wanted: &str, ids: impl Iterator<Item = String>) -> EngineError {
    EngineError::NotFound(format!(
        "{what} {wanted} means several: {}; name one of these ids",
        ids.take(5).collect::<Vec<_>>().join(", ")
    ))
}
