//! Heads of a space's data entries: applied ones that no applied one names or follows. The next own entry names them.
//! One that lies in another's past by way of a refused entry does no harm.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entry::Dep;
use tombolo_crdt::{ChainHash, FeedId};

/// At most one head per feed. What has changed is known, so that a commit writes no others.
#[derive(Debug, Default)]
pub(in crate::engine) struct Heads {
    of: BTreeMap<FeedId, (u64, ChainHash)>,
    changed: BTreeSet<FeedId>,
}

impl Heads {
    /// As they were stored.
    pub(in crate::engine) fn load(heads: impl IntoIterator<Item = Dep>) -> Self {
        let of = heads.into_iter().map(|head| (head.feed, (head.seq, head.chain))).collect();
        Self { of, changed: BTreeSet::new() }
    }

    #[cfg(test)]
    pub(in crate::engine) fn len(&self) -> usize {
        self.of.len()
    }

    /// All heads, by feed.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = Dep> + '_ {
        self.of.iter().map(|(feed, (seq, chain))| Dep { feed: *feed, seq: *seq, chain: *chain })
    }

    /// An entry of `feed` that depends on `deps` was applied at `seq`. O((deps + 1) × log heads).
    pub(in crate::engine) fn advance(&mut self, feed: FeedId, seq: u64, chain: ChainHash, deps: &[Dep]) {
        for dep in deps {
            if self.of.get(&dep.feed).is_some_and(|(head, _)| *head <= dep.seq) {
                self.of.remove(&dep.feed);
                self.changed.insert(dep.feed);
            }
        }
        let before = self.of.insert(feed, (seq, chain));
        assert!(before.is_none_or(|(before, _)| before < seq), "a feed's head only moves forward");
        self.changed.insert(feed);
    }

    /// Whether the store has others.
    pub(in crate::engine) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What has changed since it was asked for last; `None`: the feed has no head any more.
    pub(in crate::engine) fn take_changed(&mut self) -> Vec<(FeedId, Option<(u64, ChainHash)>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|feed| (feed, self.of.get(&feed).copied())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_past_of_a_later_entry_is_no_head() {
        let feed = |n| FeedId::from_bytes([n; 16]);
        let chain = |n| ChainHash::from_bytes([n; 32]);
        let dep = |n, seq| Dep { feed: feed(n), seq, chain: chain(n) };
        let mut heads = Heads::load([dep(1, 4), dep(2, 7)]);
        assert!(!heads.is_changed());
        heads.advance(feed(3), 1, chain(3), &[dep(1, 4), dep(2, 6)]);
        assert_eq!(heads.iter().collect::<Vec<_>>(), [dep(2, 7), dep(3, 1)]);
        assert_eq!(heads.take_changed(), [(feed(1), None), (feed(3), Some((1, chain(3))))]);
        heads.advance(feed(2), 8, chain(2), &[]);
        assert_eq!((heads.len(), heads.take_changed()), (2, vec![(feed(2), Some((8, chain(2))))]));
        assert_eq!(heads.take_changed(), []);
    }
}
