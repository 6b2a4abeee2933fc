//! What may stand in a field of an event. There is no way in for a free text: ids, numbers, times, words of the
//! program's own, and sentences, from which control characters and addresses are taken.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::id::{OrganizationId, RunId, SourceName, UserId};

/// Longest sentence in a line, in characters. What a server says can be as long as it likes.
const SENTENCE_CHARS_MAX: usize = 1_000;

/// Longest word, or name of somebody who asks, in characters.
const WORD_CHARS_MAX: usize = 100;

/// What can be a field.
pub(super) trait Loggable {
    /// As the log takes it.
    fn value(&self) -> impl tracing::Value + '_;
}

macro_rules! as_it_is {
    ($($kind:ty),*) => {$(
        impl Loggable for $kind {
            fn value(&self) -> impl tracing::Value + '_ {
                *self
            }
        }
    )*};
}
as_it_is!(u16, u64, i64, bool);

/// A word of the program's own.
impl Loggable for &'static str {
    fn value(&self) -> impl tracing::Value + '_ {
        *self
    }
}

macro_rules! displayed {
    ($($kind:ty),*) => {$(
        impl Loggable for $kind {
            fn value(&self) -> impl tracing::Value + '_ {
                tracing::field::display(self)
            }
        }
    )*};
}
displayed!(
    RunId,
    UserId,
    OrganizationId,
    &SourceName,
    Uuid,
    Timestamp,
    SocketAddr,
    Extent
);
displayed!(Sentence<'_>, Who<'_>, Word<'_>);

impl<T: Loggable> Loggable for Option<T> {
    fn value(&self) -> impl tracing::Value + '_ {
        self.as_ref().map(Loggable::value)
    }
}

/// What a run covers, by ids of ours: a directory's own id of somebody may be an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The whole source.
    Source,
    /// One organization; without an id where it is not known here yet.
    Organization(Option<OrganizationId>),
    /// One user; without an id where it is not known here yet.
    User(Option<UserId>),
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Organization(Some(id)) => write!(f, "organization {id}"),
            Self::Organization(None) => f.write_str("a new organization"),
            Self::User(Some(id)) => write!(f, "user {id}"),
            Self::User(None) => f.write_str("a new user"),
        }
    }
}

/// Who asked, as the audit trail names them: `schedule`, `cli:root`, a token's id.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a>(pub &'a str);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: &char| c.is_ascii_alphanumeric() || ":-_.".contains(*c);
        // An address that came this way is cut at its `@`.
        for c in self.0.chars().take_while(plain).take(WORD_CHARS_MAX) {
            fmt::Write::write_char(f, c)?;
        }
        Ok(())
    }
}

/// A code or the template of a route: a word of the program's own that was kept as text.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a>(pub &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_./{}*".contains(*c);
        for c in self.0.chars().take_while(plain).take(WORD_CHARS_MAX) {
            fmt::Write::write_char(f, c)?;
        }
        Ok(())
    }
}

/// A sentence of an error: what, where, what to do. It may name a DN, a path or a URL; an e-mail address that got into
/// it is hidden, control characters are escaped, and it ends at a limit.
#[derive(Debug, Clone, Copy)]
pub struct Sentence<'a>(pub &'a str);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, rest) = match self.0.char_indices().nth(SENTENCE_CHARS_MAX) {
            Some((at, _)) => (&self.0[..at], "…"),
            None => (self.0, ""),
        };
        write!(f, "{}{rest}", escape(&without_addresses(text)))
    }
}

/// Whether a terminal, or a reader, could take the character for something else than it is.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Control characters, ends of lines and marks that turn the direction of text, written out: nobody writes a second
/// line into the log.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_odd) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_odd(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Hides whatever looks like an e-mail address.
fn without_addresses(text: &str) -> Cow<'_, str> {
    let before = |c: char| c.is_alphanumeric() || ".!#$%&'*+=?^_{|}~-".contains(c);
    let after = |c: char| c.is_alphanumeric() || ".-".contains(c);
    let mut out = String::new();
    let mut from = 0;
    for (at, _) in text.match_indices('@') {
        let start = text[from..at].trim_end_matches(before).len() + from;
        let rest = &text[at + 1..];
        let end = at + 1 + rest.len() - rest.trim_start_matches(after).len();
        if start < at && end > at + 1 {
            out.push_str(&text[from..start]);
            out.push_str("[address]");
            from = end;
        }
    }
    if from == 0 {
        return text.into();
    }
    out.push_str(&text[from..]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_without_addresses() {
        let said =
            Sentence("bad\nline\u{1b}[31m \u{202e}txt for Ann.Lee+x@firm.example, and o'neil@b.example; a@ @b @");
        assert_eq!(
            said.to_string(),
            "bad\\nline\\u{1b}[31m \\u{202e}txt for [address], and [address]; a@ @b @"
        );
        assert_eq!(
            Sentence("ldap://dc1.example/ou=People,dc=example").to_string(),
            "ldap://dc1.example/ou=People,dc=example"
        );
        assert_eq!(Sentence("ü@ö.example").to_string(), "[address]");
        assert_eq!(Sentence("a@b@c").to_string(), "[address]@c");
    }

    #[test]
    fn a_sentence_ends() {
        let long = "ä".repeat(SENTENCE_CHARS_MAX + 1);
        assert_eq!(Sentence(&long).to_string().chars().count(), SENTENCE_CHARS_MAX + 1);
        assert!(Sentence(&long).to_string().ends_with('…'));
    }

    #[test]
    fn who_is_plain() {
        assert_eq!(Who("cli:root").to_string(), "cli:root");
        assert_eq!(Who("ann@firm.example").to_string(), "ann");
        assert_eq!(Who("a\nb").to_string(), "a");
        assert_eq!(Who(&"x".repeat(999)).to_string().len(), WORD_CHARS_MAX);
    }
}
