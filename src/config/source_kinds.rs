//! What `connex`, `ldap` and `file` sources can be told, each for itself. Opens no connection and reads no secret.

use std::net::IpAddr;
use std::path::PathBuf;

use ::config::ValueKind;
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

/// An LDAP server or Active Directory.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
pub struct Ldap {
    /// `ldaps://HOST`, `ldap://HOST` or `ldapi://%2Fpath%2Fto%2Fsocket`.
    pub url: String,
    /// Certificates.
    #[schemars(with = "Option<Tls>")]
    pub tls: Tls,
    /// Whether an `ldap://` connection is encrypted before anything else is said.
    pub starttls: bool,
    /// Whether a password may go over unencrypted `ldap://` to another machine.
    pub allow_plaintext: bool,
    /// How we say who we are.
    #[schemars(skip)]
    pub bind: LdapBind,
    /// The entry below which everything is read.
    pub base_dn: String,
    /// Which entries are accounts.
    pub filter: String,
    /// The attribute that is the external id.
    pub external_id: String,
    /// Where the organization of an entry is stated.
    pub organization: Option<LdapOrganization>,
    /// Whether a listing counts as complete although the server points to other servers for a part of it.
    pub ignore_referrals: bool,
}

/// How we say who we are to an LDAP server.
#[derive(Debug, Clone, PartialEq)]
pub enum LdapBind {
    /// Not at all.
    Anonymous,
    /// With a distinguished name and a password.
    Simple {
        /// The distinguished name.
        dn: String,
        /// The file with the password.
        password_file: Secret,
    },
    /// By the connection itself: a client certificate, or the user of a Unix socket (SASL EXTERNAL).
    External,
}

/// Where the organization of an LDAP entry is stated.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum LdapOrganization {
    /// In an attribute of the entry, as a name.
    Attribute {
        /// The attribute.
        attribute: String,
    },
    /// In the tree: the entry above.
    Parent {},
    /// In groups that list their members.
    Group {
        /// The entry below which the groups stand; `None` is the source's own.
        base_dn: Option<String>,
        /// Which entries are groups.
        filter: String,
        /// The attribute of a group that lists its members.
        member: String,
    },
    /// In an attribute of the entry that lists its groups.
    MemberOf {
        /// The attribute.
        attribute: String,
        /// Only groups below this entry count; `None` takes all.
        base_dn: Option<String>,
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

fn secret(table: &mut Table<'_>, key: &'static str) -> Option<Secret> {
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
fn is_loopback(host: &str) -> bool {
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
        source.problem(
            "auth",
            "the key is missing; write `auth = { kind = \"bearer\", token_file = \"…\" }`, or { kind = \"none\" }",
        );
        return None;
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

fn ldap_url(cell: Cell<'_>) -> Decoded<String> {
    let expected = "an address such as \"ldaps://dc1.example\"";
    let text = read::text(cell).map_err(|_| expected.to_owned())?;
    let url = Url::parse(&text).map_err(|_| expected.to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{expected}, without user or password: use `bind_dn` and `bind_password_file`"
        ));
    }
    let path_free = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "ldap" | "ldaps" if path_free && url.host_str().is_some_and(|host| !host.is_empty()) => Ok(text),
        "ldap" | "ldaps" => Err(format!(
            "{expected} with nothing behind the host and port; the rest goes to `base_dn` and `filter`"
        )),
        "ldapi" => Ok(text),
        _ => Err(format!("{expected}; the scheme is ldaps, ldap or ldapi")),
    }
}

fn ldap_filter(cell: Cell<'_>) -> Decoded<String> {
    let expected = "a filter in brackets such as \"(objectClass=person)\", with as many `(` as `)`";
    let filter = read::text(cell).map_err(|_| expected.to_owned())?;
    let mut depth = 0_i64;
    for c in filter.chars() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth < 0 {
            return Err(expected.into());
        }
    }
    if depth == 0 && filter.starts_with('(') && filter.ends_with(')') {
        Ok(filter)
    } else {
        Err(expected.into())
    }
}

fn attribute_name(cell: Cell<'_>) -> Decoded<String> {
    let name = read::text(cell).unwrap_or_default();
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.;_".contains(&b));
    if fits {
        Ok(name)
    } else {
        Err("the name of an attribute, such as \"company\"".into())
    }
}

fn distinguished_name(cell: Cell<'_>) -> Decoded<String> {
    read::text(cell)
        .ok()
        .filter(|dn| dn.contains('='))
        .ok_or_else(|| "a distinguished name such as \"ou=partners,dc=example,dc=com\"".into())
}

