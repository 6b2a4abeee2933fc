//! `users explain`: asks the directory for the one entry, and says what the next sync makes of it. It judges with the
//! same function as a run, and changes nothing.

use std::sync::Arc;

use super::super::Output;
use super::super::cells::{document, plain};
use super::super::{compose, orgs};
use super::{Context, Exit, Failure, explain_view, find, nobody};
use crate::config::Config;
use crate::domain::decide::{Case, Decision, Facts, Presence, decide};
use crate::domain::entry::{Entry, Received};
use crate::domain::id::ExternalId;
use crate::domain::mapping::Mapped;
use crate::domain::quarantine::Quarantined;
use crate::domain::record::Record;
use crate::domain::user::{Holder, User};
use crate::engine::Setup;
use crate::sources::{Lookup, SourceError};
use crate::store::{QuarantineRow, Store, UserRow};

/// Explain one user, or one entry of a directory.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall users explain avery.sampleton@paving.example\n  rollcall users explain acc-00017 --source connex    what becomes of an entry that has no user"
)]
pub(crate) struct Arguments {
    /// Its id, its e-mail address, or its id at the directory, also one that only the directory knows
    #[arg(value_name = "ID")]
    id: String,
    /// Ask only this source about an id that has no user here
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// What the directory answered.
pub(super) enum Asked {
    /// There is nobody to ask.
    No,
    /// It has the entry.
    Found(Entry),
    /// It has an entry that cannot be read.
    Unreadable(Quarantined),
    /// It has no such entry.
    NotFound,
    /// It could not be asked.
    Failed(SourceError),
}

/// Everything that is known of one user or entry.
pub(super) struct Explanation {
    pub(super) user: Option<UserRow>,
    /// Whether no sync may ever touch the user.
    pub(super) own: bool,
    pub(super) why_disabled: Option<String>,
    /// The source's name and the entry's id.
    pub(super) link: Option<(String, ExternalId)>,
    pub(super) setup: Option<Setup>,
    pub(super) enabled: bool,
    pub(super) asked: Asked,
    pub(super) mapped: Option<Result<Mapped, Quarantined>>,
    pub(super) record: Option<Record>,
    /// The user as the core sees it.
    pub(super) held: Option<User>,
    /// What the next sync does, where that can be said.
    pub(super) decision: Option<Decision>,
    /// Whether the entry's organization is covered.
    pub(super) followed: bool,
    /// What the last run kept out.
    pub(super) quarantine: Option<QuarantineRow>,
}

/// Explains.
pub(super) async fn run(context: &Context<'_>, config: &Config, arguments: Arguments) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let explanation = match find(&store, &arguments.id).await? {
        Some(user) => of_user(config, &store, user).await?,
        None => of_entry(config, &store, &arguments.id, arguments.source.as_deref()).await?,
    };
    let text = match arguments.output {
        Output::Json => document(&explain_view::json(&explanation)),
        Output::Text => explain_view::text(&explanation, context.terminal),
    };
    context.terminal.print(&text)?;
    match explanation.asked {
        Asked::Failed(error) => Err(Failure::new(Exit::of_code(error.kind.code()), error.message)),
        _ => Ok(Exit::Done),
    }
}

impl Explanation {
    fn of(user: Option<UserRow>) -> Self {
        Self {
            user,
            own: false,
            why_disabled: None,
            link: None,
            setup: None,
            enabled: true,
            asked: Asked::No,
            mapped: None,
            record: None,
            held: None,
            decision: None,
            followed: true,
            quarantine: None,
        }
    }
}

async fn of_user(config: &Config, store: &Store, user: UserRow) -> Result<Explanation, Failure> {
    let mut all = Explanation::of(None);
    all.own = user.own;
    all.why_disabled = crate::engine::why_disabled(store, &user).await?;
    let link = user.link.clone();
    all.user = Some(user);
    let Some((name, id)) = link else { return Ok(all) };
    all.link = Some((name.to_string(), id.clone()));
    all.record = store.record(&name, &id).await?;
    all.quarantine = store.quarantined(&name, &id).await?;
    let Some(source) = config.source(name.as_str()) else {
        return Ok(all);
    };
    all.enabled = source.enabled;
    let setup = compose::setup(config, source)?;
    judge(store, &mut all, setup, &id).await?;
    Ok(all)
}

