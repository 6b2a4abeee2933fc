//! The digests of what we hold, in memory while a listing streams by: 16 bytes and a bit for each entry.
//!
//! An entry whose digest is here says what it said before, and its user is as that left it: nothing to stage, nothing
//! to write. The set is a filter only. Whatever is not in it is staged and compared in SQL.

use crate::domain::id::Digest;

/// Digests whose users are in step, and of those that are not.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Sorted.
    clean: Vec<u128>,
    /// One bit for each of `clean`: whether the listing had it.
    seen: Vec<u64>,
    /// Records whose user was changed locally, or is out of step otherwise: always compared.
    doubtful: Vec<u128>,
    seen_count: u64,
}

impl Known {
    /// A set from unsorted digests.
    pub(super) fn new(mut clean: Vec<u128>, doubtful: Vec<u128>) -> Self {
        clean.sort_unstable();
        let words = clean.len().div_ceil(64);
        Self {
            clean,
            seen: vec![0; words],
            doubtful,
            seen_count: 0,
        }
    }

    /// Whether this entry is unchanged and its user in step; marks it as seen.
    pub(super) fn see(&mut self, digest: Digest) -> bool {
        let Ok(at) = self.clean.binary_search(&digest.0) else {
            return false;
        };
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.seen_count += 1;
        }
        true
    }

    /// Whether the listing had this entry, unchanged.
    pub(super) fn was_seen(&self, digest: Digest) -> bool {
        self.clean
            .binary_search(&digest.0)
            .is_ok_and(|at| self.seen[at / 64] & (1 << (at % 64)) != 0)
    }

    /// How many different entries were seen unchanged.
    pub(super) fn seen_count(&self) -> u64 {
        self.seen_count
    }

    /// Digests of records of which the listing may lack the entry: the unseen, and the doubtful.
    pub(super) fn unseen(&self) -> impl Iterator<Item = Digest> {
        let unseen = self
            .clean
            .iter()
            .enumerate()
            .filter(|(at, _)| self.seen[at / 64] & (1 << (at % 64)) == 0);
        unseen
            .map(|(_, digest)| digest)
            .chain(&self.doubtful)
            .copied()
            .map(Digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_left() {
        let mut known = Known::new(vec![5, 1, 3], vec![9]);
        assert!(known.see(Digest(3)) && known.see(Digest(3)));
        assert!(!known.see(Digest(9)) && !known.see(Digest(2)));
        assert_eq!(known.seen_count(), 1);
        assert!(known.was_seen(Digest(3)) && !known.was_seen(Digest(5)));
        assert_eq!(known.unseen().collect::<Vec<_>>(), [Digest(1), Digest(5), Digest(9)]);
    }
}
