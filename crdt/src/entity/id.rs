//! Operation ids and what of them is known: clocks.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;

use crate::FeedId;

/// Counters and sequence numbers lie below this.
pub(crate) const NUMBER_END: u64 = 1 << 31;

/// Names an operation: a counter, and the actor who made it. Ordered by counter, then actor: the greater wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    counter: u32,
    actor: FeedId,
}

impl OpId {
    /// The root map, and the place before a sequence's first element: no operation has counter 0.
    pub(crate) const ROOT: Self = Self { counter: 0, actor: FeedId::from_bytes([0; 16]) };

    /// `None` for counters that no operation can have.
    pub(crate) fn new(counter: u64, actor: FeedId) -> Option<Self> {
        let counter = u32::try_from(counter).ok().filter(|counter| u64::from(*counter) < NUMBER_END)?;
        (counter > 0).then_some(Self { counter, actor })
    }

    /// The counter, from 1.
    #[must_use]
    pub fn counter(&self) -> u64 {
        u64::from(self.counter)
    }

    /// The feed whose change holds the operation.
    #[must_use]
    pub fn actor(&self) -> FeedId {
        self.actor
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.counter, self.actor)
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", self.counter, self.actor)
    }
}

/// How far an actor has come in one entity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Sequence number of its last change; 0 for none.
    pub seq: u64,
    /// Counter of its last operation; 0 for none.
    pub counter: u64,
}

/// Per actor how far it has come: a set of changes that is closed under "before", in a few bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock(BTreeMap<FeedId, Mark>);

impl Clock {
    /// The clock of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How far an actor has come.
    #[must_use]
    pub fn get(&self, actor: &FeedId) -> Mark {
        self.0.get(actor).copied().unwrap_or_default()
    }

    /// Raises one actor's mark; a mark never falls.
    pub fn raise(&mut self, actor: FeedId, mark: Mark) {
        let mine = self.0.entry(actor).or_default();
        mine.seq = mine.seq.max(mark.seq);
        mine.counter = mine.counter.max(mark.counter);
        debug_assert!(mine.counter < NUMBER_END && mine.seq < NUMBER_END, "the codec lets no greater number through");
    }

    /// Takes in everything that another clock covers.
    pub fn join(&mut self, other: &Self) {
        for (actor, mark) in &other.0 {
            self.raise(*actor, *mark);
        }
    }

    /// Takes in a change, as what follows everything covered so far.
    pub fn take(&mut self, change: &super::Change) {
        self.raise(change.actor(), Mark { seq: change.seq(), counter: change.max_op() });
    }

    /// This clock with `change` on top.
    #[must_use]
    pub fn with(&self, change: &super::Change) -> Self {
        let mut clock = self.clone();
        clock.take(change);
        clock
    }

    /// Whether an operation lies within.
    #[must_use]
    pub fn covers(&self, id: &OpId) -> bool {
        id.counter() <= self.get(&id.actor).counter
    }

    /// Whether everything covered here is covered there.
    #[must_use]
    pub fn leq(&self, other: &Self) -> bool {
        self.0.iter().all(|(actor, mark)| {
            let there = other.get(actor);
            mark.seq <= there.seq && mark.counter <= there.counter
        })
    }

    /// The marks in order of actor.
    pub fn iter(&self) -> btree_map::Iter<'_, FeedId, Mark> {
        self.0.iter()
    }

    /// Number of actors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest counter of all.
    #[must_use]
    pub fn counter_max(&self) -> u64 {
        self.0.values().map(|mark| mark.counter).max().unwrap_or(0)
    }
}

impl FromIterator<(FeedId, Mark)> for Clock {
    fn from_iter<I: IntoIterator<Item = (FeedId, Mark)>>(marks: I) -> Self {
        Self(marks.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Clock {
    type Item = (&'a FeedId, &'a Mark);
    type IntoIter = btree_map::Iter<'a, FeedId, Mark>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
