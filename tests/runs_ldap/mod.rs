//! The whole program with a real slapd, on both databases: what is asked for here is what an operator would see, by
//! the binary's own answers and by plain SQL. Never reaches into the program.

mod addresses;
mod brakes;
mod drift;
mod failures;
mod held;
mod life;
mod linking;
mod roles;
mod scopes;
mod sources;

use serde_json::Value as Json;

use crate::harness::database::Database;
use crate::harness::program::Program;
use crate::harness::slapd::{Options, PARTNERS, PASSWORD, READER, Slapd};

/// The firms of the seed.
const ACME: &str = "Acme Engineering";
const BOLT: &str = "Bolt Surveying";
const CRANE: &str = "Crane Works";

/// A directory, a database and the program between them.
struct World {
    db: Database,
    slapd: Slapd,
    program: Program,
}

/// What differs between the configurations of the tests.
struct Setting<'a> {
    /// Tables that come before the source: `[fields]`, `[brakes]`.
    head: &'a str,
    /// Further keys of the source.
    source: &'a str,
    url: String,
    bind_dn: &'a str,
    base_dn: &'a str,
    password_file: &'a str,
    /// The value of the key, as TOML.
    organization: &'a str,
}

/// Somebody of the directory: the uid, and the firm in whose branch the entry stands.
#[derive(Clone, Copy)]
struct Who(&'static str, &'static str);

/// Of the seed, by firm and uid.
const ANNA: Who = Who("aklein", ACME);
const BRUNO: Who = Who("bnovak", ACME);
const CHLOE: Who = Who("cmoreau", BOLT);
const EBELE: Who = Who("eokafor", CRANE);

impl Who {
    /// Its distinguished name.
    fn dn(self) -> String {
        format!("uid={},o={},{PARTNERS}", self.0, self.1)
    }

    /// The address of the seed.
    fn mail(self) -> String {
        let domain = self.1.split(' ').next().unwrap_or(self.1).to_lowercase();
        format!("{}@{domain}.example", self.0)
    }
}

impl World {
    /// The six people of the seed; nothing is read yet.
    fn new(db: Database) -> Self {
        Self::with(db, Options::default())
    }

    /// A directory with `more` people beside the six.
    fn large(db: Database, more: usize) -> Self {
        Self::with(
            db,
            Options {
                more_people: more,
                ..Options::default()
            },
        )
    }

    fn with(db: Database, options: Options) -> Self {
        let slapd = Slapd::with(options);
        let program = Program::new("");
        program.secret("password", PASSWORD);
        let world = Self { db, slapd, program };
        world.set(&world.setting());
        world
    }

    /// The six people of the seed, read once.
    fn loaded(db: Database) -> Self {
        let world = Self::new(db);
        assert_eq!(world.sync(), "create=6");
        world
    }

