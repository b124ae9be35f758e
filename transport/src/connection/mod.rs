//! A connection between two nodes that know each other's key: one control stream, and transfers.
//!
//! # On the wire
//! * The dialler opens one bidirectional stream, *control*; it begins with [`crate::limits::CONTROL_PREAMBLE`], in the
//!   dialler's direction only.
//! * Either side opens unidirectional streams, *transfers*, at most [`crate::limits::TRANSFERS_MAX`] at once. Each
//!   begins with its channel number (u32, little-endian), chosen by who opens it: used once per connection and
//!   direction, upwards.
//! * Then frames: length (u32, little-endian, at least 1), bytes.
//!
//! # Who waits for whom
//! Every stream has a task that reads and one that writes; neither waits for the other. Frames to send wait in a
//! bounded buffer per channel, and [`Event::Writable`] says how much goes in. Received frames wait in a bounded buffer
//! per channel; when one is full its stream is not read on and the sender runs dry. No other channel is affected.

mod events;
mod hub;
mod queues;
mod state;
mod tasks;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tombolo_crdt::NodeId;

pub use events::{Event, Events};
use hub::Hub;

use crate::config::Settings;
use crate::doors::Seat;
use crate::endpoint::canonical;
use crate::error::{CloseCode, Lost, SendError};
use crate::limits;
use crate::standing::Standing;

/// One of the streams of a connection, as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The control stream, both directions.
    Control,
    /// A transfer by its number; either direction numbers its own.
    Transfer(u32),
}

impl Channel {
    /// Bytes of the longest frame it carries.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Control => limits::CONTROL_FRAME_BYTES_MAX,
            Self::Transfer(_) => limits::TRANSFER_FRAME_BYTES_MAX,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("the control stream"),
            Self::Transfer(channel) => write!(f, "transfer {channel}"),
        }
    }
}

/// An authenticated connection that does not run yet.
pub struct Connection {
    quinn: quinn::Connection,
    peer: NodeId,
    dialled_by_us: bool,
    control: (quinn::SendStream, quinn::RecvStream),
    seat: Option<Seat>,
    frame_stall: Duration,
}

impl Connection {
    pub(crate) async fn dialled(quinn: quinn::Connection, peer: NodeId, settings: &Settings) -> Result<Self, Lost> {
        let mut control = quinn.open_bi().await?;
        tasks::write(&mut control.0, &limits::CONTROL_PREAMBLE).await?;
        Ok(Self { quinn, peer, dialled_by_us: true, control, seat: None, frame_stall: settings.frame_stall })
    }

    pub(crate) async fn accepted(
        quinn: quinn::Connection,
        peer: NodeId,
        seat: Seat,
        settings: &Settings,
    ) -> Result<Self, Lost> {
        let mut control = quinn.accept_bi().await?;
        let mut preamble = [0; limits::CONTROL_PREAMBLE.len()];
        let read = tasks::read(&mut control.1, &mut preamble).await?;
        if !read || preamble != limits::CONTROL_PREAMBLE {
            let what = "the control stream does not begin as one";
            quinn.close(CloseCode::Protocol.code(), what.as_bytes());
            return Err(Lost::Protocol { what });
        }
        seat.opened();
        let frame_stall = settings.frame_stall;
        Ok(Self { quinn, peer, dialled_by_us: false, control, seat: Some(seat), frame_stall })
    }

    /// Who is at the other end. Proven by the handshake.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether this node dialled.
    #[must_use]
    pub fn dialled_by_us(&self) -> bool {
        self.dialled_by_us
    }

    /// Where the peer is at present.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.quinn.remote_address())
    }

    /// Closes it unused.
    pub fn close(self, code: CloseCode) {
        self.quinn.close(code.code(), code.to_string().as_bytes());
    }

    /// Starts the connection's tasks in the present tokio runtime.
    #[must_use = "dropping the events closes the connection"]
    pub fn split(self) -> (ConnectionHandle, Events) {
        let runtime = tokio::runtime::Handle::current();
        let hub = Arc::new(Hub::new(self.quinn, runtime, self.seat, self.frame_stall));
        tasks::start(&hub, self.control);
        let handle = ConnectionHandle { hub: hub.clone(), peer: self.peer, dialled_by_us: self.dialled_by_us };
        (handle, Events::new(hub))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("remote_address", &self.remote_address())
            .field("dialled_by_us", &self.dialled_by_us)
            .finish_non_exhaustive()
    }
}

