//! The clock at given heads of an entity, from its present clock and as little of its chain as that takes.
//!
//! Walking back from the present, what the walk has left behind is the past of the heads and, where it has come to a
//! place at which everything older lies in that past, nothing else is needed: the clock there is the present one
//! without the changes walked over. For heads that this node's entity once had that place is where it had them, however
//! long the history before.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entity::{Change, Clock, Mark, heads_hash};
use tombolo_crdt::{ChangeHash, FeedId};

use super::{Budget, EntityKey, Entries, Walk, walk};
use crate::store::{Reading, StoreError};

/// Hashes that may be hashed, to see whether the walk can end, before the walk has earned more: enough for all heads of
/// nearly all entities at every step.
const COMPARED_FREE: usize = 4_096;
/// Hashes that may be hashed per change walked over, a tenth of what the walk costs: as many heads as siblings,
/// compared at every step, would cost the square of their number. The walk ends this much later at most, in proportion.
const COMPARED_PER_CHANGE: usize = 16;

/// How many hashes may be hashed.
#[derive(Debug)]
pub(crate) struct Comparable {
    left: usize,
    /// How many have been.
    pub(crate) used: usize,
}

impl Comparable {
    pub(crate) const fn new() -> Self {
        Self { left: COMPARED_FREE, used: 0 }
    }

    /// Whether the heads with the hash `after` are those wanted; not, if there is no time to compare so many.
    fn is_at(&mut self, wanted: &BTreeSet<ChangeHash>, after: &[u8; 16]) -> bool {
        let Some(left) = self.left.checked_sub(wanted.len()) else { return false };
        self.left = left;
        self.used += wanted.len();
        let sorted: Vec<ChangeHash> = wanted.iter().copied().collect();
        heads_hash(&sorted) == *after
    }
}

/// What of the present clock the walk has taken back.
#[derive(Debug, Default)]
struct Back {
    /// By actor the earliest change walked over: its number, from 2 on.
    open: BTreeMap<FeedId, u64>,
    /// Marks that are known again.
    marks: BTreeMap<FeedId, Mark>,
}

impl Back {
    /// A change that the place lies before.
    fn over(&mut self, change: &Change) {
        self.marks.remove(&change.actor());
        if change.seq() > 1 {
            self.open.insert(change.actor(), change.seq());
        } else {
            self.open.remove(&change.actor());
            self.marks.insert(change.actor(), Mark::default());
        }
    }

    /// A change that lies before the place: it ends with what its actor had there.
    fn behind(&mut self, change: &Change) {
        if self.open.remove(&change.actor()).is_some() {
            self.marks.insert(change.actor(), Mark { seq: change.seq(), counter: change.max_op() });
        }
    }

    fn clock(self, present: &Clock) -> Clock {
        let marks = present.iter().map(|(actor, mark)| (*actor, self.marks.get(actor).copied().unwrap_or(*mark)));
        marks.filter(|(_, mark)| mark.seq > 0).collect()
    }
}

/// What a walk finds of the clock at given heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockAt {
    /// The clock: what lies in their past, themselves included.
    Known(Clock),
    /// One of them is not applied here.
    Unknown(ChangeHash),
    /// The budget was spent before that could be told.
    NotYet,
}

/// The clock at `heads` (sorted). `present` is the entity's clock, `newest` the journal position of its last change,
/// `known` remembers clocks of changes.
///
/// Walks back over the changes that are not in the past of `heads`, to a place this node's entity passed through, and
/// on to the change before of each actor met; each costs what [`Entries::link`] says. Only where it never was at such a
/// place, or where there are thousands of heads, does it walk on. Where the budget ends before it does nothing is
/// known.
///
/// # Errors
/// [`StoreError`]: the chain cannot be read.
pub fn clock_at<'c>(
    (reading, entries): (&Reading, &mut Entries),
    key: EntityKey<'_>,
    (present, newest): (&Clock, u64),
    heads: &[ChangeHash],
    known: &dyn Fn(ChangeHash) -> Option<&'c Clock>,
    budget: Budget,
) -> Result<ClockAt, StoreError> {
    let links = walk(reading, entries, key, newest, budget);
    clock_comparing(links, present, heads, known, &mut Comparable::new())
}

pub(crate) fn clock_comparing<'c>(
    mut links: Walk<'_>,
    present: &Clock,
    heads: &[ChangeHash],
    known: &dyn Fn(ChangeHash) -> Option<&'c Clock>,
    comparable: &mut Comparable,
) -> Result<ClockAt, StoreError> {
    let mut clock = Clock::default();
    let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
    for head in heads {
        match known(*head) {
            Some(known) => clock.join(known),
            None => {
                wanted.insert(*head);
            }
        }
    }
    // A head is found, or proven absent, by walking back; its ancestors follow it in the walk.
    let mut named: BTreeSet<ChangeHash> = wanted.clone();
    let mut back = Back::default();
    let mut walked: Option<Change> = None;
    while !wanted.is_empty() {
        let Some(link) = links.next().transpose()? else { break };
        if let Some(change) = walked.take() {
            back.over(&change);
        }
        let change = link.parse()?;
        comparable.left += COMPARED_PER_CHANGE;
        // Right after it was applied a change was a head.
        if wanted.contains(&change.hash()) && comparable.is_at(&wanted, &link.after) {
            // Everything from here on is in their past.
            back.behind(&change);
            while !back.open.is_empty() {
                let Some(link) = links.next().transpose()? else { break };
                back.behind(&link.parse()?);
            }
            if !back.open.is_empty() && links.rest() > 0 {
                return Ok(ClockAt::NotYet);
            }
            clock.join(&back.clock(present));
            return Ok(ClockAt::Known(clock));
        }
        if wanted.remove(&change.hash()) {
            named.remove(&change.hash());
            match known(change.hash()) {
                Some(known) => clock.join(known),
                None => {
                    clock.take(&change);
                    wanted.extend(change.deps().iter().copied());
                }
            }
        }
        walked = Some(change);
    }
    if !wanted.is_empty() && links.rest() > 0 {
        return Ok(ClockAt::NotYet);
    }
    assert!(!wanted.is_empty() || named.is_empty(), "where all that was wanted is found, all heads are");
    Ok(named.first().map_or(ClockAt::Known(clock), |missing| ClockAt::Unknown(*missing)))
}
