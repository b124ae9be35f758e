//! Changes applied one after the other, to nothing: what a row must be.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tombolo_crdt::entity::{Change, Clock, EntityState, Provenance, heads_hash};
use tombolo_crdt::verdict::lies_in_past;
use tombolo_crdt::{ChangeHash, FeedId};

use super::Link;
use crate::store::{Reading, StoreError};

/// Changes after which a fold forgets where those came from that are overwritten: bounds its memory by the state's.
const TIDY_CHANGES: usize = 1_024;

/// Changes whose clock will be asked for, each with the journal position of the last change that does: those that
/// changes name which were not made on all heads there were.
#[derive(Clone, Debug, Default)]
pub struct Needs(BTreeMap<ChangeHash, u64>);

impl Needs {
    /// Notes what the change at a journal position depends on, if it was not made on the heads with the hash `before`.
    pub fn note(&mut self, deps: &[ChangeHash], journal: u64, before: &[u8; 16]) {
        if heads_hash(deps) == *before {
            return;
        }
        for dep in deps {
            let last = self.0.entry(*dep).or_default();
            *last = journal.max(*last);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A fold under way: the state so far, and the clocks that are still needed.
#[derive(Debug)]
pub struct Fold {
    state: EntityState,
    needs: Needs,
    clocks: BTreeMap<ChangeHash, Clock>,
    /// Marks in them.
    marks: usize,
    /// Changes since it was last tidied.
    untidy: usize,
    rules: BTreeMap<FeedId, Vec<u64>>,
    /// Whether changes are looked at again.
    checks: bool,
}

impl Fold {
    /// Begins with nothing. `needs` must name what [`Needs::note`] says of all changes to come.
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self {
            state: EntityState::new(),
            needs,
            clocks: BTreeMap::new(),
            marks: 0,
            untidy: 0,
            rules: BTreeMap::new(),
            checks: false,
        }
    }

    /// Whether every change is looked at again: what it names must lie in its past. For verification.
    #[must_use]
    pub fn checked(mut self, checks: bool) -> Self {
        self.checks = checks;
        self
    }

    /// Applies the next change, which comes after all it depends on.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: it lacks what it depends on; any other: the store cannot be read.
    pub fn take(&mut self, reading: &Reading, link: &Link, change: &Change) -> Result<(), StoreError> {
        let past = if change.deps() == self.state.heads() { self.state.clock().clone() } else { self.past(change)? };
        if self.checks && !lies_in_past(self.state.clock().get(&change.actor()), change, &past) {
            let detail = format!("{} was applied and names what is not in its past", link.receipt());
            return Err(StoreError::corrupt("entries", detail));
        }
        for dep in change.deps() {
            if self.needs.0.get(dep) == Some(&link.journal) {
                self.needs.0.remove(dep);
                let gone = self.clocks.remove(dep).map_or(0, |clock| clock.len());
                assert!(gone <= self.marks, "marks that go were counted when they came");
                self.marks -= gone;
            }
        }
        if self.needs.0.contains_key(&change.hash()) {
            let after = past.with(change);
            self.marks += after.len();
            self.clocks.insert(change.hash(), after);
        }
        let rules_seq = self.rules_seq(reading, link)?;
        let provenance = Provenance { entry_seq: link.seq, hlc: link.hlc, rules_seq };
        self.state.apply(change, &past, &provenance, link.journal);
        self.untidy += 1;
        debug_assert!(self.untidy <= TIDY_CHANGES, "a fold is tidied in time");
        if self.untidy >= TIDY_CHANGES {
            self.state.tidy();
            self.untidy = 0;
        }
        Ok(())
    }

    /// Clock marks it remembers beside the state (some 60 bytes each).
    #[must_use]
    pub fn marks(&self) -> usize {
        self.marks
    }

    /// What the changes have come to.
    #[must_use]
    pub fn finish(self) -> EntityState {
        self.state
    }

    fn past(&self, change: &Change) -> Result<Clock, StoreError> {
        let mut past = Clock::default();
        for dep in change.deps() {
            let missing =
                || StoreError::corrupt("entries", format!("{dep} is not in the chain it belongs to, or not before"));
            past.join(self.clocks.get(dep).ok_or_else(missing)?);
        }
        Ok(past)
    }

    /// Position of the entry in the link's feed that stated the rules heads it was written under.
    fn rules_seq(&mut self, reading: &Reading, link: &Link) -> Result<u64, StoreError> {
        let stated = match self.rules.entry(link.feed) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(slot) => {
                let row = reading.feed(link.feed)?;
                slot.insert(row.map(|row| row.rules.iter().map(|(seq, _)| *seq).collect()).unwrap_or_default())
            }
        };
        Ok(stated.iter().rev().find(|seq| **seq <= link.seq).copied().unwrap_or(0))
    }
}
