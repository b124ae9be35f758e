//! Rules: the DAG of rules entries and `state(R)`. What they mean for the verdict of an entry: [`crate::verdict`].
//!
//! Every node keeps all rules entries of its spaces in memory and for ever; they are few. Of a refused one nothing is
//! kept but its place.

mod record;
mod roster;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use record::RECORDS_MAX;
pub use record::{
    ADDR_BYTES_MAX, ADDRS_MAX, Admit, Contact, Found, Grant, Invite, NAME_BYTES_MAX, Record, RecordError, Role,
    UnknownRole, admit_message,
};
pub use roster::{Member, Roster};

use crate::entry::{Body, Entry};
use crate::verdict::Verdict;
use crate::{ChainHash, Hlc, SpaceId};

/// Rosters kept between calls, and members and invites in all of them together (some 50 MB). All go when there are
/// more.
const ROSTERS_MAX: usize = 256;
const ROSTERS_SIZE_MAX: usize = 1 << 18;

/// A settled rules entry in the DAG.
#[derive(Clone, Debug)]
struct Node {
    hash: ChainHash,
    /// Numbers of the entries it was written under. All are smaller than its own.
    parents: Vec<usize>,
    depth: u64,
    records: Vec<Record>,
    /// The entry was not refused.
    stands: bool,
}

/// The rules entries that a node holds of one space.
#[derive(Clone, Debug)]
pub struct RulesDag {
    space: SpaceId,
    /// In the order in which they were settled: parents first.
    nodes: Vec<Node>,
    numbers: BTreeMap<ChainHash, usize>,
    heads: BTreeSet<ChainHash>,
    rosters: RefCell<Rosters>,
}

/// Rosters by the heads under which they hold.
#[derive(Clone, Debug, Default)]
struct Rosters {
    all: BTreeMap<Vec<ChainHash>, Arc<Roster>>,
    /// Members and invites in all of them.
    size: usize,
}

impl Rosters {
    fn insert(&mut self, heads: &[ChainHash], roster: &Arc<Roster>) {
        if self.all.len() >= ROSTERS_MAX || self.size + roster.size() > ROSTERS_SIZE_MAX {
            *self = Self::default();
        }
        self.size += roster.size();
        let before = self.all.insert(heads.to_vec(), Arc::clone(roster));
        assert!(before.is_none(), "a roster is folded once");
    }
}

/// Some rules entries and everything they were written under.
#[derive(Debug)]
pub struct Ancestry<'d> {
    dag: &'d RulesDag,
    /// A bit per entry of the DAG, by its number.
    bits: Vec<u64>,
    antichain: bool,
}

impl Ancestry<'_> {
    /// Whether an entry is among them.
    #[must_use]
    pub fn contains(&self, entry: ChainHash) -> bool {
        self.dag.numbers.get(&entry).is_some_and(|number| self.has(*number))
    }

    /// Whether none of the entries it was asked for is an ancestor of another, and all are known.
    #[must_use]
    pub fn is_antichain(&self) -> bool {
        self.antichain
    }

    fn has(&self, number: usize) -> bool {
        self.bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Takes one in. Whether it is new.
    fn mark(&mut self, number: usize) -> bool {
        let is_new = !self.has(number);
        if let Some(word) = self.bits.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
        is_new
    }
}

impl RulesDag {
    /// The empty DAG of a space.
    #[must_use]
    pub fn new(space: SpaceId) -> Self {
        Self { space, nodes: Vec::new(), numbers: BTreeMap::new(), heads: BTreeSet::new(), rosters: RefCell::default() }
    }

    /// The space whose rules these are.
    #[must_use]
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// The newest rules entries that stand, ascending: what an author names as its rules heads. Nobody names what is
    /// refused.
    #[must_use]
    pub fn heads(&self) -> Vec<ChainHash> {
        self.heads.iter().copied().collect()
    }

    /// Whether a rules entry is settled here.
    #[must_use]
    pub fn knows(&self, entry: ChainHash) -> bool {
        self.numbers.contains_key(&entry)
    }

    /// Whether a rules entry is settled here and was not refused.
    #[must_use]
    pub fn stands(&self, entry: ChainHash) -> bool {
        self.numbers.get(&entry).and_then(|number| self.nodes.get(*number)).is_some_and(|node| node.stands)
    }

    /// The first of `heads` that is not known.
    #[must_use]
    pub fn missing(&self, heads: &[ChainHash]) -> Option<ChainHash> {
        heads.iter().copied().find(|head| !self.knows(*head))
    }

