//! States of the past: which changes they are made of, found by walking backwards, and these folded again.
//!
//! A first walk goes back through the chain and keeps the journal position of every change that belongs to the state; a
//! second one goes forward through these and folds. So a history of any length costs eight bytes per change beside the
//! state itself. Both walks go in steps, so that no state of the store need be held for long: the chain of an entity
//! only grows at its end.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tombolo_crdt::entity::{EntityState, heads_hash};
use tombolo_crdt::{ChangeHash, FeedId, Receipt, Revision};

use super::fold::{Fold, Needs};
use super::{Budget, EntityKey, Entries, Link, link_of, revision_of, walk};
use crate::store::{Reading, StoreError};

/// Changes that are walked over for a state of the past: about ten seconds.
pub const FOLD_CHANGES_MAX: usize = if cfg!(test) { 1 << 12 } else { 1 << 20 };
/// Bytes of changes that are walked over for it: one second at least, five seconds of the most costly.
pub const FOLD_BYTES_MAX: usize = 512 << 20;
/// Changes that one step reads at most: some 5 ms.
pub const STEP_CHANGES: usize = 1_024;
/// What one step reads at most: beyond that at most one entry (4 MiB).
const STEP: Budget = Budget { changes: STEP_CHANGES, bytes: 4 << 20 };
/// Changes whose clocks are needed, and clock marks remembered at a time: 60 MB each.
const NEEDS_MAX: usize = if cfg!(test) { 1 << 11 } else { 1 << 20 };

/// Which state of the past is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The present: everything in the chain.
    Present,
    /// What this node had when the entity was at a revision: the causal past of that revision's heads, on every node.
    Revision {
        /// The revision.
        revision: Revision,
        /// Changes among which it is looked for, from the newest.
        among: usize,
    },
    /// What had been written at a moment: the changes of entries whose clock says this millisecond or an earlier one,
    /// and everything these were made on. The same on every node that has the same entries.
    Time {
        /// Milliseconds since 1970.
        millis: u64,
    },
    /// What the author of an entry had after it: its change and everything that was made on. The same on every node.
    Entry(Receipt),
}

/// Why a state of the past cannot be shown. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastError {
    /// The store cannot be read, or the chain is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entity never had that revision here, or not among the changes looked at, or the entry does not change it.
    #[error("the entity was never so on this node")]
    Unknown,
    /// Nothing of it had been written.
    #[error("the entity had not been written")]
    NotYet,
    /// The caller's bad luck: a longer or wider history than is walked over. Figures are named limits of this module.
    #[error("the history is too long: more than {limit} {what}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

/// A state of the past in the making. Call [`Past::step`] until it is there, each time with a fresh reading or always
/// with the same.
#[derive(Debug)]
pub struct Past {
    entity: Arc<Entity>,
    until: Until,
    /// Whether the walk has come to the state's newest change.
    begun: bool,
    /// Where the walk goes on; 0: it is at its end.
    next: u64,
    /// Positions of the changes that belong to the state, the newest first.
    chosen: Vec<u64>,
    /// How many there were.
    count: usize,
    /// Changes in the state's past that the walk has not come to.
    wanted: BTreeSet<ChangeHash>,
    /// Feeds with a change in the state: all their earlier ones are.
    feeds: BTreeSet<FeedId>,
    /// The last change chosen, until it is known on which heads it came.
    open: Option<(Vec<ChangeHash>, u64)>,
    needs: Needs,
    walked: usize,
    bytes: usize,
    /// Whether it may take as long as it takes.
    patient: bool,
    /// Whether limits hold.
    bounded: bool,
    fold: Option<Fold>,
}

/// The entity, as long as it is needed.
#[derive(Debug)]
struct Entity {
    space_no: u32,
    collection: String,
    id: String,
}

impl Entity {
    fn key(&self) -> EntityKey<'_> {
        EntityKey { space_no: self.space_no, collection: &self.collection, id: &self.id }
    }
}

impl Past {
    /// A state of the entity whose last change is at journal position `newest`.
    ///
    /// Costs two reads of every change that belongs to it and one of every newer one, some 10 µs each in all.
    #[must_use]
    pub fn new(key: EntityKey<'_>, newest: u64, until: Until) -> Self {
        let EntityKey { space_no, collection, id } = key;
        Self {
            entity: Arc::new(Entity { space_no, collection: collection.to_owned(), id: id.to_owned() }),
            until,
            begun: false,
            next: newest,
            chosen: Vec::new(),
            count: 0,
            wanted: BTreeSet::new(),
            feeds: BTreeSet::new(),
            open: None,
            needs: Needs::default(),
            walked: 0,
            bytes: 0,
            patient: false,
            bounded: true,
            fold: None,
        }
    }

    /// However many changes there are and bytes of them: for whoever takes step after step with other work between
    /// them. Eight bytes are remembered of each change; what is remembered beside that is bounded as ever.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// However long it takes: for verification.
    #[must_use]
    pub fn unbounded(mut self) -> Self {
        self.bounded = false;
        self
    }

