//! The `ldap://`, `ldaps://` or `ldapi://` URL of a source, and whether a password may be sent there. Never connects.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::sources::{SourceError, SourceErrorKind};

/// Where a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A host and a port.
    Tcp {
        host: String,
        port: u16,
        security: Security,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// How a TCP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// A plain connection that is turned into TLS before anything else is said.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

impl Place {
    /// Reads the URL of a source.
    pub(super) fn parse(url: &str, starttls: bool) -> Result<Self, SourceError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(refused(
                url,
                "it has no `ldap://`, `ldaps://` or `ldapi://` at its start",
            ));
        };
        if rest.contains(['?', '#', ' ']) {
            return Err(refused(
                url,
                "filters and bases have keys of their own (`filter`, `base_dn`)",
            ));
        }
        if rest.contains('@') {
            return Err(SourceError::new(
                SourceErrorKind::Configuration,
                "The URL of the LDAP source contains a user name: write `bind_dn` and `bind_password_file` instead.",
            ));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(refused(url, "the base DN belongs into `base_dn`"));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "ldap" if starttls => Self::tcp(url, authority, 389, Security::StartTls),
            "ldap" => Self::tcp(url, authority, 389, Security::Plain),
            "ldaps" | "ldapi" if starttls => Err(refused(
                url,
                "`starttls = true` goes with `ldap://`: leave out one of the two",
            )),
            "ldaps" => Self::tcp(url, authority, 636, Security::Tls),
            "ldapi" => match percent_decoded(authority) {
                Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
                _ => Err(refused(url, "a socket is written `ldapi://%2Frun%2Fslapd%2Fldapi`")),
            },
            _ => Err(refused(url, "the scheme is not `ldap`, `ldaps` or `ldapi`")),
        }
    }

    fn tcp(url: &str, authority: &str, standard_port: u16, security: Security) -> Result<Self, SourceError> {
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(refused(url, "it names no host"));
        }
        let port = match port {
            None => standard_port,
            Some(port) => port
                .parse()
                .map_err(|_| refused(url, "its port is no number from 1 to 65535"))?,
        };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
            security,
        })
    }

    /// Whether what is sent there can be read by nobody on the way.
    pub(super) fn is_confidential(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp {
                security: Security::Tls | Security::StartTls,
                ..
            } => true,
            Self::Tcp {
                host,
                security: Security::Plain,
                ..
            } => host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "the socket {}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

fn refused(url: &str, why: &str) -> SourceError {
    let shown: String = url.chars().take(200).collect();
    SourceError::new(
        SourceErrorKind::Configuration,
        format!(
            "The URL `{}` of the LDAP source cannot be used: {why}.",
            shown.escape_debug()
        ),
    )
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, security: Security) -> Place {
        Place::Tcp {
            host: host.into(),
            port,
            security,
        }
    }

    #[test]
    fn urls_are_read() {
        let read = |url: &str, starttls| Place::parse(url, starttls).expect("a good URL");
        assert_eq!(
            read("ldap://dc1.example", false),
            tcp("dc1.example", 389, Security::Plain)
        );
        assert_eq!(
            read("LDAPS://dc1.example/", false),
            tcp("dc1.example", 636, Security::Tls)
        );
        assert_eq!(read("ldap://[::1]:1389", true), tcp("::1", 1389, Security::StartTls));
        assert_eq!(read("ldapi://%2Frun%2Fldapi", false), Place::Unix("/run/ldapi".into()));
        assert_eq!(read("ldap://[::1]:1389", true).to_string(), "[::1]:1389");
    }

    #[test]
    fn bad_urls_are_refused_in_a_sentence() {
        for (url, starttls) in [
            ("dc1.example", false),
            ("http://dc1.example", false),
            ("ldap://", false),
            ("ldap://dc1.example:70000", false),
            ("ldap://dc1.example:port", false),
            ("ldap://dc1.example/dc=example", false),
            ("ldap://dc1.example?x", false),
            ("ldapi:///run/ldapi", false),
            ("ldapi://%2", false),
            ("ldaps://dc1.example", true),
        ] {
            let error = Place::parse(url, starttls).expect_err(url);
            assert_eq!(error.kind, SourceErrorKind::Configuration, "{url}");
            assert!(
                error.message.ends_with('.') && error.message.contains(url),
                "{}",
                error.message
            );
        }
        let error = Place::parse("ldap://cn=x:canary@dc1.example", false).expect_err("a password");
        assert!(!error.message.contains("canary"));
    }

    #[test]
    fn only_protected_or_local_places_are_confidential() {
        let confidential = |url: &str, starttls| Place::parse(url, starttls).expect("good").is_confidential();
        assert!(confidential("ldap://localhost", false));
        assert!(confidential("ldap://127.0.0.2", false));
        assert!(confidential("ldap://[::1]", false));
        assert!(confidential("ldap://dc1.example", true));
        assert!(confidential("ldaps://dc1.example", false));
        assert!(confidential("ldapi://%2Frun%2Fldapi", false));
        assert!(!confidential("ldap://dc1.example", false));
        assert!(!confidential("ldap://localhost.example", false));
        assert!(!confidential("ldap://10.0.0.1", false));
    }
}
