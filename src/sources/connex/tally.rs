//! The proof of one walk: what arrived, how often, and whether that is everything. Pure; says `complete` only where
//! nothing at all speaks against it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::sources::Listing;

/// Pages without an item, one after the other, that are still taken for an odd server and not for a loop.
const EMPTY_PAGES_MAX: u32 = 100;

/// What to do after a page.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// There is another page.
    Next,
    /// The server said that this was the last.
    End,
    /// Go no further, for this reason.
    Stop(String),
}

/// Counts one walk.
pub(super) struct Tally {
    what: &'static str,
    pages_max: u64,
    entries_max: u64,
    /// Keyed with chance, so that nobody can choose ids that collide.
    hasher: RandomState,
    total: Option<u64>,
    as_of: Option<String>,
    entries: u64,
    pages: u64,
    /// Hashes of the ids of this walk: 8 bytes each, sorted only at the end.
    ids: Vec<u64>,
    nameless: u64,
    cursors: HashSet<u64>,
    empty_pages: u32,
    /// Sorted hashes of what earlier walks sent on.
    earlier: Vec<u64>,
    restarts: u32,
}

impl Tally {
    pub(super) fn new(what: &'static str, pages_max: u64, entries_max: u64) -> Self {
        Self {
            what,
            pages_max,
            entries_max,
            hasher: RandomState::new(),
            total: None,
            as_of: None,
            entries: 0,
            pages: 0,
            ids: Vec::new(),
            nameless: 0,
            cursors: HashSet::new(),
            empty_pages: 0,
            earlier: Vec::new(),
            restarts: 0,
        }
    }

    /// Counts an item with its id; `false` where a walk before the restart has sent it on already.
    pub(super) fn item(&mut self, id: Option<&str>) -> bool {
        self.entries += 1;
        let Some(id) = id else {
            self.nameless += 1;
            return true;
        };
        let hash = self.hasher.hash_one(id);
        self.ids.push(hash);
        self.earlier.binary_search(&hash).is_err()
    }

    /// Counts a page after its items.
    pub(super) fn page(&mut self, items: usize, total: Option<u64>, as_of: Option<String>, next: Option<&str>) -> Turn {
        self.pages += 1;
        if self.pages == 1 {
            self.total = total;
            self.as_of = as_of;
        }
        self.empty_pages = if items == 0 { self.empty_pages + 1 } else { 0 };
        let Some(next) = next else { return Turn::End };
        if !self.cursors.insert(self.hasher.hash_one(next)) {
            return Turn::Stop(format!(
                "after {} pages of {} the server gave a `next` for the second time, so that the listing would never end: report it to its operator",
                self.pages, self.what
            ));
        }
        if self.empty_pages > EMPTY_PAGES_MAX {
            return Turn::Stop(format!(
                "{} pages of {} in a row were empty: report it to the directory's operator",
                self.empty_pages, self.what
            ));
        }
        if self.pages >= self.pages_max {
            return Turn::Stop(format!(
                "the limit of {} pages of {} was met: raise the page size, or find out why there are so many",
                self.pages_max, self.what
            ));
        }
        if self.entries >= self.entries_max {
            return Turn::Stop(format!(
                "the limit of {} {} was met: raise it, or find out why there are so many",
                self.entries_max, self.what
            ));
        }
        Turn::Next
    }

    /// Begins again from the first page.
    pub(super) fn restart(&mut self) {
        self.earlier.append(&mut self.ids);
        self.earlier.sort_unstable();
        self.earlier.dedup();
        (self.total, self.as_of) = (None, None);
        (self.entries, self.pages, self.nameless, self.empty_pages) = (0, 0, 0, 0);
        self.cursors.clear();
        self.restarts += 1;
    }

    /// How often the walk began again.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether anything was sent on, in this walk or before.
    pub(super) fn has_arrived(&self) -> bool {
        self.pages > 0 || self.restarts > 0
    }

    /// The listing of a walk that did not reach its end.
    pub(super) fn broken(self, reason: String) -> Listing {
        Listing::incomplete(self.entries, self.pages, vec![self.counted()], reason)
    }

