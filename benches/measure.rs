//! One source on one engine, from the first load to the floors. The order is fixed: each figure and its floor are
//! taken one after the other, so that whatever else the machine does falls on both.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::Outcome;
use crate::answers::{self, Daemon};
use crate::child::{self, Cost, Output};
use crate::database::{Database, Written};
use crate::pages::{Pages, READ};
use crate::people::{self, State};
use crate::phases::Phases;
use crate::program::{Expected, Program};
use crate::slapd::Slapd;

/// A directory under measurement.
pub(crate) enum Directory {
    Ldap(Slapd),
    Connex(Pages, Handle),
}

impl Directory {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ldap(_) => "LDAP",
            Self::Connex(..) => "ConneX",
        }
    }

    fn configuration(&self) -> String {
        match self {
            Self::Ldap(slapd) => slapd.configuration(),
            Self::Connex(pages, _) => format!(
                "[[sources]]\nname = \"bench\"\nkind = \"connex\"\nurl = \"http://{}\"\nauth = {{ kind = \"none\" }}\n",
                pages.address
            ),
        }
    }

    fn become_state(&self, state: State) -> Outcome<()> {
        match self {
            Self::Ldap(slapd) => slapd.become_state(state),
            Self::Connex(pages, runtime) => runtime.block_on(pages.become_state(state)),
        }
    }

    fn cpu(&self) -> Outcome<Duration> {
        match self {
            Self::Ldap(slapd) => slapd.server.cpu(),
            Self::Connex(pages, _) => pages.server.cpu(),
        }
    }

    /// The floor: everything read once by something that keeps nothing.
    fn export(&self, work: &Path) -> Outcome<Cost> {
        match self {
            Self::Ldap(slapd) => slapd.export(work),
            Self::Connex(pages, _) => {
                let this = std::env::current_exe()?;
                let arguments = [READ.to_owned(), pages.address.to_string()];
                let ended = child::run(work, this.as_os_str(), &arguments, &[], &Output::Kept)?;
                if ended.code == 0 {
                    Ok(ended.cost)
                } else {
                    Err(format!("the pages: {}", ended.stderr).into())
                }
            }
        }
    }
}

/// One run of the program.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) cost: Cost,
    pub(crate) written: Written,
    pub(crate) directory_cpu: Duration,
    pub(crate) phases: Phases,
}

/// All that was measured of one source on one engine.
pub(crate) struct Measured {
    pub(crate) source: &'static str,
    pub(crate) engine: &'static str,
    pub(crate) people: usize,
    pub(crate) first: Vec<Run>,
    pub(crate) unchanged: Vec<Run>,
    pub(crate) changed: Vec<Run>,
    pub(crate) export: Vec<Cost>,
    pub(crate) rows_in: Vec<Duration>,
    pub(crate) rows_out: Vec<Duration>,
    pub(crate) locked: Option<Locked>,
    pub(crate) daemon: Daemon,
}

/// What a first load kept others from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Locked {
    /// The longest time for which nobody else could write.
    pub(crate) longest: Duration,
    /// How long the same run was applying.
    pub(crate) applying: Duration,
}

/// Measures `repeats` times each.
pub(crate) fn measure(
    runtime: &Handle,
    work: &Path,
    directory: &Directory,
    database: &mut dyn Database,
    people: usize,
    repeats: usize,
) -> Outcome<Measured> {
    // First of all: where it does not work, nobody has waited for the rest.
    let url = database.fresh()?;
    let daemon = answers::measure(runtime, work, &url, &directory.configuration())?;
    let mut all = Measured {
        source: directory.name(),
        engine: database.name(),
        people,
        first: Vec::new(),
        unchanged: Vec::new(),
        changed: Vec::new(),
        export: Vec::new(),
        rows_in: Vec::new(),
        rows_out: Vec::new(),
        locked: None,
        daemon,
    };
    let mut program = None;
    for _ in 0..repeats {
        let url = database.fresh()?;
        let fresh = Program::new(work, &url, &directory.configuration())?;
        all.export.push(directory.export(work)?);
        all.first
            .push(run(&fresh, directory, database, Expected::Created(people))?);
        all.rows_in.push(database.rows_in()?);
        program = Some(fresh);
    }
    let program = program.ok_or("nothing is to be measured: RUNS is 0")?;
    database.settle()?;
    for _ in 0..repeats {
        all.export.push(directory.export(work)?);
        all.unchanged
            .push(run(&program, directory, database, Expected::Nothing)?);
        all.rows_out.push(database.rows_out()?);
    }
    let mut state = State::Original;
    for _ in 0..repeats {
        state = state.other();
        directory.become_state(state)?;
        all.changed.push(run(
            &program,
            directory,
            database,
            Expected::Updated(people::changing(people)),
        )?);
    }
    if state != State::Original {
        directory.become_state(State::Original)?;
    }
    all.locked = locked(work, directory, database, people)?;
    Ok(all)
}

/// One more first load, with somebody beside it who would like to write.
fn locked(work: &Path, directory: &Directory, database: &mut dyn Database, people: usize) -> Outcome<Option<Locked>> {
    let url = database.fresh()?;
    let program = Program::new(work, &url, &directory.configuration())?;
    let Some(bystander) = database.bystander()? else {
        return Ok(None);
    };
    let synced = program.sync(Expected::Created(people));
    let longest = bystander.end()?;
    let applying = synced?.phases.into_iter().find(|(phase, _)| phase == "applying");
    Ok(applying.map(|(_, applying)| Locked { longest, applying }))
}

fn run(program: &Program, directory: &Directory, database: &mut dyn Database, expected: Expected) -> Outcome<Run> {
    database.count_from_here()?;
    let before = directory.cpu()?;
    let synced = program.sync(expected)?;
    let directory_cpu = directory.cpu()?.saturating_sub(before);
    Ok(Run {
        cost: synced.cost,
        written: database.written(&synced)?,
        directory_cpu,
        phases: synced.phases,
    })
}
