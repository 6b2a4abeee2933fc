//! TLS for the client: ring, the machine's own authorities or the configured file, and nothing that skips a check.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore, crypto::ring};

use super::settings::Settings;
use crate::sources::{SourceError, SourceErrorKind};

/// The TLS configuration of a source.
pub(super) fn configuration(settings: &Settings) -> Result<ClientConfig, SourceError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &settings.ca_file {
        add_file(&mut roots, file)?;
    } else if settings.url.scheme() == "https" {
        // Reading the machine's store takes a moment, which plain HTTP need not spend.
        let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(SourceError::new(
                SourceErrorKind::Configuration,
                "this machine has no certificate authorities to trust: install the package ca-certificates, or set `tls.ca_file`",
            ));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            SourceError::new(
                SourceErrorKind::Configuration,
                "TLS cannot be set up on this machine: report it as a bug",
            )
            .because(error)
        })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<(), SourceError> {
    let refuse = |why: &str| {
        SourceError::new(
            SourceErrorKind::Configuration,
            format!(
                "{} {why}: set `tls.ca_file` to a PEM file of the directory's certificate authority",
                file.display()
            ),
        )
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .map_err(|error| refuse("cannot be read").because(error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse("is no valid PEM file").because(error))?;
    let (added, refused) = roots.add_parsable_certificates(certificates);
    match (added, refused) {
        (0, _) => Err(refuse("holds no certificate that can be used")),
        (_, 0) => Ok(()),
        _ => Err(refuse("holds a certificate that cannot be read")),
    }
}

/// What TLS refused, where that is at the bottom of `error`.
pub(super) fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        // An I/O error hides what it wraps: its source is the source of that.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = refusal(inner)
        {
            return Some(found);
        }
        at = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SourceName;

    #[test]
    fn a_ca_file_must_hold_certificates() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::new(
            SourceName::parse("connex").expect("a name"),
            "https://connex.example".parse().expect("a URL"),
        );
        let file = folder.path().join("ca.pem");
        settings.ca_file = Some(file.clone());
        let missing = configuration(&settings).expect_err("no file");
        assert_eq!(missing.kind, SourceErrorKind::Configuration);
        assert!(missing.message.contains("ca.pem cannot be read"), "{missing}");
        std::fs::write(&file, "nothing of the kind").expect("written");
        let empty = configuration(&settings).expect_err("no certificate");
        assert!(empty.message.contains("holds no certificate"), "{empty}");
    }
}
