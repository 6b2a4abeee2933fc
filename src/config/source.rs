//! `[[sources]]` and `[source_defaults]`: what each kind of source can be told. Opens no connection and reads no
//! secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ::config::ValueKind;
use croner::parser::{CronParser, Seconds};
use schemars::JsonSchema;

use super::ldap::{self, Ldap, LdapBind};
use super::mapping;
use super::read::{self, Cell, Decoded, Table};
use super::secrets::Secret;
use super::sections::Agency;
use super::source_kinds::{self, Auth, Connex, FileSource};
use crate::domain::field::Field;
use crate::domain::id::SourceName;
use crate::domain::mapping::Mapping;
use crate::domain::roles::RolePolicy;
use crate::domain::rule::Rule;

/// Longest time that a limit in time may have, in seconds: a day.
pub(super) const TIMEOUT_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Longest time by which a run may begin later than its schedule, in seconds: an hour.
const JITTER_SECONDS_MAX: u64 = 60 * 60;

/// A configured external system that we read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Whether it is read at all.
    pub enabled: bool,
    /// What depends on the kind.
    pub kind: SourceKind,
    /// What `[source_defaults]` can say for every source.
    pub common: Common,
    /// Administrative roles that this source may grant, role by role.
    pub grant_administrator_roles: Vec<String>,
    /// Directory role to local role; `None` takes roles as they are. Roles that the table lacks are dropped.
    pub roles: Option<BTreeMap<String, String>>,
    /// How attributes become fields.
    pub fields: BTreeMap<Field, Rule>,
}

impl Source {
    /// The secret with which we sign in there, if any.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.kind {
            SourceKind::Connex(connex) => match &connex.auth {
                Auth::None {} => None,
                Auth::Bearer { token_file } => Some(token_file),
                Auth::Basic { password_file, .. } => Some(password_file),
                Auth::OAuth2 { client_secret_file, .. } => Some(client_secret_file),
            },
            SourceKind::Ldap(ldap) => match &ldap.bind {
                LdapBind::Simple { password_file, .. } => Some(password_file),
                LdapBind::Anonymous | LdapBind::External => None,
            },
            SourceKind::File(_) => None,
        }
    }

    /// The mapping that the core applies to each entry of this source.
    pub fn mapping(&self, agency: &Agency) -> Mapping {
        let roles = RolePolicy {
            table: self.roles.clone(),
            default: Some(agency.default_role.clone()),
            administrative: agency.administrator_roles.iter().cloned().collect(),
            grantable: self.grant_administrator_roles.iter().cloned().collect(),
        };
        Mapping::new(
            self.fields.clone(),
            roles,
            self.common.default_kind.clone(),
            self.common.require_organization,
        )
    }
}

/// What depends on the kind of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// A ConneX-style REST API.
    Connex(Connex),
    /// An LDAP server or Active Directory.
    Ldap(Ldap),
    /// A delivered file.
    File(FileSource),
}

impl SourceKind {
    /// The word in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connex(_) => "connex",
            Self::Ldap(_) => "ldap",
            Self::File(_) => "file",
        }
    }
}

/// Keys of a source that do not depend on its kind and have a default in `[source_defaults]`.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Common {
    /// When it is read: six fields of cron, seconds first.
    pub schedule: String,
    /// The time zone of the schedule.
    pub timezone: String,
    /// How much later than its schedule a run may begin, so that not every source is asked at once.
    #[schemars(with = "String")]
    pub jitter: Duration,
    /// Time for a whole run, after which it is cut off.
    #[schemars(with = "String")]
    pub run_timeout: Duration,
    /// The kind of users for whom the source states none.
    pub default_kind: String,
    /// Whether an entry without an organization is quarantined.
    pub require_organization: bool,
    /// Whether an entry without a link takes over the user with its e-mail address.
    pub correlate_by_email: bool,
    /// Time for a connection to be made, TLS included.
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Time until the first byte of an answer.
    #[schemars(with = "String")]
    pub first_byte_timeout: Duration,
    /// Time between two pieces of an answer.
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Time for a whole listing.
    #[schemars(with = "String")]
    pub listing_timeout: Duration,
    /// Entries asked for at once.
    #[schemars(range(min = 1, max = 5000))]
    pub page_size: u32,
    /// Pages of one listing.
    pub max_pages: u64,
    /// Entries of one listing.
    pub max_entries: u64,
    /// Bytes of one page, after decompression.
    pub max_page_bytes: u64,
    /// How often a request that failed for a passing reason is repeated.
    pub max_retries: u32,
}