    /// Number of settled rules entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The roster under everything known.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.state(&self.heads())
    }

    /// state(R): folds the ancestors of `heads` that are not refused, in the order (depth, entry hash). Remembered for
    /// the last few heads; O(members) where what the one head was written under is remembered; O(rules entries)
    /// otherwise.
    #[must_use]
    pub fn state(&self, heads: &[ChainHash]) -> Arc<Roster> {
        if let Some(roster) = self.rosters.borrow().all.get(heads) {
            return Arc::clone(roster);
        }
        let roster = Arc::new(self.on_top(heads).unwrap_or_else(|| self.folded(heads)));
        self.rosters.borrow_mut().insert(heads, &roster);
        roster
    }

    /// The roster under one entry that stands: that of its parents, if it is remembered, and its own records. All else
    /// that counts is among its ancestors and less deep.
    fn on_top(&self, heads: &[ChainHash]) -> Option<Roster> {
        let [head] = heads else { return None };
        let node = self.numbers.get(head).and_then(|number| self.nodes.get(*number)).filter(|node| node.stands)?;
        let mut parents: Vec<ChainHash> =
            node.parents.iter().filter_map(|parent| Some(self.nodes.get(*parent)?.hash)).collect();
        parents.sort_unstable();
        let mut roster = Roster::clone(self.rosters.borrow().all.get(&parents)?);
        node.records.iter().for_each(|record| roster.fold(record));
        Some(roster)
    }

    fn folded(&self, heads: &[ChainHash]) -> Roster {
        let ancestry = self.ancestry(heads);
        let among = self.nodes.iter().enumerate().filter(|(number, node)| node.stands && ancestry.has(*number));
        let mut ordered: Vec<&Node> = among.map(|(_, node)| node).collect();
        ordered.sort_unstable_by_key(|node| (node.depth, node.hash));
        let mut roster = Roster::default();
        for record in ordered.into_iter().flat_map(|node| &node.records) {
            roster.fold(record);
        }
        roster
    }

    /// `heads` and their ancestors. A bit per rules entry, and one look at each that is among them: 1,000 entries are
    /// some microseconds.
    #[must_use]
    pub fn ancestry(&self, heads: &[ChainHash]) -> Ancestry<'_> {
        let mut ancestry = Ancestry { dag: self, bits: vec![0; self.nodes.len().div_ceil(64)], antichain: true };
        let mut newest = 0;
        for head in heads {
            match self.numbers.get(head) {
                Some(number) => {
                    ancestry.antichain &= ancestry.mark(*number);
                    newest = newest.max(number + 1);
                }
                None => ancestry.antichain = false,
            }
        }
        // A head that an entry after it was written under is no head.
        let heads: BTreeSet<usize> = heads.iter().filter_map(|head| self.numbers.get(head).copied()).collect();
        for number in (0..newest).rev() {
            if !ancestry.has(number) {
                continue;
            }
            for parent in self.nodes.get(number).into_iter().flat_map(|node| &node.parents) {
                debug_assert!(*parent < number, "parents are settled first");
                ancestry.antichain &= !heads.contains(parent);
                ancestry.mark(*parent);
            }
        }
        ancestry
    }

    /// Takes a settled rules entry in, written under `parents`.
    pub fn insert(&mut self, hash: ChainHash, parents: &[ChainHash], entry: &Entry, verdict: Verdict) {
        assert!(!self.knows(hash), "a rules entry settles once");
        let stands = verdict == Verdict::Applied;
        if stands {
            // What is refused takes no head's place, and is none.
            self.heads.retain(|head| !parents.contains(head));
            self.heads.insert(hash);
        }
        let parents: Vec<usize> = parents.iter().filter_map(|parent| self.numbers.get(parent).copied()).collect();
        let depth = parents.iter().filter_map(|parent| self.nodes.get(*parent)).map(|node| node.depth + 1).max();
        let records = if stands { records(entry) } else { Vec::new() };
        self.numbers.insert(hash, self.nodes.len());
        self.nodes.push(Node { hash, parents, depth: depth.unwrap_or(0), records, stands });
        assert_eq!(self.numbers.len(), self.nodes.len(), "every rules entry has its number");
    }
}

/// The records of an entry that was not refused: all of them decode.
fn records(entry: &Entry) -> Vec<Record> {
    let Body::Rules(raw) = &entry.body else { return Vec::new() };
    let records: Vec<Record> = raw.iter().filter_map(|raw| Record::from_raw(raw).ok()).collect();
    debug_assert_eq!(records.len(), raw.len(), "an entry that stands decodes");
    records
}

/// A rules entry ready to be encoded, whose author has newly seen `parents`. The founding entry, which has none, states
/// none.
#[must_use]
pub fn rules_entry(seq: u64, hlc: Hlc, parents: Vec<ChainHash>, records: &[Record]) -> Entry {
    Entry {
        version: crate::entry::ENTRY_VERSION,
        seq,
        hlc,
        rules: (!parents.is_empty()).then_some(parents),
        deps: Vec::new(),
        trace: None,
        idempotency: None,
        body: Body::Rules(records.iter().map(Record::to_raw).collect()),
        ext: Vec::new(),
    }
}
