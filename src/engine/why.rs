//! Why a user may not sign in, in a sentence. Changes nothing.

use jiff::Timestamp;

use crate::domain::id::UserId;
use crate::store::{Store, StoreError, UserRow};

/// How many of the last actions on a user are looked at for the one that disabled it.
const ACTIONS_MAX: u64 = 100;

/// Why a user may not sign in; `None` where it may.
pub async fn why_disabled(store: &Store, user: &UserRow) -> Result<Option<String>, StoreError> {
    if user.status == "active" {
        return Ok(None);
    }
    if user.disabled_by.as_deref() != Some("directory") {
        return Ok(Some(match last_disabling(store, user.id).await? {
            Some((by, at)) => {
                let on = at.strftime("%Y-%m-%d %H:%M:%SZ");
                format!("Disabled here by {by} on {on}: no sync enables this user; `rollcall users enable` does.")
            }
            None => {
                "Disabled here, and nobody wrote down by whom: no sync enables this user; `rollcall users enable` does."
                    .to_owned()
            }
        }));
    }
    let record = match &user.link {
        Some((source, id)) => store.record(source, id).await?,
        None => None,
    };
    Ok(Some(match record {
        Some(record) if record.absent => {
            "Disabled by the directory: its last complete listing lacked the entry; the user is enabled again when it is listed again.".to_owned()
        }
        _ => "Disabled by the directory, which says so of the entry; the user is enabled again when the directory says active.".to_owned(),
    }))
}

async fn last_disabling(store: &Store, user: UserId) -> Result<Option<(String, Timestamp)>, StoreError> {
    let rows = store.user_audit(user, ACTIONS_MAX).await?;
    let last = rows
        .into_iter()
        .find(|row| matches!(row.action.as_str(), "user.disabled" | "user.enabled"));
    Ok(last
        .filter(|row| row.action == "user.disabled")
        .map(|row| (row.actor, row.at)))
}
