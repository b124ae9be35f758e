//! What the tasks of a connection, its handles and its events share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::VarInt;
use tokio::sync::{Notify, watch};

use super::state::{Incoming, Outgoing, State};
use super::{Channel, Counts, Event};
use crate::doors::Seat;
use crate::error::{CloseCode, Lost, SendError};
use crate::limits;
use crate::standing::Standing;

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) quinn: quinn::Connection,
    pub(super) runtime: tokio::runtime::Handle,
    state: Mutex<State>,
    /// An event may be ready. One waits: the reader of the events.
    event: Notify,
    /// A place for a transfer of the peer's may be free. One waits: the task that accepts streams.
    place: Notify,
    traffic: Traffic,
    /// How far the peer is trusted; told as well when the connection is gone.
    standing: watch::Sender<Standing>,
    /// The place of who dialled in.
    seat: Option<Seat>,
    /// How long a frame may stand still.
    pub(super) frame_stall: Duration,
}

#[derive(Debug, Default)]
struct Traffic {
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
}

/// What a writing task does next.
pub(super) enum Next {
    Write(Vec<u8>),
    Finish,
    Stop,
}

impl Hub {
    pub(super) fn new(
        quinn: quinn::Connection,
        runtime: tokio::runtime::Handle,
        seat: Option<Seat>,
        frame_stall: Duration,
    ) -> Self {
        Self {
            quinn,
            runtime,
            state: Mutex::new(State::new()),
            event: Notify::new(),
            place: Notify::new(),
            traffic: Traffic::default(),
            standing: watch::Sender::new(Standing::Stranger),
            seat,
            frame_stall,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, the queues are still queues.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        let stats = self.quinn.stats();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            frames_sent: load(&self.traffic.frames_sent),
            bytes_sent: load(&self.traffic.bytes_sent),
            frames_received: load(&self.traffic.frames_received),
            bytes_received: load(&self.traffic.bytes_received),
            udp_bytes_sent: stats.udp_tx.bytes,
            udp_bytes_received: stats.udp_rx.bytes,
        }
    }

    // ---- how far the peer is trusted ----

