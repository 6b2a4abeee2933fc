//! TLS towards a directory: whom we trust, who we are, and StartTLS. Always verifies the certificate and the host
//! name; there is no switch that turns this off.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use super::ber;
use super::guard::Transport;
use super::settings::ClientCertificate;
use crate::sources::{SourceError, SourceErrorKind};

/// `ExtendedRequest` 1.3.6.1.4.1.1466.20037 with message id 1 (RFC 4511, section 4.14).
const STARTTLS_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// Longest answer to StartTLS that is read, in bytes: it holds a code and a sentence.
const STARTTLS_ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What is trusted and shown in a handshake.
pub(super) fn client_config(
    ca_file: Option<&Path>,
    client: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, SourceError> {
    let roots = match ca_file {
        Some(path) => roots_of_file(path)?,
        None => roots_of_machine()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = certificates(&files.certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(&files.key_file)
                .map_err(|error| unreadable("a private key", &files.key_file, error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                configuration(format!(
                    "The client certificate {} does not go with the key {}: check that both belong together.",
                    files.certificate_file.display(),
                    files.key_file.display()
                ))
                .because(error)
            })?
        }
    };
    Ok(Arc::new(config))
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, SourceError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unreadable("CA certificates", path, error))?;
    }
    Ok(roots)
}

fn roots_of_machine() -> Result<RootCertStore, SourceError> {
    let mut roots = RootCertStore::empty();
    // One odd certificate among a hundred is no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(configuration(
            "This machine has no trusted certificates: install `ca-certificates`, or set `tls.ca_file` for the source.",
        ));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable("certificates", path, error))?;
    if all.is_empty() {
        return Err(configuration(format!(
            "The file {} contains no certificate: it must be PEM, with `-----BEGIN CERTIFICATE-----`.",
            path.display()
        )));
    }
    Ok(all)
}

fn unreadable(what: &str, path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    configuration(format!(
        "The file {} cannot be read as {what} in PEM: check that it exists, its rights and its contents.",
        path.display()
    ))
    .because(error)
}

fn configuration(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Configuration, message)
}

/// Turns `stream` into TLS with the server `host`.
pub(super) async fn handshake<S: Transport>(
    stream: S,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<S>, SourceError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| configuration(format!("`{host}` is no host name for TLS: correct the URL.")).because(error))?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| refused(host, error))
}

/// Asks for StartTLS, and reads exactly the answer: not one byte after it, which would be taken for the handshake.
pub(super) async fn start_tls<S>(stream: &mut S, host: &str) -> Result<(), SourceError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: io::Error| {
        let message =
            format!("{host} broke the connection off when asked for StartTLS: check the port, or use ldaps://.");
        SourceError::new(SourceErrorKind::Tls, message).because(error)
    };
    stream.write_all(STARTTLS_REQUEST).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    let head = loop {
        answer.push(stream.read_u8().await.map_err(broken)?);
        match ber::message_header(&answer) {
            Ok(None) => {}
            Ok(Some(head)) if head.total <= STARTTLS_ANSWER_BYTES_MAX => break head,
            _ => return Err(no_starttls(host, "something that is not LDAP")),
        }
    };
    answer.resize(head.total, 0);
    stream.read_exact(&mut answer[head.content..]).await.map_err(broken)?;
    match ber::message(&answer) {
        Ok(said) if said.id == 1 && said.operation == ber::operation::EXTENDED_RESPONSE && said.code == 0 => Ok(()),
        Ok(said) => Err(no_starttls(host, &format!("code {}", said.code))),
        Err(_) => Err(no_starttls(host, "something that is not LDAP")),
    }
}

fn no_starttls(host: &str, answer: &str) -> SourceError {
    SourceError::new(
        SourceErrorKind::Tls,
        format!(
            "{host} refuses StartTLS ({answer}), so no credentials were sent: enable TLS at the server or use ldaps://, \
             and if both are right, somebody between may strip TLS."
        ),
    )
}

fn refused(host: &str, error: io::Error) -> SourceError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let message = match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => certificate_refused(host, reason),
        Some(rustls::Error::AlertReceived(alert)) => {
            format!(
                "{host} refused the TLS connection ({alert:?}): check its log, and whether it wants a client certificate."
            )
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!(
                "{host} does not answer in TLS: check the port (usually 636 for ldaps://, 389 for ldap:// with StartTLS)."
            )
        }
        Some(_) => {
            format!("TLS with {host} could not be agreed: compare its TLS versions and ciphers with TLS 1.2 and 1.3.")
        }
        None => {
            format!("{host} broke the connection off during the TLS handshake: check the port and the server's log.")
        }
    };
    SourceError::new(SourceErrorKind::Tls, message).because(error)
}

fn certificate_refused(host: &str, reason: &CertificateError) -> String {
    use CertificateError as Reason;
    match reason {
        Reason::Expired | Reason::ExpiredContext { .. } => {
            format!("The certificate of {host} has expired: renew it at the server.")
        }
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            format!("The certificate of {host} is not valid yet: compare the clocks of both machines.")
        }
        Reason::NotValidForName => {
            format!("The certificate of {host} is for another host: use the name in the certificate as the URL's host.")
        }
        Reason::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("The certificate of {host} names no host (subjectAltName): have it issued anew with {host} in it.")
        }
        Reason::NotValidForNameContext { presented, .. } => format!(
            "The certificate of {host} is for another host ({}): use one of its names as the URL's host.",
            presented
                .iter()
                .take(5)
                .map(|name| name.split('"').nth(1).unwrap_or(name).escape_debug().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Reason::UnknownIssuer | Reason::BadSignature => format!(
            "The certificate of {host} is not signed by a trusted authority: set `tls.ca_file` to the certificate of its CA."
        ),
        Reason::Revoked => format!("The certificate of {host} has been revoked: replace it at the server."),
        // The commonest of the rest: a self-signed server certificate that is marked as a CA and stands in `ca_file`.
        _ => format!(
            "The certificate of {host} cannot be used for a server: it must be a server certificate signed by the CA \
             in `tls.ca_file`, not the CA itself."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_well_formed() {
        assert_eq!(
            ber::request(STARTTLS_REQUEST),
            Ok((1, ber::operation::EXTENDED_REQUEST))
        );
        let head = ber::header(STARTTLS_REQUEST).expect("short").expect("whole");
        assert_eq!(head.total, STARTTLS_REQUEST.len());
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let error = client_config(Some(Path::new("/nonexistent/ca.pem")), None).expect_err("missing");
        assert_eq!(error.kind, SourceErrorKind::Configuration);
        assert!(error.message.contains("/nonexistent/ca.pem"), "{}", error.message);
    }
}
