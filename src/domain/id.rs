//! Names and ids, parsed once at the edge. Never logs, never guesses: an id is opaque bytes that were checked for length.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// Longest external id, in bytes. A distinguished name fits; an attack of 10 kB does not.
pub const EXTERNAL_ID_BYTES_MAX: usize = 512;

/// Longest source name, in bytes: it stands in log lines, file names and URLs.
pub const SOURCE_NAME_BYTES_MAX: usize = 63;

/// An id or a name that cannot be one. The text says why, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub String);

/// The configured name of a source: lower-case letters, digits, `-` and `_`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// Checks and keeps a source name.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let stays_well = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if starts_well && stays_well && text.len() <= SOURCE_NAME_BYTES_MAX {
            return Ok(Self(text.into()));
        }
        Err(InvalidId(format!(
            "`{}` is no source name: use up to {SOURCE_NAME_BYTES_MAX} lower-case letters, digits, `-` and `_`, starting with a letter",
            text.chars().take(80).collect::<String>().escape_debug()
        )))
    }

    /// The name as it was configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id that a directory gives an entry or an organization: opaque, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalId(String);

impl ExternalId {
    /// Accepts any text of 1 to [`EXTERNAL_ID_BYTES_MAX`] bytes without control characters.
    ///
    /// Nothing is trimmed or folded: two ids that differ in one byte are two entries.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidId("the id is empty".into()));
        }
        if text.len() > EXTERNAL_ID_BYTES_MAX {
            return Err(InvalidId(format!(
                "the id has {} bytes, more than {EXTERNAL_ID_BYTES_MAX}",
                text.len()
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidId("the id contains a control character".into()));
        }
        Ok(Self(text))
    }

    /// The id as the directory gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ExternalId> for String {
    fn from(id: ExternalId) -> Self {
        id.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId(format!("`{}` is no id (a UUID was expected)", text.escape_debug())))
            }
        }
    };
}

uuid_id!(
    /// Id of a row of `users` (UUIDv7).
    UserId
);
uuid_id!(
    /// Id of a row of `organizations` (UUIDv7).
    OrganizationId
);
uuid_id!(
    /// Id of a run (UUIDv7, so runs sort by their start).
    RunId
);

/// The first 128 bits of a SHA-256 over what a directory says of one entry, its id included.
///
/// Equal digests mean that nothing changed; it is cheap to hold a million of them (16 MB).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (high, low) = text
            .split_at_checked(16)
            .filter(|(_, low)| low.len() == 16)
            .ok_or_else(no_digest)?;
        // A sign in front of a number is no digit of it. Two halves: numbers of 128 bits are read slowly.
        let half = |text: &str| match text.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => u64::from_str_radix(text, 16).map_err(|_| no_digest()),
            false => Err(no_digest()),
        };
        Ok(Self(u128::from(half(high)?) << 64 | u128::from(half(low)?)))
    }
}

fn no_digest() -> InvalidId {
    InvalidId("a digest has 32 hexadecimal digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_opaque_and_bounded() {
        for odd in ["../../x", "other-source:17", "*)(uid=*", " leading", "ü"] {
            assert_eq!(ExternalId::parse(odd).expect("valid").as_str(), odd);
        }
        assert!(ExternalId::parse("").is_err());
        assert!(ExternalId::parse("a\0b").is_err());
        assert!(ExternalId::parse("x".repeat(EXTERNAL_ID_BYTES_MAX)).is_ok());
        assert!(ExternalId::parse("x".repeat(EXTERNAL_ID_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn source_names_are_plain() {
        assert!(SourceName::parse("connex-2").is_ok());
        for bad in ["", "2connex", "Connex", "a b", "a/b", "ä"] {
            assert!(SourceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digest_text_round_trips() {
        let d = Digest(0x00ff_u128 << 100);
        assert_eq!(d.to_string().parse::<Digest>(), Ok(d));
        assert!("zz".parse::<Digest>().is_err());
    }
}