    /// The listing of a walk whose last page said that it was the last.
    pub(super) fn finish(mut self) -> Listing {
        let counted = self.counted();
        self.ids.sort_unstable();
        self.ids.dedup();
        let distinct = self.ids.len() as u64 + self.nameless;
        let twice = self.entries - distinct;
        let what = self.what;
        let mut proof = vec![counted, format!("the last page of {what} states the end")];
        if twice > 0 {
            proof.push(format!("{twice} {what} arrived more than once"));
        }
        if self.restarts > 0 {
            proof.push(format!(
                "the walk began again {} times, because its cursor had expired",
                self.restarts
            ));
        }
        let reason = match self.total {
            Some(total) if total != distinct => Some(format!(
                "the directory counts {total} {what}, and {distinct} different ones arrived: sync again, and if it stays so report it to its operator"
            )),
            None if twice > 0 => Some(format!(
                "{twice} {what} arrived more than once and the directory states no total, so that as many may have slipped past: sync again"
            )),
            _ => None,
        };
        if let Some(reason) = reason {
            return Listing::incomplete(self.entries, self.pages, proof, reason);
        }
        if let Some(total) = self.total {
            proof.push(format!("{distinct} different {what}, and the directory counts {total}"));
        }
        Listing::complete(self.entries, self.pages, proof, self.as_of)
    }

    fn counted(&self) -> String {
        let plural = if self.pages == 1 { "page" } else { "pages" };
        let what = if self.entries == 1 {
            self.what.trim_end_matches('s')
        } else {
            self.what
        };
        format!("{} {what} in {} {plural}", self.entries, self.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(total: Option<u64>, pages: &[&[Option<&str>]]) -> Listing {
        let mut tally = Tally::new("accounts", 100, 100);
        for (at, page) in pages.iter().enumerate() {
            for id in *page {
                tally.item(*id);
            }
            let cursor = at.to_string();
            let next = (at + 1 < pages.len()).then_some(cursor.as_str());
            tally.page(page.len(), total, Some("as of".into()), next);
        }
        tally.finish()
    }

    #[test]
    fn a_walk_is_complete_only_if_the_counts_agree() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        for (total, pages, complete) in [
            (Some(3), &[&[a, b][..], &[c]][..], true),
            (None, &[&[a, b], &[c]], true),
            (Some(0), &[&[]], true),
            (Some(4), &[&[a, b], &[c]], false),
            (Some(2), &[&[a, b], &[c]], false),
            (Some(3), &[&[a, b], &[b]], false),
            (Some(2), &[&[a, b], &[b]], true),
            (None, &[&[a, b], &[b]], false),
            // Whoever it is, it is there.
            (Some(2), &[&[a, None]], true),
        ] {
            let listing = walk(total, pages);
            assert_eq!(listing.complete, complete, "{total:?} {pages:?}: {listing:?}");
            assert_eq!(listing.complete, listing.reason.is_none());
            assert_eq!(listing.as_of.is_some(), complete);
        }
        assert!(
            walk(Some(4), &[&[a, b]])
                .reason
                .expect("one")
                .contains("counts 4 accounts, and 2 different")
        );
    }

    #[test]
    fn loops_and_limits_stop_the_walk() {
        let mut tally = Tally::new("accounts", 5, 7);
        assert_eq!(tally.page(1, None, None, Some("x")), Turn::Next);
        assert!(matches!(tally.page(1, None, None, Some("x")), Turn::Stop(why) if why.contains("second time")));
        let mut tally = Tally::new("accounts", 2, 7);
        assert_eq!(tally.page(1, None, None, Some("x")), Turn::Next);
        assert!(matches!(tally.page(1, None, None, Some("y")), Turn::Stop(why) if why.contains("2 pages")));
        let mut tally = Tally::new("accounts", 5, 1);
        tally.item(Some("a"));
        assert!(matches!(tally.page(1, None, None, Some("y")), Turn::Stop(why) if why.contains("limit of 1 accounts")));
        let mut tally = Tally::new("accounts", 1000, 1);
        for at in 0..EMPTY_PAGES_MAX {
            assert_eq!(tally.page(0, None, None, Some(&at.to_string())), Turn::Next);
        }
        assert!(matches!(tally.page(0, None, None, Some("z")), Turn::Stop(why) if why.contains("empty")));
    }

    #[test]
    fn a_restart_counts_anew_and_sends_nothing_twice() {
        let mut tally = Tally::new("accounts", 100, 100);
        assert!(tally.item(Some("a")));
        tally.page(1, Some(3), Some("early".into()), Some("x"));
        tally.restart();
        assert!(!tally.item(Some("a")));
        assert!(tally.item(Some("b")));
        assert_eq!(
            tally.page(2, Some(2), Some("late".into()), Some("x")),
            Turn::Next,
            "cursors may come again"
        );
        assert_eq!(tally.page(0, Some(9), None, None), Turn::End);
        let listing = tally.finish();
        assert!(listing.complete, "{listing:?}");
        assert_eq!(
            (listing.entries, listing.pages, listing.as_of.as_deref()),
            (2, 2, Some("late"))
        );
    }
}
