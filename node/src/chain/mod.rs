//! The history of an entity: its changes, walked backwards from the newest, and folded forward again.
//!
//! Every settled entry keeps, per change, the journal position of the entity's previous change. So an entity's history
//! is a chain through the journal that costs no row of its own. Order along it is the order of this node's journal,
//! in which every change comes after those it depends on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entity::{Change, Clock, EntityState, Provenance};
use tombolo_crdt::entry::{self, Body};
use tombolo_crdt::hash::{Tagged, tag};
use tombolo_crdt::{ChangeHash, FeedId, Hlc, Revision};

use crate::store::{Snapshot, StoreError};

/// Changes that are walked back to find a revision: what a client may be behind. Final with the format.
pub const BASE_STEPS_MAX: usize = 4_096;
/// Bytes of changes that are folded to show an older state; beyond it the state counts as unknown. Some hundred
/// thousand changes.
pub const FOLD_BYTES_MAX: usize = 64 << 20;

/// An entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityKey<'a> {
    /// Local number of its space.
    pub space_no: u32,
    /// Its collection.
    pub collection: &'a str,
    /// Its id.
    pub id: &'a str,
}

/// A change of an entity, as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Journal position of its entry.
    pub journal: u64,
    /// Feed of its entry.
    pub feed: FeedId,
    /// Position of its entry in it.
    pub seq: u64,
    /// Clock of its entry.
    pub hlc: Hlc,
    /// The change.
    pub change: Vec<u8>,
    /// Journal position of the entity's change before it; 0: there is none.
    pub previous: u64,
    /// Hash of the entity's heads after it.
    pub after: [u8; 16],
}

/// The revision of an entity whose heads have this hash: see FORMATS, Digests. Without contracts their version is zeros.
#[must_use]
pub fn revision_of(heads_hash: &[u8; 16]) -> Revision {
    Revision::from_bytes(Tagged::new(tag::REVISION).bytes(heads_hash).bytes(&[0; 32]).finish16())
}

/// Walks an entity's changes backwards.
#[derive(Debug)]
pub struct Chain<'a> {
    snapshot: &'a Snapshot,
    key: EntityKey<'a>,
    next: u64,
}

/// The changes of an entity from the one at journal position `newest` backwards.
#[must_use]
pub fn chain<'a>(snapshot: &'a Snapshot, key: EntityKey<'a>, newest: u64) -> Chain<'a> {
    Chain { snapshot, key, next: newest }
}

impl Chain<'_> {
    fn link(&self, journal: u64) -> Result<Link, StoreError> {
        let broken = |what: &str| {
            let EntityKey { collection, id, .. } = self.key;
            StoreError::corrupt(
                "journal",
                format!("the chain of {collection}/{id} breaks at position {journal}: {what}"),
            )
        };
        let at = self.snapshot.journal(self.key.space_no, journal)?.ok_or_else(|| broken("no such position"))?;
        let row = self.snapshot.entry(at.feed, at.seq)?.ok_or_else(|| broken("no such entry"))?;
        let entry = entry::Entry::decode(&row.bytes).map_err(|error| broken(&error.to_string()))?;
        let Body::Data(changes) = entry.body else { return Err(broken("not a data entry")) };
        let mut all = changes.into_iter().zip(row.changes);
        let found = all.find(|(change, _)| change.collection == self.key.collection && change.id == self.key.id);
        let (change, link) = found.ok_or_else(|| broken("the entry does not change the entity"))?;
        if link.previous >= journal {
            return Err(broken("it does not lead backwards"));
        }
        Ok(Link {
            journal,
            feed: at.feed,
            seq: at.seq,
            hlc: entry.hlc,
            change: change.change,
            previous: link.previous,
            after: link.after,
        })
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Link, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let link = self.link(self.next);
        self.next = link.as_ref().map_or(0, |link| link.previous);
        Some(link)
    }
}

