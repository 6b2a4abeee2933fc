//! The commands from outside: the real binary as a process, on both engines where the store matters.

mod commands;
mod explain;
mod users;

use rollcall::cli::directory::model::{Account, Kind, Organization};
use rollcall::cli::directory::{Clock, Data, Directory, Options, Running, start};

use crate::harness::database::{Database, clock};
use crate::harness::program::Program;

/// A configuration on `db` without a source.
pub(crate) fn alone(db: &Database) -> String {
    format!(
        "[database]\nurl = \"{}\"\n[agency]\nname = \"Example Agency\"\n",
        db.url
    )
}

/// A configuration on `db` with the source `connex` at `directory`, whose title is the user's own after creation and
/// whose licence is the agency's.
pub(crate) fn with_source(db: &Database, directory: &Running) -> String {
    format!(
        "{}[fields.title]\nauthority = \"initial\"\n\
         [[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"{}\"\nauth = {{ kind = \"none\" }}\nmax_retries = 0\n",
        alone(db),
        directory.url()
    )
}

/// An account of the organization `org-1`.
pub(crate) fn account(id: &str, first_name: &str) -> Account {
    Account {
        id: id.into(),
        organization_id: "org-1".into(),
        email: format!("{}@paving.example", first_name.to_lowercase()),
        first_name: first_name.into(),
        last_name: "Sampleton".into(),
        phone: Some("+1 201 555 0100".into()),
        title: Some("Estimator".into()),
        kind: Some(Kind::Contractor),
        roles: vec!["member".into()],
        status: Default::default(),
        updated_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn organization(id: &str, name: &str, requested_access: bool) -> Organization {
    Organization {
        id: id.into(),
        name: name.into(),
        kind: Kind::Contractor,
        status: Default::default(),
        requested_access,
        founder_id: None,
        phone: None,
        city: None,
        updated_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// A directory with two firms, of which one asked for access, and three people of that one.
pub(crate) async fn directory() -> Running {
    let clock = clock();
    let mut options = Options::new(([127, 0, 0, 1], 0).into(), Clock::new(move || clock()));
    options.sample.organizations = 0;
    options.sample.accounts = 0;
    let running = start(options).await.expect("the directory starts");
    fill(&running.directory);
    running
}

fn fill(directory: &Directory) {
    let data = Data {
        organizations: vec![
            organization("org-1", "Example Paving", true),
            organization("org-2", "Sample Bridges", false),
        ],
        accounts: vec![
            account("acc-1", "Avery"),
            account("acc-2", "Blair"),
            account("acc-3", "Casey"),
        ],
    };
    for organization in data.organizations {
        directory.put_organization(organization).expect("kept");
    }
    for account in data.accounts {
        directory.put_account(account).expect("kept");
    }
}

/// The program on a database with the directory's users in it.
async fn synced(db: &Database) -> (Program, Running) {
    let directory = directory().await;
    let program = Program::new(&with_source(db, &directory));
    program.ok(&["sync", "connex"]);
    (program, directory)
}
