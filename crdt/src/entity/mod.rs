//! One entity: its live state, and everything that may happen to it.
//!
//! [`EntityState`] is the only door: bytes of a row and [`Change`]s in, bytes of a row and views out. A row holds the
//! operations nobody has overwritten, not the history (`docs/architecture.md`). [`Writer`] turns what a client asks for
//! into one change.
//!
//! ```
//! use tombolo_crdt::entity::{EntityState, Provenance, Write, Writer};
//! use tombolo_crdt::json::Json;
//! use tombolo_crdt::{FeedId, Hlc};
//!
//! let empty = EntityState::new();
//! let mut writer = Writer::new(&empty, FeedId::from_bytes([7; 16]), Hlc::from_millis(1_800_000_000_000));
//! writer.write(&Write::Put { value: Json::parse(br#"{"stock": 3}"#).unwrap(), base: None }).unwrap();
//! let (change, state) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
//! assert_eq!(state.view_bytes(), br#"{"stock":3}"#);
//! assert_eq!(EntityState::decode(&state.encode()).unwrap(), state);
//! assert_eq!(state.heads(), [change.hash()]);
//! ```

mod blame;
mod canonical;
mod change;
mod conflicts;
mod doc;
mod frozen;
mod gate;
mod group;
mod id;
mod minima;
mod ops;
mod places;
mod row;
mod seq;
mod size;
mod view;
mod visits;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

pub use blame::Blamed;
pub use change::{
    CHANGE_BYTES_MAX, CHANGE_KEY_BYTES_MAX, CHANGE_OPERATIONS_MAX, Change, ChangeError, ENTRY_OPERATIONS_MAX,
    EntryBudget,
};
pub use conflicts::{CONFLICT_VALUES_MAX, Conflict, ConflictValue, Step};
pub use gate::GateError;
pub(crate) use gate::gate;
pub use id::{Clock, Mark, OpId};
pub use places::{PATHS_MAX, Places, Touched};
pub use row::RowError;
pub use size::{NUMBERS_WARN, Removed};
pub use write::{
    Draft, NUMBERS_RESERVED, PLAN_VISITS_MAX, PatchOp, PatchOpError, TypedOp, VIEW_BYTES_MAX, Write, WriteError, Writer,
};

use crate::defect::{self, Defect};
use crate::hash::{Tagged, tag};
use crate::{ChangeHash, FeedId, Hlc, Revision};
use doc::{Doc, Value};
use ops::Ops;

/// The root key that holds the tombstone register.
pub(crate) const DELETED: &str = "$deleted";

/// Where a change came from: kept as long as one of its operations lives. The feed is the change's actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Position in its feed of the entry that carried the change.
    pub entry_seq: u64,
    /// The entry's clock reading.
    pub hlc: Hlc,
    /// Local id of the rules heads the entry was written under.
    pub rules_seq: u64,
}

/// One line of provenance: all operations of `actor` from `first` up to its next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    actor: FeedId,
    first: u64,
    provenance: Provenance,
}

/// What [`EntityState::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The change is in now.
    Applied,
    /// It was in before; nothing changed.
    Duplicate,
}

/// What readers must be told about an entity besides its view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Something lies deeper than the view goes and is shown as null.
    pub over_depth: bool,
    /// The view is larger than a write may make it.
    pub over_size: bool,
    /// Present because of an update that some deletion had not seen.
    pub came_back: bool,
}

/// The live state of one entity: all that is needed to read, write and merge it.
#[derive(Debug, Clone)]
pub struct EntityState {
    heads: Vec<ChangeHash>,
    clock: Clock,
    updates: BTreeMap<FeedId, u64>,
    deleted: BTreeMap<FeedId, u64>,
    doc: Doc,
    /// Sorted by (actor, first). Lines without a live operation are left out when encoding.
    lines: Vec<Line>,
    journal: u64,
}

