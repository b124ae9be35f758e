//! The network between the engines: streams of encoded frames, in order within a stream and in no order between them.

use std::collections::{BTreeMap, VecDeque};

use tombolo_crdt::SpaceId;
use tombolo_node::engine::{ConnId, Input};
use tombolo_transport::frame::{Frame, Ranges, RulesRanges};

/// One direction of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream {
    /// Index of the receiving node.
    pub(crate) to: usize,
    pub(crate) conn: ConnId,
    /// `None`: the control stream.
    pub(crate) transfer: Option<SpaceId>,
}

/// Frames on their way.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    streams: BTreeMap<Stream, VecDeque<Vec<u8>>>,
    /// Bytes carried since the beginning.
    pub(crate) bytes: u64,
}

impl Wire {
    pub(crate) fn send(&mut self, stream: Stream, frame: &Frame) {
        let bytes = frame.encode();
        assert!(!bytes.is_empty(), "a frame has a kind");
        self.bytes += bytes.len() as u64;
        self.streams.entry(stream).or_default().push_back(bytes);
    }

    /// Streams with something to deliver.
    pub(crate) fn busy(&self) -> Vec<Stream> {
        self.streams.keys().copied().collect()
    }

    /// Takes the first frame of a stream, decoded and verified as the runtime does it.
    ///
    /// # Panics
    /// If a frame of an honest node does not decode or verify.
    pub(crate) fn deliver(&mut self, stream: Stream) -> Option<Input> {
        let queue = self.streams.get_mut(&stream)?;
        let bytes = queue.pop_front()?;
        if queue.is_empty() {
            self.streams.remove(&stream);
        }
        let conn = stream.conn;
        let frame = Frame::decode(&bytes).expect("honest frames decode")?;
        let verified = |ranges: Vec<tombolo_crdt::feed::Range>| {
            ranges.into_iter().map(|range| range.verify().expect("honest ranges verify")).collect()
        };
        Some(match frame {
            Frame::Ranges(Ranges { space, number, ranges }) => {
                Input::Ranges { conn, space, number, ranges: verified(ranges) }
            }
            Frame::RulesRanges(RulesRanges { space, ranges, last }) => {
                Input::RulesRanges { conn, space, ranges: verified(ranges), last }
            }
            frame => Input::Frame(conn, frame),
        })
    }

    /// Bytes on their way to a node.
    pub(crate) fn waiting(&self, node: usize) -> usize {
        self.streams.iter().filter(|(stream, _)| stream.to == node).flat_map(|(_, queue)| queue).map(Vec::len).sum()
    }

    /// Forgets what was on its way on a connection.
    pub(crate) fn cut(&mut self, conn: ConnId) {
        self.streams.retain(|stream, _| stream.conn != conn);
    }
}
