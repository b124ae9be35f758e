//! Held entries: above the frontier, on disk, until what they depend on is settled. Dropping them is always allowed.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{ChainHash, ChangeHash, FeedId};

/// Most held entries of a space.
pub(super) const HELD_ENTRIES_MAX: usize = 16_384;
/// Most bytes of held entries of a space (16 MiB).
pub(super) const HELD_BYTES_MAX: usize = 16 << 20;

/// What an entry waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blocker {
    /// A data entry.
    Dep(FeedId, u64),
    /// A data entry that is here with another chain hash: one of the two chains is a fork.
    Fork(FeedId, u64),
    /// A rules entry.
    Rules(ChainHash),
    /// A change of an entity.
    Change(String, String, ChangeHash),
    /// A version of this program that understands it.
    Later,
    /// An entity whose row, or whose history as far as it is needed, is damaged here.
    Damaged(String, String),
    /// An entity whose past is being looked at, because what it was made on lies far back or is not here.
    Looked(String, String),
    /// A settled entry that is damaged here.
    Rotten(FeedId, u64),
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dep(feed, seq) => write!(f, "waits for entry {seq} of feed {feed}"),
            Self::Fork(feed, seq) => {
                write!(f, "names another entry {seq} of feed {feed} than this node holds: that feed forks")
            }
            Self::Rules(hash) => write!(f, "waits for rules entry {hash}"),
            Self::Change(collection, id, hash) => write!(f, "waits for change {hash} of {collection}/{id}"),
            Self::Later => f.write_str("was written by a later version: upgrade this node"),
            Self::Damaged(collection, id) => write!(f, "waits for {collection}/{id}, which is damaged on this node"),
            Self::Looked(collection, id) => write!(f, "waits for a look at the past of {collection}/{id}"),
            Self::Rotten(feed, seq) => {
                write!(f, "waits for entry {seq} of feed {feed}, which is damaged on this node")
            }
        }
    }
}

/// Index of the held entries of one space; their bytes are in the store.
#[derive(Debug, Default)]
pub(super) struct Held {
    feeds: BTreeMap<FeedId, BTreeMap<u64, usize>>,
    entries: usize,
    bytes: usize,
    blocked: BTreeMap<FeedId, Blocker>,
    /// Feeds that wait for a change, by entity and change: to look for one costs a walk over the entity's chain, so nobody
    /// looks before it comes.
    changes: BTreeMap<(String, String), BTreeMap<ChangeHash, BTreeSet<FeedId>>>,
}