    /// Changes that belong to the state, as far as the walk has come.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.count
    }

    /// All steps, on one reading.
    ///
    /// # Errors
    /// See [`PastError`].
    pub fn whole(mut self, reading: &Reading) -> Result<EntityState, PastError> {
        loop {
            if let ControlFlow::Break(state) = self.step(reading)? {
                return Ok(state);
            }
        }
    }

    /// Goes on for at most [`STEP_CHANGES`] changes. Breaks with the state.
    ///
    /// # Errors
    /// See [`PastError`].
    pub fn step(&mut self, reading: &Reading) -> Result<ControlFlow<EntityState>, PastError> {
        self.step_among(reading, &mut Entries::passing())
    }

    /// A step ([`Past::step`]) beside other entities that were changed together with this one.
    ///
    /// # Errors
    /// See [`PastError`].
    pub fn step_among(
        &mut self,
        reading: &Reading,
        entries: &mut Entries,
    ) -> Result<ControlFlow<EntityState>, PastError> {
        if self.fold.is_none() {
            self.walk(reading, entries)?;
            return Ok(ControlFlow::Continue(()));
        }
        self.replay(reading, entries)
    }

    /// Backwards: which changes belong to the state.
    fn walk(&mut self, reading: &Reading, entries: &mut Entries) -> Result<(), PastError> {
        if let (Until::Entry(receipt), false) = (self.until, self.begun) {
            self.next = link_of(reading, self.entity.key(), receipt)?.ok_or(PastError::Unknown)?.journal;
            self.begun = true;
            self.feeds.insert(receipt.feed);
        }
        let entity = Arc::clone(&self.entity);
        for link in walk(reading, entries, entity.key(), self.next, STEP) {
            let link = link?;
            self.bytes += link.change.len();
            self.look(&link)?;
            self.next = link.previous;
        }
        self.in_time(self.bytes, "bytes of changes", FOLD_BYTES_MAX)?;
        if self.next == 0 {
            if let Some((deps, journal)) = self.open.take() {
                self.needs.note(&deps, journal, &heads_hash(&[]));
            }
            if self.chosen.is_empty() {
                return Err(if let Until::Time { .. } = self.until { PastError::NotYet } else { PastError::Unknown });
            }
            assert_eq!(self.chosen.len(), self.count, "all changes that belong to the state are folded");
            self.fold = Some(Fold::new(std::mem::take(&mut self.needs)).checked(!self.bounded));
        }
        Ok(())
    }

    /// The change that the walk has come to.
    fn look(&mut self, link: &Link) -> Result<(), PastError> {
        // What comes before a change in the chain are the heads it found.
        if let Some((deps, journal)) = self.open.take() {
            self.needs.note(&deps, journal, &link.after);
        }
        self.walked += 1;
        self.in_time(self.walked, "changes", FOLD_CHANGES_MAX)?;
        if let (Until::Revision { revision, among }, false) = (self.until, self.begun) {
            if self.walked > among {
                return Err(PastError::Unknown);
            }
            self.begun = revision_of(&link.after) == revision;
            if !self.begun {
                return Ok(());
            }
        }
        let change = link.parse()?;
        let named = self.wanted.remove(&change.hash());
        let chosen = match self.until {
            Until::Present | Until::Revision { .. } => true,
            Until::Time { millis } => named || link.hlc.millis() <= millis || self.feeds.contains(&link.feed),
            Until::Entry(_) => named || self.feeds.contains(&link.feed),
        };
        if !chosen {
            return Ok(());
        }
        if let Until::Time { .. } | Until::Entry(_) = self.until {
            self.wanted.extend(change.deps().iter().copied());
            self.feeds.insert(link.feed);
        }
        debug_assert!(self.chosen.last().is_none_or(|last| link.journal < *last), "the newest first");
        self.chosen.push(link.journal);
        self.count += 1;
        self.open = Some((change.deps().to_vec(), link.journal));
        self.within(self.needs.len().max(self.wanted.len()), "changes that others were made on", NEEDS_MAX)
    }

    fn in_time(&self, number: usize, what: &'static str, limit: usize) -> Result<(), PastError> {
        if self.patient { Ok(()) } else { self.within(number, what, limit) }
    }

    fn within(&self, number: usize, what: &'static str, limit: usize) -> Result<(), PastError> {
        if self.bounded && number > limit { Err(PastError::TooLong { what, limit }) } else { Ok(()) }
    }

    /// Forward: folds what was chosen.
    fn replay(&mut self, reading: &Reading, entries: &mut Entries) -> Result<ControlFlow<EntityState>, PastError> {
        let Some(fold) = &mut self.fold else { return Ok(ControlFlow::Continue(())) };
        let mut budget = STEP;
        while !budget.is_spent() {
            let Some(journal) = self.chosen.pop() else {
                let done = std::mem::replace(fold, Fold::new(Needs::default()));
                return Ok(ControlFlow::Break(done.finish()));
            };
            let link = budget.read(reading, entries, self.entity.key(), journal)?;
            fold.take(reading, &link, &link.parse()?)?;
            if self.bounded && fold.marks() > NEEDS_MAX {
                return Err(PastError::TooLong { what: "clock marks at a time", limit: NEEDS_MAX });
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