/// The entity as it was at `revision`; `None`: no such revision among its last [`BASE_STEPS_MAX`], or too much to fold.
///
/// # Errors
/// [`StoreError`]: the history cannot be read.
pub fn state_at(
    snapshot: &Snapshot,
    key: EntityKey<'_>,
    present: EntityState,
    revision: Revision,
) -> Result<Option<EntityState>, StoreError> {
    if present.revision() == revision {
        return Ok(Some(present));
    }
    let mut links = chain(snapshot, key, present.journal());
    let mut found = None;
    for link in links.by_ref().take(BASE_STEPS_MAX) {
        let link = link?;
        if revision_of(&link.after) == revision {
            found = Some(link);
            break;
        }
    }
    let Some(newest) = found else { return Ok(None) };
    let mut bytes = newest.change.len();
    let mut older = vec![newest];
    for link in links {
        let link = link?;
        bytes += link.change.len();
        if bytes > FOLD_BYTES_MAX {
            return Ok(None);
        }
        older.push(link);
    }
    older.reverse();
    fold(snapshot, &older).map(Some)
}

/// Applies changes, oldest first, to nothing.
///
/// # Errors
/// [`StoreError::Corrupt`]: a stored change does not decode, or lacks what it depends on.
pub fn fold(snapshot: &Snapshot, links: &[Link]) -> Result<EntityState, StoreError> {
    let broken = |what: String| StoreError::corrupt("entries", what);
    let parse = |link: &Link| {
        let at = (link.feed, link.seq);
        Change::parse(&link.change, link.feed)
            .map_err(|error| broken(format!("a change in {}-{}: {error}", at.0, at.1)))
    };
    let changes = links.iter().map(parse).collect::<Result<Vec<Change>, _>>()?;
    let needed = beside_the_heads(&changes);
    let mut clocks: BTreeMap<ChangeHash, Clock> = BTreeMap::new();
    let mut rules: BTreeMap<FeedId, Vec<u64>> = BTreeMap::new();
    let mut state = EntityState::new();
    for (link, change) in links.iter().zip(&changes) {
        let past = if change.deps() == state.heads() {
            state.clock().clone()
        } else {
            let mut past = Clock::default();
            for dep in change.deps() {
                let clock =
                    clocks.get(dep).ok_or_else(|| broken(format!("{dep} is not in the chain it belongs to")))?;
                past.join(clock);
            }
            past
        };
        if needed.contains(&change.hash()) {
            let mut after = past.clone();
            after.take(change);
            clocks.insert(change.hash(), after);
        }
        let rules_seq = rules_seq(snapshot, &mut rules, link)?;
        let provenance = Provenance { entry_seq: link.seq, hlc: link.hlc, rules_seq };
        state.apply(change, &past, &provenance, link.journal);
    }
    Ok(state)
}

/// Changes whose clock is asked for: by those that were not made on all heads there are when they come.
fn beside_the_heads(changes: &[Change]) -> BTreeSet<ChangeHash> {
    let mut needed = BTreeSet::new();
    let mut heads: Vec<ChangeHash> = Vec::new();
    for change in changes {
        if change.deps() != heads {
            needed.extend(change.deps().iter().copied());
        }
        heads.retain(|head| change.deps().binary_search(head).is_err());
        if let Err(at) = heads.binary_search(&change.hash()) {
            heads.insert(at, change.hash());
        }
    }
    needed
}

/// Position of the entry in the link's feed that stated the rules heads it was written under.
fn rules_seq(snapshot: &Snapshot, known: &mut BTreeMap<FeedId, Vec<u64>>, link: &Link) -> Result<u64, StoreError> {
    let stated = match known.entry(link.feed) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(slot) => {
            let row = snapshot.feed(link.feed)?;
            slot.insert(row.map(|row| row.rules.iter().map(|(seq, _)| *seq).collect()).unwrap_or_default())
        }
    };
    Ok(stated.iter().rev().find(|seq| **seq <= link.seq).copied().unwrap_or(0))
}
