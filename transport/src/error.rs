//! Why connections are not made, are closed, or take nothing more. Each has a cause that a person can act on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use quinn::{ConnectionError, VarInt};
use tombolo_crdt::NodeId;

use crate::connection::Channel;

/// What a closing node tells the other one. The number is the QUIC application error code; the text sent with it is for
/// people only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCode {
    /// 0: nothing more to say; also when the node's user dropped the connection.
    Done,
    /// 1: another connection between the same two nodes is kept.
    Replaced,
    /// 2: the node is stopping.
    ShuttingDown,
    /// 3: the peer broke the protocol.
    Protocol,
    /// 4: the peer sent a frame beyond the limit.
    FrameTooLong,
    /// 5: the node has no room for this peer at present. Coming back later is right.
    Overloaded,
    /// 6: both ends have the same key.
    SameKey,
    /// 7: the node does not speak with this peer.
    Refused,
    /// 8: a frame of the peer's stood still for too long.
    Stalled,
    /// Any other number, from a newer version.
    Other(u32),
}

impl CloseCode {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Replaced => 1,
            Self::ShuttingDown => 2,
            Self::Protocol => 3,
            Self::FrameTooLong => 4,
            Self::Overloaded => 5,
            Self::SameKey => 6,
            Self::Refused => 7,
            Self::Stalled => 8,
            Self::Other(code) => code,
        })
    }

    fn from_code(code: VarInt) -> Self {
        match code.into_inner() {
            0 => Self::Done,
            1 => Self::Replaced,
            2 => Self::ShuttingDown,
            3 => Self::Protocol,
            4 => Self::FrameTooLong,
            5 => Self::Overloaded,
            6 => Self::SameKey,
            7 => Self::Refused,
            8 => Self::Stalled,
            code => Self::Other(u32::try_from(code).unwrap_or(u32::MAX)),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Replaced => "another connection between the two is kept",
            Self::ShuttingDown => "stopping",
            Self::Protocol => "protocol broken",
            Self::FrameTooLong => "frame too long",
            Self::Overloaded => "overloaded",
            Self::SameKey => "both nodes have the same key",
            Self::Refused => "refused",
            Self::Stalled => "a frame stood still",
            Self::Other(code) => return write!(f, "code {code}"),
        })
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// This node closed it.
    #[error("closed by this node: {code}")]
    ByUs {
        /// What the peer was told.
        code: CloseCode,
    },
    /// The peer closed it.
    #[error("closed by the peer: {code} ({reason})")]
    ByPeer {
        /// Why, for programs.
        code: CloseCode,
        /// Why, for people: at most 200 characters, control characters removed. Not to be trusted.
        reason: String,
    },
    /// Nothing came for [`crate::limits::IDLE_TIMEOUT`]: the peer or the way to it is down.
    #[error("nothing heard from the peer for too long: it, or the network to it, is down")]
    TimedOut,
    /// The peer answered that it does not know the connection: it has restarted. Dial again.
    #[error("the peer has restarted")]
    PeerRestarted,
    /// The peer sent a frame beyond the limit. Peer's fault; the frame was not read.
    #[error("the peer sent a frame of {bytes} bytes on {channel}, {limit} are allowed")]
    FrameTooLong {
        /// Where.
        channel: Channel,
        /// Its announced length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A frame of the peer's began and nothing more of it came for [`crate::limits::FRAME_STALL`].
    #[error("a frame of the peer's on {channel} stood still for too long")]
    Stalled {
        /// Where.
        channel: Channel,
    },
    /// The peer broke the framing. Peer's fault.
    #[error("the peer broke the protocol: {what}")]
    Protocol {
        /// What it did.
        what: &'static str,
    },
    /// The peer does not speak this version of the protocol: one of the two needs an upgrade.
    #[error("the peer does not speak tombolo/1: one of the two programs is older, or it is not a Tombolo node")]
    OtherVersion,
    /// The peer dialled us expecting another node: its address book is wrong, or this node's key is new.
    #[error("the peer expected another node at this address")]
    PeerExpectedAnother,
    /// The peer takes no further connections at present.
    #[error("the peer takes no connections now: it is stopping, or has too many")]
    PeerBusy,
    /// The handshake failed for a cause that has no name here, or QUIC itself was violated: a program that is not
    /// Tombolo, a middlebox, or a defect.
    #[error("the connection failed below Tombolo: {reason}")]
    Transport {
        /// What the QUIC implementation says.
        reason: String,
    },
}

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::VersionMismatch => Self::OtherVersion,
            ConnectionError::TransportError(error) => match u64::from(error.code) {
                NO_APPLICATION_PROTOCOL => Self::OtherVersion,
                _ => Self::Transport { reason: error.to_string() },
            },
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                NO_APPLICATION_PROTOCOL => Self::OtherVersion,
                ACCESS_DENIED => Self::PeerExpectedAnother,
                CONNECTION_REFUSED => Self::PeerBusy,
                _ => Self::Transport { reason: close.to_string() },
            },
            ConnectionError::ApplicationClosed(close) => {
                let code = CloseCode::from_code(close.error_code);
                Self::ByPeer { code, reason: printable(&close.reason) }
            }
            ConnectionError::Reset => Self::PeerRestarted,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::ByUs { code: CloseCode::Done },
            ConnectionError::CidsExhausted => Self::Transport { reason: error.to_string() },
        }
    }
}