/// The sending half of a running connection. Never blocks; may be used from any thread; clones share it.
#[derive(Clone)]
pub struct ConnectionHandle {
    hub: Arc<Hub>,
    peer: NodeId,
    dialled_by_us: bool,
}

impl ConnectionHandle {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether this node dialled.
    #[must_use]
    pub fn dialled_by_us(&self) -> bool {
        self.dialled_by_us
    }

    /// Where the peer is at present; it may move.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.hub.quinn.remote_address())
    }

    /// The present estimate of the round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.hub.quinn.rtt()
    }

    /// What went over the connection so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.hub.counts()
    }

    /// How far the peer is trusted.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.hub.standing()
    }

    /// Trusts the peer further; less is ignored. What it may send grows at once.
    pub fn set_standing(&self, standing: Standing) {
        self.hub.set_standing(standing);
    }

    /// Waits until the peer is trusted that far. `false`: the connection is gone.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stands(&self, standing: Standing) -> bool {
        self.hub.stands(standing).await
    }

    /// Queues a control frame. From the start [`limits::CONTROL_SEND_BUFFER`] bytes may wait.
    ///
    /// # Errors
    /// [`SendError`]. `Full` means that the peer does not take its control frames.
    pub fn send_control(&self, frame: Vec<u8>) -> Result<(), SendError> {
        self.hub.send(Channel::Control, frame)
    }

    /// Opens a transfer towards the peer. Frames may be queued as soon as [`Event::Writable`] names the channel, which
    /// it does when the peer grants the stream.
    ///
    /// # Errors
    /// [`SendError::NotNew`], [`SendError::TooManyTransfers`], [`SendError::Closed`].
    pub fn open_transfer(&self, channel: u32) -> Result<(), SendError> {
        self.hub.open(channel)?;
        self.hub.runtime.spawn(tasks::transfer_out(self.hub.clone(), channel));
        Ok(())
    }

    /// Queues a frame of a transfer. It is taken if it fits into what [`Event::Writable`] last said minus what was sent
    /// since, or, whatever its length, if nothing waits in the channel (then `Writable` says
    /// [`limits::TRANSFER_SEND_BUFFER`]).
    ///
    /// # Errors
    /// [`SendError`]; `Full` hands the frame back.
    pub fn send_transfer(&self, channel: u32, frame: Vec<u8>) -> Result<(), SendError> {
        self.hub.send(Channel::Transfer(channel), frame)
    }

    /// Ends a transfer after what is queued. [`Event::Finished`] tells when its place is free.
    ///
    /// # Errors
    /// [`SendError::NotOpen`], [`SendError::Closed`].
    pub fn finish_transfer(&self, channel: u32) -> Result<(), SendError> {
        self.hub.finish(channel)
    }

    /// Stops or resumes the delivery of one of the *peer's* transfers. A paused one fills its buffers and then stops
    /// the sender; control and the other transfers go on. Unknown channels are ignored (`false`).
    pub fn set_paused(&self, channel: u32, paused: bool) -> bool {
        self.hub.set_paused(channel, paused)
    }

    /// Closes at once. What was not sent is lost. `reason` is for people, at most a line.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.hub.fail(Lost::ByUs { code }, code, reason);
    }

    /// Closes once the queued control frames have reached the peer, or after [`limits::FLUSH_TIMEOUT`]. No further
    /// frames are taken. `reason` is for people, at most a line.
    pub fn close_when_sent(&self, code: CloseCode, reason: &str) {
        self.hub.close_when_sent(code, reason);
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionHandle")
            .field("peer", &self.peer)
            .field("remote_address", &self.remote_address())
            .field("dialled_by_us", &self.dialled_by_us)
            .finish_non_exhaustive()
    }
}

/// Totals of one connection since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames handed to QUIC.
    pub frames_sent: u64,
    /// Their bytes, with lengths.
    pub bytes_sent: u64,
    /// Frames received whole.
    pub frames_received: u64,
    /// Their bytes, with lengths.
    pub bytes_received: u64,
    /// Bytes of all UDP payloads sent: with handshake, encryption, repetition.
    pub udp_bytes_sent: u64,
    /// Bytes of all UDP payloads received.
    pub udp_bytes_received: u64,
}