/// The keys of [`Common`], with which `[source_defaults]` fills every source.
pub(super) const COMMON_KEYS: [&str; 16] = [
    "schedule",
    "timezone",
    "jitter",
    "run_timeout",
    "default_kind",
    "require_organization",
    "correlate_by_email",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "listing_timeout",
    "page_size",
    "max_pages",
    "max_entries",
    "max_page_bytes",
    "max_retries",
];

/// Reads the keys of [`Common`] from a source, or from `[source_defaults]`.
pub(super) fn common(table: &mut Table<'_>) -> Option<Common> {
    let number = |table: &mut Table<'_>, key, most| table.need(key, "a whole number", read::integer(1..=most));
    let time =
        |table: &mut Table<'_>, key| table.need(key, "a time such as \"30s\"", read::duration(TIMEOUT_SECONDS_MAX));
    let flag = |table: &mut Table<'_>, key| table.need(key, "`true` or `false`", read::truth);
    let schedule = table.need("schedule", "six fields of cron", schedule);
    let timezone = table.need("timezone", "a time zone", timezone);
    let jitter = table.need("jitter", "a time such as \"30s\"", jitter);
    let run_timeout = time(table, "run_timeout");
    let default_kind = table.need("default_kind", "a kind of users", user_kind);
    let require_organization = flag(table, "require_organization");
    let correlate_by_email = flag(table, "correlate_by_email");
    let connect_timeout = time(table, "connect_timeout");
    let first_byte_timeout = time(table, "first_byte_timeout");
    let idle_timeout = time(table, "idle_timeout");
    let listing_timeout = time(table, "listing_timeout");
    let page_size = number(table, "page_size", 5000);
    let max_pages = number(table, "max_pages", 100_000_000);
    let max_entries = number(table, "max_entries", 1_000_000_000);
    let max_page_bytes = table.need(
        "max_page_bytes",
        "a number of bytes",
        read::integer(1024..=1024 * 1024 * 1024),
    );
    let max_retries = table.need("max_retries", "a whole number", read::integer(0..=20));
    Some(Common {
        schedule: schedule?,
        timezone: timezone?,
        jitter: jitter?,
        run_timeout: run_timeout?,
        default_kind: default_kind?,
        require_organization: require_organization?,
        correlate_by_email: correlate_by_email?,
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        idle_timeout: idle_timeout?,
        listing_timeout: listing_timeout?,
        page_size: u32::try_from(page_size?).ok()?,
        max_pages: max_pages?,
        max_entries: max_entries?,
        max_page_bytes: max_page_bytes?,
        max_retries: u32::try_from(max_retries?).ok()?,
    })
}

/// The schedule of a source that is read only when somebody asks for it.
pub const NEVER: &str = "never";

fn schedule(cell: Cell<'_>) -> Decoded<String> {
    let expected =
        "six fields of cron with seconds first, such as \"0 */15 * * * *\" for every quarter of an hour, or \"never\"";
    let text = read::text(cell).map_err(|_| expected.to_owned())?;
    if text == NEVER {
        return Ok(text);
    }
    let parser = CronParser::builder().seconds(Seconds::Required).build();
    match (text.split_whitespace().count(), parser.parse(&text)) {
        (6, Ok(_)) => Ok(text),
        (5, _) => Err(format!("{expected}; with five fields, put `0 ` in front of them")),
        (6, Err(error)) => Err(format!("{expected} ({error})")),
        _ => Err(expected.into()),
    }
}

/// No time at all is allowed here.
fn jitter(cell: Cell<'_>) -> Decoded<Duration> {
    let zero = read::text(cell).ok().and_then(|text| read::parse_duration(&text));
    match zero {
        Some(time) if time.is_zero() => Ok(time),
        _ => read::duration(JITTER_SECONDS_MAX)(cell),
    }
}

