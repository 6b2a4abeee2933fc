//! What an `ldap` source is told. Plain values: the composition root fills them in; [`super::Ldap::new`] checks them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::id::SourceName;

/// Entries a page where nothing else is configured: what an Active Directory gives at the most, and where larger pages
/// are no faster.
pub const PAGE_SIZE_DEFAULT: u32 = 1_000;

/// Everything that an `ldap` source is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured name.
    pub name: SourceName,
    /// `ldap://host[:port]`, `ldaps://host[:port]` or `ldapi://%2Fpath%2Fof%2Fsocket`.
    pub url: String,
    /// Whether an `ldap://` connection is turned into TLS before anything else is said.
    pub starttls: bool,
    /// The certificates that are trusted, in PEM; `None` trusts what the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show, for [`Bind::External`] over TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// As whom to read.
    pub bind: Bind,
    /// Whether the password may cross a network in the clear.
    pub allow_plaintext: bool,
    /// Where the accounts are.
    pub base_dn: String,
    /// Which entries under the base are accounts (RFC 4515).
    pub filter: String,
    /// The attribute that is the id: `entryUUID`, `objectGUID`, `uid`.
    pub external_id: String,
    /// Where the organization of an account is stated.
    pub organization: Organization,
    /// The attributes that the mapping asks for.
    pub wanted: Arc<[Arc<str>]>,
    /// Whether search references (to other domains, as the root of an Active Directory gives them) are passed over
    /// without making a listing incomplete. They are never followed.
    pub ignore_referrals: bool,
    /// Entries a page, usually [`PAGE_SIZE_DEFAULT`]; 0 for a server that knows no paging.
    pub page_size: u32,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much to read at the most.
    pub limits: Limits,
}

/// The files of a client certificate.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate and its chain, in PEM.
    pub certificate_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

/// As whom to read.
#[derive(Debug, Clone)]
pub enum Bind {
    /// As nobody.
    Anonymous,
    /// With a distinguished name (or, at an Active Directory, a user principal name) and a password.
    Simple {
        /// The name.
        dn: String,
        /// The password.
        password: SecretString,
    },
    /// As the client certificate says, or on a Unix socket as the process's user (SASL EXTERNAL, RFC 4422).
    External,
}

/// Where the organization of an account is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Organization {
    /// Nowhere.
    None,
    /// In an attribute of the account, whose trimmed value is both id and name. Of several values the first in byte
    /// order counts, because a directory gives them in any order.
    Attribute(String),
    /// The entry above the account: its normalized DN is the id, the value of its RDN the name.
    Parent,
    /// The groups under `base_dn`: the normalized DN is the id, `cn` the name. Somebody in several groups belongs to
    /// the one whose id comes first in byte order. A group that arrives as one message of more than 8 MiB (some
    /// hundred thousand members, except at an Active Directory, which gives them in parts) is refused: use
    /// [`Organization::MemberOf`] there.
    Group {
        /// Where the groups are.
        base_dn: String,
        /// Which entries there are organizations (RFC 4515).
        filter: String,
        /// The attribute that lists the DNs of the members: `member`, `uniqueMember`.
        member: String,
    },
    /// Groups as the account lists them. As [`Organization::Group`], without reading the groups.
    MemberOf {
        /// The attribute that lists the DNs of the groups: `memberOf`.
        attribute: String,
        /// Groups elsewhere are no organizations; empty for groups anywhere, which are then found by name below the
        /// base of the source.
        base_dn: String,
    },
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, with TLS and bind.
    pub connect: Duration,
    /// For the next answer while something is read.
    pub idle: Duration,
    /// For a whole listing.
    pub listing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            listing: Duration::from_secs(2 * 60 * 60),
        }
    }
}

/// How much to read at the most. Past it a listing is incomplete.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Result pages of one listing.
    pub pages: u64,
    /// Entries of one listing.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Ten times the million that the product is measured with.
        Self {
            pages: 1_000_000,
            entries: 10_000_000,
        }
    }
}
