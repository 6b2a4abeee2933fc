//! Random edits on both sides, synced and compared with a naive model of what must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rollcall::cli::directory::model::{Account, AccountStatus};
use rollcall::cli::directory::{Directory, Options, Running, Sample, start};
use rollcall::domain::id::ExternalId;
use rollcall::engine::{Engine, Report, Request, Setup, Silent};
use rollcall::sources::connex::{Connex, Settings};
use rollcall::store::Actor;

use super::stage::{account, configuration, firm};
use crate::directory::Hands;
use crate::harness::database::Database;

const PEOPLE: usize = 7;
const FIRMS: [&str; 3] = ["paving", "bridges", "quiet"];
/// Two are the same but for their case.
const ADDRESSES: [&str; 8] = [
    "a@x.example",
    "A@X.example",
    "b@x.example",
    "c@x.example",
    "d@x.example",
    "e@x.example",
    "f@x.example",
    "g@x.example",
];
const WIDE: &str = "{ share = 1.0, count = 100000, floor = 1000 }";

/// One edit, at the directory or here.
#[derive(Debug, Clone)]
enum Edit {
    Put {
        who: usize,
        firm: usize,
        address: usize,
        title: u8,
        disabled: bool,
    },
    Swap {
        one: usize,
        other: usize,
    },
    Delete {
        who: usize,
    },
    LocalTitle {
        who: usize,
    },
    LocalAddress {
        who: usize,
        address: usize,
    },
    LocalLicense {
        who: usize,
        license: u8,
    },
    LocalOrganization {
        who: usize,
    },
    AdministratorDisables {
        who: usize,
    },
    LocallyEnabled {
        who: usize,
    },
    LocallyDeleted {
        who: usize,
    },
    Employee {
        address: usize,
    },
    Stranger {
        address: usize,
    },
    SyncFirm {
        firm: usize,
    },
    SyncUser {
        who: usize,
    },
}

fn edit() -> impl Strategy<Value = Edit> {
    let (who, address) = (0..PEOPLE, 0..ADDRESSES.len());
    prop_oneof![
        8 => (who.clone(), 0..FIRMS.len(), address.clone(), 0..3_u8, prop::bool::weighted(0.15))
            .prop_map(|(who, firm, address, title, disabled)| Edit::Put { who, firm, address, title, disabled }),
        3 => (who.clone(), who.clone()).prop_map(|(one, other)| Edit::Swap { one, other }),
        2 => who.clone().prop_map(|who| Edit::Delete { who }),
        1 => who.clone().prop_map(|who| Edit::LocalTitle { who }),
        2 => (who.clone(), address.clone()).prop_map(|(who, address)| Edit::LocalAddress { who, address }),
        1 => (who.clone(), 0..3_u8).prop_map(|(who, license)| Edit::LocalLicense { who, license }),
        1 => who.clone().prop_map(|who| Edit::LocalOrganization { who }),
        1 => who.clone().prop_map(|who| Edit::AdministratorDisables { who }),
        1 => who.clone().prop_map(|who| Edit::LocallyEnabled { who }),
        1 => who.clone().prop_map(|who| Edit::LocallyDeleted { who }),
        1 => address.clone().prop_map(|address| Edit::Employee { address }),
        1 => address.prop_map(|address| Edit::Stranger { address }),
        1 => (0..2_usize).prop_map(|firm| Edit::SyncFirm { firm }),
        1 => who.prop_map(|who| Edit::SyncUser { who }),
    ]
}

/// A user as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    id: String,
    email: String,
    first_name: String,
    title: String,
    organization: String,
    license: String,
    status: String,
    disabled_by: String,
}

/// What the two sides hold.
#[derive(Debug, Clone)]
struct Picture {
    /// By external id; `None` where the user was deleted here.
    linked: BTreeMap<String, Option<Held>>,
    /// Rows that no link leads to.
    others: Vec<String>,
    /// Every address of the table in lower case, with its user.
    addresses: BTreeMap<String, String>,
    quarantine: BTreeSet<String>,
}

