//! Frontiers: how far every feed of a space is settled. Only this is compared, sent and promised.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::feed::Position;
use crate::hash::{Tagged, tag};
use crate::{ChainHash, Digest, FeedId};

/// Feed → (seq, chain hash) of the settled prefixes of one space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier(BTreeMap<FeedId, (u64, ChainHash)>);

impl Frontier {
    /// The frontier of an empty space.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How far `feed` is settled; 0 where nothing is.
    #[must_use]
    pub fn seq(&self, feed: FeedId) -> u64 {
        self.0.get(&feed).map_or(0, |(seq, _)| *seq)
    }

    /// Moves a feed forward.
    pub fn advance(&mut self, position: Position) {
        debug_assert!(position.seq >= self.seq(position.feed), "frontiers only grow");
        self.0.insert(position.feed, (position.seq, position.chain));
    }

    /// All positions, by feed.
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.0.iter().map(|(feed, (seq, chain))| Position { feed: *feed, seq: *seq, chain: *chain })
    }

    /// Where `feed` is, if anything of it is settled.
    #[must_use]
    pub fn position(&self, feed: FeedId) -> Option<Position> {
        self.0.get(&feed).map(|(seq, chain)| Position { feed, seq: *seq, chain: *chain })
    }

    /// The positions of the feeds after `feed`, by feed; `None`: all. O(log feeds) to begin.
    pub fn positions_after(&self, feed: Option<FeedId>) -> impl Iterator<Item = Position> + '_ {
        let after = feed.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.0.range((after, Bound::Unbounded));
        rest.map(|(feed, (seq, chain))| Position { feed: *feed, seq: *seq, chain: *chain })
    }

    /// Number of feeds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every position of `other` is within this frontier (by number: chains are proven elsewhere).
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(feed, (seq, _))| self.seq(*feed) >= *seq)
    }

    /// blake3 over the sorted positions. O(feeds).
    #[must_use]
    pub fn digest(&self) -> Digest {
        let hash = self.positions().fold(Tagged::new(tag::FRONTIER), |hash, position| {
            hash.bytes(position.feed.as_bytes()).number(position.seq).bytes(position.chain.as_bytes())
        });
        Digest::from_bytes(hash.finish())
    }
}

impl FromIterator<Position> for Frontier {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        Self(positions.into_iter().map(|position| (position.feed, (position.seq, position.chain))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontier_is_read_from_any_feed_on() {
        let feed = |n| FeedId::from_bytes([n; 16]);
        let chain = ChainHash::from_bytes([7; 32]);
        let frontier: Frontier =
            [4, 1, 2].map(|n| Position { feed: feed(n), seq: n.into(), chain }).into_iter().collect();
        let after =
            |n: Option<u8>| frontier.positions_after(n.map(feed)).map(|position| position.seq).collect::<Vec<_>>();
        assert_eq!(after(None), [1, 2, 4]);
        assert_eq!([after(Some(0)), after(Some(1)), after(Some(3))], [vec![1, 2, 4], vec![2, 4], vec![4]]);
        assert_eq!(after(Some(4)), [0; 0]);
        assert_eq!((frontier.position(feed(2)), frontier.position(feed(3))), (frontier.positions().nth(1), None));
    }
}