    pub(super) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        {
            let mut state = self.state();
            if standing <= self.standing() || state.lost.is_some() {
                return;
            }
            if let Some(control) = state.incoming.get_mut(&Channel::Control) {
                control.queue.widen(standing.control_buffer());
                control.wake.notify_one();
            }
            self.standing.send_replace(standing);
        }
        self.seat.iter().for_each(|seat| seat.stands(standing));
        self.quinn.set_receive_window(VarInt::from_u32(standing.window()));
        self.quinn.set_max_concurrent_uni_streams(VarInt::from_u32(standing.streams()));
    }

    /// Waits until the peer is trusted that far. `false`: the connection is gone.
    pub(super) async fn stands(&self, standing: Standing) -> bool {
        let mut changes = self.standing.subscribe();
        loop {
            if *changes.borrow_and_update() >= standing {
                return true;
            }
            // An error means that this hub is gone, which holds the sender.
            if self.state().lost.is_some() || changes.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until a control frame of that length may be read. `false`: the connection is gone.
    ///
    /// # Errors
    /// [`Lost::FrameTooLong`]: it is longer than anything that who is no member has to say.
    pub(super) async fn may_read(&self, bytes: usize) -> Result<bool, Lost> {
        let standing = self.standing();
        if bytes <= standing.control_frame_max() {
            return Ok(true);
        }
        if bytes > limits::GUEST_FRAME_BYTES_MAX {
            let (channel, limit) = (Channel::Control, standing.control_frame_max());
            return Err(Lost::FrameTooLong { channel, bytes, limit });
        }
        // What makes it a guest may be on its way to whoever decides. Nothing is read meanwhile.
        Ok(self.stands(Standing::Guest).await)
    }

    // ---- the user sends ----

    pub(super) fn send(&self, channel: Channel, frame: Vec<u8>) -> Result<(), SendError> {
        let (bytes, limit) = (frame.len(), channel.frame_bytes_max());
        if bytes == 0 {
            return Err(SendError::Empty);
        }
        if bytes > limit {
            return Err(SendError::TooLong { channel, bytes, limit });
        }
        let mut state = self.state();
        if state.is_closing() {
            return Err(SendError::Closed);
        }
        let outgoing = state.open_outgoing(channel)?;
        outgoing.queue.push(frame).map_err(|frame| SendError::Full { channel, frame })?;
        outgoing.wake.notify_one();
        Ok(())
    }

    pub(super) fn open(&self, channel: u32) -> Result<(), SendError> {
        let mut state = self.state();
        if state.is_closing() {
            return Err(SendError::Closed);
        }
        if state.newest.is_some_and(|newest| channel <= newest) {
            return Err(SendError::NotNew { channel });
        }
        // Control is one of them.
        if state.outgoing.len() > limits::TRANSFERS_MAX {
            return Err(SendError::TooManyTransfers);
        }
        state.newest = Some(channel);
        state.outgoing.insert(Channel::Transfer(channel), Outgoing::new(limits::TRANSFER_SEND_BUFFER));
        Ok(())
    }

    pub(super) fn finish(&self, channel: u32) -> Result<(), SendError> {
        let mut state = self.state();
        if state.is_closing() {
            return Err(SendError::Closed);
        }
        let outgoing = state.outgoing.get_mut(&Channel::Transfer(channel)).filter(|outgoing| !outgoing.finishing);
        let outgoing = outgoing.ok_or(SendError::NotOpen { channel })?;
        outgoing.finishing = true;
        outgoing.wake.notify_one();
        Ok(())
    }

    pub(super) fn close_when_sent(&self, code: CloseCode, reason: &str) {
        let mut state = self.state();
        if state.is_closing() {
            return;
        }
        state.closing = Some((code, reason.to_owned()));
        if let Some(control) = state.outgoing.get_mut(&Channel::Control) {
            control.finishing = true;
            control.wake.notify_one();
        }
    }

    pub(super) fn closing(&self) -> Option<(CloseCode, String)> {
        self.state().closing.clone()
    }

    /// Closes the connection, unless it is closed, and remembers why: the first reason stands.
    pub(super) fn fail(&self, lost: Lost, code: CloseCode, reason: &str) {
        if self.lose(lost) {
            self.quinn.close(code.code(), reason.as_bytes());
        }
    }

    /// The connection is gone for that reason; `false` if it was gone before.
    pub(super) fn lose(&self, lost: Lost) -> bool {
        let mut state = self.state();
        if state.lost.is_some() {
            return false;
        }
        state.lost = Some(lost);
        state.outgoing.values().for_each(|outgoing| outgoing.wake.notify_one());
        state.incoming.values().for_each(|incoming| incoming.wake.notify_one());
        self.event.notify_one();
        self.place.notify_one();
        drop(state);
        self.standing.send_modify(|_| {});
        self.seat.iter().for_each(Seat::leave);
        true
    }

    // ---- the tasks write ----

    pub(super) fn opened(&self, channel: u32) {
        if let Some(outgoing) = self.state().outgoing.get_mut(&Channel::Transfer(channel)) {
            outgoing.open = true;
        }
        self.event.notify_one();
    }

    pub(super) async fn next_to_write(&self, channel: Channel) -> Next {
        loop {
            let wake = {
                let mut state = self.state();
                if state.lost.is_some() {
                    return Next::Stop;
                }
                let Some(outgoing) = state.outgoing.get_mut(&channel) else { return Next::Stop };
                match outgoing.queue.take() {
                    Some(frame) => return Next::Write(frame),
                    None if outgoing.finishing => return Next::Finish,
                    None => outgoing.wake.clone(),
                }
            };
            wake.notified().await;
        }
    }

    pub(super) fn written(&self, channel: Channel, bytes: usize) {
        self.traffic.frames_sent.fetch_add(1, Ordering::Relaxed);
        self.traffic.bytes_sent.fetch_add((bytes + limits::LENGTH_BYTES) as u64, Ordering::Relaxed);
        let mut state = self.state();
        let Some(outgoing) = state.outgoing.get_mut(&channel) else { return };
        outgoing.queue.written(bytes);
        if outgoing.queue.is_worth_telling() {
            self.event.notify_one();
        }
    }

    pub(super) fn finished(&self, channel: u32) {
        let mut state = self.state();
        state.outgoing.remove(&Channel::Transfer(channel));
        state.finished.push_back(channel);
        self.event.notify_one();
    }

    // ---- the tasks read ----

    /// Waits for a place for one more of the peer's transfers. `false`: the connection is gone.
    pub(super) async fn place(&self) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.lost.is_some() {
                    return false;
                }
                // Control is one of them.
                if state.incoming.len() + state.unnamed <= limits::TRANSFERS_MAX {
                    state.unnamed += 1;
                    return true;
                }
            }
            self.place.notified().await;
        }
    }

    /// Turns a place into a channel. `false`: the number is in use.
    pub(super) fn name(&self, channel: u32) -> bool {
        let mut state = self.state();
        state.unnamed -= 1;
        if state.incoming.contains_key(&Channel::Transfer(channel)) {
            return false;
        }
        state.incoming.insert(Channel::Transfer(channel), Incoming::new(limits::TRANSFER_RECEIVE_BUFFER));
        true
    }

    /// Waits for room for a frame. `false`: the connection is gone.
    pub(super) async fn reserve(&self, channel: Channel, bytes: usize) -> bool {
        loop {
            let wake = {
                let mut state = self.state();
                let lost = state.lost.is_some();
                let Some(incoming) = state.incoming.get_mut(&channel) else { return false };
                if incoming.queue.reserve(bytes) {
                    return true;
                }
                // Control is read to its end even so: its last frames precede the close.
                if lost && channel != Channel::Control {
                    return false;
                }
                incoming.wake.clone()
            };
            wake.notified().await;
        }
    }

    pub(super) fn received(&self, channel: Channel, frame: Vec<u8>) {
        self.traffic.frames_received.fetch_add(1, Ordering::Relaxed);
        self.traffic.bytes_received.fetch_add((frame.len() + limits::LENGTH_BYTES) as u64, Ordering::Relaxed);
        if let Some(incoming) = self.state().incoming.get_mut(&channel) {
            incoming.queue.push(frame);
        }
        self.event.notify_one();
    }

    pub(super) fn ended(&self, channel: Channel) {
        let mut state = self.state();
        if channel == Channel::Control {
            state.control_read_to_end = true;
        } else if let Some(incoming) = state.incoming.get_mut(&channel) {
            incoming.ended = true;
        }
        self.event.notify_one();
    }

    // ---- the user receives ----

    pub(super) fn set_paused(&self, channel: u32, paused: bool) -> bool {
        let mut state = self.state();
        let Some(incoming) = state.incoming.get_mut(&Channel::Transfer(channel)) else { return false };
        incoming.paused = paused;
        self.event.notify_one();
        true
    }

    pub(super) async fn next_event(&self) -> Option<Event> {
        loop {
            {
                let mut state = self.state();
                if let Some(event) = state.next_event() {
                    if matches!(event, Event::Ended { .. }) {
                        self.place.notify_one();
                    }
                    return Some(event);
                }
                if state.over {
                    return None;
                }
            }
            self.event.notified().await;
        }
    }

    pub(super) fn try_next_event(&self) -> Option<Event> {
        let event = self.state().next_event();
        if matches!(event, Some(Event::Ended { .. })) {
            self.place.notify_one();
        }
        event
    }
}
