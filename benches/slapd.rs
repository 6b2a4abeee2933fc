//! A real OpenLDAP server with the generated people. Filling it takes minutes at a million, so a filled directory is
//! kept below the build directory, and used again where generator and size are the same.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::child::{self, Cost, Output, Server};
use crate::people::{self, GENERATOR, State};

const SUFFIX: &str = "dc=directory,dc=example";
const BASE: &str = "ou=partners,dc=directory,dc=example";
const READER: &str = "cn=reader,dc=directory,dc=example";
const ADMIN: &str = "cn=admin,dc=directory,dc=example";
const PASSWORD: &str = "example-password";
const FILTER: &str = "(objectClass=inetOrgPerson)";

/// What the program asks for with the configuration below, and so what the floor asks for.
const ATTRIBUTES: [&str; 10] = [
    "entryUUID",
    "o",
    "mail",
    "givenName",
    "sn",
    "telephoneNumber",
    "title",
    "employeeType",
    "businessCategory",
    "l",
];

/// Longest start that is waited for: a directory of a million is opened, not read.
const START_MAX: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Slapd {
    pub(crate) server: Server,
    directory: PathBuf,
    port: u16,
    people: usize,
}

impl Slapd {
    /// Fills a directory with `people` where there is none yet, and starts a server on it.
    pub(crate) fn start(cache: &Path, people: usize) -> Outcome<Self> {
        let directory = cache.join(format!("slapd-{GENERATOR}-{people}"));
        let filled = directory.join("filled");
        if !filled.exists() {
            fill(&directory, people)?;
            File::create(&filled)?;
        }
        let (server, port) = listening(&directory)?;
        let slapd = Self {
            server,
            directory,
            port,
            people,
        };
        // An earlier measurement that was broken off may have left the other state, or something between the two.
        if fs::read_to_string(slapd.state_file())? != format!("{:?}", State::Original) {
            slapd.become_state(State::Original)?;
        }
        Ok(slapd)
    }

