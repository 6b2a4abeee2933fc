//! Tries each step of a connection for `check --connect`, and says what was seen. Reads at most one page of accounts.

use tokio::time::timeout;

use super::connection::Connection;
use super::failure::{Verdict, counted};
use super::listing::of_one;
use super::organization::{Groups, Membership};
use super::pager::{Pager, Step};
use super::{Ldap, Organization};
use crate::sources::{Probe, SourceError, SourceErrorKind};

/// Most entries that a probe looks at, where pages are larger or unknown to the server.
const LOOKED_AT_MAX: u64 = 1_000;

/// What the first page held.
#[derive(Default)]
struct FirstPage {
    entries: u64,
    more: bool,
    with_id: u64,
    with_organization: u64,
    /// Entries with a value, in the order of the wanted attributes.
    with: Vec<u64>,
    hint: Option<String>,
    /// Why a listing would not be complete, where one page shows it.
    incomplete: Option<String>,
    /// Why the first entry without an external id has none.
    no_id: Option<String>,
}

impl Ldap {
    /// Tries each step in order; see [`crate::sources::Source::probe`].
    pub(super) async fn try_steps(&self) -> Vec<Probe> {
        let mut steps = Vec::new();
        // The first failure is the last step.
        let _: Option<()> = self.steps(&mut steps).await;
        steps
    }

    async fn steps(&self, steps: &mut Vec<Probe>) -> Option<()> {
        let limit = self.endpoint.connect_timeout();
        let slow = |_| Err(self.endpoint.slow());
        let opened = timeout(limit, self.endpoint.open()).await.unwrap_or_else(slow);
        let place = &self.endpoint.context.place;
        let (transport, how) = told(steps, "connect", opened, |(_, how)| format!("{place}, {how}"))?;
        let bound = async {
            let mut connection = self.endpoint.over(transport).await?;
            connection.bind(self.endpoint.credentials()).await?;
            Ok(connection)
        };
        let bound = timeout(limit, bound)
            .await
            .unwrap_or_else(|_| Err(self.endpoint.slow()));
        let who = |_: &Connection| format!("as {}", self.endpoint.context.identity);
        let mut connection = told(steps, "bind", bound, who)?;
        drop(how);
        // Many servers do not say; it is worth a line where they do.
        if let Ok(Some(name)) = connection.who_am_i().await
            && !name.is_empty()
        {
            told(steps, "who am I", Ok(name), |name| super::failure::words(name))?;
        }
        told(
            steps,
            "base DN",
            self.entry_exists(&mut connection, &self.settings.base_dn).await,
            ToString::to_string,
        )?;
        if let Organization::Group { base_dn, .. } | Organization::MemberOf { base_dn, .. } =
            &self.settings.organization
            && !base_dn.is_empty()
        {
            told(
                steps,
                "groups",
                self.entry_exists(&mut connection, base_dn).await,
                ToString::to_string,
            )?;
        }
        let page = self.first_page(&mut connection).await;
        let page = page.map_err(|error| told::<()>(steps, "first page", Err(error), |()| String::new()));
        let page = page.ok()?;
        // What is there is worth saying all the same.
        let whole = match &page.incomplete {
            Some(reason) => Err(Self::not_whole(format!("{}; {reason}", counted(page.entries)))),
            None => Ok(page.summary()),
        };
        told(steps, "first page", whole, Clone::clone);
        if page.entries > 0 {
            self.say_what_is_there(&page, steps)?;
        }
        Some(())
    }

    async fn entry_exists(&self, connection: &mut Connection, dn: &str) -> Result<String, SourceError> {
        let few = connection.few(&of_one(dn, &["1.1"]), 1).await?;
        match (few.result.rc, few.entries.len()) {
            (0, 1..) => Ok(format!("{dn} exists")),
            (0, 0) => Err(SourceError::new(
                SourceErrorKind::Forbidden,
                format!(
                    "{} may not read {dn}: give that identity the right to read it.",
                    connection.context.identity
                ),
            )),
            _ => Err(match connection.context.search(dn, 0, &few.result) {
                Verdict::Incomplete(reason) => Self::not_whole(reason),
                Verdict::Failed(error) => error,
            }),
        }
    }

