//! What every acceptance test stands on: a directory with three firms, an empty database, and the program configured
//! to bring the one into the other.

use std::net::SocketAddr;

use jiff::Timestamp;
use rollcall::cli::directory::model::{Account, AccountStatus, Kind, Organization, OrganizationStatus};
use rollcall::cli::directory::{Directory, Options, Running, Sample, start};
use serde_json::Value as Json;

use crate::directory::Hands;
use crate::harness::database::Database;
use crate::harness::program::Program;

/// The keys that scripts rely on in the document of a run.
const KEYS: [&str; 14] = [
    "run",
    "source",
    "organization",
    "user",
    "mode",
    "dry_run",
    "state",
    "listing",
    "plan",
    "brake",
    "error",
    "started_at",
    "finished_at",
    "duration_ms",
];

/// The database, the directory and the program.
pub(crate) struct Stage {
    pub(crate) db: Database,
    pub(crate) directory: Directory,
    pub(crate) program: Program,
    _running: Running,
}

/// What `sync --output json` answered.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) code: i32,
    pub(crate) document: Json,
}

/// A firm that asked for access.
pub(crate) fn firm(id: &str, name: &str) -> Organization {
    Organization {
        id: id.into(),
        name: name.into(),
        kind: Kind::Consultant,
        status: OrganizationStatus::Active,
        requested_access: true,
        founder_id: None,
        phone: Some("+1 555 0100".into()),
        city: Some("Sampleville".into()),
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// An account of a firm.
pub(crate) fn account(id: &str, organization: &str) -> Account {
    Account {
        id: id.into(),
        organization_id: organization.into(),
        email: format!("{id}@{organization}.example"),
        first_name: "Avery".into(),
        last_name: format!("Sampleton {id}"),
        phone: Some("+1 555 0101".into()),
        title: Some("Estimator".into()),
        kind: None,
        roles: vec!["member".into()],
        status: AccountStatus::Active,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// The configuration for a directory at `url`; `more` comes before the source, and may have tables of its own.
pub(crate) fn configuration(database: &str, url: &str, more: &str) -> String {
    format!(
        "[database]\nurl = \"{database}\"\n\n[agency]\nname = \"Example Agency\"\n\n\
         [source_defaults]\nmax_retries = 0\n\n{more}\n\n\
         [[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"{url}\"\nauth = {{ kind = \"none\" }}\n"
    )
}

impl Stage {
    /// Three firms: `paving` with p01 to p20, `bridges` with b01 to b10, and `quiet` with q01 to q03, which did not ask
    /// for access. Nothing is synced yet.
    pub(crate) async fn new(db: Database) -> Self {
        let mut options = Options::new(SocketAddr::from(([127, 0, 0, 1], 0)), Hands::new().clock());
        options.sample = Sample {
            organizations: 0,
            accounts: 0,
            seed: 0,
        };
        let running = start(options).await.expect("the directory starts");
        let directory = running.directory.clone();
        let firms = [
            ("paving", "Example Paving", 20),
            ("bridges", "Example Bridges", 10),
            ("quiet", "Example Quiet", 3),
        ];
        for (id, name, people) in firms {
            let mut one = firm(id, name);
            one.requested_access = id != "quiet";
            directory.put_organization(one).expect("put");
            for number in 1..=people {
                let letter = &id[..1];
                directory
                    .put_account(account(&format!("{letter}{number:02}"), id))
                    .expect("put");
            }
        }
        let program = Program::new(&configuration(&db.url, running.url().as_str(), ""));
        Self {
            db,
            directory,
            program,
            _running: running,
        }
    }

    /// The same after a first sync of everything.
    pub(crate) async fn synced(db: Database) -> Self {
        let stage = Self::new(db).await;
        let first = stage.sync(&[]);
        first.is(0, "applied");
        assert_eq!(first.plan("create"), 30, "{first:#?}");
        stage
    }

    /// Where the directory is.
    pub(crate) fn url(&self) -> String {
        self._running.url().to_string()
    }

    /// Writes another configuration, with these tables in it.
    pub(crate) fn configure(&self, more: &str) {
        let url = self._running.url();
        self.program.configure(&configuration(&self.db.url, url.as_str(), more));
    }

    /// Runs `sync connex --output json` with these arguments.
    #[track_caller]
    pub(crate) fn sync(&self, arguments: &[&str]) -> Synced {
        sync(&self.program, arguments)
    }

    /// Changes an account at the directory.
    pub(crate) fn edit(&self, id: &str, change: impl FnOnce(&mut Account)) {
        self.directory.update_account(id, change).expect("an account");
    }

    /// Deletes accounts at the directory.
    pub(crate) fn remove<'i>(&self, ids: impl IntoIterator<Item = &'i str>) {
        for id in ids {
            self.directory.delete_account(id).expect("an account");
        }
    }

    /// One column of the user that an entry is linked to, as text.
    pub(crate) async fn value(&self, id: &str, column: &str) -> String {
        let sql = format!(
            "SELECT {column} FROM records r JOIN users u ON u.id = r.user_id \
             LEFT JOIN organizations o ON o.id = u.organization_id WHERE r.external_id = '{id}'"
        );
        self.db.query(&sql).await.pop().unwrap_or_else(|| "no user".into())
    }

    /// Status and organization of the user that an entry is linked to: `active|paving`.
    pub(crate) async fn standing(&self, id: &str) -> String {
        self.value(id, "u.status, o.external_id").await
    }

    /// How many users are active.
    pub(crate) async fn active(&self) -> usize {
        self.db
            .query("SELECT email FROM users WHERE status = 'active'")
            .await
            .len()
    }

    /// The quarantine: `external id|code`, sorted.
    pub(crate) async fn quarantine(&self) -> Vec<String> {
        self.db
            .query("SELECT external_id, code FROM quarantine ORDER BY external_id")
            .await
    }

    /// Makes an employee, with plain SQL as an application would; answers the id.
    pub(crate) async fn employee(&self, email: &str) -> String {
        let id = "0197a000-0000-7000-8000-000000000001";
        self.db
            .sql(&format!(
                "INSERT INTO users (id, kind, email, first_name) VALUES ('{id}', 'employee', '{email}', 'Example')"
            ))
            .await;
        id.to_owned()
    }

    /// Every row of every table but those that say when something ran, and the columns of the quarantine that do.
    pub(crate) async fn dump(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in [
            "users",
            "organizations",
            "groups",
            "memberships",
            "records",
            "changes",
            "run_organizations",
            "audit",
            "outbox",
            "quarantine",
        ] {
            let columns = match (table, self.db.url.starts_with("sqlite")) {
                ("quarantine", _) => "external_id, organization, code, detail, CAST(first_seen_at AS text)",
                (_, true) => "*",
                (_, false) => "row_to_json(t)::text",
            };
            let rows = self.db.query(&format!("SELECT {columns} FROM {table} t")).await;
            all.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
        }
        all.sort();
        all
    }
}

/// Runs `sync connex --output json`: whatever the exit code, the document is all that stands on standard output, and
/// has the keys that scripts rely on.
#[track_caller]
pub(crate) fn sync(program: &Program, arguments: &[&str]) -> Synced {
    let mut all = vec!["sync", "connex", "--output", "json"];
    all.extend_from_slice(arguments);
    let ran = program.run(&all);
    let document: Json =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON document alone ({e}): {ran:#?}"));
    for key in KEYS {
        assert!(document.get(key).is_some(), "no `{key}`: {document:#}");
    }
    for key in ["complete", "entries", "pages", "proof", "reason"] {
        assert!(
            document["listing"].get(key).is_some(),
            "no `listing.{key}`: {document:#}"
        );
    }
    for key in [
        "hash",
        "create",
        "update",
        "disable",
        "enable",
        "delete",
        "unchanged",
        "drift",
        "quarantine",
    ] {
        assert!(document["plan"].get(key).is_some(), "no `plan.{key}`: {document:#}");
    }
    Synced {
        code: ran.code,
        document,
    }
}

impl Synced {
    /// Asserts how it ended.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, state: &str) {
        assert_eq!(
            (self.code, self.document["state"].as_str()),
            (code, Some(state)),
            "{:#}",
            self.document
        );
    }

    /// One number of the plan.
    #[track_caller]
    pub(crate) fn plan(&self, what: &str) -> u64 {
        self.document["plan"][what].as_u64().expect("a number")
    }

    /// Create, update, disable and enable in one.
    #[track_caller]
    pub(crate) fn counts(&self) -> [u64; 4] {
        ["create", "update", "disable", "enable"].map(|what| self.plan(what))
    }

    /// The hash of the plan.
    #[track_caller]
    pub(crate) fn hash(&self) -> String {
        self.document["plan"]["hash"].as_str().expect("a hash").to_owned()
    }

    /// The run's id.
    #[track_caller]
    pub(crate) fn run(&self) -> String {
        self.document["run"].as_str().expect("an id").to_owned()
    }

    /// The sentence of the error.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        self.document["error"]["message"].as_str().expect("a sentence")
    }

    /// The first brake: its name and scope.
    #[track_caller]
    pub(crate) fn brake(&self) -> (&str, &str) {
        let of = |key: &str| self.document["brake"][key].as_str().expect("a brake");
        assert!(self.document["brake"]["explanation"].is_string(), "{:#}", self.document);
        (of("name"), of("scope"))
    }
}