    fn state_file(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Changes 1 % of the people, or changes them back.
    pub(crate) fn become_state(&self, state: State) -> Outcome<()> {
        fs::write(self.state_file(), "between two states")?;
        let file = self.directory.join("changes.ldif");
        let mut ldif = String::new();
        for number in (0..self.people).filter(|number| people::changes(*number)) {
            people::person(number, self.people, state).modification(BASE, &mut ldif);
        }
        fs::write(&file, ldif)?;
        let mut modify = Command::new("ldapmodify");
        modify.args([
            "-x",
            "-D",
            ADMIN,
            "-w",
            PASSWORD,
            "-H",
            &socket_url(&self.directory),
            "-f",
        ]);
        succeed(modify.arg(&file))?;
        Ok(fs::write(self.state_file(), format!("{state:?}"))?)
    }

    /// The source's part of the configuration.
    pub(crate) fn configuration(&self) -> String {
        format!(
            r#"[[sources]]
name = "bench"
kind = "ldap"
url = "{}"
bind_dn = "{READER}"
bind_password_file = "{}"
base_dn = "{BASE}"
filter = "{FILTER}"
external_id = "entryUUID"
organization = "o"
[sources.fields]
status = {{ lookup = "employeeType", table = {{ "former" = "disabled" }}, default = "active" }}
roles = "businessCategory"
[sources.fields.attributes]
city = "l"
"#,
            self.url(),
            self.password_file().display()
        )
    }

    fn url(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    fn password_file(&self) -> PathBuf {
        self.directory.join("password")
    }

    /// The floor: the same entries and attributes to /dev/null, in pages of the same size.
    pub(crate) fn export(&self, work: &Path) -> Outcome<Cost> {
        let (url, password, paging) = (self.url(), self.password_file(), export_paging());
        let mut arguments: Vec<&OsStr> = ["-x", "-LLL", "-o", "ldif-wrap=no", "-H"].map(OsStr::new).to_vec();
        arguments.extend([
            OsStr::new(&url),
            "-D".as_ref(),
            READER.as_ref(),
            "-y".as_ref(),
            password.as_os_str(),
        ]);
        arguments.extend(["-b", BASE, "-E", &paging, FILTER].map(OsStr::new));
        arguments.extend(ATTRIBUTES.map(OsStr::new));
        let ended = child::run(work, "ldapsearch".as_ref(), &arguments, &[], &Output::Discarded)?;
        if ended.code == 0 {
            Ok(ended.cost)
        } else {
            Err(format!("ldapsearch: {}", ended.stderr).into())
        }
    }
}

fn export_paging() -> String {
    format!("pr={}/noprompt", people::PAGE)
}

/// The floor's command, as it is shown.
pub(crate) fn export_command() -> String {
    format!(
        "ldapsearch -x -LLL -o ldif-wrap=no -b {BASE} -E {} '{FILTER}' {} > /dev/null",
        export_paging(),
        ATTRIBUTES.join(" ")
    )
}

fn socket_url(directory: &Path) -> String {
    format!(
        "ldapi://{}",
        directory.join("ldapi").display().to_string().replace('/', "%2F")
    )
}

fn succeed(command: &mut Command) -> Outcome<()> {
    let output = command.output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn fill(directory: &Path, people: usize) -> Outcome<()> {
    // What an attempt before this one left behind is not to be trusted.
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory.join("db"))?;
    let password = directory.join("password");
    fs::write(&password, PASSWORD)?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    let config = directory.join("slapd.conf");
    fs::write(&config, configuration(directory, people))?;
    let seed = directory.join("seed.ldif");
    let mut file = BufWriter::new(File::create(&seed)?);
    write!(
        file,
        "dn: {SUFFIX}\nobjectClass: domain\ndc: directory\n\ndn: {BASE}\nobjectClass: organizationalUnit\nou: partners\n\n\
         dn: {READER}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: reader\n\
         userPassword: {PASSWORD}\n\n"
    )?;
    let mut ldif = String::new();
    for number in 0..people {
        ldif.clear();
        people::person(number, people, State::Original).ldif(BASE, &mut ldif);
        file.write_all(ldif.as_bytes())?;
    }
    file.flush()?;
    succeed(
        Command::new("/usr/sbin/slapadd")
            .arg("-q")
            .arg("-f")
            .arg(&config)
            .arg("-l")
            .arg(&seed),
    )?;
    fs::remove_file(&seed)?;
    Ok(fs::write(directory.join("state"), format!("{:?}", State::Original))?)
}

/// As Debian sets it up, with the indexes that a directory of people has; only the changes between two measurements
/// are not flushed to the disk one by one.
fn configuration(directory: &Path, people: usize) -> String {
    format!(
        r#"include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {dir}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
loglevel none
database mdb
suffix "{SUFFIX}"
rootdn "{ADMIN}"
rootpw {PASSWORD}
directory {dir}/db
maxsize {maxsize}
dbnosync
index objectClass,uid,mail,o,entryUUID eq
limits dn.exact="{READER}" size=unlimited time=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"#,
        dir = directory.display(),
        // The address space of the database, not its size: 16 KiB a person is several times what one takes.
        maxsize = (people as u64 * 16 * 1024).max(1 << 30),
    )
}

/// Starts the server and waits until it listens. A port that somebody else took meanwhile is replaced.
fn listening(directory: &Path) -> Outcome<(Server, u16)> {
    let config = directory.join("slapd.conf");
    let deadline = Instant::now() + START_MAX;
    while Instant::now() < deadline {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        for left in ["slapd.pid", "ldapi"] {
            // There may be none.
            let _ = fs::remove_file(directory.join(left));
        }
        let listen = format!("ldap://localhost:{port}/ {}/", socket_url(directory));
        let arguments = [
            "-d".as_ref(),
            "0".as_ref(),
            "-h".as_ref(),
            OsStr::new(&listen),
            "-f".as_ref(),
            config.as_os_str(),
        ];
        let mut server = Server::start("/usr/sbin/slapd".as_ref(), &arguments, Stdio::null())?;
        while server.0.try_wait()?.is_none() && Instant::now() < deadline {
            // Written once all its ports are its own, so that no other server on a port is taken for it.
            if directory.join("slapd.pid").exists()
                && UnixStream::connect(directory.join("ldapi")).is_ok()
                && TcpStream::connect(("localhost", port)).is_ok()
            {
                return Ok((server, port));
            }
            // Between two looks; nothing else tells when a server listens.
            thread::sleep(Duration::from_millis(5));
        }
    }
    Err(format!("slapd does not start on {}", directory.display()).into())
}
