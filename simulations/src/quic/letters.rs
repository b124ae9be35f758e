//! Which frame that arrives is which one that was sent: for the record alone.
//!
//! Streams keep their order, so the first that arrives is the first that left and was not lost. While two connections
//! between the same nodes stand, which happens when both have dialled, a frame may be taken for another one.

use std::collections::{BTreeMap, VecDeque};

use tombolo_crdt::SpaceId;
use tombolo_node::engine::ConnId;

use crate::plan::NodeNo;

/// Frames of one stream that are remembered; beyond it the oldest are forgotten. More than a connection buffers.
const FRAMES_MAX: usize = 65_536;

/// A stream: from, to, and the space it transfers; `None`: control.
type Stream = (NodeNo, NodeNo, Option<SpaceId>);

/// Frames on their way, by number.
#[derive(Debug)]
pub(super) struct Letters {
    /// Nothing is remembered when nothing is recorded.
    is_on: bool,
    last: u64,
    peers: BTreeMap<(NodeNo, ConnId), NodeNo>,
    streams: BTreeMap<Stream, VecDeque<u64>>,
}

impl Letters {
    pub(super) const fn new(is_on: bool) -> Self {
        Self { is_on, last: 0, peers: BTreeMap::new(), streams: BTreeMap::new() }
    }

    pub(super) fn connected(&mut self, node: NodeNo, conn: ConnId, peer: NodeNo) {
        self.peers.insert((node, conn), peer);
    }

    /// A connection is gone at a node: who was at its other end, and what will not arrive here any more.
    pub(super) fn closed(&mut self, node: NodeNo, conn: ConnId) -> Option<(NodeNo, Vec<u64>)> {
        let peer = self.peers.remove(&(node, conn))?;
        let others = self.peers.iter().any(|((here, _), there)| *here == node && *there == peer);
        let lost = if others { Vec::new() } else { self.lose(|(from, to, _)| *from == peer && *to == node) };
        Some((peer, lost))
    }

    /// A node is dead: what will not arrive there any more.
    pub(super) fn died(&mut self, node: NodeNo) -> Vec<u64> {
        self.peers.retain(|(here, _), _| *here != node);
        self.lose(|(_, to, _)| *to == node)
    }

    /// A frame leaves: its number, and where it goes.
    pub(super) fn sent(&mut self, node: NodeNo, conn: ConnId, transfer: Option<SpaceId>) -> Option<(u64, NodeNo)> {
        let peer = *self.peers.get(&(node, conn)).filter(|_| self.is_on)?;
        self.last += 1;
        let stream = self.streams.entry((node, peer, transfer)).or_default();
        if stream.len() >= FRAMES_MAX {
            stream.pop_front();
        }
        stream.push_back(self.last);
        assert!(stream.len() <= FRAMES_MAX, "frames that are remembered are bounded");
        Some((self.last, peer))
    }

    /// A frame arrives: its number, and where it comes from.
    pub(super) fn received(&mut self, node: NodeNo, conn: ConnId, transfer: Option<SpaceId>) -> Option<(u64, NodeNo)> {
        let peer = *self.peers.get(&(node, conn)).filter(|_| self.is_on)?;
        let number = self.streams.get_mut(&(peer, node, transfer))?.pop_front()?;
        Some((number, peer))
    }

    fn lose(&mut self, which: impl Fn(&Stream) -> bool) -> Vec<u64> {
        let gone: Vec<Stream> = self.streams.keys().copied().filter(which).collect();
        gone.iter().filter_map(|stream| self.streams.remove(stream)).flatten().collect()
    }
}