struct World {
    db: Database,
    engine: Engine,
    setup: Setup,
    directory: Directory,
    rows: u32,
    _running: Running,
}

fn id_of(who: usize) -> String {
    format!("p{who}")
}

impl World {
    async fn new() -> Self {
        let db = Database::sqlite().await;
        let mut options = Options::new(SocketAddr::from(([127, 0, 0, 1], 0)), Hands::new().clock());
        options.sample = Sample {
            organizations: 0,
            accounts: 0,
            seed: 0,
        };
        let running = start(options).await.expect("the directory starts");
        let directory = running.directory.clone();
        for id in FIRMS {
            let mut one = firm(id, &format!("Example {id}"));
            one.requested_access = id != "quiet";
            directory.put_organization(one).expect("put");
        }
        let brakes = format!(
            "[brakes]\ndisable = {WIDE}\ncreate = {WIDE}\nemail_change = {WIDE}\nrole_change = {WIDE}\nempty = \"apply\""
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), configuration(&db.url, running.url().as_str(), &brakes)).expect("written");
        let config = rollcall::config::load(&[file.path().to_owned()], std::iter::empty()).expect("a configuration");
        let source = &config.sources[0];
        let mapping = source.mapping(&config.agency);
        let settings = Settings {
            wanted: mapping.attributes(),
            page_size: 3,
            ..Settings::new(source.name.clone(), running.url())
        };
        let setup = Setup {
            source: Arc::new(Connex::new(settings).expect("settings that can work")),
            mapping: Arc::new(mapping),
            authorities: Arc::new(config.fields.clone()),
            brakes: config.brakes.limits(),
            correlate_by_email: true,
            default_kind: "consultant".into(),
        };
        let store = db.store().await;
        store.ensure_self_organization("Example Agency").await.expect("made");
        Self {
            db,
            engine: Engine::new(store),
            setup,
            directory,
            rows: 0,
            _running: running,
        }
    }

    async fn sync(&self, organization: Option<&str>, user: Option<&str>) -> Report {
        let id = |text: &str| ExternalId::parse(text).expect("an id");
        let request = Request {
            organization: organization.map(id),
            user: user.map(id),
            dry_run: false,
            actor: Actor("cli:test".into()),
        };
        self.engine
            .sync(&self.setup, &request, &Silent)
            .await
            .expect("a run begins")
    }

    /// Runs plain SQL for the user of an entry, if there is one.
    async fn local(&self, who: usize, statement: &str) {
        let user = format!("SELECT user_id FROM records WHERE external_id = '{}'", id_of(who));
        self.db.sql(&statement.replace("{user}", &format!("({user})"))).await;
    }

    async fn add(&mut self, kind: &str, address: usize) {
        self.rows += 1;
        let (id, email) = (format!("0197a000-0000-7000-8000-{:012}", self.rows), ADDRESSES[address]);
        self.db
            .sql(&format!(
                "INSERT INTO users (id, kind, email, first_name) SELECT '{id}', '{kind}', '{email}', 'Local' \
                 WHERE NOT EXISTS (SELECT 1 FROM users WHERE lower(email) = lower('{email}'))"
            ))
            .await;
    }

    async fn make(&mut self, edit: &Edit) {
        match *edit {
            Edit::Put {
                who,
                firm,
                address,
                title,
                disabled,
            } => {
                let mut one: Account = account(&id_of(who), FIRMS[firm]);
                one.email = ADDRESSES[address].into();
                one.first_name = format!("Name {who}");
                one.title = (title > 0).then(|| format!("Title {title}"));
                one.status = if disabled {
                    AccountStatus::Disabled
                } else {
                    AccountStatus::Active
                };
                self.directory.put_account(one).expect("put");
            }
            Edit::Swap { one, other } => {
                let (one, other) = (id_of(one), id_of(other));
                if let (Some(a), Some(b)) = (self.directory.account(&one), self.directory.account(&other)) {
                    self.directory
                        .update_account(&one, |x| x.email = b.email)
                        .expect("there");
                    self.directory
                        .update_account(&other, |x| x.email = a.email)
                        .expect("there");
                }
            }
            // It may not be there.
            Edit::Delete { who } => drop(self.directory.delete_account(&id_of(who))),
            Edit::LocalTitle { who } => {
                self.local(who, "UPDATE users SET title = 'Edited here' WHERE id = {user}")
                    .await
            }
            Edit::LocalAddress { who, address } => {
                let email = ADDRESSES[address];
                let sql = format!(
                    "UPDATE users SET email = '{email}' WHERE id = {{user}} \
                     AND NOT EXISTS (SELECT 1 FROM users x WHERE lower(x.email) = lower('{email}'))"
                );
                self.local(who, &sql).await;
            }
            Edit::LocalLicense { who, license } => {
                self.local(
                    who,
                    &format!("UPDATE users SET license = 'L{license}' WHERE id = {{user}}"),
                )
                .await;
            }
            Edit::LocalOrganization { who } => {
                self.local(who, "UPDATE users SET organization_id = NULL WHERE id = {user}")
                    .await;
            }
            Edit::AdministratorDisables { who } => {
                let sql = "UPDATE users SET status = 'disabled', disabled_by = 'admin' WHERE id = {user}";
                self.local(who, sql).await;
            }
            Edit::LocallyEnabled { who } => {
                self.local(
                    who,
                    "UPDATE users SET status = 'active', disabled_by = NULL WHERE id = {user}",
                )
                .await;
            }
            Edit::LocallyDeleted { who } => {
                self.local(who, "DELETE FROM memberships WHERE user_id = {user}").await;
                self.local(who, "DELETE FROM users WHERE id = {user}").await;
            }
            Edit::Employee { address } => self.add("employee", address).await,
            Edit::Stranger { address } => self.add("bidder", address).await,
            Edit::SyncFirm { firm } => drop(self.sync(Some(FIRMS[firm]), None).await),
            Edit::SyncUser { who } => drop(self.sync(None, Some(&id_of(who))).await),
        }
    }

    async fn look(&self) -> Picture {
        let rows = self
            .db
            .query(
                "SELECT r.external_id, u.id, u.email, coalesce(u.first_name, ''), coalesce(u.title, ''), \
                 coalesce(o.external_id, ''), coalesce(u.license, ''), u.status, coalesce(u.disabled_by, '') \
                 FROM records r LEFT JOIN users u ON u.id = r.user_id LEFT JOIN organizations o ON o.id = u.organization_id",
            )
            .await;
        let linked = rows
            .iter()
            .map(|row| {
                let cells: Vec<String> = row.split('|').map(str::to_owned).collect();
                let [
                    external,
                    id,
                    email,
                    first_name,
                    title,
                    organization,
                    license,
                    status,
                    disabled_by,
                ] = <[String; 9]>::try_from(cells).expect("nine cells");
                let held = Held {
                    id,
                    email,
                    first_name,
                    title,
                    organization,
                    license,
                    status,
                    disabled_by,
                };
                (external, (held.id != "-").then_some(held))
            })
            .collect();
        let others = "SELECT u.id, kind, email, first_name, status, coalesce(title, ''), updated_at FROM users u \
            WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.user_id = u.id) ORDER BY u.id";
        let addresses = self.db.query("SELECT lower(email), id FROM users").await;
        Picture {
            linked,
            others: self.db.query(others).await,
            addresses: addresses
                .iter()
                .filter_map(|row| row.split_once('|'))
                .map(|(email, id)| (email.to_owned(), id.to_owned()))
                .collect(),
            quarantine: self
                .db
                .query("SELECT external_id FROM quarantine")
                .await
                .into_iter()
                .collect(),
        }
    }

    /// What the directory says of the people of firms that are followed.
    fn said(&self) -> BTreeMap<String, Account> {
        let all = self.directory.accounts();
        let covered = all.into_iter().filter(|one| one.organization_id != "quiet");
        covered.map(|one| (one.id.clone(), one)).collect()
    }
}

