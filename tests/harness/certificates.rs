//! Certificates for tests: a CA of our own, and server and client certificates that are good, expired, for another
//! host or signed by nobody. Writes PEM files into a directory that goes away with the value.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// A CA and the files that it has signed.
pub(crate) struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

/// What is wrong with a server certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing: `localhost`, 127.0.0.1 and ::1.
    None,
    /// It has expired.
    Expired,
    /// It is for another host.
    OtherHost,
    /// It is signed by itself alone.
    SelfSigned,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Example Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA");
        let dir = TempDir::new().expect("a temporary directory");
        fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("writable");
        Self { dir, issuer }
    }

    /// The file that clients trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A server certificate.
    pub(crate) fn server(&self, flaw: Flaw) -> Issued {
        let names = match flaw {
            Flaw::OtherHost => vec!["elsewhere.example".to_owned()],
            _ => ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        };
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(DnType::CommonName, "directory.example");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 12, 31);
        }
        self.write(&format!("server-{flaw:?}"), params, flaw == Flaw::SelfSigned)
    }

    /// A client certificate for the subject `CN=name`.
    pub(crate) fn client(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.write(&format!("client-{name}"), params, false)
    }

    fn write(&self, name: &str, params: CertificateParams, self_signed: bool) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = if self_signed {
            params.self_signed(&key)
        } else {
            params.signed_by(&key, &self.issuer)
        }
        .expect("signed");
        let issued = Issued {
            certificate_file: self.dir.path().join(format!("{name}.pem")),
            key_file: self.dir.path().join(format!("{name}.key")),
        };
        fs::write(&issued.certificate_file, certificate.pem()).expect("writable");
        fs::write(&issued.key_file, key.serialize_pem()).expect("writable");
        issued
    }
}