impl Held {
    pub(super) fn insert(&mut self, feed: FeedId, seq: u64, bytes: usize) {
        if self.feeds.entry(feed).or_default().insert(seq, bytes).is_none() {
            self.entries += 1;
            self.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, feed: FeedId, seq: u64) {
        let Some(held) = self.feeds.get_mut(&feed) else { return };
        if let Some(bytes) = held.remove(&seq) {
            self.entries -= 1;
            self.bytes -= bytes;
        }
        if held.is_empty() {
            self.feeds.remove(&feed);
            self.unblock(feed);
        }
    }

    pub(super) fn contains(&self, feed: FeedId, seq: u64) -> bool {
        self.feeds.get(&feed).is_some_and(|held| held.contains_key(&seq))
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Feeds with held entries.
    pub(super) fn feeds(&self) -> Vec<FeedId> {
        self.feeds.keys().copied().collect()
    }

    /// First held position and count of a feed.
    pub(super) fn of(&self, feed: FeedId) -> Option<(u64, usize)> {
        let held = self.feeds.get(&feed)?;
        Some((*held.keys().next()?, held.len()))
    }

    /// Runs of held positions of a feed: (first, last).
    pub(super) fn runs(&self, feed: FeedId) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for seq in self.feeds.get(&feed).into_iter().flat_map(BTreeMap::keys) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *seq => *last = *seq,
                _ => runs.push((*seq, *seq)),
            }
        }
        runs
    }

    pub(super) fn block(&mut self, feed: FeedId, blocker: Blocker) {
        self.unblock(feed);
        if let Blocker::Change(collection, id, change) = &blocker {
            let of_entity = self.changes.entry((collection.clone(), id.clone())).or_default();
            of_entity.entry(*change).or_default().insert(feed);
        }
        self.blocked.insert(feed, blocker);
    }

    pub(super) fn unblock(&mut self, feed: FeedId) {
        let Some(Blocker::Change(collection, id, change)) = self.blocked.remove(&feed) else { return };
        let name = (collection, id);
        let Some(of_entity) = self.changes.get_mut(&name) else { return };
        if let Some(feeds) = of_entity.get_mut(&change) {
            feeds.remove(&feed);
            if feeds.is_empty() {
                of_entity.remove(&change);
            }
        }
        if of_entity.is_empty() {
            self.changes.remove(&name);
        }
    }

    /// A change of an entity has been applied or refused: who waits for it is tried again.
    pub(super) fn came(&mut self, collection: &str, id: &str, change: ChangeHash) {
        if self.changes.is_empty() {
            return;
        }
        let of_entity = self.changes.get(&(collection.to_owned(), id.to_owned()));
        let feeds = of_entity.and_then(|changes| changes.get(&change)).cloned().unwrap_or_default();
        feeds.into_iter().for_each(|feed| self.unblock(feed));
    }

    /// An entity was built anew and may hold changes that it did not: who waits for one is tried again.
    pub(super) fn anew(&mut self, collection: &str, id: &str) {
        let of_entity = self.changes.get(&(collection.to_owned(), id.to_owned()));
        let feeds: Vec<FeedId> = of_entity.into_iter().flat_map(BTreeMap::values).flatten().copied().collect();
        feeds.into_iter().for_each(|feed| self.unblock(feed));
    }

    pub(super) fn blocker(&self, feed: FeedId) -> Option<&Blocker> {
        self.blocked.get(&feed)
    }

    /// What has to go so that the buffer is within its bound: the highest entry of the largest feed, again and again.
    pub(super) fn surplus(&self) -> Option<(FeedId, u64)> {
        if self.entries <= HELD_ENTRIES_MAX && self.bytes <= HELD_BYTES_MAX {
            return None;
        }
        let size = |held: &BTreeMap<u64, usize>| held.values().sum::<usize>();
        let (feed, held) = self.feeds.iter().max_by_key(|(_, held)| size(held))?;
        Some((*feed, *held.keys().next_back()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_bounds() {
        let (a, b) = (FeedId::from_bytes([1; 16]), FeedId::from_bytes([2; 16]));
        let mut held = Held::default();
        for seq in [3, 4, 5, 9] {
            held.insert(a, seq, 10);
        }
        assert_eq!(held.runs(a), vec![(3, 5), (9, 9)]);
        assert_eq!((held.len(), held.bytes(), held.surplus()), (4, 40, None));
        held.insert(b, 1, HELD_BYTES_MAX);
        assert_eq!(held.surplus(), Some((b, 1)));
        held.remove(b, 1);
        assert_eq!((held.surplus(), held.bytes()), (None, 40));
    }
    #[test]
    fn who_waits_for_a_change_is_tried_when_that_comes_and_not_before() {
        let (a, b, c) = (FeedId::from_bytes([1; 16]), FeedId::from_bytes([2; 16]), FeedId::from_bytes([3; 16]));
        let (one, other) = (ChangeHash::from_bytes([1; 32]), ChangeHash::from_bytes([2; 32]));
        let change = |id: &str, hash| Blocker::Change("x".to_owned(), id.to_owned(), hash);
        let mut held = Held::default();
        for (feed, blocker) in [(a, change("e", one)), (b, change("e", one)), (c, change("e", other))] {
            held.insert(feed, 1, 10);
            held.block(feed, blocker);
        }
        let waiting = |held: &Held| [a, b, c].map(|feed| held.blocker(feed).is_some());
        held.came("x", "other", one);
        held.came("x", "e", ChangeHash::from_bytes([9; 32]));
        assert_eq!(waiting(&held), [true, true, true]);
        // Who waits for something else by now does not wait for this.
        held.block(b, Blocker::Later);
        held.came("x", "e", one);
        assert_eq!(waiting(&held), [false, true, true]);
        held.anew("x", "e");
        assert_eq!(waiting(&held), [false, true, false]);
        held.block(c, change("e", one));
        held.remove(c, 1);
        assert!(held.changes.is_empty(), "{:?}", held.changes);
    }
}
