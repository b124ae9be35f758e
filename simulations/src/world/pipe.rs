//! One direction of one stream: what waits to leave, what is on its way, what has arrived and was not read. The limits
//! are those of the real transport.

use std::collections::VecDeque;
use std::time::Duration;

use tombolo_transport::limits::{CONTROL_SEND_BUFFER, STREAM_WINDOW, TRANSFER_SEND_BUFFER};

/// A frame, or the end of the connection.
#[derive(Debug)]
pub(super) struct Message {
    /// For the trace; unique in a run.
    pub(super) no: u64,
    /// The encoded frame; empty: the sender closes the connection.
    pub(super) bytes: Vec<u8>,
}

/// Frames in order, in three places.
#[derive(Debug)]
pub(super) struct Pipe {
    capacity: usize,
    queue: VecDeque<Message>,
    queued: usize,
    /// Room the sender's engine was last told, minus what it sent since.
    announced: usize,
    flight: VecDeque<(Duration, Message)>,
    flying: usize,
    /// When the last one that left arrives: none overtakes it.
    last: Duration,
    arrived: VecDeque<Message>,
    unread: usize,
    /// Messages that have left: names the luck of each.
    pub(super) departed: u64,
}

impl Pipe {
    pub(super) fn new(control: bool) -> Self {
        let capacity = if control { CONTROL_SEND_BUFFER } else { TRANSFER_SEND_BUFFER };
        Self {
            capacity,
            queue: VecDeque::new(),
            queued: 0,
            announced: 0,
            flight: VecDeque::new(),
            flying: 0,
            last: Duration::ZERO,
            arrived: VecDeque::new(),
            unread: 0,
            departed: 0,
        }
    }

    /// Takes a frame to send. `false`: more waits than may.
    pub(super) fn push(&mut self, message: Message, strict: bool) -> bool {
        let length = message.bytes.len();
        let fits = self.queued == 0 || self.queued + length <= self.capacity;
        self.announced = self.announced.saturating_sub(length);
        self.queued += length;
        self.queue.push_back(message);
        fits || !strict
    }

    /// Bytes of the next frame, if the receiver's window takes it.
    pub(super) fn departs(&self) -> Option<usize> {
        let length = self.queue.front()?.bytes.len();
        let outstanding = self.flying + self.unread;
        (outstanding == 0 || outstanding + length <= STREAM_WINDOW as usize).then_some(length)
    }

    /// The next frame leaves and arrives then, or with the one before it.
    pub(super) fn depart(&mut self, arrives: Duration) -> Option<Duration> {
        let message = self.queue.pop_front()?;
        self.queued -= message.bytes.len();
        self.flying += message.bytes.len();
        self.last = self.last.max(arrives);
        self.departed += 1;
        let most = (STREAM_WINDOW as usize).max(message.bytes.len());
        assert!(self.flying + self.unread <= most, "the window holds what is on its way, or one frame alone");
        self.flight.push_back((self.last, message));
        Some(self.last)
    }

    /// The room to tell the sender's engine, if it is worth it: as `transport` judges.
    pub(super) fn tell(&mut self) -> Option<usize> {
        let room = self.capacity.saturating_sub(self.queued);
        let news = room.saturating_sub(self.announced);
        let worth = news >= self.capacity.div_ceil(2) || (self.queued == 0 && news > 0);
        worth.then(|| {
            assert!(room <= self.capacity, "nobody is told of more room than there is");
            self.announced = room;
            room
        })
    }

    /// What is due by now arrives. Returns whether anything did.
    pub(super) fn arrive(&mut self, now: Duration) -> bool {
        let before = self.arrived.len();
        while let Some((at, _)) = self.flight.front() {
            if *at > now {
                break;
            }
            if let Some((_, message)) = self.flight.pop_front() {
                self.flying -= message.bytes.len();
                self.unread += message.bytes.len();
                self.arrived.push_back(message);
            }
        }
        self.arrived.len() > before
    }

    /// What was on its way is sent again and arrives then.
    pub(super) fn resend(&mut self, arrives: Duration) -> bool {
        for (at, _) in &mut self.flight {
            *at = arrives;
        }
        self.last = arrives;
        !self.flight.is_empty()
    }

    /// The first frame that has arrived.
    pub(super) fn peek(&self) -> Option<usize> {
        self.arrived.front().map(|message| message.bytes.len())
    }

    /// Takes it.
    pub(super) fn read(&mut self) -> Option<Message> {
        let message = self.arrived.pop_front()?;
        assert!(message.bytes.len() <= self.unread, "what is read was counted when it arrived");
        self.unread -= message.bytes.len();
        Some(message)
    }

    /// Bytes anywhere in it.
    pub(super) fn bytes(&self) -> usize {
        self.queued + self.flying + self.unread
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.flight.is_empty() && self.arrived.is_empty()
    }

    pub(super) fn in_flight(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Everything in it: lost with the connection.
    pub(super) fn lose(&mut self) -> impl Iterator<Item = Message> + use<> {
        let flight = std::mem::take(&mut self.flight).into_iter().map(|(_, message)| message);
        let arrived = std::mem::take(&mut self.arrived).into_iter();
        let queue = std::mem::take(&mut self.queue);
        (self.queued, self.flying, self.unread) = (0, 0, 0);
        arrived.chain(flight).chain(queue)
    }
}
