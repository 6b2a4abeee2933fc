//! Text on its way in: names, addresses and other values, normalized once so that comparison is equality afterwards.
//! Never repairs what it cannot read: that is a quarantine with its reason.

use std::borrow::Cow;
use std::fmt;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::quarantine::{QuarantineCode, Quarantined};

/// Longest value of a field, in bytes after normalization: far above any real name, far below a column's worth of harm.
pub const FIELD_BYTES_MAX: usize = 1_024;

/// Longest e-mail address, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// Longest local part of an e-mail address, in bytes (RFC 5321, section 4.5.3.1.1).
pub const EMAIL_LOCAL_BYTES_MAX: usize = 64;

/// Characters that change the direction of the text around them: a name that has one does not read as it is stored.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Trims outer white space, folds inner runs of it to one space, and composes (Unicode NFC).
///
/// `None` where nothing is left. A control character inside (line breaks included; a tab counts as white space), a
/// bidirectional control character or more than [`FIELD_BYTES_MAX`] bytes is a quarantine that names `what`.
pub fn normalize(what: &str, value: &str) -> Result<Option<String>, Quarantined> {
    Ok(normalized(&what, value)?.map(Cow::into_owned))
}

/// As [`normalize`], of text that may be made already; what is normal as it stands is not copied.
pub fn normalized_cow<'v>(what: &dyn fmt::Display, value: Cow<'v, str>) -> Result<Option<Cow<'v, str>>, Quarantined> {
    match value {
        Cow::Borrowed(text) => normalized(what, text),
        Cow::Owned(text) => Ok(normalized(what, &text)?.map(|text| Cow::Owned(text.into_owned()))),
    }
}

/// As [`normalize`]; what is normal as it stands is not copied.
pub fn normalized<'v>(what: &dyn fmt::Display, value: &'v str) -> Result<Option<Cow<'v, str>>, Quarantined> {
    if is_plain(value) {
        return Ok(Some(Cow::Borrowed(value)));
    }
    let trimmed = value.trim_matches(|c: char| c.is_whitespace() || c == '\u{FEFF}');
    if trimmed.is_empty() {
        return Ok(None);
    }
    if trimmed.len() > FIELD_BYTES_MAX {
        return Err(Quarantined::new(
            QuarantineCode::TooLarge,
            format!(
                "{what} has {} bytes, more than {FIELD_BYTES_MAX}; shorten it in the directory",
                trimmed.len()
            ),
        ));
    }
    let mut needs_folding = false;
    let mut before_was_space = false;
    for c in trimmed.chars() {
        if (c.is_control() && c != '\t') || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}') {
            return Err(Quarantined::new(
                QuarantineCode::UnsafeText,
                format!(
                    "{what} contains the control character U+{:04X}; remove it in the directory",
                    u32::from(c)
                ),
            ));
        }
        let is_space = c.is_whitespace();
        needs_folding |= is_space && (before_was_space || c != ' ');
        before_was_space = is_space;
    }
    let folded: Cow<'v, str> = if needs_folding {
        trimmed.split_whitespace().collect::<Vec<_>>().join(" ").into()
    } else {
        trimmed.into()
    };
    Ok(Some(match is_nfc_quick(folded.chars()) {
        IsNormalized::Yes => folded,
        _ => folded.nfc().collect(),
    }))
}

/// Whether a text is printable ASCII with single spaces inside alone, as most are: normal without a closer look.
fn is_plain(text: &str) -> bool {
    let mut before = b' ';
    let printable = text.bytes().all(|byte| {
        let fits = matches!(byte, 0x21..=0x7e) || (byte == b' ' && before != b' ');
        before = byte;
        fits
    });
    printable && before != b' ' && text.len() <= FIELD_BYTES_MAX
}

