//! The directory's memory, and its data file. Every edit goes through `Directory::edit`, which stamps, counts and
//! saves it; a file is replaced whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Clock;
use super::model::{Account, Organization};

/// What a data file holds. What was deleted is not in it: a directory that is started again knows of no deletion,
/// as with a real one that was restored from a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Every organization.
    pub organizations: Vec<Organization>,
    /// Every account.
    pub accounts: Vec<Account>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was given cannot be; in a sentence.
    #[error("{0}")]
    Invalid(String),
    /// There is no such organization or account.
    #[error("there is no {0} with this id")]
    NoSuch(&'static str),
    /// It cannot be as things stand; in a sentence.
    #[error("{0}")]
    Conflict(String),
    /// It is done in memory, and could not be written to the data file; in a sentence.
    #[error("{0}")]
    NotSaved(String),
}

impl Data {
    /// Reads and checks a data file.
    pub fn load(path: &Path) -> Result<Self, Refusal> {
        let shown = path.display();
        let text = fs::read(path).map_err(|error| {
            Refusal::Invalid(format!(
                "{shown} cannot be read ({error}): check the name given to --data"
            ))
        })?;
        let data: Self = serde_json::from_slice(&text).map_err(|error| {
            Refusal::Invalid(format!(
                "{shown} is no directory data ({error}): mend it, or start without --data"
            ))
        })?;
        data.check()
            .map_err(|error| Refusal::Invalid(format!("{shown}: {error}")))?;
        Ok(data)
    }

    /// Checks every field, every id for being the only one, and every reference.
    pub fn check(&self) -> Result<(), Refusal> {
        let mut organizations = BTreeSet::new();
        for (at, one) in self.organizations.iter().enumerate() {
            let refuse = |why: &str| Err(Refusal::Invalid(format!("organizations[{at}] {why}")));
            if let Err(why) = one.check() {
                return refuse(&why);
            }
            if !organizations.insert(one.id.as_str()) {
                return refuse("has an `id` that an earlier one has: give it another");
            }
        }
        let mut accounts = BTreeSet::new();
        for (at, one) in self.accounts.iter().enumerate() {
            let refuse = |why: &str| Err(Refusal::Invalid(format!("accounts[{at}] {why}")));
            if let Err(why) = one.check() {
                return refuse(&why);
            }
            if !organizations.contains(one.organization_id.as_str()) {
                return refuse("has an `organization_id` that no organization has: add that one, or correct it");
            }
            if !accounts.insert(one.id.as_str()) {
                return refuse("has an `id` that an earlier one has: give it another");
            }
        }
        Ok(())
    }
}

/// What the directory holds now.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) organizations: BTreeMap<String, Organization>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) members: BTreeMap<String, BTreeSet<String>>,
    pub(super) deleted_organizations: BTreeMap<String, Timestamp>,
    pub(super) deleted_accounts: BTreeMap<String, (String, Timestamp)>,
    pub(super) revision: u64,
}

impl State {
    fn new(data: Data, now: Timestamp) -> Self {
        let mut state = Self::default();
        let stamp = |time: Timestamp| if time == Timestamp::UNIX_EPOCH { now } else { time };
        for mut one in data.organizations {
            one.updated_at = stamp(one.updated_at);
            state.organizations.insert(one.id.clone(), one);
        }
        for mut one in data.accounts {
            one.updated_at = stamp(one.updated_at);
            state.put_account(one);
        }
        state
    }

    fn join(&mut self, organization: &str, account: &str) {
        match self.members.get_mut(organization) {
            Some(members) => {
                members.insert(account.to_owned());
            }
            None => {
                self.members
                    .insert(organization.to_owned(), BTreeSet::from([account.to_owned()]));
            }
        }
    }

    fn leave(&mut self, organization: &str, account: &str) {
        if let Some(members) = self.members.get_mut(organization) {
            members.remove(account);
        }
    }

    pub(super) fn put_organization(&mut self, one: Organization) {
        self.deleted_organizations.remove(&one.id);
        self.organizations.insert(one.id.clone(), one);
    }

    pub(super) fn put_account(&mut self, one: Account) {
        if let Some(before) = self.accounts.get(&one.id)
            && before.organization_id != one.organization_id
        {
            let left = before.organization_id.clone();
            self.leave(&left, &one.id);
        }
        self.join(&one.organization_id, &one.id);
        self.deleted_accounts.remove(&one.id);
        self.accounts.insert(one.id.clone(), one);
    }

