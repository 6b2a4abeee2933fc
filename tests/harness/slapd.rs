//! A real OpenLDAP server (Debian's `slapd`) of a test's own: a temporary directory, a free port, killed on drop.
//!
//! `Slapd::start()` holds three firms with six people below [`PARTNERS`], each firm also as a group below [`FIRMS`].
//! Three identities read it, each with the password of [`PASSWORD`]: [`READER`] without limits, [`LIMITED`] with a
//! size limit of 50, [`BLIND`] without a right to the people.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::certificates::{Authority, Flaw};

pub(crate) const SUFFIX: &str = "dc=directory,dc=example";
pub(crate) const PARTNERS: &str = "ou=partners,dc=directory,dc=example";
pub(crate) const FIRMS: &str = "ou=firms,dc=directory,dc=example";
pub(crate) const READER: &str = "cn=reader,dc=directory,dc=example";
pub(crate) const LIMITED: &str = "cn=limited,dc=directory,dc=example";
pub(crate) const BLIND: &str = "cn=blind,dc=directory,dc=example";
pub(crate) const PASSWORD: &str = "canary-of-the-directory";

const ADMIN: &str = "cn=admin,dc=directory,dc=example";
const ADMIN_PASSWORD: &str = "admin-of-the-directory";

/// Longest start of a server that is waited for.
const START_MAX: Duration = Duration::from_secs(30);

/// What a server is started with.
pub(crate) struct Options {
    /// How many people there are beside the six, `p000001` onwards, spread over the firms.
    pub(crate) more_people: usize,
    /// What is wrong with its certificate.
    pub(crate) flaw: Flaw,
    /// Further lines of `slapd.conf`, before the database.
    pub(crate) config: String,
    /// Whether TLS is offered.
    pub(crate) tls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            more_people: 0,
            flaw: Flaw::None,
            config: String::new(),
            tls: true,
        }
    }
}

/// A running server.
pub(crate) struct Slapd {
    dir: TempDir,
    process: Child,
    port: u16,
    tls_port: u16,
    pub(crate) authority: Authority,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It may have ended by itself; its files go away anyhow.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Slapd {
    /// With the three firms.
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    /// With what `options` say.
    pub(crate) fn with(options: Options) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let authority = Authority::new();
        fs::create_dir(dir.path().join("db")).expect("writable");
        let config = dir.path().join("slapd.conf");
        fs::write(&config, configuration(dir.path(), &authority, &options)).expect("writable");
        let seed = dir.path().join("seed.ldif");
        fs::write(&seed, people(options.more_people)).expect("writable");
        run(
            Command::new("/usr/sbin/slapadd")
                .arg("-q")
                .arg("-f")
                .arg(&config)
                .arg("-l")
                .arg(&seed),
            "",
        );
        let (process, port, tls_port) = started(dir.path(), &config, options.tls);
        let slapd = Self {
            dir,
            process,
            port,
            tls_port,
            authority,
        };
        // Added to a running server, so that the overlay keeps `memberOf`.
        slapd.load(&groups());
        slapd
    }