    /// The setting that every test begins with.
    fn setting(&self) -> Setting<'static> {
        Setting {
            head: "",
            source: "",
            url: self.slapd.url(),
            bind_dn: READER,
            base_dn: PARTNERS,
            password_file: "password",
            organization: "\"o\"",
        }
    }

    /// The `[database]` table of the configuration.
    fn database(&self) -> String {
        format!("[database]\nurl = \"{}\"\n", self.db.url)
    }

    /// Configures one source `partners`.
    fn set(&self, setting: &Setting<'_>) {
        let config = format!("{}{}\n{}", self.database(), setting.head, source("partners", setting));
        self.program.configure(&config);
    }

    /// One run of `partners` that must be applied and end with code 0; answers its counts.
    #[track_caller]
    fn sync(&self) -> String {
        let run = self.run(0, &[]);
        assert_eq!(run["state"], "applied", "{run:#}");
        counts(&run)
    }

    /// One run of `partners` that must end with `code`.
    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str]) -> Json {
        self.command(code, &[&["sync", "partners", "--output", "json"], arguments].concat())
    }

    /// A command that answers one JSON document and must end with `code`.
    #[track_caller]
    fn command(&self, code: i32, arguments: &[&str]) -> Json {
        let ran = self.program.run(arguments);
        assert_eq!(ran.code, code, "rollcall {arguments:?}: {ran:#?}");
        assert!(
            !ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD),
            "{ran:#?}"
        );
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {ran:#?}"))
    }

    /// The changes of the last run.
    #[track_caller]
    fn changes(&self) -> Vec<Json> {
        let lines = self.program.ok(&["runs", "changes", "last", "--output", "json"]);
        let parsed = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("a change a line"));
        parsed.collect()
    }

    /// The one change of the last run.
    #[track_caller]
    fn change(&self) -> Json {
        let mut changes = self.changes();
        assert_eq!(changes.len(), 1, "{changes:#?}");
        changes.remove(0)
    }

    /// Columns of the user that the entry is linked to, `-` for NULL, joined by `|`.
    async fn user(&self, who: Who, columns: &str) -> String {
        let columns: Vec<String> = columns.split(' ').map(|c| format!("CAST(u.{c} AS text)")).collect();
        let sql = format!(
            "SELECT {} FROM users u JOIN records r ON r.user_id = u.id WHERE r.external_id = '{}'",
            columns.join(", "),
            who.0
        );
        let rows = self.db.query(&sql).await;
        assert_eq!(rows.len(), 1, "{}: {rows:?}", who.0);
        rows.into_iter().next().expect("one row")
    }

    /// Sets columns of the user that the entry is linked to, by plain SQL as any application may.
    async fn edit(&self, who: Who, assignments: &str) {
        let sql = format!(
            "UPDATE users SET {assignments} WHERE id = (SELECT user_id FROM records WHERE external_id = '{}')",
            who.0
        );
        assert_eq!(self.db.sql(&sql).await, 1, "{}", who.0);
    }

    /// Grants a role here.
    async fn grant(&self, email: &str, role: &str) {
        let id = id_of(role);
        self.db
            .sql(&format!(
                "INSERT INTO groups (id, kind, name) VALUES ('{id}', 'role', '{role}') ON CONFLICT DO NOTHING"
            ))
            .await;
        let sql = format!(
            "INSERT INTO memberships (user_id, group_id, origin) SELECT u.id, g.id, 'local' FROM users u, groups g \
             WHERE u.email = '{email}' AND g.kind = 'role' AND g.name = '{role}'"
        );
        assert_eq!(self.db.sql(&sql).await, 1, "{email}");
    }

    /// A user that no source owns.
    async fn local_user(&self, kind: &str, email: &str) {
        let id = id_of(email);
        let sql = format!(
            "INSERT INTO users (id, kind, email, first_name, created_at, updated_at) \
             VALUES ('{id}', '{kind}', '{email}', 'Local', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')"
        );
        assert_eq!(self.db.sql(&sql).await, 1);
    }

    /// `role/origin` of a user's roles, joined by `, `.
    async fn roles_of(&self, email: &str) -> String {
        let sql = format!(
            "SELECT g.name || '/' || m.origin FROM memberships m JOIN groups g ON g.id = m.group_id \
             JOIN users u ON u.id = m.user_id WHERE u.email = '{email}' AND g.kind = 'role' ORDER BY g.name"
        );
        self.db.query(&sql).await.join(", ")
    }

    /// Every row of every table that a sync writes for applications and for its own memory of the directory.
    async fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (table, columns) in TABLES {
            let columns: Vec<String> = columns.split(' ').map(|c| format!("CAST({c} AS text)")).collect();
            let sql = format!("SELECT '{table}', {} FROM {table} ORDER BY 2, 3", columns.join(", "));
            all.extend(self.db.query(&sql).await);
        }
        all
    }

    /// Addresses of users, sorted, that have `status`.
    async fn addresses(&self, status: &str) -> Vec<String> {
        let sql = format!("SELECT email FROM users WHERE status = '{status}' ORDER BY email");
        self.db.query(&sql).await
    }

    /// How many users are disabled.
    async fn disabled(&self) -> usize {
        self.addresses("disabled").await.len()
    }
}

