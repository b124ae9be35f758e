//! The state of a connection's channels and the order in which events leave it. No waiting, no locks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::Notify;

use super::queues::{ReceiveQueue, SendQueue};
use super::{Channel, Event};
use crate::error::{CloseCode, Lost, SendError};
use crate::limits;
use crate::standing::Standing;

#[derive(Debug)]
pub(super) struct State {
    pub(super) outgoing: BTreeMap<Channel, Outgoing>,
    pub(super) incoming: BTreeMap<Channel, Incoming>,
    /// Streams accepted of which the channel is not known yet.
    pub(super) unnamed: usize,
    /// Transfers handed over whole and not yet told.
    pub(super) finished: VecDeque<u32>,
    /// The greatest number used for an own transfer.
    pub(super) newest: Option<u32>,
    /// The transfer that was served last.
    turn: Channel,
    /// Told to the peer when the control queue has drained.
    pub(super) closing: Option<(CloseCode, String)>,
    pub(super) lost: Option<Lost>,
    pub(super) control_read_to_end: bool,
    pub(super) over: bool,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) queue: SendQueue,
    /// The stream exists.
    pub(super) open: bool,
    pub(super) finishing: bool,
    pub(super) wake: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) queue: ReceiveQueue,
    pub(super) paused: bool,
    pub(super) ended: bool,
    pub(super) wake: Arc<Notify>,
}

impl State {
    pub(super) fn new() -> Self {
        let mut control = Outgoing::new(limits::CONTROL_SEND_BUFFER);
        control.open = true;
        Self {
            outgoing: BTreeMap::from([(Channel::Control, control)]),
            incoming: BTreeMap::from([(Channel::Control, Incoming::new(Standing::Stranger.control_buffer()))]),
            unnamed: 0,
            finished: VecDeque::new(),
            newest: None,
            turn: Channel::Control,
            closing: None,
            lost: None,
            control_read_to_end: false,
            over: false,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.lost.is_some()
    }

    pub(super) fn open_outgoing(&mut self, channel: Channel) -> Result<&mut Outgoing, SendError> {
        let usable = |outgoing: &&mut Outgoing| outgoing.open && !outgoing.finishing;
        self.outgoing.get_mut(&channel).filter(usable).ok_or(match channel {
            Channel::Control => SendError::Closed,
            Channel::Transfer(channel) => SendError::NotOpen { channel },
        })
    }

    /// Control, then what frees the sender, then the transfers in turn, and the end when nothing else is left.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.control_frame().or_else(|| self.writable()).or_else(|| self.transfer_event()).or_else(|| self.closed())
    }

    fn control_frame(&mut self) -> Option<Event> {
        let control = self.incoming.get_mut(&Channel::Control)?;
        let frame = control.queue.pop()?;
        control.wake.notify_one();
        Some(Event::Frame { channel: Channel::Control, frame })
    }

    fn writable(&mut self) -> Option<Event> {
        if self.lost.is_some() {
            return None;
        }
        if let Some(channel) = self.finished.pop_front() {
            return Some(Event::Finished { channel });
        }
        let worth = |outgoing: &Outgoing| outgoing.open && !outgoing.finishing && outgoing.queue.is_worth_telling();
        let (channel, outgoing) = self.outgoing.iter_mut().find(|(_, outgoing)| worth(outgoing))?;
        Some(Event::Writable { channel: *channel, bytes: outgoing.queue.tell() })
    }

    fn transfer_event(&mut self) -> Option<Event> {
        let ready = |incoming: &Incoming| !incoming.paused && (!incoming.queue.is_empty() || incoming.ended);
        let after = self.incoming.range((Bound::Excluded(self.turn), Bound::Unbounded));
        let before = self.incoming.range((Bound::Excluded(Channel::Control), Bound::Included(self.turn)));
        let channel = after.chain(before).find(|(_, incoming)| ready(incoming)).map(|(channel, _)| *channel)?;
        self.turn = channel;
        let incoming = self.incoming.get_mut(&channel)?;
        if let Some(frame) = incoming.queue.pop() {
            incoming.wake.notify_one();
            return Some(Event::Frame { channel, frame });
        }
        self.incoming.remove(&channel);
        match channel {
            Channel::Transfer(channel) => Some(Event::Ended { channel }),
            Channel::Control => None,
        }
    }

    fn closed(&mut self) -> Option<Event> {
        if self.over || !self.control_read_to_end {
            return None;
        }
        let lost = self.lost.clone()?;
        self.over = true;
        Some(Event::Closed(lost))
    }
}

impl Outgoing {
    pub(super) fn new(capacity: usize) -> Self {
        Self { queue: SendQueue::new(capacity), open: false, finishing: false, wake: Arc::new(Notify::new()) }
    }
}

impl Incoming {
    pub(super) fn new(capacity: usize) -> Self {
        Self { queue: ReceiveQueue::new(capacity), paused: false, ended: false, wake: Arc::new(Notify::new()) }
    }
}