/// An id that has no user here: deleted, in quarantine, or not seen yet.
async fn of_entry(config: &Config, store: &Store, wanted: &str, source: Option<&str>) -> Result<Explanation, Failure> {
    let only = orgs::source_name(config, source)?;
    let id = ExternalId::parse(wanted).map_err(|_| nobody(wanted))?;
    let mut failed = None;
    for source in config
        .sources
        .iter()
        .filter(|s| only.as_ref().map_or(s.enabled, |name| *name == s.name))
    {
        let mut all = Explanation::of(None);
        all.record = store.record(&source.name, &id).await?;
        all.quarantine = store.quarantined(&source.name, &id).await?;
        all.link = Some((source.name.to_string(), id.clone()));
        all.enabled = source.enabled;
        judge(store, &mut all, compose::setup(config, source)?, &id).await?;
        match &all.asked {
            Asked::Found(_) | Asked::Unreadable(_) => return Ok(all),
            _ if all.record.is_some() || all.quarantine.is_some() => return Ok(all),
            Asked::Failed(_) => failed = Some(all),
            _ => {}
        }
    }
    failed.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!(
                "there is no user {0} here, and no enabled source has an entry with that id; `rollcall users list` shows the users, and a directory is asked by its own ids",
                plain(wanted)
            ),
        )
    })
}

/// Asks the directory, maps, and decides as a run would.
async fn judge(store: &Store, all: &mut Explanation, setup: Setup, id: &ExternalId) -> Result<(), Failure> {
    all.asked = match setup.source.lookup(id).await {
        Ok(Lookup::NotFound) => Asked::NotFound,
        Ok(Lookup::Found(received)) => match *received {
            Received::Entry(entry) => Asked::Found(entry),
            Received::Unreadable { reason, .. } => Asked::Unreadable(reason),
        },
        Err(error) => Asked::Failed(error),
    };
    let roles = setup.mapping.roles();
    if let Some(user) = &all.user {
        all.held = store.core_user(setup.name(), user.id, roles).await?;
    }
    if let Asked::Found(entry) = &all.asked {
        let (kind, followed) = organization(store, &setup, entry).await?;
        all.followed = followed;
        all.mapped = Some(setup.mapping.map(entry, kind.as_deref()));
    }
    all.decision = decision(store, all, &setup).await?;
    all.setup = Some(setup);
    Ok(())
}

async fn decision(store: &Store, all: &Explanation, setup: &Setup) -> Result<Option<Decision>, Failure> {
    let presence = match (&all.asked, &all.mapped) {
        (Asked::No | Asked::Failed(_), _) => return Ok(None),
        (Asked::Unreadable(why), _) | (_, Some(Err(why))) => Presence::Quarantined(why),
        (_, Some(Ok(mapped))) => Presence::Present(mapped),
        (_, None) => Presence::Absent,
    };
    let holder = match &all.mapped {
        Some(Ok(mapped)) => other_holder(store, all, setup, mapped).await?,
        _ => None,
    };
    let roles = setup.mapping.roles();
    let subject = all.held.as_ref().or(holder.as_ref().map(|h| &h.user)).map(|u| u.id);
    let facts = Facts {
        administrator_remains: store.has_other_administrator(subject, roles).await?,
        holder,
    };
    let case = Case {
        presence,
        record: all.record.as_ref(),
        user: all.held.as_ref(),
        facts: &facts,
    };
    Ok(Some(decide(case, &setup.policy())))
}

/// Somebody else who has the entry's address. Whether that one moves away in the same run, only the run can tell.
async fn other_holder(
    store: &Store,
    all: &Explanation,
    setup: &Setup,
    mapped: &Mapped,
) -> Result<Option<Holder>, Failure> {
    let held = all.held.as_ref().map(|user| user.id);
    match store.user_with_address(mapped.email.as_str()).await? {
        Some(id) if Some(id) != held => Ok(store.holder(setup.name(), id, setup.mapping.roles()).await?),
        _ => Ok(None),
    }
}

/// The kind of the entry's organization, and whether runs cover it.
async fn organization(store: &Store, setup: &Setup, entry: &Entry) -> Result<(Option<String>, bool), Failure> {
    let Some(said) = &entry.organization else {
        return Ok((None, true));
    };
    let known = store.known_organizations(setup.name()).await?;
    if let Some(known) = known.get(&said.id) {
        return Ok((Some(known.kind.clone()), known.followed));
    }
    if said.name.is_some() {
        return Ok((Some(setup.default_kind.clone()), true));
    }
    // Where that cannot be asked, the entry itself is still worth explaining.
    let listed = Arc::clone(&setup.source)
        .find_organization(said.id.as_str())
        .await
        .unwrap_or_default();
    Ok(match listed.into_iter().find(|one| one.id == said.id) {
        Some(one) => (
            Some(
                one.kind
                    .unwrap_or_else(|| setup.default_kind.clone())
                    .to_ascii_lowercase(),
            ),
            one.requested_access.unwrap_or(true),
        ),
        None => (None, true),
    })
}
