//! Connections: one task each, which decodes, verifies, and hands over.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, mpsc};
use tombolo_crdt::feed::{Range, RangeError, ReadAhead, VerifiedRange};
use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::{Frame, FrameError, Ranges, RulesRanges};
use tombolo_transport::{Channel, CloseCode, Connection, Endpoint, Event};

use super::handle::{Inbox, Size, Stopped};
use super::links::{Link, Links};
use crate::engine::{ConnId, Input};

/// Bytes of entries up to which ranges are verified in the connection's own task: less work than a change of threads.
const INLINE_BYTES: usize = 16 * 1_024;
/// Ranges up to which the same holds; each costs a signature check of some 40 µs.
const INLINE_RANGES: usize = 2;
/// Links that came or went and that the dialler has not heard of.
const LINK_EVENTS: usize = 256;

/// What the dialler must know of connections.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// One stands, whoever dialled.
    Up(NodeId),
    /// One is gone.
    Down(NodeId),
}

/// What every connection needs.
#[derive(Clone, Debug)]
pub(super) struct Net {
    links: Arc<Links>,
    inbox: Inbox,
    events: mpsc::Sender<LinkEvent>,
    /// As many verifications at once as there are cores.
    verifiers: Arc<Semaphore>,
}

/// Why a connection is given up by this side.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("ranges of {space}: {source}")]
    Range { space: SpaceId, source: RangeError },
    #[error("a {kind} frame does not belong on {channel}")]
    Misplaced { kind: &'static str, channel: Channel },
    #[error("verification broke down: {0}")]
    Verifier(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Fault {
    const fn code(&self) -> CloseCode {
        match self {
            Self::Frame(FrameError::TooLong { .. }) => CloseCode::FrameTooLong,
            Self::Frame(_) | Self::Range { .. } | Self::Misplaced { .. } => CloseCode::Protocol,
            Self::Verifier(_) => CloseCode::Overloaded,
            Self::Stopped(_) => CloseCode::ShuttingDown,
        }
    }
}

impl Net {
    pub(super) fn new(links: Arc<Links>, inbox: Inbox) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, receiver) = mpsc::channel(LINK_EVENTS);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (Self { links, inbox, events, verifiers: Arc::new(Semaphore::new(cores)) }, receiver)
    }

    /// Takes newcomers until the endpoint is closed. The transport bounds how many there are.
    pub(super) async fn accept(self, endpoint: Endpoint) {
        while let Some(accepting) = endpoint.accept().await {
            let net = self.clone();
            tokio::spawn(async move {
                let from = accepting.remote_address();
                match accepting.establish().await {
                    Ok(connection) => net.serve(connection).await,
                    Err(error) => tracing::debug!(%from, %error, "no connection"),
                }
            });
        }
    }

    /// Runs a connection to its end.
    pub(super) async fn serve(self, connection: Connection) {
        let (peer, dialled) = (connection.peer(), connection.dialled_by_us());
        let address = connection.remote_address().to_string();
        let (handle, mut events) = connection.split();
        let (conn, link) = self.links.insert(handle);
        tracing::info!(%peer, %address, dialled, "connected");
        // Nobody hears this only when the node is stopping.
        let _ = self.events.send(LinkEvent::Up(peer)).await;
        let connected = Input::Connected { conn, peer, dialled, address };
        let mut reason = String::new();
        let mut fault = self.inbox.input(connected, Size::of(0, 1)).await.err().map(Fault::from);
        while fault.is_none()
            && let Some(event) = events.next().await
        {
            match event {
                Event::Closed(lost) => reason = lost.to_string(),
                event => fault = self.event(conn, &link, event).await.err(),
            }
        }
        if let Some(fault) = fault {
            reason = fault.to_string();
            tracing::warn!(%peer, %reason, "giving up a connection");
            link.handle().close(fault.code(), &reason);
        }
        self.links.remove(conn);
        let _ = self.inbox.input(Input::Closed(conn, reason), Size::of(0, 1)).await;
        let _ = self.events.send(LinkEvent::Down(peer)).await;
    }

    async fn event(&self, conn: ConnId, link: &Link, event: Event) -> Result<(), Fault> {
        match event {
            Event::Frame { channel, frame } => {
                link.received(&frame);
                let length = frame.len();
                match Frame::decode(&frame)? {
                    None => tracing::debug!(peer = %link.peer(), kind = frame.first(), "skipped an unknown frame"),
                    Some(decoded) => {
                        if let Frame::Hello(hello) = &decoded {
                            link.greeted(hello);
                        }
                        self.frame(conn, channel, decoded, length).await?;
                    }
                }
            }
            Event::Writable { channel: Channel::Transfer(channel), bytes } => {
                for (space, bytes) in link.writable(channel, bytes) {
                    self.inbox.input(Input::Writable(conn, space, bytes), Size::of(0, 1)).await?;
                }
            }
            // Transfers are never finished in version 1, and their end at the peer's side needs no answer.
            _ => {}
        }
        Ok(())
    }

    async fn frame(&self, conn: ConnId, channel: Channel, frame: Frame, length: usize) -> Result<(), Fault> {
        let on_control = channel == Channel::Control;
        let (input, size) = match frame {
            Frame::Ranges(Ranges { space, number, ranges }) if !on_control => {
                // A packed frame is shorter than what is in it.
                let bytes = length.max(entry_bytes(&ranges));
                let ranges = self.verify(space, ranges).await?;
                let size = Size::of_ranges(bytes, &ranges);
                (Input::Ranges { conn, space, number, ranges }, size)
            }
            Frame::RulesRanges(RulesRanges { space, ranges, last }) if on_control => {
                // A packed frame is shorter than what is in it.
                let bytes = length.max(entry_bytes(&ranges));
                let ranges = self.verify(space, ranges).await?;
                let size = Size::of_ranges(bytes, &ranges);
                (Input::RulesRanges { conn, space, ranges, last }, size)
            }
            Frame::Ranges(_) => return Err(Fault::Misplaced { kind: frame.kind_name(), channel }),
            frame if on_control => (Input::Frame(conn, frame), Size::of(length, 1)),
            frame => return Err(Fault::Misplaced { kind: frame.kind_name(), channel }),
        };
        Ok(self.inbox.input(input, size).await?)
    }

    /// Proves every range, off the engine's thread. A runtime of one thread has none to spare.
    async fn verify(&self, space: SpaceId, ranges: Vec<Range>) -> Result<Vec<VerifiedRange>, Fault> {
        let wrong = |source| Fault::Range { space, source };
        let bytes = entry_bytes(&ranges);
        let alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        if alone || (bytes <= INLINE_BYTES && ranges.len() <= INLINE_RANGES) {
            return verify_all(ranges).map_err(wrong);
        }
        let _place = self.verifiers.acquire().await.map_err(|_| Stopped)?;
        let verified = tokio::task::spawn_blocking(move || verify_all(ranges)).await;
        verified.map_err(|error| Fault::Verifier(error.to_string()))?.map_err(wrong)
    }
}

fn entry_bytes(ranges: &[Range]) -> usize {
    ranges.iter().map(Range::entry_bytes).sum()
}

/// Proves every range. One of a later version is left out: it is not the peer's fault, and it must not stop the others.
/// What may be read ahead of them they share, or many short ranges would have many times a frame's part.
fn verify_all(ranges: Vec<Range>) -> Result<Vec<VerifiedRange>, RangeError> {
    let mut ahead = ReadAhead::of(entry_bytes(&ranges));
    let verified = ranges.into_iter().map(|range| range.verify_ahead(&mut ahead));
    verified.filter(|range| !matches!(range, Err(RangeError::Unsupported))).collect()
}
