//! `rollcall demo`: the whole of it on one machine with nothing installed. And `rollcall directory`, which it is built on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::context::{Context, actor, clock, setups};
use super::directory::model::{Account, AccountStatus};
use super::directory::{self, Clock, Directory, Options};
use super::exit::{Exit, Failure};
use super::plan_view;
use super::progress::Display;
use super::terminal::{BOLD, CYAN, DIM, Terminal, paint, wrap};
use crate::config;
use crate::domain::field::Field;
use crate::engine::{Engine, Request, Setup};
use crate::store::{EditedFields, Expected, Store};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall demo --once\n  rollcall demo --data-dir demo-data --listen 127.0.0.1:8481"
)]
pub(super) struct Arguments {
    /// First sync, a local edit, changes in the directory, a second sync, the plan of each; then it ends
    #[arg(long)]
    once: bool,
    /// Where to keep the database and the directory's data; without it a folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the sample directory listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// The folder of a demonstration; removed at the end where nobody asked to keep it.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(asked: Option<PathBuf>) -> Result<Self, Failure> {
        let keep = asked.is_some();
        let path = asked.unwrap_or_else(|| std::env::temp_dir().join(format!("rollcall-demo-{}", std::process::id())));
        std::fs::create_dir_all(&path)
            .and_then(|()| path.canonicalize())
            .map(|path| Self { path, keep })
            .map_err(|e| {
                Failure::new(
                    Exit::Failed,
                    format!("the folder for the demonstration cannot be made ({e}); name another with --data-dir"),
                )
            })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        std::fs::write(&path, text).map(|()| path).map_err(|e| {
            Failure::new(
                Exit::Failed,
                format!(
                    "{} cannot be written ({e}); name another folder with --data-dir",
                    self.path.display()
                ),
            )
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed stays in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

pub(super) async fn run(context: &Context<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    let terminal = context.terminal;
    let folder = Folder::new(arguments.data_dir)?;
    let mut options = Options::new(arguments.listen, directory_clock());
    let data = folder.path.join("directory.json");
    if !data.exists() {
        let sample =
            serde_json::to_string(&options.sample.generate()).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        folder.write("directory.json", &sample)?;
    }
    options.data = Some(data);
    let running = directory::start(options)
        .await
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    let file = folder.write("rollcall.toml", &configuration(&folder.path, running.url().as_str()))?;
    let config = config::load(std::slice::from_ref(&file), std::iter::empty())?;
    let store = Context {
        files: vec![file.clone()],
        terminal,
    }
    .store(&config)
    .await?;
    let engine = Engine::new(store);
    let setup = setups(&config, Some("connex"))?.remove(0);

    heading(
        terminal,
        "First sync",
        "A sample directory of some forty fictitious firms; an empty user table.",
    )?;
    sync(&engine, &setup, terminal).await?;
    if arguments.once {
        second_sync(&engine, &setup, &running.directory, terminal).await?;
    } else {
        stay(terminal, &folder.path, &file, running.url().as_str()).await?;
    }
    engine.store().close().await;
    running
        .stop()
        .await
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    Ok(Exit::Done)
}

fn directory_clock() -> Clock {
    let clock = clock();
    Clock::new(move || clock())
}

fn configuration(folder: &Path, directory: &str) -> String {
    format!(
        "# Written by `rollcall demo`.\n[database]\nurl = \"sqlite://{}\"\n\n[agency]\nname = \"Example Agency\"\n\n\
         [[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"{}\"\n",
        folder.join("rollcall.db").display(),
        directory.trim_end_matches('/')
    )
}

fn heading(terminal: &Terminal, title: &str, text: &str) -> Result<(), Failure> {
    terminal.print(&format!(
        "\n{}\n{}\n",
        paint(CYAN.bold(), format!("== {title}")),
        wrap(text, terminal.width.min(100), "")
    ))
}

async fn sync(engine: &Engine, setup: &Setup, terminal: &Terminal) -> Result<(), Failure> {
    let display = Display::new(terminal, setup.name().as_str());
    let request = Request {
        organization: None,
        user: None,
        dry_run: false,
        actor: actor(),
    };
    let result = engine.sync(setup, &request, &display).await;
    display.end();
    let report = result?;
    terminal.print(&plan_view::run(engine.store(), &report.run, &report.quarantined, terminal).await?)?;
    if report.run.state != "applied" {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "the sync of the demonstration ended as {}; the text above says why",
                report.run.state
            ),
        ));
    }
    Ok(())
}

