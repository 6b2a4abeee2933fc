//! API tokens: what each may do, what a secret looks like, and what is kept of it. Never keeps the secret itself.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::id::InvalidId;

/// How every token begins, so that one that was left in a file is recognized.
const BEGINNING: &str = "rollcall_";

/// Random bytes of a token. Nobody guesses 256 bits, so a plain SHA-256 of them is enough to keep.
pub const TOKEN_BYTES: usize = 32;

/// How many characters of a token are kept to tell one from another.
const PREFIX_CHARS: usize = BEGINNING.len() + 6;

/// Longest name of a token: it stands in log lines and in the audit trail.
pub const TOKEN_NAME_BYTES_MAX: usize = 63;

/// What a token may do. Each may what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenScope {
    /// Read.
    Read,
    /// Also start runs and dry runs.
    Sync,
    /// Everything: also answer held runs, pause sources, and write users and organizations.
    Admin,
}

impl TokenScope {
    /// Every scope, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Sync, Self::Admin];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Admin => "admin",
        }
    }

    /// The scope of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    /// Whether it may do what `needed` names.
    pub fn allows(self, needed: Self) -> bool {
        self >= needed
    }
}

/// The name of a token: letters, digits, `-`, `_` and `.`, and never an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(String);

impl TokenName {
    /// Checks and keeps a name.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if plain && (1..=TOKEN_NAME_BYTES_MAX).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidId(format!(
            "`{}` is no name for a token: use up to {TOKEN_NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`",
            text.chars().take(80).collect::<String>().escape_debug()
        )))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token as it is shown once and sent with each request. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSecret({}…)", self.prefix())
    }
}

impl TokenSecret {
    /// A new token of these random bytes.
    pub fn new(random: [u8; TOKEN_BYTES]) -> Self {
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{BEGINNING}{digits}"))
    }

    /// A token that somebody sent; `None` where it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(BEGINNING)?;
        let right =
            digits.len() == 2 * TOKEN_BYTES && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        right.then(|| Self(text.to_owned()))
    }

    /// The token in full, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its first characters, by which its owner recognizes it.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX_CHARS]
    }

    /// The SHA-256 that is kept, in hexadecimal digits.
    pub fn hash(&self) -> String {
        let hash: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_may_what_the_one_before_it_may() {
        let [read, sync, admin] = TokenScope::ALL;
        assert!(admin.allows(sync) && sync.allows(read) && read.allows(read));
        assert!(!read.allows(sync) && !sync.allows(admin));
        assert_eq!(
            TokenScope::ALL.map(|s| TokenScope::parse(s.as_str())),
            TokenScope::ALL.map(Some)
        );
        assert_eq!(TokenScope::parse("root"), None);
    }

    #[test]
    fn a_token_is_read_back_and_does_not_print_itself() {
        let secret = TokenSecret::new([0xab; TOKEN_BYTES]);
        assert_eq!(secret.expose().len(), 73);
        assert_eq!(TokenSecret::parse(secret.expose()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "TokenSecret(rollcall_ababab…)");
        assert_eq!(secret.hash().len(), 64);
        assert!(!secret.hash().contains("abababab"));
        for bad in [
            "",
            "rollcall_",
            "rollcall_ab",
            &secret.expose().to_uppercase(),
            &secret.expose()[1..],
        ] {
            assert_eq!(TokenSecret::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(TokenName::parse("ci.nightly-2_b").is_ok());
        for bad in ["", "a b", "a@example", "ä", "a\n", &"x".repeat(64)] {
            assert!(TokenName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
