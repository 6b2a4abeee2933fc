//! What `connex` and `file` sources can be told, and which keys go with which kind. Opens no connection and reads no secret.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use url::Url;

use super::read::{self, Cell, Decoded, Table};
use super::secrets::Secret;
use super::source::{Tls, tls};

/// The keys of each kind of source, beside those that every source has.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("connex", &["url", "auth", "tls", "allow_plaintext"]),
    (
        "ldap",
        &[
            "url",
            "tls",
            "allow_plaintext",
            "starttls",
            "bind_dn",
            "bind_password_file",
            "sasl",
            "base_dn",
            "filter",
            "external_id",
            "organization",
            "ignore_referrals",
        ],
    ),
    (
        "file",
        &[
            "path",
            "format",
            "completeness",
            "external_id",
            "organization",
            "organization_name",
            "separator",
            "separated_columns",
        ],
    ),
];

/// A ConneX-style REST API.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
pub struct Connex {
    /// Where the API is; `/api/v1/…` is added to it.
    #[schemars(with = "String")]
    pub url: Url,
    /// How we say who we are.
    pub auth: Auth,
    /// Certificates.
    #[schemars(with = "Option<Tls>")]
    pub tls: Tls,
    /// Whether credentials may go over unencrypted `http://` to another machine.
    pub allow_plaintext: bool,
}

/// How we say who we are to an HTTP service.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Auth {
    /// Not at all.
    None {},
    /// With a fixed token.
    Bearer {
        /// The file with the token.
        token_file: Secret,
    },
    /// With a name and a password.
    Basic {
        /// The name.
        username: String,
        /// The file with the password.
        password_file: Secret,
    },
    /// With a token from an authorization server (client credentials, RFC 6749 section 4.4).
    OAuth2 {
        /// Where tokens are given; `None` is `/oauth/token` at the source.
        #[schemars(with = "Option<String>")]
        token_url: Option<Url>,
        /// Our name there.
        client_id: String,
        /// The file with our secret there.
        client_secret_file: Secret,
        /// What the token is to be good for.
        scope: Option<String>,
    },
}

/// A delivered file.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub format: FileFormat,
    /// What must show that the file is whole.
    pub completeness: FileCompleteness,
    /// The column that is the external id.
    pub external_id: String,
    /// The column with the id or name of the organization.
    pub organization: Option<String>,
    /// The column with the name of the organization, where `organization` is an id.
    pub organization_name: Option<String>,
    /// What separates several values in one CSV cell.
    pub separator: String,
    /// The CSV columns that hold several values.
    pub separated_columns: Vec<String>,
}

/// What is in a delivered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum FileFormat {
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What must show that a delivered file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum FileCompleteness {
    /// A checksum file or an end marker, whichever is there.
    Any,
    /// `FILE.sha256` beside it.
    Checksum,
    /// A last line with the number of records.
    EndMarker,
}

fn plain_text(cell: Cell<'_>) -> Decoded<String> {
    read::text(cell)
}

pub(super) fn secret(table: &mut Table<'_>, key: &'static str) -> Option<Secret> {
    let (path, place) = (format!("{}.{key}", table.path), table.place(key));
    table.get(key, |cell| {
        read::path(cell).map(|file| Secret::new(file, path.clone(), place.clone()))
    })
}

fn needed_secret(table: &mut Table<'_>, key: &'static str) -> Option<Secret> {
    if !table.has(key) {
        table.know(&[key]);
        // An inline secret is reported by `finish` with the same advice.
        table.problem(key, "the key is missing; name the file that holds the secret");
        return None;
    }
    secret(table, key)
}

/// Whether `host` can only be this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn http_url(cell: Cell<'_>) -> Decoded<Url> {
    let expected = "an address such as \"https://connex.example\"";
    let url = read::text(cell)
        .ok()
        .and_then(|text| Url::parse(&text).ok())
        .ok_or_else(|| expected.to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{expected}, without user or password: credentials belong in `auth`"
        ));
    }
    let fits = ["http", "https"].contains(&url.scheme()) && url.query().is_none() && url.fragment().is_none();
    if fits {
        Ok(url)
    } else {
        Err(format!("{expected}, without query or fragment"))
    }
}

