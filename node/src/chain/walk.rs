//! The walk: an entity's changes, read one by one from the newest backwards, within a budget.
//!
//! Views of the past, clocks, history, blame, audits, rebuilding and verification all read an entity's past through
//! [`Walk`], or forward again through [`Budget::read`]. Nothing else follows a chain.

use super::{EntityKey, Entries, Link};
use crate::store::{Reading, StoreError};

/// What reading an entity's past may still cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Changes.
    pub changes: usize,
    /// Bytes of these changes, or of the entries read for them where that is more.
    pub bytes: usize,
}

impl Budget {
    /// As much as there is: for verification, and for callers that stop by themselves.
    pub const UNBOUNDED: Self = Self { changes: usize::MAX, bytes: usize::MAX };

    /// Whether nothing more may be read.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.changes == 0 || self.bytes == 0
    }

    /// The change of an entity at a journal position. Its cost is what [`Entries::link`] says, and goes off the budget:
    /// the last change may take more than is left.
    ///
    /// # Errors
    /// As [`Entries::link`].
    pub fn read(
        &mut self,
        reading: &Reading,
        entries: &mut Entries,
        key: EntityKey<'_>,
        journal: u64,
    ) -> Result<Link, StoreError> {
        debug_assert!(!self.is_spent(), "whoever reads has looked at the budget");
        let before = entries.read_bytes();
        let link = entries.link(reading, key, journal)?;
        let read = entries.read_bytes() - before;
        self.changes = self.changes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(read.max(link.change.len()));
        Ok(link)
    }
}

/// A walk backwards. Ends at the entity's first change, at an error, or where the budget is spent.
#[derive(Debug)]
pub struct Walk<'a> {
    reading: &'a Reading,
    entries: &'a mut Entries,
    key: EntityKey<'a>,
    next: u64,
    budget: Budget,
}

/// The changes of an entity from the one at journal position `newest` backwards; 0: there are none.
#[must_use]
pub const fn walk<'a>(
    reading: &'a Reading,
    entries: &'a mut Entries,
    key: EntityKey<'a>,
    newest: u64,
    budget: Budget,
) -> Walk<'a> {
    Walk { reading, entries, key, next: newest, budget }
}

impl Walk<'_> {
    /// Journal position at which the walk goes on, with another reading if need be: a chain only grows at its newest
    /// end. 0: the walk is over.
    #[must_use]
    pub const fn rest(&self) -> u64 {
        self.next
    }

    /// What is left of the budget.
    #[must_use]
    pub const fn left(&self) -> Budget {
        self.budget
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Link, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 || self.budget.is_spent() {
            return None;
        }
        let link = self.budget.read(self.reading, self.entries, self.key, self.next);
        let previous = link.as_ref().map_or(0, |link| link.previous);
        assert!(previous < self.next, "a walk leads backwards");
        self.next = previous;
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::bed::{Bed, KEY};

    #[test]
    fn a_walk_goes_on_where_its_budget_ended_and_reads_every_change_once() {
        let bed = Bed::new(5, 3, 50);
        let reading = bed.reading();
        let mut entries = Entries::passing();
        let whole: Vec<u64> = walk(&reading, &mut entries, KEY, bed.row().journal(), Budget::UNBOUNDED)
            .map(|link| link.unwrap().journal)
            .collect();
        assert_eq!((whole.len(), entries.reads()), (50, 50));
        for budget in [Budget { changes: 7, ..Budget::UNBOUNDED }, Budget { bytes: 300, ..Budget::UNBOUNDED }] {
            let (mut next, mut pieces, mut seen) = (bed.row().journal(), 0, Vec::new());
            while next > 0 {
                let (reading, mut entries) = (bed.reading(), Entries::passing());
                let mut walk = walk(&reading, &mut entries, KEY, next, budget);
                seen.extend(walk.by_ref().map(|link| link.unwrap().journal));
                next = walk.rest();
                assert!(next == 0 || walk.left().is_spent());
                pieces += 1;
                assert!(entries.reads() <= 7, "{}", entries.reads());
            }
            assert!(pieces >= 8, "{pieces}");
            assert_eq!(seen, whole);
        }
    }
}
