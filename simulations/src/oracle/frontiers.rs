//! Frontiers only grow, and equal frontiers have equal states.

use std::collections::{BTreeMap, VecDeque};

use tombolo_crdt::SpaceId;
use tombolo_crdt::frontier::Frontier;
use tombolo_node::engine::{Engine, Output, Outputs};

use super::fault::Fault;
use crate::outcome::Oracle;
use crate::plan::NodeNo;

/// Frontiers whose state is remembered; the oldest are forgotten first. About 20 MB.
const STATES_MAX: usize = 1 << 17;

/// Halves of digests: enough to compare by.
type Half = [u8; 16];

/// What every process has settled, and which state went with which frontier.
#[derive(Debug, Default)]
pub(super) struct Frontiers {
    last: BTreeMap<(NodeNo, SpaceId), Frontier>,
    states: BTreeMap<(SpaceId, Half), (Half, NodeNo)>,
    order: VecDeque<(SpaceId, Half)>,
}

fn half(digest: &tombolo_crdt::Digest) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(digest.as_bytes().split_at(16).0);
    half
}

/// Whether `new` holds all of `old`, with the same hashes where both end alike.
fn continues(old: &Frontier, new: &Frontier) -> Result<(), String> {
    for was in old.positions() {
        let seq = new.seq(was.feed);
        if seq < was.seq {
            return Err(format!("feed {} went from {} back to {seq}", was.feed, was.seq));
        }
    }
    let mut now = new.positions().peekable();
    for was in old.positions() {
        // Both go by feed.
        while now.next_if(|is| is.feed < was.feed).is_some() {}
        if now.peek().is_some_and(|is| is.feed == was.feed && is.seq == was.seq && is.chain != was.chain) {
            return Err(format!("the chain of feed {} changed at {}", was.feed, was.seq));
        }
    }
    Ok(())
}

impl Frontiers {
    /// A process has made a step: looks at the spaces whose journal grew. O(feeds of them).
    pub(super) fn stepped(&mut self, node: NodeNo, engine: &Engine, outputs: &Outputs) -> Result<(), Fault> {
        for output in &outputs.list {
            if let Output::Journal(space, _) = output {
                self.look(node, *space, engine)?;
            }
        }
        Ok(())
    }

    /// A process was started; `keeps`: on everything it had.
    pub(super) fn started(&mut self, node: NodeNo, engine: &Engine, keeps: bool) -> Result<(), Fault> {
        let known: Vec<SpaceId> = self
            .last
            .range((node, SpaceId::from_bytes([0; 32]))..)
            .take_while(|((at, _), _)| *at == node)
            .map(|((_, space), _)| *space)
            .collect();
        if !keeps {
            self.last.retain(|(at, _), _| *at != node);
        }
        let held = engine.spaces().map(|(space, _)| space).collect::<Vec<_>>();
        for space in known.into_iter().filter(|_| keeps).chain(held) {
            self.look(node, space, engine)?;
        }
        Ok(())
    }

    /// Nothing more is expected of a process.
    pub(super) fn forget(&mut self, node: NodeNo) {
        self.last.retain(|(at, _), _| *at != node);
    }

    fn look(&mut self, node: NodeNo, space: SpaceId, engine: &Engine) -> Result<(), Fault> {
        let empty = Frontier::new();
        let frontier = engine.frontier(space).unwrap_or(&empty);
        self.grown(node, space, frontier)?;
        match engine.state_digest(space) {
            Some(state) => self.equal(node, space, half(&frontier.digest()), half(&state)),
            None => Ok(()),
        }
    }

    fn grown(&mut self, node: NodeNo, space: SpaceId, frontier: &Frontier) -> Result<(), Fault> {
        if let Some(old) = self.last.get(&(node, space)) {
            continues(old, frontier)
                .map_err(|detail| Fault::new(Oracle::Frontier, "a frontier shrank", detail).at(node))?;
        }
        self.last.insert((node, space), frontier.clone());
        Ok(())
    }

    fn equal(&mut self, node: NodeNo, space: SpaceId, frontier: Half, state: Half) -> Result<(), Fault> {
        let key = (space, frontier);
        let Some((known, other)) = self.states.get(&key) else {
            self.states.insert(key, (state, node));
            self.order.push_back(key);
            if self.order.len() > STATES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.states.remove(&oldest);
            }
            assert!(self.states.len() == self.order.len() && self.order.len() <= STATES_MAX, "states are bounded");
            return Ok(());
        };
        if *known == state {
            return Ok(());
        }
        let detail = format!("it has the frontier that node {other} had, and another state digest");
        Err(Fault::new(Oracle::Convergence, "equal frontiers, other states", detail).at(node))
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::feed::Position;
    use tombolo_crdt::{ChainHash, FeedId};

    use super::*;

    const SPACE: SpaceId = SpaceId::from_bytes([1; 32]);

    fn frontier(seq: u64, chain: u8) -> Frontier {
        let feed = FeedId::from_bytes([7; 16]);
        [Position { feed, seq, chain: ChainHash::from_bytes([chain; 32]) }].into_iter().collect()
    }

    #[test]
    fn a_frontier_that_shrinks_or_changes_its_chain_is_noticed() {
        let mut all = Frontiers::default();
        assert_eq!(all.grown(0, SPACE, &frontier(1, 1)), Ok(()));
        assert_eq!(all.grown(0, SPACE, &frontier(3, 3)), Ok(()));
        for wrong in [frontier(2, 2), frontier(3, 4), Frontier::new()] {
            let fault = all.grown(0, SPACE, &wrong).expect_err("a step back");
            assert_eq!((fault.oracle, fault.node), (Oracle::Frontier, Some(0)));
        }
        assert_eq!(all.grown(1, SPACE, &frontier(2, 2)), Ok(()), "another process");
    }

    #[test]
    fn equal_frontiers_with_other_states_are_noticed() {
        let mut all = Frontiers::default();
        assert_eq!(all.equal(0, SPACE, [1; 16], [9; 16]), Ok(()));
        assert_eq!(all.equal(1, SPACE, [1; 16], [9; 16]), Ok(()));
        assert_eq!(all.equal(1, SPACE, [2; 16], [8; 16]), Ok(()));
        let fault = all.equal(2, SPACE, [1; 16], [8; 16]).expect_err("another state");
        assert_eq!((fault.oracle, fault.node), (Oracle::Convergence, Some(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut all = Frontiers::default();
        for number in 0..u64::try_from(STATES_MAX).unwrap_or(0) + 10 {
            let mut key = [0; 16];
            key.split_at_mut(8).0.copy_from_slice(&number.to_le_bytes());
            assert_eq!(all.equal(0, SPACE, key, key), Ok(()));
        }
        assert_eq!((all.states.len(), all.order.len()), (STATES_MAX, STATES_MAX));
    }
}