/// An e-mail address: normalized, and with a key by which two are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Accepts `local@domain` without quoting, comments or white space; the domain may have any letters.
    pub fn parse(text: &str) -> Result<Self, Quarantined> {
        Self::normalized(text.into()).map(|address| Self(address.into_owned()))
    }

    /// As [`EmailAddress::parse`], and no more than the text; what is normal as it stands is not copied.
    pub(super) fn normalized(text: Cow<'_, str>) -> Result<Cow<'_, str>, Quarantined> {
        let Some(address) = normalized_cow(&"the e-mail address", text)? else {
            return Err(Quarantined::new(
                QuarantineCode::NoEmail,
                "the entry has no e-mail address; add one in the directory",
            ));
        };
        match Self::fault(&address) {
            None => Ok(address),
            Some(why) => Err(Quarantined::new(
                QuarantineCode::BadEmail,
                format!("`{address}` is no e-mail address: {why}; correct it in the directory"),
            )),
        }
    }

    /// Of what [`EmailAddress::normalized`] gave.
    pub(super) fn of_normalized(address: &str) -> Self {
        Self(address.to_owned())
    }

    fn fault(address: &str) -> Option<&'static str> {
        let (local, domain) = match address.rsplit_once('@') {
            Some(parts) => parts,
            None => return Some("there is no `@`"),
        };
        let forbidden = |c: char| {
            matches!(
                c,
                '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '\\' | '"' | '@'
            ) || c.is_whitespace()
        };
        if local.is_empty() || domain.is_empty() {
            Some("a part beside the `@` is empty")
        } else if address.len() > EMAIL_BYTES_MAX || local.len() > EMAIL_LOCAL_BYTES_MAX {
            Some("it is too long")
        } else if local.contains(forbidden) || domain.contains(forbidden) {
            Some("it contains a space, a quote or a character that needs quoting")
        } else if domain.starts_with('.') || domain.ends_with('.') || domain.contains("..") {
            Some("its domain has an empty label")
        } else {
            None
        }
    }

    /// The address as the directory writes it, normalized.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The comparison key: ASCII letters in lower case, everything else as it is.
    ///
    /// Nothing else is folded, so that no two different people can collapse into one: `ı` is not `i`, full-width
    /// letters are not ASCII. The unique index of `users` uses the same key (`lower(email)` in the C locale).
    pub fn key(&self) -> String {
        email_key(&self.0)
    }
}

/// The comparison key of an address that is stored already; see [`EmailAddress::key`].
pub fn email_key(address: &str) -> String {
    address.to_ascii_lowercase()
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(text: &str) -> Option<String> {
        normalize("it", text).expect("readable")
    }

    #[test]
    fn white_space_is_trimmed_and_folded() {
        assert_eq!(normal("  Ada \t  Example\u{a0}"), Some("Ada Example".into()));
        assert_eq!(normal("\r\n plain \n"), Some("plain".into()));
        assert_eq!(normal(" \u{feff}\t"), None);
    }

    #[test]
    fn decomposed_letters_are_composed() {
        assert_eq!(normal("Zoe\u{308}"), Some("Zo\u{eb}".into()));
    }

    #[test]
    fn control_and_bidirectional_characters_are_refused() {
        for bad in [
            "a\nb",
            "a\rb",
            "a\0b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{7f}b",
            "a\u{2028}b",
        ] {
            assert_eq!(normalize("it", bad).expect_err(bad).code, QuarantineCode::UnsafeText);
        }
        assert_eq!(
            normalize("it", &"x".repeat(2_000)).expect_err("long").code,
            QuarantineCode::TooLarge
        );
    }

    #[test]
    fn addresses_are_read_or_refused() {
        for good in [
            "a@x.example",
            "A.B+c@x.example",
            "ü@bücher.example",
            "o'brien@x.example",
            "x@xn--bcher-kva.example",
        ] {
            assert_eq!(EmailAddress::parse(good).expect("valid").as_str(), good);
        }
        for bad in [
            "x",
            "@x.example",
            "x@",
            "a b@x.example",
            "a@b@c.example",
            "<a@x.example>",
            "a@.example",
            "a@x..example",
            "\"a b\"@x.example",
        ] {
            assert_eq!(
                EmailAddress::parse(bad).expect_err(bad).code,
                QuarantineCode::BadEmail,
                "{bad}"
            );
        }
        assert_eq!(
            EmailAddress::parse("  ").expect_err("empty").code,
            QuarantineCode::NoEmail
        );
    }

    #[test]
    fn look_alikes_have_different_keys() {
        let key = |s: &str| EmailAddress::parse(s).expect("valid").key();
        assert_eq!(key("A@X.example"), key("a@x.EXAMPLE"));
        assert_eq!(key("zo\u{eb}@x.example"), key("zoe\u{308}@x.example"));
        for (one, other) in [
            ("dı@x.example", "di@x.example"),
            ("ａ@x.example", "a@x.example"),
            ("ß@x.example", "ss@x.example"),
            ("K@x.example", "\u{212A}b@x.example"),
        ] {
            assert_ne!(key(one), key(other));
        }
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(text in "\\PC{0,40}") {
            if let Ok(Some(once)) = normalize("it", &text) {
                prop_assert_eq!(normalize("it", &once), Ok(Some(once.clone())));
            }
        }
    }
}
