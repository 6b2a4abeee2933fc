//! From the configuration to things that work: sources with their secrets, and what decides about their entries.

use std::sync::Arc;

use crate::config::{self, Config, FileCompleteness, FileFormat, LdapBind, LdapOrganization, SourceKind};
use crate::engine::Setup;
use crate::http;
use crate::scheduler::{Managed, Registry, Schedule};
use crate::sources::{Source, connex, file, ldap};

use super::exit::{Exit, Failure};

/// A source with everything that decides what its entries mean here.
pub(super) fn setup(config: &Config, source: &config::Source) -> Result<Setup, Failure> {
    let mapping = source.mapping(&config.agency);
    let wanted = mapping.attributes();
    Ok(Setup {
        source: open(config, source, wanted)?,
        mapping: Arc::new(mapping),
        authorities: Arc::new(config.fields.clone()),
        brakes: config.brakes.limits(),
        correlate_by_email: source.common.correlate_by_email,
        default_kind: source.common.default_kind.clone(),
    })
}

/// Every enabled source with its schedule, and who administers.
pub(super) fn registry(config: &Config) -> Result<Registry, Failure> {
    let managed = |source: &config::Source| {
        let common = &source.common;
        let schedule = match common.schedule.as_str() {
            config::NEVER => None,
            cron => Some(
                Schedule::new(cron, &common.timezone, common.jitter)
                    .map_err(|why| Failure::new(Exit::Configuration, format!("source {}: {why}", source.name)))?,
            ),
        };
        Ok(Managed {
            setup: setup(config, source)?,
            kind: source.kind.as_str().to_owned(),
            schedule,
            run_timeout: common.run_timeout,
        })
    };
    Ok(Registry {
        sources: config
            .sources
            .iter()
            .filter(|s| s.enabled)
            .map(managed)
            .collect::<Result<_, Failure>>()?,
        roles: super::context::roles(config),
    })
}

fn open(config: &Config, source: &config::Source, wanted: Arc<[Arc<str>]>) -> Result<Arc<dyn Source>, Failure> {
    let refused = |error: crate::sources::SourceError| {
        Failure::new(Exit::Configuration, format!("source {}: {error}", source.name))
    };
    Ok(match &source.kind {
        SourceKind::Connex(kind) => {
            Arc::new(connex::Connex::new(connex_settings(config, source, kind, wanted)?).map_err(refused)?)
        }
        SourceKind::Ldap(kind) => {
            Arc::new(ldap::Ldap::new(ldap_settings(config, source, kind, wanted)?).map_err(refused)?)
        }
        SourceKind::File(kind) => Arc::new(file::File::new(file_settings(source, kind, wanted))),
    })
}

fn connex_settings(
    config: &Config,
    source: &config::Source,
    kind: &config::Connex,
    wanted: Arc<[Arc<str>]>,
) -> Result<connex::Settings, Failure> {
    let common = &source.common;
    let secret = |file: &config::Secret| file.read(&config.lookup);
    let auth = match &kind.auth {
        config::Auth::None {} => connex::Auth::None,
        config::Auth::Bearer { token_file } => connex::Auth::Bearer {
            token: secret(token_file)?,
        },
        config::Auth::Basic {
            username,
            password_file,
        } => connex::Auth::Basic {
            user: username.clone(),
            password: secret(password_file)?,
        },
        config::Auth::OAuth2 {
            token_url,
            client_id,
            client_secret_file,
            scope,
        } => connex::Auth::OAuth2 {
            token_url: token_url.clone(),
            client_id: client_id.clone(),
            client_secret: secret(client_secret_file)?,
            scope: scope.clone(),
        },
    };
    Ok(connex::Settings {
        auth,
        ca_file: kind.tls.ca_file.clone(),
        allow_plaintext: kind.allow_plaintext,
        wanted,
        page_size: common.page_size,
        connect_timeout: common.connect_timeout,
        first_byte_timeout: common.first_byte_timeout,
        idle_timeout: common.idle_timeout,
        listing_timeout: common.listing_timeout,
        page_bytes_max: usize::try_from(common.max_page_bytes).unwrap_or(usize::MAX),
        pages_max: common.max_pages,
        entries_max: common.max_entries,
        retries_max: common.max_retries as usize,
        ..connex::Settings::new(source.name.clone(), kind.url.clone())
    })
}

