//! The connections as the engine knows them: by number; transfers by space.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::{Frame, Hello, offers_packing};
use tombolo_transport::limits::{TRANSFER_SEND_BUFFER, TRANSFERS_MAX};
use tombolo_transport::{CloseCode, ConnectionHandle, SendError, Standing};

use super::clock::Clock;
use super::traffic::{PeerTraffic, Traffic};
use crate::engine::ConnId;

/// Frames that wait for a transfer stream whose buffer was full. The engine stops when there is no room, having gone
/// over it by one frame per space; a channel with more than this many frames waiting is a defect.
const WAITING_FRAMES_MAX: usize = 64;

/// Frames that wait to be packed, per connection: as many as may wait for its streams.
const UNPACKED_MAX: usize = WAITING_FRAMES_MAX * TRANSFERS_MAX;

/// All running connections.
#[derive(Debug)]
pub(super) struct Links {
    table: RwLock<BTreeMap<ConnId, Arc<Link>>>,
    traffic: Arc<Traffic>,
    numbers: AtomicU64,
}

/// One running connection.
#[derive(Debug)]
pub(super) struct Link {
    handle: ConnectionHandle,
    traffic: Arc<PeerTraffic>,
    /// The peer takes packed frames; it has said so if it does before any entries are sent.
    takes_packed: AtomicBool,
    packing: mpsc::Sender<(SpaceId, Frame)>,
    greeted: AtomicBool,
    /// A page of rules went out that is not the last.
    room_wanted: AtomicBool,
    strange_frames: AtomicUsize,
    transfers: Mutex<Transfers>,
}

/// The transfers towards a peer. Each space has a stream of its own until there are [`TRANSFERS_MAX`]; further spaces
/// share them, which is sound because a frame names its space.
#[derive(Debug, Default)]
struct Transfers {
    of_space: BTreeMap<SpaceId, u32>,
    channels: BTreeMap<u32, Transfer>,
}

#[derive(Debug, Default)]
struct Transfer {
    spaces: Vec<SpaceId>,
    waiting: VecDeque<Vec<u8>>,
}

impl Links {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        Self { table: RwLock::default(), traffic, numbers: AtomicU64::new(0) }
    }

    /// Files a connection. The receiver is for its [`pack_all`].
    pub(super) fn insert(&self, handle: ConnectionHandle) -> (ConnId, Arc<Link>, Unpacked) {
        let conn = ConnId(self.numbers.fetch_add(1, Ordering::Relaxed) + 1);
        let traffic = self.traffic.of(handle.peer());
        let (packing, unpacked) = mpsc::channel(UNPACKED_MAX);
        let link = Arc::new(Link {
            handle,
            traffic,
            takes_packed: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            room_wanted: AtomicBool::new(false),
            strange_frames: AtomicUsize::new(0),
            packing,
            transfers: Mutex::default(),
        });
        let before = self.table.write().unwrap_or_else(PoisonError::into_inner).insert(conn, Arc::clone(&link));
        assert!(before.is_none(), "the number of a connection is used once");
        (conn, link, unpacked)
    }

    pub(super) fn remove(&self, conn: ConnId) {
        let gone = self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&conn);
        gone.iter().for_each(|link| link.traffic.parted(Clock::wall_millis()));
    }

    /// Breaks connections at once: all, or those with a peer. Returns how many.
    pub(super) fn disconnect(&self, peer: Option<NodeId>, code: CloseCode) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let chosen = table.values().filter(|link| peer.is_none_or(|peer| peer == link.peer()));
        chosen.map(|link| link.handle.close(code, "broken off")).count()
    }

    pub(super) fn count(&self, peer: NodeId) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().filter(|link| link.peer() == peer).count()
    }

    fn get(&self, conn: ConnId) -> Option<Arc<Link>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&conn).cloned()
    }

    /// Sends a control frame. The first one about a space that compares it opens a transfer for it; if that shares a
    /// stream that is open already, the room the space may use at first is returned.
    pub(super) fn control(&self, conn: ConnId, frame: &Frame) -> Option<(SpaceId, usize)> {
        let link = self.get(conn)?;
        if matches!(frame, Frame::RulesRanges(page) if !page.last) {
            link.room_wanted.store(true, Ordering::Relaxed);
        }
        link.control(frame);
        match frame {
            Frame::Summary(summary) => link.open(summary.space).map(|bytes| (summary.space, bytes)),
            _ => None,
        }
    }

    /// Sends entries on the space's transfer. They are encoded and packed in the connection's own task: the engine's
    /// thread has other things to do.
    pub(super) fn transfer(&self, conn: ConnId, space: SpaceId, frame: Frame) {
        let Some(link) = self.get(conn) else { return };
        match link.packing.try_send((space, frame)) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => link.overloaded("too many entries wait to be packed for the peer"),
        }
    }

    /// Trusts the peer of a connection further.
    pub(super) fn stand(&self, conn: ConnId, standing: Standing) {
        if let Some(link) = self.get(conn) {
            link.handle.set_standing(standing);
        }
    }

    /// Closes a connection once its control frames are out.
    pub(super) fn close(&self, conn: ConnId, code: CloseCode, reason: &str) {
        if let Some(link) = self.get(conn) {
            tracing::info!(peer = %link.handle.peer(), reason, "closing a connection");
            link.handle.close_when_sent(code, reason);
        }
    }
}