impl EntityState {
    /// An entity nobody has written.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heads: Vec::new(),
            clock: Clock::new(),
            updates: BTreeMap::new(),
            deleted: BTreeMap::new(),
            doc: Doc::new(),
            lines: Vec::new(),
            journal: 0,
        }
    }

    /// The changes no other applied change depends on, sorted.
    #[must_use]
    pub fn heads(&self) -> &[ChangeHash] {
        &self.heads
    }

    /// Per actor the last change and operation applied here.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Per actor the highest counter of an operation that is not a tombstone.
    #[must_use]
    pub fn updates(&self) -> &BTreeMap<FeedId, u64> {
        &self.updates
    }

    /// Pointwise maximum of what the deletions had seen.
    #[must_use]
    pub fn deleted(&self) -> &BTreeMap<FeedId, u64> {
        &self.deleted
    }

    /// Journal position of the last change; 0 for none.
    #[must_use]
    pub fn journal(&self) -> u64 {
        self.journal
    }

    /// Whether the entity is there for readers: some update was seen by no deletion (update wins).
    #[must_use]
    pub fn is_present(&self) -> bool {
        if defect::is(Defect::TombstoneByLive) && self.register().iter().any(|op| op.value == Value::Bool(true)) {
            return false;
        }
        self.updates.iter().any(|(actor, counter)| self.deleted.get(actor).is_none_or(|seen| counter > seen))
    }

    /// Whether it is present although a tombstone stands: a concurrent update brought it back.
    #[must_use]
    pub fn came_back(&self) -> bool {
        self.register().iter().any(|op| op.value == Value::Bool(true)) && self.is_present()
    }

    /// Whether a deletion had seen an operation.
    fn was_deleted(&self, id: &OpId) -> bool {
        self.deleted.get(&id.actor()).is_some_and(|seen| id.counter() <= *seen)
    }

    /// Applies a change that [`EntityState::gate`] let through. `past` is the clock at the change's dependencies.
    ///
    /// Never fails: a change applied before is a no-op, and names that are not there have no effect.
    pub fn apply(&mut self, change: &Change, past: &Clock, provenance: &Provenance, journal: u64) -> Applied {
        if change.seq() <= self.clock.get(&change.actor()).seq {
            return Applied::Duplicate;
        }
        debug_assert!(past.leq(&self.clock), "the past of a change whose dependencies are applied lies in the clock");
        let late = defect::is(Defect::IncrementTwice) && !self.clock.leq(past);
        for (id, op) in change.ops() {
            self.apply_op(id, op, past);
            if late && matches!(op.action, doc::Action::Increment(_)) {
                self.apply_op(id, op, past);
            }
        }
        self.settle(change, provenance, journal);
        debug_assert!(past.leq(&self.clock), "a clock never falls");
        Applied::Applied
    }

    /// One operation: into the live state, and into `updates` or `deleted`.
    fn apply_op(&mut self, id: OpId, op: &doc::Operation, past: &Clock) {
        self.doc.apply(id, op);
        if op.is_tombstone() {
            for (actor, mark) in past.iter().filter(|(_, mark)| mark.counter > 0) {
                let seen = self.deleted.entry(*actor).or_default();
                *seen = if defect::is(Defect::DeletionForgets) { mark.counter } else { mark.counter.max(*seen) };
            }
        } else {
            let last = self.updates.entry(id.actor()).or_default();
            *last = id.counter().max(*last);
        }
    }

    /// What a change does beside its operations.
    fn settle(&mut self, change: &Change, provenance: &Provenance, journal: u64) {
        let late = defect::is(Defect::ProvenanceByArrival) && change.deps() != self.heads;
        let entry_seq = if late { journal } else { provenance.entry_seq };
        let provenance = &Provenance { entry_seq, ..*provenance };
        self.heads.retain(|head| change.deps().binary_search(head).is_err());
        if let Err(at) = self.heads.binary_search(&change.hash()) {
            self.heads.insert(at, change.hash());
        }
        debug_assert!(self.heads.is_sorted() && self.heads.contains(&change.hash()), "nothing depends on the newest");
        self.clock.take(change);
        debug_assert_eq!(self.clock.get(&change.actor()).seq, change.seq(), "an actor's changes come in order");
        self.journal = journal;
        let line = Line { actor: change.actor(), first: change.start_op(), provenance: *provenance };
        if change.max_op() >= change.start_op()
            && let Err(at) =
                self.lines.binary_search_by_key(&(line.actor, line.first), |there| (there.actor, there.first))
        {
            self.lines.insert(at, line);
        }
    }

    /// Forgets where changes came from that have no live operation left, as encoding does: for those who apply many
    /// changes without encoding. O(the entity).
    pub fn tidy(&mut self) {
        let mut used = vec![false; self.lines.len()];
        for op in self.doc.objects.values().flat_map(doc::Object::live) {
            if let Some(used) = self.line_of(&op.id).and_then(|at| used.get_mut(at)) {
                *used = true;
            }
        }
        let mut used = used.into_iter();
        self.lines.retain(|_| used.next().unwrap_or(true));
        debug_assert!(self.lines.is_sorted_by_key(|line| (line.actor, line.first)), "lines are found by search");
    }

    /// Where the line of a live operation is.
    fn line_of(&self, id: &OpId) -> Option<usize> {
        let key = (id.actor(), id.counter());
        let after = self.lines.partition_point(|line| (line.actor, line.first) <= key);
        let at = after.checked_sub(1)?;
        self.lines.get(at).filter(|line| line.actor == id.actor()).map(|_| at)
    }

    /// Where the change that made a live operation came from.
    fn provenance_of(&self, id: &OpId) -> Option<Provenance> {
        let line = self.lines.get(self.line_of(id)?)?;
        Some(line.provenance)
    }

    /// The live operations of the tombstone register.
    fn register(&self) -> &Ops {
        self.doc.map(OpId::ROOT).and_then(|keys| keys.get(DELETED)).unwrap_or(&ops::NONE)
    }

    /// h: 16 bytes over the sorted heads.
    #[must_use]
    pub fn heads_hash(&self) -> [u8; 16] {
        heads_hash(&self.heads)
    }

    /// The version readers see: over h and the contract version, 32 zeros while there are no contracts.
    #[must_use]
    pub fn revision(&self) -> Revision {
        let hash = Tagged::new(tag::REVISION).bytes(&self.heads_hash()).bytes(&[0; 32]);
        Revision::from_bytes(hash.finish16())
    }

    /// What the entity adds to sum 1 of the state digest.
    #[must_use]
    pub fn contribution(&self, collection: &str, id: &str) -> [u8; 32] {
        let key = Tagged::new(tag::ROW).sized(collection.as_bytes()).sized(id.as_bytes());
        key.bytes(&self.canonical_part()).finish()
    }
}

/// 16 bytes over sorted heads: what is stored of them beside every change.
#[must_use]
pub fn heads_hash(heads: &[ChangeHash]) -> [u8; 16] {
    heads.iter().fold(Tagged::new(tag::HEADS), |hash, head| hash.bytes(head.as_bytes())).finish16()
}

impl Default for EntityState {
    fn default() -> Self {
        Self::new()
    }
}

/// Equal when their rows are: provenance that nothing needs and search hints do not count.
impl PartialEq for EntityState {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for EntityState {}
