//! Reads one search to its end, page by page (RFC 2696), and says whether that end was proven. Looks at the result
//! code, the control and the cookie of every page; follows no referral.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use ldap3::LdapResult;
use ldap3::controls::RawControl;

use super::ber;
use super::connection::{Answer, Connection, Query};
use super::entry::EntryBytes;
use super::failure::{Verdict, counted, words};
use super::settings::Limits;
use crate::sources::{SourceError, SourceErrorKind};

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// One entry.
    Entry(EntryBytes),
    /// A page is over and another follows; the connection is free in between.
    Page,
    /// Nothing more.
    End(Ending),
}

/// How a search ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// What speaks for completeness.
    pub(super) proof: Vec<String>,
    /// Why it is not complete; `None` when it is.
    pub(super) reason: Option<String>,
}

/// A search being read.
pub(super) struct Pager<'a> {
    pub(super) connection: &'a mut Connection,
    query: Query,
    page_size: u32,
    limits: Limits,
    ignore_referrals: bool,
    started: bool,
    cookie: Vec<u8>,
    /// A hash of every page that was seen: its cookie with the names of its entries.
    seen: HashSet<u64>,
    page_names: DefaultHasher,
    page_entries: u64,
    references: u64,
    first_reference: Option<String>,
    /// Entries that arrived.
    pub(super) entries: u64,
    /// Pages that arrived.
    pub(super) pages: u64,
}

impl<'a> Pager<'a> {
    /// Reads `query` over `connection`; a `page_size` of 0 reads without pages.
    pub(super) fn new(
        connection: &'a mut Connection,
        query: Query,
        page_size: u32,
        limits: Limits,
        ignore_referrals: bool,
    ) -> Self {
        Self {
            connection,
            query,
            page_size,
            limits,
            ignore_referrals,
            started: false,
            cookie: Vec::new(),
            seen: HashSet::new(),
            page_names: DefaultHasher::new(),
            page_entries: 0,
            references: 0,
            first_reference: None,
            entries: 0,
            pages: 0,
        }
    }

    /// Reads on. Not to be called after [`Step::End`].
    pub(super) async fn next(&mut self) -> Result<Step, SourceError> {
        if !self.started {
            let control = (self.page_size > 0).then(|| paging_control(self.page_size, &self.cookie));
            self.connection.search(&self.query, control).await?;
            self.started = true;
        }
        loop {
            match self.connection.next().await? {
                Answer::Entry(entry) => {
                    if self.entries >= self.limits.entries {
                        return Ok(self.incomplete(format!(
                            "{} has more than {} entries below {}: narrow `filter` or `base_dn`, or raise the limit.",
                            self.connection.context.place, self.limits.entries, self.query.base
                        )));
                    }
                    self.entries += 1;
                    self.page_entries += 1;
                    entry.name().unwrap_or_default().hash(&mut self.page_names);
                    return Ok(Step::Entry(entry));
                }
                Answer::Reference(urls) => {
                    self.references += 1;
                    self.first_reference = self.first_reference.take().or(urls.into_iter().next());
                }
                Answer::Done(result) => return self.page_done(&result),
            }
        }
    }

    fn page_done(&mut self, result: &LdapResult) -> Result<Step, SourceError> {
        self.started = false;
        self.pages += 1;
        if result.rc != 0 {
            return match self.connection.context.search(&self.query.base, self.entries, result) {
                Verdict::Incomplete(reason) => Ok(self.incomplete(reason)),
                Verdict::Failed(error) => Err(error),
            };
        }
        if self.page_size == 0 {
            return Ok(self.ended("the server answered an unpaged search with success"));
        }
        let place = &self.connection.context.place;
        let Some(control) = result
            .ctrls
            .iter()
            .find(|control| control.1.ctype == ber::PAGED_RESULTS)
        else {
            return Ok(self.incomplete(format!(
                "{place} ignored the request for pages, so nothing proves that {} is all there is: set `page_size = 0` if it knows no paging.",
                counted(self.entries)
            )));
        };
        let (_, cookie) = ber::paged_results(control.1.val.as_deref().unwrap_or_default()).map_err(|malformed| {
            let message =
                format!("{place} sent a paging control that cannot be read: check the server, or a proxy before it.");
            SourceError::new(SourceErrorKind::Protocol, message).because(malformed)
        })?;
        if cookie.is_empty() {
            return Ok(self.ended("every page arrived with success, and the last one with an empty cookie"));
        }
        self.turn_page(cookie.to_vec())
    }

    /// Decides whether the page after `cookie` may be asked for.
    ///
    /// A cookie alone proves no loop: some servers (389 Directory Server) give one cookie for all pages of a search.
    /// The same cookie with the same entries does, and so does a page without any entry that leads to itself.
    fn turn_page(&mut self, cookie: Vec<u8>) -> Result<Step, SourceError> {
        cookie.hash(&mut self.page_names);
        let page = std::mem::take(&mut self.page_names).finish();
        let leads_nowhere = self.page_entries == 0 && cookie == self.cookie;
        let place = &self.connection.context.place;
        if !self.seen.insert(page) || leads_nowhere {
            return Ok(self.incomplete(format!(
                "{place} gives the same page with the same cookie again and again, after {}: look for a fault in the server or a proxy before it.",
                counted(self.entries)
            )));
        }
        if self.pages >= self.limits.pages {
            return Ok(self.incomplete(format!(
                "{place} has more than {} pages below {}: raise `page_size` or the limit.",
                self.limits.pages, self.query.base
            )));
        }
        self.cookie = cookie;
        self.page_entries = 0;
        Ok(Step::Page)
    }

    fn ended(&self, how: &str) -> Step {
        if self.references > 0 && !self.ignore_referrals {
            let to = self
                .first_reference
                .as_deref()
                .map_or(String::new(), |url| format!(" ({})", words(url)));
            return self.incomplete(format!(
                "{} left out {} part(s) of {} that are on other servers{to}, which are never followed: choose a `base_dn` without them, or set `ignore_referrals = true` if no accounts are there.",
                self.connection.context.place, self.references, self.query.base
            ));
        }
        let mut proof = vec![how.to_owned()];
        if self.references > 0 {
            proof.push(format!(
                "{} reference(s) to other servers were passed over, as configured",
                self.references
            ));
        }
        if self.entries == 0 {
            proof.push(format!(
                "no entry matched; an identity without the right to read looks the same, so check that {} may read {}",
                self.connection.context.identity, self.query.base
            ));
        }
        Step::End(Ending { proof, reason: None })
    }

    fn incomplete(&self, reason: String) -> Step {
        Step::End(Ending {
            proof: Vec::new(),
            reason: Some(reason),
        })
    }
}

/// The control that asks for one page. Not critical: a server that knows no paging shall answer all the same, and is
/// seen to have ignored it.
fn paging_control(size: u32, cookie: &[u8]) -> RawControl {
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    ldap3::controls::PagedResults {
        size,
        cookie: cookie.to_vec(),
    }
    .into()
}