fn timezone(cell: Cell<'_>) -> Decoded<String> {
    let expected = "a time zone such as \"America/Chicago\" or \"UTC\" that this machine knows (they come with its package tzdata)".to_owned();
    match read::text(cell) {
        Ok(name) if name == "UTC" || jiff::tz::TimeZone::get(&name).is_ok() => Ok(name),
        _ => Err(expected),
    }
}

fn user_kind(cell: Cell<'_>) -> Decoded<String> {
    let expected = "a kind such as \"consultant\", \"bidder\", \"contractor\", \"vendor\" or \"customer\"";
    let kind = read::text(cell).map_err(|_| expected.to_owned())?;
    if kind == "employee" {
        return Err(format!("{expected}; employees are never taken from a directory"));
    }
    let word = kind.len() <= 32 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if word { Ok(kind) } else { Err(expected.into()) }
}

/// Kinds of source, and what to say of those that this version lacks.
pub(super) const KINDS: [&str; 5] = ["connex", "rest", "scim", "ldap", "file"];

/// The text of `kind` in a source that is not checked yet.
pub(super) fn kind_of(source: &::config::Map<String, ::config::Value>) -> Option<&str> {
    match &source.get("kind")?.kind {
        ValueKind::String(kind) => Some(kind),
        _ => None,
    }
}

/// Reads one source.
pub(super) fn source(mut table: Table<'_>, name: &str) -> Option<Source> {
    let name = SourceName::parse(name).ok()?;
    table.know(&["name"]);
    let enabled = table.get("enabled", read::truth);
    let kind_word = table.need("kind", &read::one_of(["connex", "ldap", "file"].into_iter()), |cell| {
        read::text(cell)
            .ok()
            .filter(|kind| KINDS.contains(&kind.as_str()))
            .ok_or_else(|| read::one_of(["connex", "ldap", "file"].into_iter()))
    });
    let Some(kind_word) = kind_word else {
        // Without its kind nobody can say which other keys it may have.
        return None;
    };
    if kind_word == "rest" || kind_word == "scim" {
        table.problem(
            "kind",
            format!(
                "a source of kind `{kind_word}` is not available in this version; use \"connex\", \"ldap\" or \"file\""
            ),
        );
        return None;
    }
    let common = common(&mut table);
    let grant_administrator_roles = table.get("grant_administrator_roles", read::texts).unwrap_or_default();
    let roles = table.get("roles", read::table_of_texts);
    let fields = mapping::mapping(&mut table);
    let kind = match kind_word.as_str() {
        "connex" => source_kinds::connex(&mut table).map(SourceKind::Connex),
        "ldap" => ldap::ldap(&mut table).map(SourceKind::Ldap),
        _ => source_kinds::file(&mut table).map(SourceKind::File),
    };
    foreign_keys(&mut table, &kind_word);
    table.finish();
    Some(Source {
        name,
        enabled: enabled.unwrap_or(true),
        kind: kind?,
        common: common?,
        grant_administrator_roles,
        roles,
        fields: fields?,
    })
}

/// Keys that exist, but for another kind of source: the nearest known key would be the wrong advice.
fn foreign_keys(table: &mut Table<'_>, kind: &str) {
    for (other, keys) in source_kinds::KEYS {
        for key in *keys {
            let ours = source_kinds::KEYS
                .iter()
                .any(|(name, keys)| *name == kind && keys.contains(key));
            if !ours && table.has(key) {
                table.problem(
                    key,
                    format!("the key belongs to sources of kind `{other}`, and this is `{kind}`; remove it"),
                );
                table.know(&[key]);
            }
        }
    }
}

/// The certificates of a connection.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities to trust in the place of the machine's own.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our certificate.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key_file: Option<PathBuf>,
}

pub(super) fn tls(source: &mut Table<'_>) -> Tls {
    let Some(mut table) = source.table("tls") else {
        return Tls::default();
    };
    let tls = Tls {
        ca_file: table.get("ca_file", read::path),
        client_cert_file: table.get("client_cert_file", read::path),
        client_key_file: table.get("client_key_file", read::path),
    };
    match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(_), None) => table.problem("client_cert_file", "the certificate has no key; add `client_key_file`"),
        (None, Some(_)) => table.problem("client_key_file", "the key has no certificate; add `client_cert_file`"),
        _ => {}
    }
    table.finish();
    tls
}
