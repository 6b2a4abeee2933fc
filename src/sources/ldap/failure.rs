//! Turns what a directory answers into one sentence that says what happened, where, and what to do. Never quotes a
//! password; quotes the server's own words shortened and without control characters.

use std::io;

use ldap3::{LdapError, LdapResult};

use super::guard::Cause;
use crate::sources::{SourceError, SourceErrorKind};

/// Longest part of a server's text that is quoted.
const QUOTE_CHARS_MAX: usize = 200;

/// What every sentence names: where we are, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// Host and port, or the socket.
    pub(super) place: String,
    /// The bind DN, or in words.
    pub(super) identity: String,
}

/// What a result code other than success means for what was being read.
#[derive(Debug)]
pub(super) enum Verdict {
    /// What arrived is true, and not all.
    Incomplete(String),
    /// Nothing can be said.
    Failed(SourceError),
}

/// The server's words, shortened and without control characters.
pub(super) fn words(text: &str) -> String {
    text.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTE_CHARS_MAX)
        .collect()
}

/// The server's words in brackets, or nothing.
fn quoted(text: &str) -> String {
    let text = words(text);
    if text.is_empty() {
        text
    } else {
        format!(" (\"{}\")", text.trim_end_matches('.'))
    }
}

/// What to do about refused credentials. Active Directory says the cause as a code in its text, and all of them with
/// the same result code.
fn refusal(text: &str) -> &'static str {
    let data = text
        .split_once(" data ")
        .map(|(_, rest)| rest.split(',').next().unwrap_or_default().trim());
    match data {
        Some("530" | "531") => {
            "the account may not sign in at this time or from this machine, change that in the directory"
        }
        Some("532" | "773") => "the password has expired, set a new one and store it in `bind_password_file`",
        Some("533") => "the account is disabled, enable it in the directory",
        Some("701") => "the account has expired, extend it in the directory",
        Some("775") => "the account is locked, unlock it in the directory and look for who tries wrong passwords",
        _ => "check the bind DN and the password",
    }
}

/// `1 entry`, `2 entries`.
pub(super) fn counted(entries: u64) -> String {
    if entries == 1 {
        "1 entry".to_owned()
    } else {
        format!("{entries} entries")
    }
}

impl Context {
    /// The answer to a bind.
    pub(super) fn bind(&self, result: &LdapResult) -> Result<(), SourceError> {
        let Self { place, identity } = self;
        let said = quoted(&result.text);
        let (kind, message) = match result.rc {
            0 => return Ok(()),
            49 => (
                SourceErrorKind::Authentication,
                format!(
                    "{place} refuses the bind as {identity}{said}: {}.",
                    refusal(&result.text)
                ),
            ),
            8 | 13 => (
                SourceErrorKind::Authentication,
                format!(
                    "{place} wants a protected connection before a bind as {identity}{said}: use ldaps:// or `starttls = true`."
                ),
            ),
            7 | 48 => (
                SourceErrorKind::Authentication,
                format!(
                    "{place} does not take this kind of bind for {identity}{said}: use a bind DN with a password, or a certificate that it knows."
                ),
            ),
            10 => (
                SourceErrorKind::ForeignOrigin,
                format!(
                    "{place} refers the bind as {identity} to another server, which is never followed: put that server into the URL."
                ),
            ),
            32 | 34 => (
                SourceErrorKind::Authentication,
                format!("{place} does not know the bind DN {identity}{said}: check its spelling."),
            ),
            50 => (
                SourceErrorKind::Forbidden,
                format!("{place} does not allow {identity} to bind{said}: check the account's rights."),
            ),
            51 | 52 => (
                SourceErrorKind::Unavailable,
                format!("{place} is busy or unavailable{said}: try again later."),
            ),
            53 => (
                SourceErrorKind::Authentication,
                format!(
                    "{place} is unwilling to let {identity} bind{said}: the account may be locked, or the server may want TLS."
                ),
            ),
            code => (
                SourceErrorKind::Protocol,
                format!(
                    "{place} answers the bind as {identity} with code {code}{said}: look it up in the server's log."
                ),
            ),
        };
        Err(SourceError::new(kind, message).because(result.clone()))
    }

