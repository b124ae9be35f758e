//! How far a peer is trusted: decided above this crate, granted here.

use crate::limits;

/// How far the node's user trusts the peer of a connection. Only grows; every connection begins as a stranger's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Nothing is known of it: the control stream alone, short frames, a small window.
    #[default]
    Stranger,
    /// Something is expected of it, such as an offer of rules: the control stream alone, frames of a page.
    Guest,
    /// Both have something in common: everything.
    Member,
}

impl Standing {
    /// Bytes of the longest control frame that is read.
    #[must_use]
    pub const fn control_frame_max(self) -> usize {
        match self {
            Self::Stranger => limits::STRANGER_FRAME_BYTES_MAX,
            Self::Guest => limits::GUEST_FRAME_BYTES_MAX,
            Self::Member => limits::CONTROL_FRAME_BYTES_MAX,
        }
    }

    /// Bytes of received control frames that wait for the user (or one longer frame alone).
    pub(crate) const fn control_buffer(self) -> usize {
        match self {
            Self::Stranger => limits::STRANGER_RECEIVE_BUFFER,
            Self::Guest => limits::GUEST_FRAME_BYTES_MAX,
            Self::Member => limits::CONTROL_RECEIVE_BUFFER,
        }
    }

    /// Bytes that may be under way on the connection.
    pub(crate) const fn window(self) -> u32 {
        match self {
            Self::Stranger => limits::STRANGER_WINDOW,
            Self::Guest => limits::GUEST_WINDOW,
            Self::Member => limits::RECEIVE_WINDOW,
        }
    }

    /// Transfer streams that the peer may have open.
    pub(crate) const fn streams(self) -> u32 {
        match self {
            Self::Stranger | Self::Guest => 0,
            Self::Member => limits::TRANSFER_STREAMS_GRANTED,
        }
    }
}