    async fn first_page(&self, connection: &mut Connection) -> Result<FirstPage, SourceError> {
        let settings = &self.settings;
        let query = self.query(&settings.base_dn, ldap3::Scope::Subtree, settings.filter.clone(), 0);
        let rule = match &settings.organization {
            // Who is in a group is known only when all groups were read.
            Organization::Group { .. } => &Organization::None,
            rule => rule,
        };
        let membership = Membership::new(rule, Groups::default());
        let page_size = settings
            .page_size
            .min(u32::try_from(LOOKED_AT_MAX).expect("a small number"));
        let mut pager = Pager::new(connection, query, page_size, settings.limits, settings.ignore_referrals);
        let mut page = FirstPage {
            with: vec![0; settings.wanted.len()],
            ..FirstPage::default()
        };
        loop {
            match pager.next().await? {
                Step::Entry(_) if page.entries == LOOKED_AT_MAX => page.more = true,
                Step::Entry(entry) => {
                    let raw = self.decoder.decode(&entry);
                    page.entries += 1;
                    page.with_id += u64::from(raw.id.is_some());
                    if let (None, None, Some(problem)) = (&raw.id, &page.no_id, &raw.problem) {
                        page.no_id = Some(problem.detail.clone());
                    }
                    page.with_organization += u64::from(matches!(membership.of(&raw), Ok(Some(_))));
                    for (count, name) in page.with.iter_mut().zip(settings.wanted.iter()) {
                        *count += u64::from(raw.attributes.has(name));
                    }
                    continue;
                }
                Step::Page => page.more = true,
                Step::End(ending) => {
                    page.incomplete = ending.reason;
                    page.hint = ending.proof.into_iter().nth(1);
                }
            }
            return Ok(page);
        }
    }

    fn say_what_is_there(&self, page: &FirstPage, steps: &mut Vec<Probe>) -> Option<()> {
        let settings = &self.settings;
        let of = page.entries;
        let id = match &page.no_id {
            Some(detail) if page.with_id == 0 => Err(SourceError::new(SourceErrorKind::Configuration, detail)),
            _ => Ok(format!("{} of {of} have `{}`", page.with_id, settings.external_id)),
        };
        told(steps, "external id", id, Clone::clone)?;
        if !matches!(settings.organization, Organization::None | Organization::Group { .. }) {
            let count = format!("{} of {of} name one", page.with_organization);
            told(steps, "organization", Ok(count), Clone::clone)?;
        }
        let counts = settings
            .wanted
            .iter()
            .zip(&page.with)
            .map(|(name, count)| format!("{name} {count}"));
        let counts = format!("of {of} entries have: {}", counts.collect::<Vec<_>>().join(", "));
        told(steps, "attributes", Ok(counts), Clone::clone).map(drop)
    }
}

impl FirstPage {
    fn summary(&self) -> String {
        let more = if self.more { ", and more follow" } else { "" };
        match &self.hint {
            Some(hint) => format!("{}{more}; {hint}", counted(self.entries)),
            None => format!("{}{more}", counted(self.entries)),
        }
    }
}

/// Notes a step; `None` where it failed.
fn told<T>(
    steps: &mut Vec<Probe>,
    step: &str,
    outcome: Result<T, SourceError>,
    say: impl FnOnce(&T) -> String,
) -> Option<T> {
    let (outcome, value) = match outcome {
        Ok(value) => (Ok(say(&value)), Some(value)),
        Err(error) => (Err(error), None),
    };
    steps.push(Probe {
        step: step.to_owned(),
        outcome,
    });
    value
}
