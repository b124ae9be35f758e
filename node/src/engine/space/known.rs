//! How far a peer is, as the difference to what is settled here.

use std::collections::BTreeMap;

use tombolo_crdt::FeedId;
use tombolo_crdt::frontier::Frontier;

/// How far a peer is settled in the feeds known here. A feed that is not named is settled there as far as here, so a
/// peer in step takes no memory, however many feeds there are. 24 bytes per feed that differs.
///
/// "Here" is the frontier as of the news that the owner has heard: see [`Known::moved_here`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Known(BTreeMap<FeedId, u64>);

impl Known {
    /// A peer that has nothing of what is here. O(feeds).
    pub(in crate::engine) fn nothing(frontier: &Frontier) -> Self {
        Self(frontier.positions().map(|position| (position.feed, 0)).collect())
    }

    /// A peer that differs in these feeds, by how far it is in them.
    pub(in crate::engine) fn differing(differs: BTreeMap<FeedId, u64>) -> Self {
        Self(differs)
    }

    /// How far the peer is in `feed`; `None`: as far as this node.
    pub(in crate::engine) fn of(&self, feed: FeedId) -> Option<u64> {
        self.0.get(&feed).copied()
    }

    /// Feeds in which the peer differs, and how far it is in them.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (FeedId, u64)> + '_ {
        self.0.iter().map(|(feed, seq)| (*feed, *seq))
    }

    /// How many feeds differ.
    pub(in crate::engine) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes that the peer is at `theirs` in a feed that is settled here up to `ours`.
    pub(in crate::engine) fn set(&mut self, feed: FeedId, theirs: u64, ours: u64) {
        if theirs == ours {
            self.0.remove(&feed);
        } else {
            self.0.insert(feed, theirs);
        }
    }

    /// A feed moved here from `from` on: a peer that was as far as this node no longer is. To be followed by
    /// [`Self::settle`], once all moves are noted.
    pub(in crate::engine) fn moved_here(&mut self, feed: FeedId, from: u64) {
        self.0.entry(feed).or_insert(from);
    }

    /// Forgets a feed in which both are at `ours`.
    pub(in crate::engine) fn settle(&mut self, feed: FeedId, ours: u64) {
        if self.of(feed) == Some(ours) {
            self.0.remove(&feed);
        }
    }

    /// Forgets every feed in which both are at one position. O(feeds that differ).
    pub(in crate::engine) fn settle_all(&mut self, frontier: &Frontier) {
        self.0.retain(|feed, theirs| *theirs != frontier.seq(*feed));
    }

    /// Entries of this node that the peer lacks, in feeds that `counts`. O(feeds that differ).
    pub(in crate::engine) fn lacking(&self, frontier: &Frontier, counts: impl Fn(FeedId) -> bool) -> u64 {
        let lacking = self.iter().map(|(feed, theirs)| (feed, frontier.seq(feed).saturating_sub(theirs)));
        lacking.filter(|(feed, count)| *count > 0 && counts(*feed)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::ChainHash;
    use tombolo_crdt::feed::Position;

    use super::*;

    fn feed(n: u8) -> FeedId {
        FeedId::from_bytes([n; 16])
    }

    #[test]
    fn what_equals_the_own_frontier_takes_nothing() {
        let chain = ChainHash::from_bytes([0; 32]);
        let mut frontier: Frontier =
            [(1, 3), (2, 5)].map(|(n, seq)| Position { feed: feed(n), seq, chain }).into_iter().collect();
        let mut known = Known::nothing(&frontier);
        assert_eq!((known.len(), known.lacking(&frontier, |_| true)), (2, 8));
        known.set(feed(1), 3, 3);
        known.set(feed(2), 5, 5);
        assert_eq!(known.len(), 0);
        frontier.advance(Position { feed: feed(2), seq: 7, chain });
        known.moved_here(feed(2), 5);
        known.moved_here(feed(2), 6);
        known.settle(feed(2), 7);
        assert_eq!((known.of(feed(1)), known.of(feed(2)), known.lacking(&frontier, |_| true)), (None, Some(5), 2));
        // It was ahead, and this node caught up.
        known.set(feed(1), 4, 3);
        known.moved_here(feed(1), 3);
        known.settle(feed(1), 4);
        known.set(feed(2), 7, 7);
        assert_eq!(known.len(), 0);
    }
}