    /// Without TLS, or for StartTLS.
    pub(crate) fn url(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    /// With TLS from the first byte.
    pub(crate) fn ldaps_url(&self) -> String {
        format!("ldaps://localhost:{}", self.tls_port)
    }

    /// Over a Unix socket.
    pub(crate) fn ldapi_url(&self) -> String {
        format!("ldapi://{}", socket_of(self.dir.path()))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.authority.ca_file()
    }

    /// Adds the entries of an LDIF.
    pub(crate) fn load(&self, ldif: &str) {
        self.change(&["-a"], ldif);
    }

    /// Carries out an LDIF with `changetype`s.
    pub(crate) fn modify(&self, ldif: &str) {
        self.change(&[], ldif);
    }

    /// Sets one attribute of one entry.
    pub(crate) fn set(&self, dn: &str, attribute: &str, value: &str) {
        self.modify(&format!(
            "dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
        ));
    }

    /// Removes one entry.
    pub(crate) fn delete(&self, dn: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: delete\n"));
    }

    /// Renames or moves one entry.
    pub(crate) fn rename(&self, dn: &str, new_rdn: &str, new_superior: Option<&str>) {
        let superior = new_superior
            .map(|dn| format!("newsuperior: {dn}\n"))
            .unwrap_or_default();
        self.modify(&format!(
            "dn: {dn}\nchangetype: modrdn\nnewrdn: {new_rdn}\ndeleteoldrdn: 1\n{superior}"
        ));
    }

    fn change(&self, arguments: &[&str], ldif: &str) {
        let mut command = Command::new("ldapmodify");
        command
            .args(["-x", "-D", ADMIN, "-w", ADMIN_PASSWORD, "-H", &self.ldapi_url()])
            .args(arguments);
        run(&mut command, ldif);
    }
}

/// Runs a tool with `input`, and panics with what it said where it fails.
fn run(command: &mut Command, input: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("slapd and ldap-utils are installed");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("the tool reads");
    let output = child.wait_with_output().expect("ended");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn socket_of(dir: &Path) -> String {
    dir.join("ldapi").to_str().expect("a plain path").replace('/', "%2F")
}

/// Starts the server and waits until it listens. A port that somebody else took meanwhile is replaced.
fn started(dir: &Path, config: &Path, tls: bool) -> (Child, u16, u16) {
    let deadline = Instant::now() + START_MAX;
    loop {
        let (port, tls_port) = (free_port(), free_port());
        let ldaps = if tls {
            format!(" ldaps://localhost:{tls_port}/")
        } else {
            String::new()
        };
        // What an attempt before this one left behind says nothing of this one.
        for left in ["slapd.pid", "ldapi"] {
            let _ = fs::remove_file(dir.join(left));
        }
        let listen = format!("ldap://localhost:{port}/ ldapi://{}/{ldaps}", socket_of(dir));
        let mut process = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &listen, "-f"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd is installed");
        while process.try_wait().expect("a child").is_none() {
            // Written once all its ports are its own, so that no other server on a port is taken for it.
            let listens =
                || UnixStream::connect(dir.join("ldapi")).is_ok() && TcpStream::connect(("localhost", port)).is_ok();
            if dir.join("slapd.pid").exists() && listens() {
                return (process, port, tls_port);
            }
            assert!(Instant::now() < deadline, "slapd does not listen");
            // Between two looks; nothing else tells when a server listens.
            thread::sleep(Duration::from_millis(5));
        }
        assert!(Instant::now() < deadline, "slapd does not start");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn configuration(dir: &Path, authority: &Authority, options: &Options) -> String {
    let server = authority.server(options.flaw);
    let tls = match options.tls {
        true => format!(
            "TLSCACertificateFile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\nTLSVerifyClient try\n",
            authority.ca_file().display(),
            server.certificate_file.display(),
            server.key_file.display()
        ),
        false => String::new(),
    };
    format!(
        r#"include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {dir}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
loglevel none
{tls}authz-regexp "^cn=reader$" "{READER}"
authz-regexp "cn=peercred,cn=external,cn=auth$" "{READER}"
sizelimit 500
{extra}
database mdb
suffix "{SUFFIX}"
rootdn "{ADMIN}"
rootpw {ADMIN_PASSWORD}
directory {dir}/db
maxsize 1073741824
dbnosync
index objectClass,uid,mail,o,entryUUID,member,memberOf eq
limits dn.exact="{READER}" size=unlimited time=unlimited
limits dn.exact="{BLIND}" size=unlimited time=unlimited
limits dn.exact="{LIMITED}" size=50
access to attrs=userPassword by anonymous auth by * none
access to dn.children="{PARTNERS}" by dn.exact="{BLIND}" none by users read by * none
access to * by * read
overlay memberof
"#,
        dir = dir.display(),
        extra = options.config,
    )
}

/// A firm: its name; the id, given name and family name of its people.
type Firm = (&'static str, [(&'static str, &'static str, &'static str); 2]);

/// The three firms.
const PEOPLE: [Firm; 3] = [
    (
        "Acme Engineering",
        [("aklein", "Anna", "Klein"), ("bnovak", "Bruno", "Novak")],
    ),
    (
        "Bolt Surveying",
        [("cmoreau", "Chloé", "Moreau"), ("dpetrov", "Dimitri", "Petrov")],
    ),
    (
        "Crane Works",
        [("eokafor", "Ebele", "Okafor"), ("fsilva", "Filipe", "Silva")],
    ),
];

fn people(more: usize) -> String {
    let mut ldif = format!(
        "dn: {SUFFIX}\nobjectClass: domain\ndc: directory\n\ndn: {PARTNERS}\nobjectClass: organizationalUnit\nou: partners\n\ndn: {FIRMS}\nobjectClass: organizationalUnit\nou: firms\n\n"
    );
    for name in ["reader", "limited", "blind"] {
        write!(
            ldif,
            "dn: cn={name},{SUFFIX}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: {name}\nuserPassword: {PASSWORD}\n\n"
        )
        .expect("a string");
    }
    for (firm, people) in PEOPLE {
        write!(
            ldif,
            "dn: o={firm},{PARTNERS}\nobjectClass: organization\no: {firm}\n\n"
        )
        .expect("a string");
        for (uid, given, family) in people {
            ldif.push_str(&person(firm, uid, given, family));
        }
    }
    for number in 1..=more {
        let (firm, _) = PEOPLE[number % PEOPLE.len()];
        ldif.push_str(&person(
            firm,
            &format!("p{number:06}"),
            "Pat",
            &format!("Person {number}"),
        ));
    }
    ldif
}

/// The LDIF of one person; `dn: uid=…,o=firm,ou=partners,…`.
pub(crate) fn person(firm: &str, uid: &str, given: &str, family: &str) -> String {
    let mut ldif = format!("dn: uid={uid},o={firm},{PARTNERS}\nobjectClass: inetOrgPerson\nuid: {uid}\n");
    let domain = firm.split(' ').next().unwrap_or(firm).to_lowercase();
    write!(ldif, "givenName: {given}\nsn: {family}\ncn: {given} {family}\n").expect("a string");
    write!(
        ldif,
        "mail: {uid}@{domain}.example\ntelephoneNumber: +1 555 0100\no: {firm}\n\n"
    )
    .expect("a string");
    ldif
}

fn groups() -> String {
    let mut ldif = String::new();
    for (firm, people) in PEOPLE {
        write!(ldif, "dn: cn={firm},{FIRMS}\nobjectClass: groupOfNames\ncn: {firm}\n").expect("a string");
        for (uid, _, _) in people {
            writeln!(ldif, "member: uid={uid},o={firm},{PARTNERS}").expect("a string");
        }
        ldif.push('\n');
    }
    ldif
}