    pub(super) fn remove_account(&mut self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        let gone = self.accounts.remove(id).ok_or(Refusal::NoSuch("account"))?;
        self.leave(&gone.organization_id, id);
        self.deleted_accounts.insert(gone.id, (gone.organization_id, now));
        Ok(())
    }

    pub(super) fn remove_organization(&mut self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        if self.members.get(id).is_some_and(|members| !members.is_empty()) {
            return Err(Refusal::Conflict(
                "the organization still has people: delete or move them first".into(),
            ));
        }
        let gone = self.organizations.remove(id).ok_or(Refusal::NoSuch("organization"))?;
        self.members.remove(id);
        self.deleted_organizations.insert(gone.id, now);
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Saved<'a> {
    organizations: Vec<&'a Organization>,
    accounts: Vec<&'a Account>,
}

/// A handle on the data of a running directory; its clones are the same directory.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    clock: Clock,
    file: Option<PathBuf>,
}

impl Directory {
    /// A directory of checked `data`; edits are written to `file` where one is given.
    pub fn new(data: Data, clock: Clock, file: Option<PathBuf>) -> Self {
        let state = RwLock::new(State::new(data, clock.now()));
        Self(Arc::new(Shared { state, clock, file }))
    }

    /// The directory's own idea of the time.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Every organization, by id.
    pub fn organizations(&self) -> Vec<Organization> {
        self.read().organizations.values().cloned().collect()
    }

    /// Every account, by id.
    pub fn accounts(&self) -> Vec<Account> {
        self.read().accounts.values().cloned().collect()
    }

    /// One organization.
    pub fn organization(&self, id: &str) -> Option<Organization> {
        self.read().organizations.get(id).cloned()
    }

    /// One account.
    pub fn account(&self, id: &str) -> Option<Account> {
        self.read().accounts.get(id).cloned()
    }

    /// Adds an organization, or puts it in the place of the one with its id. Fields are not checked: a test may
    /// want a directory that holds nonsense.
    pub fn put_organization(&self, organization: Organization) -> Result<(), Refusal> {
        self.edit(|state, now| {
            state.put_organization(Organization {
                updated_at: now,
                ..organization
            });
            Ok(())
        })
    }

    /// Adds an account, or puts it in the place of the one with its id; unchecked, as above.
    pub fn put_account(&self, account: Account) -> Result<(), Refusal> {
        self.edit(|state, now| {
            state.put_account(Account {
                updated_at: now,
                ..account
            });
            Ok(())
        })
    }

    /// Changes an organization; its id stays.
    pub fn update_organization(&self, id: &str, change: impl FnOnce(&mut Organization)) -> Result<(), Refusal> {
        self.edit(|state, now| {
            let found = state.organizations.get(id).ok_or(Refusal::NoSuch("organization"))?;
            let mut changed = found.clone();
            change(&mut changed);
            changed.id = id.to_owned();
            changed.updated_at = now;
            state.put_organization(changed);
            Ok(())
        })
    }

    /// Changes an account; its id stays.
    pub fn update_account(&self, id: &str, change: impl FnOnce(&mut Account)) -> Result<(), Refusal> {
        self.edit(|state, now| {
            let found = state.accounts.get(id).ok_or(Refusal::NoSuch("account"))?;
            let mut changed = found.clone();
            change(&mut changed);
            changed.id = id.to_owned();
            changed.updated_at = now;
            state.put_account(changed);
            Ok(())
        })
    }

    /// Deletes an account.
    pub fn delete_account(&self, id: &str) -> Result<(), Refusal> {
        self.edit(|state, now| state.remove_account(id, now))
    }

    /// Deletes an organization that has no people any more.
    pub fn delete_organization(&self, id: &str) -> Result<(), Refusal> {
        self.edit(|state, now| state.remove_organization(id, now))
    }

    /// Deletes every account that `keep` does not want, and says how many.
    pub fn retain_accounts(&self, mut keep: impl FnMut(&Account) -> bool) -> Result<usize, Refusal> {
        self.edit(|state, now| {
            let unwanted = state.accounts.values().filter(|account| !keep(account));
            let gone: Vec<String> = unwanted.map(|account| account.id.clone()).collect();
            for id in &gone {
                state.remove_account(id, now)?;
            }
            Ok(gone.len())
        })
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // A panic between two writes of an edit leaves a sample directory a little odd, not unusable.
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out one edit, and saves it.
    pub(super) fn edit<T>(
        &self,
        change: impl FnOnce(&mut State, Timestamp) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut state, self.0.clock.now())?;
        state.revision += 1;
        if let Some(file) = &self.0.file {
            save(&state, file).map_err(|error| {
                Refusal::NotSaved(format!(
                    "the change is in memory but {} could not be written ({error}): make room or mend its permissions, then change something again",
                    file.display()
                ))
            })?;
        }
        Ok(done)
    }
}