/// What must hold after a run of everything.
fn check(before: &Picture, after: &Picture, said: &BTreeMap<String, Account>) {
    for id in said.keys() {
        assert!(
            after.linked.contains_key(id) || after.quarantine.contains(id),
            "{id} was lost"
        );
    }
    for (id, held) in &after.linked {
        let was = before.linked.get(id).and_then(Option::as_ref);
        let Some(held) = held else {
            assert_eq!(was, None, "{id}: no run deletes anybody");
            continue;
        };
        assert!(
            before.linked.get(id) != Some(&None),
            "{id}: who was deleted here does not come back"
        );
        if let Some(was) = was {
            assert_eq!(
                (&held.license, &held.id),
                (&was.license, &was.id),
                "{id}: what is ours stays"
            );
        }
        match (said.get(id), was) {
            (Some(_), Some(was)) if after.quarantine.contains(id) => assert_eq!(held, was, "{id}: kept out, untouched"),
            (Some(account), _) => check_present(account, held, was),
            (None, Some(was)) => {
                let expected = match (was.status.as_str(), was.disabled_by.as_str()) {
                    ("active", _) => ("disabled", "directory"),
                    (status, by) => (status, by),
                };
                assert_eq!(
                    (held.status.as_str(), held.disabled_by.as_str()),
                    expected,
                    "{id}: absent"
                );
                assert_eq!(
                    (&held.email, &held.title),
                    (&was.email, &was.title),
                    "{id}: absent, and as it was"
                );
            }
            (None, None) => panic!("{id} was linked though no directory has it"),
        }
    }
    for id in &after.quarantine {
        let account = said.get(id).expect("only who is listed is kept out");
        let key = account.email.to_lowercase();
        let rivals = said.values().filter(|one| one.email.to_lowercase() == key).count();
        let own = after
            .linked
            .get(id)
            .and_then(Option::as_ref)
            .map(|held| held.id.as_str());
        let holder = after.addresses.get(&key).map(String::as_str);
        assert!(
            rivals > 1 || (holder.is_some() && holder != own),
            "{id} is kept out without a reason"
        );
    }
    let employees = |picture: &Picture| {
        let all = picture.others.iter().filter(|row| row.contains("|employee|"));
        all.cloned().collect::<Vec<_>>()
    };
    assert_eq!(employees(before), employees(after), "employees are never touched");
}

