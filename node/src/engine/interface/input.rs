//! What happens to a node, one thing at a time.

use tombolo_crdt::feed::VerifiedRange;
use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::Frame;

#[cfg(doc)]
use super::Output;
use super::{Command, ConnId, ReplyTo};
use crate::chain::Looked;
use crate::outgoing::Loaded;

/// One input of a step.
#[derive(Debug)]
pub enum Input {
    /// Somebody on this site wants something.
    Command(ReplyTo, Command),
    /// A connection stands: TLS has proven who the peer is.
    Connected {
        /// The connection.
        conn: ConnId,
        /// The peer's key.
        peer: NodeId,
        /// Whether this node dialled.
        dialled: bool,
        /// The peer's address, for `status`.
        address: String,
    },
    /// A control frame arrived.
    Frame(ConnId, Frame),
    /// Ranges arrived on the space's transfer stream and every one of them was verified.
    Ranges {
        /// The connection.
        conn: ConnId,
        /// The space.
        space: SpaceId,
        /// The frame's number.
        number: u64,
        /// The verified ranges.
        ranges: Vec<VerifiedRange>,
    },
    /// Rules ranges arrived on the control stream and every one of them was verified.
    RulesRanges {
        /// The connection.
        conn: ConnId,
        /// The space.
        space: SpaceId,
        /// The verified ranges.
        ranges: Vec<VerifiedRange>,
        /// Whether this is the last frame of the offer.
        last: bool,
    },
    /// The transfer stream of a space has room for this many bytes (an absolute figure, not an increment).
    Writable(ConnId, SpaceId, usize),
    /// The control stream of a connection has room for this many bytes (an absolute figure).
    Room(ConnId, usize),
    /// Another process answered, or came, with this node's own key: where it was met.
    Twin(String),
    /// A connection ended.
    Closed(ConnId, String),
    /// The answer to [`Output::Look`].
    Looked(Box<Looked>),
    /// The answer to [`Output::Load`].
    Loaded(Box<Loaded>),
    /// The wake-up the last step asked for, or any other moment.
    Timer,
}

impl Input {
    /// The connection it announces, if it does.
    #[must_use]
    pub fn connects(&self) -> Option<ConnId> {
        match self {
            Self::Connected { conn, .. } => Some(*conn),
            _ => None,
        }
    }

    /// Whether it brings entries.
    #[must_use]
    pub fn carries(&self) -> bool {
        matches!(self, Self::Ranges { .. } | Self::RulesRanges { .. })
    }

    /// Feeds, positions and ranges that it names: what taking it in grows with.
    pub(in crate::engine) fn names(&self) -> usize {
        match self {
            Self::Frame(_, Frame::Frontier(page)) => page.positions.len(),
            Self::Frame(_, Frame::Have(have)) => have.feeds.iter().map(|feed| 1 + feed.held.len()).sum(),
            Self::Frame(_, Frame::Refused(_, refused)) => refused.len(),
            Self::Ranges { ranges, .. } | Self::RulesRanges { ranges, .. } => ranges.len(),
            Self::Loaded(loaded) => loaded.runs(),
            _ => 0,
        }
    }

    /// Where the reply to it goes, if it is a command.
    #[must_use]
    pub fn asks(&self) -> Option<ReplyTo> {
        match self {
            Self::Command(to, _) => Some(*to),
            _ => None,
        }
    }
}
