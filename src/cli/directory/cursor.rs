//! The opaque `next` of a page: everything that the walk needs to go on, so that the server keeps nothing. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a walk stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The path that it belongs to.
    pub(super) path: String,
    /// The last id that was given.
    pub(super) after: String,
    /// What the listing had when it began.
    pub(super) total: usize,
    /// When it began, in nanoseconds since 1970.
    as_of: i128,
    /// Since when, in nanoseconds since 1970.
    since: Option<i128>,
}

impl Cursor {
    pub(super) fn new(path: &str, after: &str, total: usize, as_of: Timestamp, since: Option<Timestamp>) -> Self {
        Self {
            path: path.to_owned(),
            after: after.to_owned(),
            total,
            as_of: as_of.as_nanosecond(),
            since: since.map(Timestamp::as_nanosecond),
        }
    }

    pub(super) fn as_of(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.as_of).unwrap_or_default()
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
            .and_then(|nanoseconds| Timestamp::from_nanosecond(nanoseconds).ok())
    }

    /// As hexadecimal digits: nothing in it needs escaping, and nobody is tempted to read it.
    pub(super) fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("texts and numbers make JSON");
        json.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `None` where it is none, or belongs to another path, or is older than `life`.
    pub(super) fn decode(text: &str, path: &str, now: Timestamp, life: SignedDuration) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let json: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
        let cursor: Self = serde_json::from_slice(&json).ok()?;
        let age = now.duration_since(cursor.as_of());
        (cursor.path == path && age <= life).then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_there_and_back_and_expires() {
        let at = |second| Timestamp::from_second(second).expect("a moment");
        let cursor = Cursor::new("/api/v1/users", "ü-1", 7, at(1000), Some(at(500)));
        let text = cursor.encode();
        let life = SignedDuration::from_secs(60);
        let decode = |text: &str, path: &str, now| Cursor::decode(text, path, at(now), life);
        assert_eq!(decode(&text, "/api/v1/users", 1060), Some(cursor.clone()));
        assert_eq!((cursor.as_of(), cursor.since()), (at(1000), Some(at(500))));
        assert_eq!(decode(&text, "/api/v1/users", 1061), None);
        assert_eq!(decode(&text, "/api/v1/organizations", 1000), None);
        for garbage in ["", "0", "zz", "7b7d", "äö", &text[2..]] {
            assert_eq!(decode(garbage, "/api/v1/users", 1000), None, "{garbage}");
        }
    }
}
