//! Members that are away: what they lack, and since when. A step costs what moved in it, however many they are.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::feed::FeedKind;
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::{FeedId, NodeId};

use crate::engine::space::known::Known;
use crate::engine::space::{Feed, Space};

/// How many entries are settled in a space, by who wrote them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Settled {
    all: u64,
    by: BTreeMap<NodeId, u64>,
}

impl Settled {
    pub(in crate::engine) fn of<'a>(feeds: impl IntoIterator<Item = &'a Feed>) -> Self {
        let mut settled = Self::default();
        feeds.into_iter().for_each(|feed| settled.add(feed.opening.node, feed.row.seq));
        settled
    }

    /// So many entries of a node were settled. O(log authors).
    pub(in crate::engine) fn add(&mut self, node: NodeId, count: u64) {
        self.all += count;
        *self.by.entry(node).or_default() += count;
    }

    /// Entries that others than this node wrote. O(log authors).
    pub(in crate::engine) fn by_others(&self, node: NodeId) -> u64 {
        self.all - self.by.get(&node).copied().unwrap_or(0)
    }
}

/// Members that are away and lack nothing, as far as is known.
#[derive(Debug, Default)]
pub(in crate::engine) enum Abreast {
    /// Every member may be one: nothing has moved since the space was loaded.
    #[default]
    Everybody,
    These(BTreeSet<NodeId>),
}

impl Abreast {
    /// A member has left that lacked nothing.
    pub(in crate::engine) fn add(&mut self, node: NodeId) {
        if let Self::These(these) = self {
            these.insert(node);
        }
    }
}

/// What a peer lacked when its last connection ended, so that what it lacks later follows from what is here then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Lacked {
    /// Entries of others that were here and that it lacked.
    entries: u64,
    /// Entries of others that were settled here.
    settled: u64,
    /// Feeds of others in which the peer was ahead, and how far they were settled here.
    ahead: Vec<(FeedId, u64)>,
}

impl Lacked {
    /// How many entries of others the peer lacks now. `known`: how far it was in feeds in which it differed; `settled`:
    /// entries of others that are settled here by now. O(feeds in which it was ahead).
    pub(in crate::engine) fn by_now(&self, known: &Known, settled: u64, frontier: &Frontier) -> u64 {
        debug_assert!(self.settled <= settled, "what is settled stays settled");
        let had = self.ahead.iter().map(|(feed, was)| {
            let theirs = known.of(*feed).unwrap_or(*was);
            theirs.min(frontier.seq(*feed)).saturating_sub(*was)
        });
        (self.entries + settled.saturating_sub(self.settled)).saturating_sub(had.sum())
    }
}

impl Space {
    /// What a peer lacks at this moment that differs by `known`. What it wrote itself it has. O(feeds that differ).
    pub(in crate::engine) fn lacked(&self, peer: NodeId, known: &Known) -> Lacked {
        let by_another = |feed| self.feeds.get(&feed).is_none_or(|feed| feed.opening.node != peer);
        let here = known.iter().map(|(feed, theirs)| (feed, theirs, self.frontier.seq(feed)));
        let ahead = here.filter(|(feed, theirs, ours)| theirs > ours && by_another(*feed));
        Lacked {
            entries: known.lacking(&self.frontier, by_another),
            settled: self.settled.by_others(peer),
            ahead: ahead.map(|(feed, _, ours)| (feed, ours)).collect(),
        }
    }

    /// Members that are away fall behind at `wall_millis` with the first entry of another that they miss. O(feeds that
    /// moved + members that lacked nothing); all members if the rules moved, by which there may be new ones.
    pub(in crate::engine) fn fall_behind(&mut self, wall_millis: u64, is_away: impl Fn(NodeId) -> bool) {
        let roster = self.roster();
        let moved = || self.moves.keys().filter_map(|feed| self.feeds.get(feed));
        let authors: BTreeSet<NodeId> = moved().map(|feed| feed.opening.node).collect();
        let rules = moved().any(|feed| feed.opening.kind == FeedKind::Rules);
        let members: Vec<NodeId> = match std::mem::take(&mut self.abreast) {
            Abreast::These(these) if !rules => {
                these.into_iter().filter(|node| roster.member(*node).is_some()).collect()
            }
            _ => roster.members().map(|(node, _)| node).collect(),
        };
        let (mut abreast, own) = (BTreeSet::new(), self.own_data.node);
        for member in members.into_iter().filter(|member| *member != own && is_away(*member)) {
            let memory = self.memory.entry(member).or_default();
            if authors.iter().any(|author| *author != member) {
                memory.behind_since.get_or_insert(wall_millis);
            } else if memory.behind_since.is_none() {
                abreast.insert(member);
            }
        }
        self.abreast = Abreast::These(abreast);
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::ChainHash;
    use tombolo_crdt::feed::Position;

    use super::*;

    #[test]
    fn what_is_lacked_later_follows_from_what_is_here_then() {
        let feed = |n: u8| FeedId::from_bytes([n; 16]);
        let chain = ChainHash::from_bytes([0; 32]);
        let frontier = |one, two| -> Frontier {
            [(1, one), (2, two)].map(|(n, seq)| Position { feed: feed(n), seq, chain }).into_iter().collect()
        };
        // It lacked two entries of the first feed, and was three ahead in the second.
        let known = Known::differing([(feed(1), 3), (feed(2), 10)].into());
        let lacked = Lacked { entries: 2, settled: 12, ahead: vec![(feed(2), 7)] };
        let now = |one: u64, two: u64| lacked.by_now(&known, one + two, &frontier(one, two));
        assert_eq!([now(5, 7), now(5, 9), now(5, 10), now(5, 12), now(6, 12)], [2, 2, 2, 4, 5]);
    }
}