fn ldap_settings(
    config: &Config,
    source: &config::Source,
    kind: &config::Ldap,
    wanted: Arc<[Arc<str>]>,
) -> Result<ldap::Settings, Failure> {
    let common = &source.common;
    let bind = match &kind.bind {
        LdapBind::Anonymous => ldap::Bind::Anonymous,
        LdapBind::Simple { dn, password_file } => ldap::Bind::Simple {
            dn: dn.clone(),
            password: password_file.read(&config.lookup)?,
        },
        LdapBind::External => ldap::Bind::External,
    };
    let organization = match &kind.organization {
        None => ldap::Organization::None,
        Some(LdapOrganization::Attribute { attribute }) => ldap::Organization::Attribute(attribute.clone()),
        Some(LdapOrganization::Parent {}) => ldap::Organization::Parent,
        Some(LdapOrganization::Group {
            base_dn,
            filter,
            member,
        }) => ldap::Organization::Group {
            base_dn: base_dn.clone().unwrap_or_else(|| kind.base_dn.clone()),
            filter: filter.clone(),
            member: member.clone(),
        },
        Some(LdapOrganization::MemberOf { attribute, base_dn }) => ldap::Organization::MemberOf {
            attribute: attribute.clone(),
            base_dn: base_dn.clone().unwrap_or_default(),
        },
    };
    let certificate = kind.tls.client_cert_file.clone().zip(kind.tls.client_key_file.clone());
    Ok(ldap::Settings {
        name: source.name.clone(),
        url: kind.url.clone(),
        starttls: kind.starttls,
        ca_file: kind.tls.ca_file.clone(),
        client_certificate: certificate.map(|(certificate_file, key_file)| ldap::ClientCertificate {
            certificate_file,
            key_file,
        }),
        bind,
        allow_plaintext: kind.allow_plaintext,
        base_dn: kind.base_dn.clone(),
        filter: kind.filter.clone(),
        external_id: kind.external_id.clone(),
        organization,
        wanted,
        ignore_referrals: kind.ignore_referrals,
        page_size: common.page_size,
        timeouts: ldap::Timeouts {
            connect: common.connect_timeout,
            idle: common.idle_timeout,
            listing: common.listing_timeout,
        },
        limits: ldap::Limits {
            pages: common.max_pages,
            entries: common.max_entries,
        },
    })
}

fn file_settings(source: &config::Source, kind: &config::FileSource, wanted: Arc<[Arc<str>]>) -> file::Settings {
    let common = &source.common;
    let column = |name: &Option<String>| name.as_deref().map(Arc::from);
    file::Settings {
        name: source.name.clone(),
        path: kind.path.clone(),
        format: match kind.format {
            FileFormat::Csv => file::Format::Csv,
            FileFormat::Jsonl => file::Format::Jsonl,
        },
        external_id: kind.external_id.as_str().into(),
        organization: column(&kind.organization),
        organization_name: column(&kind.organization_name),
        wanted,
        separator: kind.separator.clone(),
        separated_columns: kind.separated_columns.iter().map(|c| c.as_str().into()).collect(),
        completeness: match kind.completeness {
            FileCompleteness::Any => file::Completeness::Any,
            FileCompleteness::Checksum => file::Completeness::Checksum,
            FileCompleteness::EndMarker => file::Completeness::EndMarker,
        },
        limits: file::Limits {
            entries_max: common.max_entries,
            listing_time_max: common.listing_timeout,
            ..file::Limits::default()
        },
    }
}

/// What the clients of the API may take.
pub(super) fn http_limits(http: &config::Http) -> http::Limits {
    http::Limits {
        max_connections: http.max_connections as usize,
        first_byte_timeout: http.first_byte_timeout,
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        request_timeout: http.request_timeout,
        ..http::Limits::default()
    }
}

/// What the configuration says about answers. A stream holds its connection, so that streams alone can never take all.
pub(super) fn http_settings(http: &config::Http) -> http::Settings {
    http::Settings {
        max_body_bytes: usize::try_from(http.max_body_bytes).unwrap_or(usize::MAX),
        body_timeout: http.request_timeout,
        max_streams: (http.max_connections as usize / 4).max(1),
        metrics_apart: http.metrics_listen.is_some(),
    }
}