/// Frames of entries on their way from the engine to a connection, in order.
pub(super) type Unpacked = mpsc::Receiver<(SpaceId, Frame)>;

/// Encodes and packs what a connection is to send, in order. Ends with the connection.
pub(super) async fn pack_all(link: Arc<Link>, mut unpacked: Unpacked) {
    while let Some((space, frame)) = unpacked.recv().await {
        link.transfer(space, &frame);
    }
}

impl Link {
    pub(super) fn peer(&self) -> NodeId {
        self.handle.peer()
    }

    pub(super) fn handle(&self) -> &ConnectionHandle {
        &self.handle
    }

    pub(super) fn received(&self, frame: &[u8]) {
        self.traffic.received(frame);
    }

    /// The peer has said hello. `false`: once more.
    pub(super) fn greeted(&self, hello: &Hello) -> bool {
        self.takes_packed.store(offers_packing(hello), Ordering::Relaxed);
        !self.greeted.swap(true, Ordering::Relaxed)
    }

    /// Whether the peer is a member.
    pub(super) fn is_member(&self) -> bool {
        self.handle.standing() == Standing::Member
    }

    /// Whether more pages of rules wait for room on the control stream; it is asked once.
    pub(super) fn room_is_wanted(&self) -> bool {
        self.room_wanted.swap(false, Ordering::Relaxed)
    }