pub(super) fn connex(table: &mut Table<'_>) -> Option<Connex> {
    let url = table.need("url", "an address such as \"https://connex.example\"", http_url);
    let auth = auth(table);
    let tls = tls(table);
    let allow_plaintext = table.get("allow_plaintext", read::truth).unwrap_or(false);
    let (url, auth) = (url?, auth?);
    if auth != (Auth::None {}) && !allow_plaintext && crosses_in_clear(&url) {
        table.problem(
            "url",
            "credentials would go over the network unencrypted; use https://, or set `allow_plaintext = true`",
        );
    }
    if let Auth::OAuth2 {
        token_url: Some(token_url),
        ..
    } = &auth
        && !allow_plaintext
        && crosses_in_clear(token_url)
    {
        table.problem(
            "auth",
            "the client secret would go over the network unencrypted; use https:// in `token_url`",
        );
    }
    Some(Connex {
        url,
        auth,
        tls,
        allow_plaintext,
    })
}

fn crosses_in_clear(url: &Url) -> bool {
    url.scheme() == "http" && !url.host_str().is_some_and(is_loopback)
}

fn auth(source: &mut Table<'_>) -> Option<Auth> {
    if !source.has("auth") {
        source.know(&["auth"]);
        return Some(Auth::None {});
    }
    let mut table = source.table("auth")?;
    const KINDS: &[(&str, u8)] = &[("none", 0), ("bearer", 1), ("basic", 2), ("oauth2", 3)];
    let auth = match table.need(
        "kind",
        "\"none\", \"bearer\", \"basic\" or \"oauth2\"",
        read::choice(KINDS),
    )? {
        0 => Some(Auth::None {}),
        1 => needed_secret(&mut table, "token_file").map(|token_file| Auth::Bearer { token_file }),
        2 => {
            let username = table.need("username", "the name to sign in with", plain_text);
            let password_file = needed_secret(&mut table, "password_file");
            username
                .zip(password_file)
                .map(|(username, password_file)| Auth::Basic {
                    username,
                    password_file,
                })
        }
        _ => {
            let token_url = table.get("token_url", http_url);
            let client_id = table.need("client_id", "the name of this client", plain_text);
            let client_secret_file = needed_secret(&mut table, "client_secret_file");
            let scope = table.get("scope", plain_text);
            client_id
                .zip(client_secret_file)
                .map(|(client_id, client_secret_file)| Auth::OAuth2 {
                    token_url,
                    client_id,
                    client_secret_file,
                    scope,
                })
        }
    };
    table.finish();
    auth
}

/// The text of `key`, or `default` where it is absent; `None` where it does not fit.
pub(super) fn optional<'a>(
    table: &mut Table<'a>,
    key: &'static str,
    decode: impl Fn(Cell<'a>) -> Decoded<String>,
    default: &str,
) -> Option<String> {
    if table.has(key) {
        return table.get(key, decode);
    }
    table.know(&[key]);
    Some(default.to_owned())
}

pub(super) fn file(table: &mut Table<'_>) -> Option<FileSource> {
    const FORMATS: &[(&str, FileFormat)] = &[("csv", FileFormat::Csv), ("jsonl", FileFormat::Jsonl)];
    const PROOFS: &[(&str, FileCompleteness)] = &[
        ("any", FileCompleteness::Any),
        ("checksum", FileCompleteness::Checksum),
        ("end_marker", FileCompleteness::EndMarker),
    ];
    let path = table.need("path", "the path of the delivered file", read::path);
    let format = table.need("format", "\"csv\" or \"jsonl\"", read::choice(FORMATS));
    let completeness = table
        .get("completeness", read::choice(PROOFS))
        .unwrap_or(FileCompleteness::Any);
    let external_id = table.need(
        "external_id",
        "the name of the column that identifies an entry",
        plain_text,
    );
    let organization = table.get("organization", plain_text);
    let organization_name = table.get("organization_name", plain_text);
    if organization_name.is_some() && organization.is_none() {
        table.problem(
            "organization_name",
            "the name belongs to no organization; add `organization`, the column with its id",
        );
    }
    let separator = optional(table, "separator", plain_text, ";");
    let separated_columns = table
        .get("separated_columns", read::texts)
        .unwrap_or_else(|| vec!["roles".to_owned()]);
    Some(FileSource {
        path: path?,
        format: format?,
        completeness,
        external_id: external_id?,
        organization,
        organization_name,
        separator: separator?,
        separated_columns,
    })
}