/// The tables of [`World::everything`] and all their columns; the first two columns give an order.
const TABLES: [(&str, &str); 8] = [
    (
        "users",
        "id email kind first_name last_name phone title organization_id license billable status disabled_by attributes \
         session_epoch created_at updated_at",
    ),
    (
        "records",
        "source external_id user_id organization_id digest covered email first_name last_name phone title kind license \
         billable status roles attributes absent run_id created_at changed_at",
    ),
    ("groups", "id kind name"),
    ("memberships", "user_id group_id origin"),
    (
        "organizations",
        "id name kind source external_id followed status attributes created_at updated_at",
    ),
    (
        "quarantine",
        "source external_id organization code detail first_seen_at last_seen_at times run_id",
    ),
    (
        "audit",
        "id at actor action source run_id user_id organization_id details",
    ),
    ("outbox", "id created_at kind payload delivered_at"),
];

/// One `[[sources]]` table.
fn source(name: &str, setting: &Setting<'_>) -> String {
    let Setting {
        source,
        url,
        bind_dn,
        base_dn,
        password_file,
        organization,
        ..
    } = setting;
    format!(
        r#"
[[sources]]
name = "{name}"
kind = "ldap"
url = "{url}"
bind_dn = "{bind_dn}"
bind_password_file = "{password_file}"
base_dn = "{base_dn}"
filter = "(objectClass=inetOrgPerson)"
external_id = "uid"
organization = {organization}
{source}
[sources.fields]
kind = {{ lookup = "employeeType", table = {{ "contract" = "contractor" }}, default = "consultant" }}
status = {{ lookup = "description", table = {{ "on leave" = "disabled" }}, default = "active" }}
billable = {{ lookup = "carLicense", table = {{ "yes" = "true" }}, default = "false" }}
license = "departmentNumber"
roles = "businessCategory"
[sources.fields.attributes]
city = "l"
"#
    )
}

/// An id of a row that is made here: always the same for the same name.
fn id_of(name: &str) -> uuid::Uuid {
    let number = name
        .bytes()
        .fold(1_u128, |sum, byte| sum.wrapping_mul(257).wrapping_add(u128::from(byte)));
    uuid::Builder::from_u128(number)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

/// The distinguished name of one of the numbered people, who take turns in the firms.
fn numbered(number: usize) -> String {
    let firm = [ACME, BOLT, CRANE][number % 3];
    format!("uid=p{number:06},o={firm},{PARTNERS}")
}

/// What is not zero of a run's counts, in one order: `create=6`, `update=1 unchanged=5 drift=1`, or `nothing`.
fn counts(run: &Json) -> String {
    let names = [
        "create",
        "update",
        "disable",
        "enable",
        "delete",
        "unchanged",
        "drift",
        "quarantine",
    ];
    let counted = names.into_iter().filter_map(|name| {
        let n = run["plan"][name].as_u64().expect("a count");
        (n > 0).then(|| format!("{name}={n}"))
    });
    let all: Vec<String> = counted.collect();
    if all.is_empty() {
        "nothing".into()
    } else {
        all.join(" ")
    }
}

/// The codes of a run's quarantine, `id code`, in its order.
fn quarantined(run: &Json) -> Vec<String> {
    let all = run["quarantined"].as_array().expect("a list");
    let word = |one: &Json, key: &str| one[key].as_str().expect("text").to_owned();
    all.iter()
        .map(|one| format!("{} {}", word(one, "external_id"), word(one, "code")))
        .collect()
}

/// The error of a run is one line that has every one of these parts, and no secret.
#[track_caller]
fn sentence(run: &Json, parts: &[&str]) {
    let message = run["error"]["message"].as_str().unwrap_or_default();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let clean = !message.contains(PASSWORD) && !message.contains('\n');
    assert!(clean && !message.is_empty(), "{message:?}");
}