    /// The answer to a search of `base` that was not success, after `entries` had arrived.
    pub(super) fn search(&self, base: &str, entries: u64, result: &LdapResult) -> Verdict {
        let Self { place, identity } = self;
        let (said, entries) = (quoted(&result.text), counted(entries));
        let failed = |kind, message: String| Verdict::Failed(SourceError::new(kind, message).because(result.clone()));
        match result.rc {
            3 => Verdict::Incomplete(format!(
                "{place} stopped after {entries} at its time limit for {identity} (code 3){said}: raise that limit, or narrow `filter` or `base_dn`."
            )),
            4 => Verdict::Incomplete(format!(
                "{place} stopped after {entries} at its size limit for {identity} (code 4){said}: raise that identity's limit at the server."
            )),
            11 => Verdict::Incomplete(format!(
                "{place} stopped after {entries} at an administrative limit for {identity} (code 11){said}: allow that identity paged searches, raise its limit, or set a smaller `page_size`."
            )),
            53 => Verdict::Incomplete(format!(
                "{place} was unwilling to go on after {entries} for {identity} (code 53){said}: set a smaller `page_size`, or allow paged searches for that identity."
            )),
            10 => Verdict::Incomplete(format!(
                "{place} refers the search of {base} to {}, which is never followed: put that server into the URL, or correct `base_dn`.",
                result
                    .refs
                    .first()
                    .map_or("another server".into(), |url| quoted(url).trim().to_owned())
            )),
            1 | 7 | 8 | 13 | 48 | 49 => failed(
                SourceErrorKind::Authentication,
                format!(
                    "{place} does not let {identity} search (code {}){said}: configure a bind DN with a password, and TLS where the server wants it.",
                    result.rc
                ),
            ),
            12 => failed(
                SourceErrorKind::Protocol,
                format!(
                    "{place} does not know paged results (code 12){said}: set `page_size = 0` to read without pages."
                ),
            ),
            18 | 21 | 87 => failed(
                SourceErrorKind::Configuration,
                format!(
                    "{place} cannot use the filter (code {}){said}: check the attribute names and values in `filter`.",
                    result.rc
                ),
            ),
            32 => failed(
                SourceErrorKind::NotFound,
                format!(
                    "{place} knows no entry {base}, or hides it from {identity} (code 32): correct `base_dn`, or give that identity the right to read it."
                ),
            ),
            34 => failed(
                SourceErrorKind::Configuration,
                format!("{place} says that {base} is no distinguished name (code 34){said}: correct `base_dn`."),
            ),
            50 => failed(
                SourceErrorKind::Forbidden,
                format!(
                    "{place} does not allow {identity} to read {base} (code 50){said}: give that identity the right to read it."
                ),
            ),
            51 | 52 => failed(
                SourceErrorKind::Unavailable,
                format!(
                    "{place} became busy or unavailable after {entries} (code {}){said}: it is tried again at the next run.",
                    result.rc
                ),
            ),
            code => failed(
                SourceErrorKind::Protocol,
                format!("{place} answers the search of {base} with code {code}{said}: look it up in the server's log."),
            ),
        }
    }

    /// A library's error, with the guard's reason where there is one.
    pub(super) fn library(&self, error: LdapError, cause: Option<Cause>) -> SourceError {
        let Self { place, .. } = self;
        if let Some(cause) = cause {
            return self.ended(cause);
        }
        let (kind, message) = match &error {
            LdapError::Timeout { .. } => return self.silent(),
            LdapError::FilterParsing => (
                SourceErrorKind::Configuration,
                "The search filter of the LDAP source is no filter: check its brackets and escapes (RFC 4515)."
                    .to_owned(),
            ),
            _ => (
                SourceErrorKind::Unreachable,
                format!("The connection to {place} broke off: look at the server's log and the network between."),
            ),
        };
        SourceError::new(kind, message).because(error)
    }

    /// No answer in time.
    pub(super) fn silent(&self) -> SourceError {
        SourceError::new(
            SourceErrorKind::Timeout,
            format!(
                "{} did not answer in time: look at its load, or raise the time limit for answers.",
                self.place
            ),
        )
    }

    /// Why the guard ended the connection.
    fn ended(&self, cause: Cause) -> SourceError {
        let Self { place, .. } = self;
        match cause {
            Cause::Closed => SourceError::new(
                SourceErrorKind::Unreachable,
                format!("{place} closed the connection before it had answered: look at its log and its idle time-out."),
            ),
            Cause::Broken(error) => SourceError::new(
                SourceErrorKind::Unreachable,
                format!("The connection to {place} broke off: look at the server's log and the network between."),
            )
            .because(error),
            Cause::Malformed(malformed) => {
                let kind = match malformed {
                    super::ber::Malformed::Shape(_) => SourceErrorKind::Protocol,
                    _ => SourceErrorKind::Limit,
                };
                let message = format!(
                    "{place} sent {malformed}, so the connection was ended: check that an LDAP server answers there."
                );
                SourceError::new(kind, message).because(malformed)
            }
            Cause::Unasked => SourceError::new(
                SourceErrorKind::Protocol,
                format!(
                    "{place} answered something that was not asked, so the connection was ended: check the server, or a proxy before it."
                ),
            ),
            Cause::Notice(code, text) => SourceError::new(
                SourceErrorKind::Unavailable,
                format!(
                    "{place} announced that it ends the connection (code {code}){}: look at its log.",
                    quoted(&text)
                ),
            ),
        }
    }

    /// No connection at all.
    pub(super) fn unreachable(&self, error: io::Error) -> SourceError {
        let Self { place, .. } = self;
        let message = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!("{place} refuses connections: check that the directory runs, and the port in the URL.")
            }
            io::ErrorKind::NotFound => format!("{place} does not exist: check the path in the URL."),
            io::ErrorKind::PermissionDenied => format!("{place} may not be opened: check its rights."),
            _ if error.raw_os_error().is_none() => {
                format!(
                    "The host of {place} is not known: check its spelling in the URL, and name resolution on this machine."
                )
            }
            _ => format!("{place} cannot be reached: check the URL, the network and the firewall."),
        };
        SourceError::new(SourceErrorKind::Unreachable, message).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_bind_says_what_active_directory_says() {
        let of = |data: &str| {
            refusal(&format!(
                "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {data}, v1db1"
            ))
        };
        assert_eq!(of("52e"), refusal("Invalid credentials"));
        let causes = ["530", "532", "533", "701", "775", "52e"].map(of);
        let distinct: std::collections::BTreeSet<_> = causes.iter().collect();
        assert_eq!(distinct.len(), causes.len(), "{causes:?}");
        assert!(of("533").contains("disabled") && of("775").contains("locked"));
    }
}