/// Why there is no connection. Nothing was changed; all but [`ConnectError::WrongPeer`], [`ConnectError::Ourselves`]
/// and [`ConnectError::Setup`] may pass with time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Another node answers at that address: an address that was given to another machine, or an impostor. This node's
    /// key was not shown to it.
    #[error("another node answers at {address}: {} instead of {}", short(*found), short(*expected))]
    WrongPeer {
        /// Who was dialled.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// The peer has this node's own key: the address leads back here, or the key was copied to a second machine.
    #[error("{address} is this node itself, or another machine runs with a copy of its key")]
    Ourselves {
        /// Where.
        address: SocketAddr,
    },
    /// No answer in time: nobody there, or UDP does not get through.
    #[error("no answer from {address}: nobody there, or UDP is blocked")]
    NoAnswer {
        /// Where.
        address: SocketAddr,
    },
    /// The address cannot be dialled from here (port 0, or IPv6 from an IPv4 socket).
    #[error("{address} cannot be dialled from this node: {reason}")]
    BadAddress {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// No name of the target leads to an address.
    #[error("none of the target's names leads to an address: {reason}")]
    NoAddress {
        /// What the resolver said last.
        reason: String,
    },
    /// This endpoint was closed.
    #[error("this node's endpoint is closed")]
    Stopped,
    /// The endpoint's own settings are unusable. Local fault.
    #[error("unusable TLS or QUIC settings: {reason}")]
    Setup {
        /// What was wrong.
        reason: String,
    },
    /// The handshake began and did not end well.
    #[error("{address}: {cause}")]
    Failed {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: Lost,
    },
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address} (UDP): {source}")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The runtime could not take the socket.
    #[error("cannot use the UDP socket: {source}")]
    Runtime {
        /// The system's reason.
        #[from]
        source: io::Error,
    },
    /// Unusable settings. Local fault.
    #[error(transparent)]
    Setup(#[from] ConnectError),
}

/// Why a frame or a request was not taken. Nothing was sent; the connection stands unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The buffer has no room: wait for [`crate::Event::Writable`]. The frame is handed back.
    #[error("the buffer of {channel} is full")]
    Full {
        /// Where.
        channel: Channel,
        /// The frame that was not taken.
        frame: Vec<u8>,
    },
    /// Longer than this channel allows. Local fault.
    #[error("a frame of {bytes} bytes does not go on {channel}: at most {limit}")]
    TooLong {
        /// Where.
        channel: Channel,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Frames have at least one byte. Local fault.
    #[error("an empty frame is none")]
    Empty,
    /// The transfer is not open, or was finished. Local fault.
    #[error("transfer {channel} is not open")]
    NotOpen {
        /// Its number.
        channel: u32,
    },
    /// Channel numbers are used once per connection, upwards. Local fault.
    #[error("transfer {channel} is not new: numbers only grow within a connection")]
    NotNew {
        /// The number.
        channel: u32,
    },
    /// [`crate::limits::TRANSFERS_MAX`] are open: finish one first.
    #[error("too many transfers are open")]
    TooManyTransfers,
    /// The connection is closed or closing.
    #[error("the connection is closed")]
    Closed,
}

/// The first digits of an id: enough to tell the nodes of one message apart.
fn short(id: NodeId) -> String {
    id.to_string().chars().take(8).collect()
}

/// Text from a peer, made fit for a log line.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}

const REASON_CHARS_MAX: usize = 200;

/// QUIC maps TLS alerts to 0x100 + alert (RFC 9001 §4.8); 120 = no_application_protocol.
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
/// 49 = access_denied: what rustls sends when a verifier rejects a key for a reason of its own.
const ACCESS_DENIED: u64 = 0x100 + 49;
/// RFC 9000 §20.1.
const CONNECTION_REFUSED: u64 = 0x2;
