//! Connections: one task each, which decodes, verifies, and hands over.

use std::any::Any;
use std::net::{SocketAddr, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tombolo_crdt::feed::{Range, RangeError, VerifiedRange};
use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::{Frame, FrameError, Ranges, RulesRanges};
use tombolo_transport::{Channel, CloseCode, ConnectError, Connection, Endpoint, Event, Events, Standing};

use super::links::{Link, Links, pack_all};
use super::verifying::{entry_bytes, verify_all, verify_aside};
use crate::engine::{ConnId, Input};
use crate::handle::{Inbox, Size, Stopped};

/// Bytes of entries up to which ranges are verified in the connection's own task: less work than a change of threads.
const INLINE_BYTES: usize = 16 * 1_024;
/// Ranges up to which the same holds; each costs a signature check of some 40 µs.
const INLINE_RANGES: usize = 2;
/// Frames of a connection before its peer is a member: it may name 4,096 spaces, ask for some, and have begun to
/// compare those in common before this node has said that it is one.
const STRANGE_FRAMES_MAX: usize = 10_000;
/// Links that came or went and that the dialler has not heard of.
const LINK_EVENTS: usize = 256;

/// What the dialler must know of connections.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// One stands, whoever dialled.
    Up(NodeId),
    /// One is gone, and whether the peer had anything in common with this node.
    Down(NodeId, bool),
}

/// What every connection needs.
#[derive(Clone, Debug)]
pub(super) struct Net {
    links: Arc<Links>,
    inbox: Inbox,
    events: mpsc::Sender<LinkEvent>,
    /// As many verifications at once as there are cores.
    verifiers: Arc<Semaphore>,
    /// Where this node listens.
    listen: Option<SocketAddr>,
    /// One at a time for all who are no members.
    strange_verifier: Arc<Semaphore>,
    /// A frame of this length makes the program fail.
    #[cfg(test)]
    trap: Option<usize>,
}