/// Somebody edits here, people come and go there, and the next sync brings the two together.
async fn second_sync(
    engine: &Engine,
    setup: &Setup,
    directory: &Directory,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let accounts = people(directory);
    let [edited, renamed, gone] = accounts.as_slice() else {
        return Err(Failure::new(
            Exit::Failed,
            "the sample directory has too few active accounts; remove the folder given with --data-dir, and start again",
        ));
    };
    let said = format!(
        "Here, somebody changes the title of {}. In the directory, {} gets another phone number, {} leaves, and somebody new joins.",
        edited.email, renamed.email, gone.email
    );
    heading(terminal, "Then", &said)?;
    edit_here(engine.store(), setup, edited).await?;
    let refused = |e: directory::Refusal| Failure::new(Exit::Failed, e.to_string());
    directory
        .update_account(&renamed.id, |a| a.phone = Some("+1 555 0142".into()))
        .map_err(refused)?;
    directory.delete_account(&gone.id).map_err(refused)?;
    let joined = format!("newcomer-{}", engine.store().new_id().simple());
    let email = format!(
        "robin.newcomer@{}",
        edited
            .email
            .rsplit_once('@')
            .map_or("sample.example", |(_, domain)| domain)
    );
    let newcomer = Account {
        id: joined,
        email,
        first_name: "Robin".into(),
        last_name: "Newcomer".into(),
        title: Some("Estimator".into()),
        ..edited.clone()
    };
    directory.put_account(newcomer).map_err(refused)?;
    heading(
        terminal,
        "Second sync",
        "What the directory owns is put back; the rest follows the directory.",
    )?;
    sync(engine, setup, terminal).await?;
    let next = "Nothing of this was kept. `rollcall demo` stays up, so that you can edit the directory on a page and sync by hand.";
    terminal.print(&format!("\n{}", paint(DIM, wrap(next, terminal.width.min(100), ""))))
}

/// Three active people of the first followed organization that has them.
fn people(directory: &Directory) -> Vec<Account> {
    let followed: Vec<String> = directory
        .organizations()
        .into_iter()
        .filter(|o| o.requested_access)
        .map(|o| o.id)
        .collect();
    let accounts = directory.accounts();
    let of = |organization: &String| -> Vec<Account> {
        let active = |a: &&Account| a.organization_id == *organization && a.status == AccountStatus::Active;
        accounts.iter().filter(active).take(3).cloned().collect()
    };
    followed
        .iter()
        .map(of)
        .find(|three| three.len() == 3)
        .unwrap_or_default()
}

async fn edit_here(store: &Store, setup: &Setup, account: &Account) -> Result<(), Failure> {
    let found = store.find_users(&account.id).await?;
    let id = found
        .first()
        .copied()
        .ok_or_else(|| Failure::new(Exit::Failed, "the first sync did not bring a user of the sample"))?;
    let edit = EditedFields {
        columns: vec![(Field::Title, Some("Director of Everything".into()))],
        ..EditedFields::default()
    };
    store
        .edit_user(id, &edit, &Expected::Any, &actor(), setup.mapping.roles())
        .await?;
    Ok(())
}

/// Waits until somebody ends the program, and says what can be tried meanwhile.
async fn stay(terminal: &Terminal, folder: &Path, file: &Path, url: &str) -> Result<(), Failure> {
    let config = file.display();
    let mut text = format!("\n{}\n", paint(CYAN.bold(), "== It stays up until you press Ctrl-C"));
    let lines = [
        ("edit the directory", url.to_owned()),
        ("sync again", format!("rollcall --config {config} sync")),
        (
            "one organization",
            format!("rollcall --config {config} sync --organization ID"),
        ),
        ("who is there", format!("rollcall --config {config} users list")),
        (
            "one user, explained",
            format!("rollcall --config {config} users explain EMAIL"),
        ),
        ("the database", folder.join("rollcall.db").display().to_string()),
    ];
    for (what, how) in lines {
        text.push_str(&format!("  {what:<20} {}\n", paint(BOLD, how)));
    }
    text.push_str(&paint(
        DIM,
        "The scheduler and the console come with a later version; until then this is the command line.\n",
    ));
    terminal.print(&text)?;
    ended().await;
    Ok(())
}

/// Ctrl-C, or SIGTERM.
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without the handler the signal ends the program by itself.
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

/// `rollcall directory`: serves the sample until it is ended.
pub(super) async fn directory(
    context: &Context<'_>,
    arguments: directory::arguments::Arguments,
) -> Result<Exit, Failure> {
    let failed = |e: &dyn std::error::Error| {
        let cause = e.source().map(|c| format!(" ({c})")).unwrap_or_default();
        Failure::new(Exit::Failed, format!("{e}{cause}"))
    };
    let options = arguments.options(directory_clock()).map_err(|e| failed(&e))?;
    let terminal = context.terminal;
    let started = |addr: SocketAddr| {
        terminal.note(&format!(
            "The sample directory is at {} (page and API). Ctrl-C ends it.",
            paint(BOLD, format!("http://{addr}"))
        ));
    };
    directory::serve(options, started, ended())
        .await
        .map_err(|e| failed(&e))?;
    Ok(Exit::Done)
}