/// Writes to a file beside it, which then takes its place.
fn save(state: &State, file: &Path) -> std::io::Result<()> {
    let saved = Saved {
        organizations: state.organizations.values().collect(),
        accounts: state.accounts.values().collect(),
    };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    let mut writer = std::io::BufWriter::new(fs::File::create(&beside)?);
    serde_json::to_writer_pretty(&mut writer, &saved)?;
    writer.write_all(b"\n")?;
    writer.into_inner()?.sync_all()?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Kind, OrganizationStatus, tests::account};
    use super::*;

    fn organization(id: &str) -> Organization {
        Organization {
            id: id.into(),
            name: "Sample Paving".into(),
            kind: Kind::Contractor,
            status: OrganizationStatus::Active,
            requested_access: true,
            founder_id: None,
            phone: None,
            city: None,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn data() -> Data {
        Data {
            organizations: vec![organization("o-1"), organization("o-2")],
            accounts: vec![account("u-1", "o-1"), account("u-2", "o-1")],
        }
    }

    fn clock() -> Clock {
        Clock::new(|| Timestamp::from_second(1_800_000_000).expect("a moment"))
    }

    #[test]
    fn edits_are_saved_whole_and_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("directory.json");
        let directory = Directory::new(data(), clock(), Some(file.clone()));
        directory
            .update_account("u-1", |one| one.organization_id = "o-2".into())
            .expect("moved");
        directory.delete_account("u-2").expect("deleted");
        let loaded = Data::load(&file).expect("readable");
        assert_eq!(loaded.accounts.len(), 1);
        assert_eq!(loaded.accounts[0].organization_id, "o-2");
        assert_eq!(loaded.accounts[0].updated_at, clock().now());
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("listed").count(),
            1,
            "nothing is left beside it"
        );
        let unwritable = Directory::new(data(), clock(), Some(folder.path().join("none/directory.json")));
        assert!(matches!(unwritable.delete_account("u-1"), Err(Refusal::NotSaved(_))));
    }

    #[test]
    fn an_organization_goes_only_after_its_people() {
        let directory = Directory::new(data(), clock(), None);
        assert!(matches!(
            directory.delete_organization("o-1"),
            Err(Refusal::Conflict(_))
        ));
        assert_eq!(directory.retain_accounts(|_| false), Ok(2));
        assert_eq!(directory.delete_organization("o-1"), Ok(()));
        assert_eq!(
            directory.delete_organization("o-1"),
            Err(Refusal::NoSuch("organization"))
        );
        assert_eq!(directory.delete_account("u-1"), Err(Refusal::NoSuch("account")));
        let state = directory.read();
        assert_eq!(
            (state.deleted_accounts.len(), state.deleted_organizations.len()),
            (2, 1)
        );
    }

    #[test]
    fn a_broken_data_file_is_refused_with_the_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("directory.json");
        assert!(
            Data::load(&file)
                .expect_err("none")
                .to_string()
                .contains("directory.json cannot be read")
        );
        let mut twice = data();
        twice.accounts.push(account("u-1", "o-1"));
        let mut lost = data();
        lost.accounts[1].organization_id = "o-9".into();
        for (text, said) in [
            ("{".to_owned(), "line 1 column 1"),
            (r#"{"organizations": []}"#.to_owned(), "missing field `accounts`"),
            (
                r#"{"organizations": [], "accounts": [], "x": 1}"#.to_owned(),
                "unknown field `x`",
            ),
            (serde_json::to_string(&twice).expect("JSON"), "accounts[2] has an `id`"),
            (
                serde_json::to_string(&lost).expect("JSON"),
                "accounts[1] has an `organization_id`",
            ),
        ] {
            std::fs::write(&file, text).expect("written");
            let refusal = Data::load(&file).expect_err(said).to_string();
            assert!(
                refusal.contains(said) && refusal.contains("directory.json"),
                "{refusal}"
            );
        }
    }
}
