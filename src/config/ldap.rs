//! What an `ldap` source can be told. Opens no connection and reads no secret.

use ::config::ValueKind;
use schemars::JsonSchema;
use url::Url;

use super::read::{self, Cell, Decoded, Table};
use super::secrets::Secret;
use super::source::{Tls, tls};
use super::source_kinds::{is_loopback, optional, secret};

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
            let filter = optional(
                &mut table,
                "filter",
                ldap_filter,
                "(|(objectClass=groupOfNames)(objectClass=group))",
            );
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
