//! URLs: which of them a source may have, how they are named in a message, and what stands in the way of TLS on
//! them. Pure; never shows a user part or a query.

use url::Url;

use super::settings::Settings;
use crate::sources::{SourceError, SourceErrorKind as Kind};

/// The scheme, host and port of a URL.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A URL without what might be secret or personal: no user, no query.
pub(super) fn place(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

/// That the settings cannot work.
pub(super) fn misconfigured(message: impl Into<String>) -> SourceError {
    SourceError::new(Kind::Configuration, message)
}

/// Refuses a base URL or a token URL that cannot be right, or over which credentials would travel in the clear.
pub(super) fn check_url(settings: &Settings, url: &Url) -> Result<(), SourceError> {
    let name = &settings.name;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(misconfigured(format!(
            "the URL of source `{name}` has the scheme `{}`: write one that begins with https://",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(misconfigured(format!(
            "the URL of source `{name}` at {} has a user part: move it to `auth`",
            origin(url)
        )));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(misconfigured(format!(
            "the URL of source `{name}` at {} has a query or a fragment: write only what stands in front of /api/v1",
            origin(url)
        )));
    }
    if url.scheme() == "http" && settings.auth.is_secret() && !settings.allow_plaintext && !is_loopback(url) {
        return Err(misconfigured(format!(
            "the credentials of source `{name}` would go to {} unencrypted: use https://, or set `allow_plaintext`",
            origin(url)
        )));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Auth;
    use super::*;
    use crate::domain::id::SourceName;

    #[test]
    fn messages_name_a_place_without_what_might_be_secret() {
        let url: Url = "https://user:pw@connex.example:8443/api/v1/users?cursor=x#y"
            .parse()
            .expect("a URL");
        assert_eq!(place(&url), "https://connex.example:8443/api/v1/users");
        assert_eq!(
            origin(&"https://connex.example:443/".parse().expect("a URL")),
            "https://connex.example"
        );
    }

    #[test]
    fn credentials_travel_in_the_clear_only_within_this_machine() {
        let check = |url: &str, auth: Auth| {
            let url: Url = url.parse().expect("a URL");
            let mut settings = Settings::new(SourceName::parse("connex").expect("a name"), url.clone());
            settings.auth = auth;
            check_url(&settings, &url)
        };
        let bearer = || Auth::Bearer { token: "t".into() };
        for good in [
            "http://127.0.0.9",
            "http://[::1]:1",
            "http://localhost:1",
            "https://connex.example",
        ] {
            assert!(check(good, bearer()).is_ok(), "{good}");
        }
        for bad in ["http://localhost.example", "http://10.0.0.1", "http://connex.example"] {
            assert_eq!(check(bad, bearer()).expect_err(bad).kind, Kind::Configuration);
            assert!(check(bad, Auth::None).is_ok(), "{bad}");
        }
    }
}
