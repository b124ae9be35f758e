//! The receiving half of a connection.

use std::sync::Arc;

use super::Channel;
use super::hub::Hub;
use crate::error::{CloseCode, Lost};

/// What happened on a connection.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A frame arrived. Frames of one channel come in the order in which they were sent; control comes first.
    Frame {
        /// On which of the peer's channels.
        channel: Channel,
        /// Its bytes, at least one.
        frame: Vec<u8>,
    },
    /// One of our channels takes this many bytes more: an absolute figure at the time of the event, not an increment.
    /// Told when a transfer opens, when half its buffer has become free, and when it is empty.
    Writable {
        /// Which of our channels.
        channel: Channel,
        /// How many.
        bytes: usize,
    },
    /// Our finished transfer has been handed over whole; its place is free.
    Finished {
        /// Its number.
        channel: u32,
    },
    /// The peer has ended its transfer; all its frames were delivered before this.
    Ended {
        /// Its number.
        channel: u32,
    },
    /// The connection is over; the last event. All control frames received came before.
    Closed(Lost),
}

/// The events of one connection, for one reader. Dropping it closes the connection.
#[derive(Debug)]
pub struct Events {
    hub: Arc<Hub>,
}

impl Events {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Waits for the next event; `None` after [`Event::Closed`]. Control frames come first, then `Writable` and
    /// `Finished`, then the transfers in turn.
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.hub.next_event().await
    }

    /// The next event if there is one.
    pub fn try_next(&mut self) -> Option<Event> {
        self.hub.try_next_event()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.hub.fail(Lost::ByUs { code: CloseCode::Done }, CloseCode::Done, "the node let go of the connection");
    }
}