fn check_present(account: &Account, held: &Held, was: Option<&Held>) {
    let id = &account.id;
    assert_eq!(
        (&held.email, &held.first_name, &held.title, &held.organization),
        (
            &account.email,
            &account.first_name,
            &account.title.clone().unwrap_or_default(),
            &account.organization_id
        ),
        "{id}: as the directory has it"
    );
    let ours = was.is_some_and(|was| was.status == "disabled" && was.disabled_by != "directory");
    let expected = match account.status {
        _ if ours => "disabled",
        AccountStatus::Active => "active",
        AccountStatus::Disabled => "disabled",
    };
    assert_eq!(held.status, expected, "{id}: {was:?}");
}

async fn scenario(rounds: Vec<Vec<Edit>>) {
    let mut world = World::new().await;
    for edits in rounds {
        for edit in &edits {
            world.make(edit).await;
        }
        let before = world.look().await;
        let run = world.sync(None, None).await.run;
        assert_eq!(run.state, "applied", "{run:?}");
        let after = world.look().await;
        check(&before, &after, &world.said());
        let again = world.sync(None, None).await.run;
        let counts = again.counts.expect("a plan");
        assert!(
            again.state == "applied" && !counts.has_changes(),
            "a second run has nothing to do: {again:?}"
        );
        let settled = world.look().await;
        assert_eq!((&settled.linked, &settled.others), (&after.linked, &after.others));
        assert_eq!(settled.quarantine, after.quarantine);
    }
}

#[test]
fn whatever_is_edited_a_run_brings_both_sides_together() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    let rounds = prop::collection::vec(prop::collection::vec(edit(), 1..9), 2..5);
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&rounds, |rounds| {
        runtime.block_on(scenario(rounds));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