/// Why a connection is given up by this side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("ranges of {space}: {source}")]
    Range { space: SpaceId, source: RangeError },
    #[error("a {kind} frame does not belong on {channel}")]
    Misplaced { kind: &'static str, channel: Channel },
    #[error("a second hello")]
    Repeated,
    #[error("more frames than who has nothing in common has to say")]
    Talkative,
    #[error("the program failed over it, a defect, please report it: {0}")]
    Panic(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Fault {
    const fn code(&self) -> CloseCode {
        match self {
            Self::Frame(FrameError::TooLong { .. }) => CloseCode::FrameTooLong,
            Self::Frame(_) | Self::Range { .. } | Self::Misplaced { .. } | Self::Repeated => CloseCode::Protocol,
            Self::Talkative => CloseCode::Refused,
            Self::Panic(_) => CloseCode::Overloaded,
            Self::Stopped(_) => CloseCode::ShuttingDown,
        }
    }
}

impl Net {
    pub(super) fn new(
        links: Arc<Links>,
        inbox: Inbox,
        listen: Option<SocketAddr>,
    ) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, receiver) = mpsc::channel(LINK_EVENTS);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let net = Self {
            links,
            inbox,
            listen,
            events,
            verifiers: Arc::new(Semaphore::new(cores)),
            strange_verifier: Arc::new(Semaphore::new(1)),
            #[cfg(test)]
            trap: None,
        };
        (net, receiver)
    }

    /// Takes newcomers until the endpoint is closed. The transport bounds how many there are.
    pub(super) async fn accept(self, endpoint: Endpoint) {
        while let Some(accepting) = endpoint.accept().await {
            let net = self.clone();
            tokio::spawn(async move {
                let from = accepting.remote_address();
                match accepting.establish().await {
                    Ok(connection) => net.serve(connection).await,
                    Err(ConnectError::Ourselves { address }) => net.met_own_key(address),
                    Err(error) => tracing::debug!(%from, %error, "no connection"),
                }
            });
        }
    }

    /// Somebody at that address has this node's own key: this node itself, or a copy of it.
    pub(super) fn met_own_key(&self, address: SocketAddr) {
        if is_here(address, self.listen) {
            return tracing::debug!(%address, "this node met itself");
        }
        tracing::warn!(%address, "another process runs with this node's key");
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            // Nobody hears this only when the node is stopping.
            let _ = inbox.input(Input::Twin(address.to_string()), Size::of(0, 1)).await;
        });
    }

    /// Runs a connection to its end. Whatever ends it, the engine and the dialler hear of it: a connection that nobody
    /// serves must not pass for one that stands.
    pub(super) async fn serve(self, connection: Connection) {
        let (peer, dialled) = (connection.peer(), connection.dialled_by_us());
        let address = connection.remote_address().to_string();
        let (handle, mut events) = connection.split();
        let (conn, link, unpacked) = self.links.insert(handle);
        let packing = tokio::spawn(pack_all(Arc::clone(&link), unpacked));
        tracing::info!(%peer, %address, dialled, "connected");
        // Nobody hears this only when the node is stopping.
        let _ = self.events.send(LinkEvent::Up(peer)).await;
        let connected = Input::Connected { conn, peer, dialled, address };
        // What a panic leaves half done is the connection's own, and that ends.
        let talk = AssertUnwindSafe(self.talk(&link, connected, (conn, &mut events))).catch_unwind();
        let ended = talk.await.unwrap_or_else(|panic| Err(Fault::Panic(message(panic.as_ref()))));
        let reason = ended.unwrap_or_else(|fault| {
            let reason = fault.to_string();
            tracing::warn!(%peer, %reason, "giving up a connection");
            // Before the events are let go of, or the peer would hear of that alone.
            link.handle().close(fault.code(), &reason);
            reason
        });
        packing.abort();
        drop(events);
        let met = link.is_member();
        self.links.remove(conn);
        let _ = self.inbox.input(Input::Closed(conn, reason), Size::of(0, 1)).await;
        let _ = self.events.send(LinkEvent::Down(peer, met)).await;
    }

    /// Hands over what the peer sends. Returns why the connection ended.
    async fn talk(
        &self,
        link: &Link,
        connected: Input,
        (conn, events): (ConnId, &mut Events),
    ) -> Result<String, Fault> {
        self.inbox.input(connected, Size::of(0, 1)).await?;
        let mut reason = String::new();
        while let Some(event) = events.next().await {
            match event {
                Event::Closed(lost) => reason = lost.to_string(),
                event => self.event(conn, link, event).await?,
            }
        }
        Ok(reason)
    }

    async fn event(&self, conn: ConnId, link: &Link, event: Event) -> Result<(), Fault> {
        match event {
            Event::Frame { channel, frame } => {
                #[cfg(test)]
                assert_ne!(self.trap, Some(frame.len()), "the trap");
                link.received(&frame);
                let length = frame.len();
                match Frame::decode(&frame)? {
                    None => tracing::debug!(peer = %link.peer(), kind = frame.first(), "skipped an unknown frame"),
                    Some(decoded) => {
                        if let Frame::Hello(hello) = &decoded
                            && !link.greeted(hello)
                        {
                            return Err(Fault::Repeated);
                        }
                        self.frame((conn, link), channel, decoded, length).await?;
                    }
                }
            }
            Event::Writable { channel: Channel::Transfer(channel), bytes } => {
                for (space, bytes) in link.writable(channel, bytes) {
                    self.inbox.input(Input::Writable(conn, space, bytes), Size::of(0, 1)).await?;
                }
            }
            Event::Writable { channel: Channel::Control, bytes } if link.room_is_wanted() => {
                self.inbox.input(Input::Room(conn, bytes), Size::of(0, 1)).await?;
            }
            // Transfers are never finished in version 1, and their end at the peer's side needs no answer.
            _ => {}
        }
        Ok(())
    }

    async fn frame(
        &self,
        (conn, link): (ConnId, &Link),
        channel: Channel,
        frame: Frame,
        length: usize,
    ) -> Result<(), Fault> {
        let on_control = channel == Channel::Control;
        let is_member = link.is_member();
        if !is_member && link.strange_frame() > STRANGE_FRAMES_MAX {
            return Err(Fault::Talkative);
        }
        let (input, size) = match frame {
            Frame::Ranges(Ranges { space, number, ranges }) if !on_control => {
                // A packed frame is shorter than what is in it.
                let bytes = length.max(entry_bytes(&ranges));
                let ranges = self.verify(space, ranges).await?;
                let size = Size::of_ranges(bytes, &ranges);
                (Input::Ranges { conn, space, number, ranges }, size)
            }
            Frame::RulesRanges(RulesRanges { space, ranges, last }) if on_control => {
                // Who is nothing yet waits until the engine has said what it is, or is let go.
                if !link.handle().stands(Standing::Guest).await {
                    return Ok(());
                }
                let ranges = match is_member {
                    true => self.verify(space, ranges).await?,
                    false => {
                        // The places for verifying are for members: all others share this one.
                        let _turn = self.strange_verifier.acquire().await.map_err(|_| Stopped)?;
                        verify_aside(space, ranges).await?
                    }
                };
                let size = Size::of_ranges(length, &ranges);
                (Input::RulesRanges { conn, space, ranges, last }, size)
            }
            Frame::Ranges(_) => return Err(Fault::Misplaced { kind: frame.kind_name(), channel }),
            frame if on_control => (Input::Frame(conn, frame), Size::of(length, 1)),
            frame => return Err(Fault::Misplaced { kind: frame.kind_name(), channel }),
        };
        match is_member {
            true => Ok(self.inbox.input(input, size).await?),
            false => Ok(self.inbox.strange_input(input, size).await?),
        }
    }

    /// Proves every range, off the engine's thread. A runtime of one thread has none to spare.
    async fn verify(&self, space: SpaceId, ranges: Vec<Range>) -> Result<Vec<VerifiedRange>, Fault> {
        if entry_bytes(&ranges) <= INLINE_BYTES && ranges.len() <= INLINE_RANGES {
            return verify_all(ranges).map_err(|source| Fault::Range { space, source });
        }
        let _place = self.verifiers.acquire().await.map_err(|_| Stopped)?;
        verify_aside(space, ranges).await
    }
}

/// Whether an address leads back to this process. Its dials leave from the port it listens on, and nobody else on this
/// machine has that.
fn is_here(address: SocketAddr, listen: Option<SocketAddr>) -> bool {
    let same_port = listen.is_none_or(|listen| listen.port() == address.port());
    // An address of this machine can be bound, whatever it is called.
    same_port && UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok()
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it does not say how").to_owned()
}

#[cfg(test)]
mod tests;