pub(super) fn ldap(table: &mut Table<'_>) -> Option<Ldap> {
    let url = table.need("url", "an address such as \"ldaps://dc1.example\"", ldap_url);
    let tls = tls(table);
    let starttls = table.get("starttls", read::truth).unwrap_or(false);
    let allow_plaintext = table.get("allow_plaintext", read::truth).unwrap_or(false);
    let bind = ldap_bind(table);
    let base_dn = table.need(
        "base_dn",
        "a distinguished name such as \"ou=partners,dc=example,dc=com\"",
        distinguished_name,
    );
    let filter = table.need("filter", "a filter such as \"(objectClass=person)\"", ldap_filter);
    let external_id = table.need(
        "external_id",
        "an attribute such as \"entryUUID\", or \"objectGUID\" with Active Directory",
        attribute_name,
    );
    let organization = ldap_organization(table);
    let ignore_referrals = table.get("ignore_referrals", read::truth).unwrap_or(false);
    let (url, bind) = (url?, bind?);
    if starttls && !url.starts_with("ldap://") {
        table.problem(
            "starttls",
            "StartTLS goes with ldap:// alone; remove it, or change `url`",
        );
    }
    let host = Url::parse(&url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    let in_clear = url.starts_with("ldap://") && !starttls && !is_loopback(&host);
    if in_clear && !allow_plaintext && matches!(bind, LdapBind::Simple { .. }) {
        table.problem("url", "the password would go over the network unencrypted; use ldaps:// or `starttls = true`, or set `allow_plaintext = true`");
    }
    Some(Ldap {
        url,
        tls,
        starttls,
        allow_plaintext,
        bind,
        base_dn: base_dn?,
        filter: filter?,
        external_id: external_id?,
        organization,
        ignore_referrals,
    })
}

fn ldap_bind(table: &mut Table<'_>) -> Option<LdapBind> {
    let had_dn = table.has("bind_dn");
    let dn = table.get("bind_dn", distinguished_name);
    let had_password = table.has("bind_password_file");
    let password_file = secret(table, "bind_password_file");
    let had_sasl = table.has("sasl");
    let external = table.get("sasl", read::choice(&[("external", ())]));
    if had_sasl && (had_dn || had_password) {
        table.problem(
            "sasl",
            "with SASL EXTERNAL the connection says who we are; remove `bind_dn` and `bind_password_file`, or `sasl`",
        );
        return None;
    }
    match (had_dn, had_password, had_sasl) {
        (true, true, _) => Some(LdapBind::Simple {
            dn: dn?,
            password_file: password_file?,
        }),
        (true, false, _) => {
            table.problem(
                "bind_dn",
                "the identity has no password; name its file with `bind_password_file`",
            );
            None
        }
        (false, true, _) => {
            table.problem("bind_password_file", "the password belongs to nobody; add `bind_dn`");
            None
        }
        (false, false, true) => external.map(|()| LdapBind::External),
        (false, false, false) => Some(LdapBind::Anonymous),
    }
}

fn ldap_organization(source: &mut Table<'_>) -> Option<LdapOrganization> {
    let raw = source.raw("organization")?;
    if !matches!(raw.kind, ValueKind::Table(_)) {
        return source
            .get("organization", attribute_name)
            .map(|attribute| LdapOrganization::Attribute { attribute });
    }
    let mut table = source.table("organization")?;
    const FROM: &[(&str, u8)] = &[("attribute", 0), ("parent", 1), ("group", 2), ("member_of", 3)];
    let organization = match table.need(
        "from",
        "\"attribute\", \"parent\", \"group\" or \"member_of\"",
        read::choice(FROM),
    )? {
        0 => {
            let attribute = table.need("attribute", "the name of an attribute", attribute_name);
            attribute.map(|attribute| LdapOrganization::Attribute { attribute })
        }
        1 => Some(LdapOrganization::Parent {}),
        2 => {
            let base_dn = table.get("base_dn", distinguished_name);
            let filter = optional(&mut table, "filter", ldap_filter, "(objectClass=groupOfNames)");
            let member = optional(&mut table, "member", attribute_name, "member");
            filter.zip(member).map(|(filter, member)| LdapOrganization::Group {
                base_dn,
                filter,
                member,
            })
        }
        _ => {
            let attribute = optional(&mut table, "attribute", attribute_name, "memberOf");
            let base_dn = table.get("base_dn", distinguished_name);
            attribute.map(|attribute| LdapOrganization::MemberOf { attribute, base_dn })
        }
    };
    table.finish();
    organization
}

/// The text of `key`, or `default` where it is absent; `None` where it does not fit.
fn optional<'a>(
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
