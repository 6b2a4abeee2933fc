//! What people may write into the user table by hand, however they do it: values are normalized as those of a directory
//! are, and who edits what a directory decides is told that the next sync puts it back.

use super::decide::Policy;
use super::field::{Authority, Field};
use super::id::ExternalId;
use super::text::{EmailAddress, normalize};
use super::user::SELF;

/// Longest kind and longest role, in bytes.
pub const WORD_BYTES_MAX: usize = 63;

/// A value that cannot be one, with the reason. The text may hold what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

/// An e-mail address.
pub fn address(text: &str) -> Result<String, InvalidValue> {
    match EmailAddress::parse(text) {
        Ok(address) => Ok(address.as_str().to_owned()),
        Err(why) => Err(here(&why.detail)),
    }
}

/// A name, a telephone number or another short text; `None` where nothing is left of it.
pub fn text(value: &str) -> Result<Option<String>, InvalidValue> {
    normalize("the value", value).map_err(|why| here(&why.detail))
}

/// The first half of a reason: the second says what to do in the directory, and this was written here.
fn here(detail: &str) -> InvalidValue {
    let seen = detail.rsplit_once("; ").map_or(detail, |(seen, _)| seen);
    InvalidValue(seen.replace("the entry has", "there is"))
}

/// A kind of users: one word in lower case, and not that of the agency's own organization.
pub fn kind(word: &str) -> Result<String, InvalidValue> {
    let kind = word.trim().to_ascii_lowercase();
    let is_plain = kind
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if kind.is_empty() || kind.len() > WORD_BYTES_MAX || !is_plain || kind == SELF {
        return Err(InvalidValue(format!(
            "`{word}` is no kind of user; use a word such as employee, consultant, bidder, contractor or vendor"
        )));
    }
    Ok(kind)
}

/// Names of roles, each once.
pub fn roles<S: AsRef<str>>(words: &[S]) -> Result<Vec<String>, InvalidValue> {
    let mut all = Vec::new();
    for word in words {
        match text(word.as_ref())? {
            Some(role) if role.len() <= WORD_BYTES_MAX => {
                if !all.contains(&role) {
                    all.push(role);
                }
            }
            _ => {
                let word = word.as_ref();
                return Err(InvalidValue(format!(
                    "`{word}` is no role; a role has 1 to {WORD_BYTES_MAX} bytes"
                )));
            }
        }
    }
    Ok(all)
}

/// What of an edit the next sync takes back: the names of fields, and of roles that are taken away although the
/// directory grants them. `granted` are the roles that the directory granted.
pub fn put_back(
    policy: &Policy<'_>,
    fields: impl Iterator<Item = Field>,
    removed_roles: &[String],
    granted: &[&str],
) -> Vec<String> {
    let of_directory = |field: &Field| policy.authority(field) == Authority::Directory;
    let mut back: Vec<String> = fields.filter(|f| of_directory(f)).map(|f| f.to_string()).collect();
    if of_directory(&Field::Roles) {
        let taken = removed_roles.iter().filter(|role| granted.contains(&role.as_str()));
        back.extend(taken.map(|role| format!("role {role}")));
    }
    back
}

/// The sentence that tells it; `None` where nothing is taken back.
pub fn put_back_warning(policy: &Policy<'_>, entry: &ExternalId, back: &[String]) -> Option<String> {
    let verb = match back {
        [] => return None,
        [_] => "is",
        _ => "are",
    };
    Some(format!(
        "{} {verb} decided by the directory of source {}, whose next sync puts the edit back; change it there (entry {entry})",
        back.join(", "),
        policy.source,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_normalized_or_refused() {
        assert_eq!(address(" sam@agency.example ").expect("valid"), "sam@agency.example");
        let why = address("sam").expect_err("no address").to_string();
        assert_eq!(why, "`sam` is no e-mail address: there is no `@`");
        let why = address("").expect_err("empty").to_string();
        assert_eq!(why, "there is no e-mail address");
        assert_eq!(text("  ").expect("empty"), None);
        assert!(text("a\u{202e}b").is_err());
        assert!(text("a\0b").is_err());
        assert_eq!(kind(" Vendor ").expect("valid"), "vendor");
        for bad in ["", "self", "a b", "\u{fc}"] {
            assert!(kind(bad).is_err(), "{bad}");
        }
        assert_eq!(roles(&["Admin", "Admin"]).expect("valid"), ["Admin"]);
        assert!(roles(&[" "]).is_err());
    }
}