    /// Counts a frame of who is no member; how many it has sent.
    pub(super) fn strange_frame(&self) -> usize {
        self.strange_frames.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn transfers(&self) -> MutexGuard<'_, Transfers> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self, frame: &Frame) {
        let bytes = frame.encode();
        self.traffic.sent(&bytes);
        match self.handle.send_control(bytes) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(SendError::Full { .. }) => self.overloaded("the peer does not take its control frames"),
            Err(error) => self.overloaded(&error.to_string()),
        }
    }

    fn overloaded(&self, reason: &str) {
        tracing::warn!(peer = %self.peer(), reason, "closing a connection");
        self.handle.close(CloseCode::Overloaded, reason);
    }

    fn open(&self, space: SpaceId) -> Option<usize> {
        let mut transfers = self.transfers();
        if transfers.of_space.contains_key(&space) {
            return None;
        }
        let count = transfers.channels.len();
        let number = u32::try_from(count).unwrap_or(u32::MAX);
        if count < TRANSFERS_MAX {
            match self.handle.open_transfer(number) {
                Ok(()) => {}
                Err(SendError::Closed) => return None,
                Err(error) => {
                    tracing::error!(%error, "a transfer does not open");
                    return None;
                }
            }
            transfers.of_space.insert(space, number);
            transfers.channels.insert(number, Transfer { spaces: vec![space], waiting: VecDeque::new() });
            assert!(transfers.channels.len() <= TRANSFERS_MAX, "streams towards a peer are bounded");
            return None;
        }
        let (shared, transfer) = transfers.channels.iter_mut().min_by_key(|(_, transfer)| transfer.spaces.len())?;
        let shared = *shared;
        transfer.spaces.push(space);
        let bytes = TRANSFER_SEND_BUFFER / transfer.spaces.len();
        transfers.of_space.insert(space, shared);
        Some(bytes)
    }

    fn transfer(&self, space: SpaceId, frame: &Frame) {
        let packed = self.takes_packed.load(Ordering::Relaxed);
        let bytes = if packed { frame.encode_packed() } else { frame.encode() };
        self.traffic.sent(&bytes);
        let mut transfers = self.transfers();
        let Some(channel) = transfers.of_space.get(&space).copied() else {
            return tracing::error!(%space, "entries for a space without a transfer");
        };
        let Some(transfer) = transfers.channels.get_mut(&channel) else { return };
        if transfer.waiting.len() >= WAITING_FRAMES_MAX {
            return self.overloaded("too many entries wait for the peer");
        }
        transfer.waiting.push_back(bytes);
        self.flush(channel, transfer);
    }

    /// Hands over what fits; the bytes that went. The lock on the transfers is held, so no `Writable` gets between.
    fn flush(&self, channel: u32, transfer: &mut Transfer) -> usize {
        let mut sent = 0;
        while let Some(frame) = transfer.waiting.pop_front() {
            let length = frame.len();
            match self.handle.send_transfer(channel, frame) {
                Ok(()) => sent += length,
                Err(SendError::Full { frame, .. }) => {
                    transfer.waiting.push_front(frame);
                    break;
                }
                Err(SendError::Closed) => break,
                Err(error) => {
                    self.overloaded(&error.to_string());
                    break;
                }
            }
        }
        sent
    }

    /// A transfer has room: what waits goes first, the rest is divided among the spaces that share it.
    pub(super) fn writable(&self, channel: u32, bytes: usize) -> Vec<(SpaceId, usize)> {
        let mut transfers = self.transfers();
        let Some(transfer) = transfers.channels.get_mut(&channel) else { return Vec::new() };
        let sent = self.flush(channel, transfer);
        if !transfer.waiting.is_empty() {
            return Vec::new();
        }
        let share = bytes.saturating_sub(sent) / transfer.spaces.len().max(1);
        transfer.spaces.iter().map(|space| (*space, share)).collect()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::Digest;
    use tombolo_transport::frame::{Ranges, Summary};
    use tombolo_transport::{Channel, Endpoint, Event, Identity, Settings};

    use super::*;

    fn endpoint(seed: u8) -> Endpoint {
        let listen = "127.0.0.1:0".parse().unwrap();
        Endpoint::bind(Identity::from_seed(&[seed; 32]), listen, Settings::default()).unwrap()
    }

    #[tokio::test]
    async fn entries_are_packed_in_order_by_their_connection_and_not_by_the_engine() {
        let (ours, theirs) = (endpoint(1), endpoint(2));
        let address = theirs.local_addr().unwrap();
        let accept = async { theirs.accept().await.unwrap().establish().await.unwrap() };
        let (dialled, accepted) = tokio::join!(ours.connect(address, None), accept);
        let (at_theirs, mut heard) = accepted.split();
        at_theirs.set_standing(Standing::Member);
        let (handle, mut events) = dialled.unwrap().split();
        let traffic = Arc::new(Traffic::default());
        let links = Links::new(Arc::clone(&traffic));
        let (conn, link, unpacked) = links.insert(handle);
        let (space, digest) = (SpaceId::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let summary = Summary { space, frontier: digest, state: digest, frozen: 0, common: None };
        assert_eq!(links.control(conn, &Frame::Summary(summary)), None);
        while !matches!(events.next().await, Some(Event::Writable { channel: Channel::Transfer(0), .. })) {}

        let frame = |number| Frame::Ranges(Ranges { space, number, ranges: Vec::new() });
        (1..=3).for_each(|number| links.transfer(conn, space, frame(number)));
        let packed = || traffic.read().into_iter().any(|figure| figure.kind == "ranges");
        assert!(!packed(), "the caller has not packed anything");
        let packing = tokio::spawn(pack_all(link, unpacked));
        for number in 1..=3 {
            let received = loop {
                if let Some(Event::Frame { channel: Channel::Transfer(_), frame }) = heard.next().await {
                    break frame;
                }
            };
            assert_eq!(Frame::decode(&received), Ok(Some(frame(number))));
        }
        assert!(packed());
        packing.abort();
    }
}
