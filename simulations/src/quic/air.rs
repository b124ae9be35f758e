//! The network between the nodes: datagrams that take their time, get lost, doubled, damaged and out of order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::about;
use crate::luck::Luck;
use crate::plan::{Fault, LinkPlan, NodeNo, Plan, PlannedFault};

/// The longest datagram that passes, in bytes: Ethernet behind a tunnel. Longer ones vanish.
const DATAGRAM_BYTES_MAX: usize = 1_452;
/// What a packet of a handshake weighs, in bytes. What TLS draws makes some a little longer or shorter from run to run;
/// if that decided how long they take, equal plans would not run alike.
const HANDSHAKE_BYTES: usize = 1_200;
/// How much may wait for a slow link, as time: what a router of the day buffers. More is dropped.
const BACKLOG_MAX: Duration = Duration::from_millis(500);
/// Datagrams that wait for a socket's reader: Linux keeps some 200 KiB.
const SOCKET_DATAGRAMS_MAX: usize = 160;
/// Datagrams that one clogged way holds back; a path that holds more loses the rest.
const CLOGGED_MAX: usize = 4_096;
/// Where every node listens.
const PORT: u16 = 7_600;
/// Bits that are flipped in a damaged datagram, at most.
const FLIPS_MAX: u64 = 3;

/// A datagram as it is received.
#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Packet {
    way: (NodeNo, NodeNo),
    to: SocketAddr,
    datagram: Datagram,
}

/// A node's place on the network.
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    moves: u8,
    /// The socket that is open; an older one neither sends nor hears.
    socket: u64,
    inbox: VecDeque<Datagram>,
    reader: Option<Waker>,
    /// Neither sends nor hears until it is switched on again.
    is_off: bool,
    /// Sends nothing until then.
    mute_until: Duration,
}

#[derive(Debug)]
struct State {
    luck: Luck,
    links: BTreeMap<(NodeNo, NodeNo), LinkPlan>,
    ports: Vec<Port>,
    homes: BTreeMap<SocketAddr, NodeNo>,
    faults: BTreeMap<u32, Fault>,
    /// On their way, by arrival and number.
    flying: BTreeMap<(Duration, u64), Packet>,
    clogged: BTreeMap<(NodeNo, NodeNo), Vec<Packet>>,
    sent: BTreeMap<(NodeNo, NodeNo), u64>,
    /// When the last byte has left, by direction.
    busy: BTreeMap<(NodeNo, NodeNo), Duration>,
    numbers: u64,
    hits: BTreeMap<&'static str, u64>,
}

/// The network. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Air {
    state: Arc<Mutex<State>>,
    /// Something arrives earlier than all that was known.
    sooner: Arc<Notify>,
    start: Instant,
}

/// A node's first address, or the one after so many moves.
pub(super) fn address(node: NodeNo, moves: u8) -> SocketAddr {
    let [high, low] = u16::try_from(node + 1).unwrap_or(u16::MAX).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, moves, high, low), PORT))
}

impl Air {
    pub(super) fn new(plan: &Plan, start: Instant) -> Self {
        let both = |link: &LinkPlan| [((link.from, link.to), link.clone()), ((link.to, link.from), link.clone())];
        let port = |node| Port {
            address: address(node, 0),
            moves: 0,
            socket: 0,
            inbox: VecDeque::new(),
            reader: None,
            is_off: true,
            mute_until: Duration::ZERO,
        };
        let state = State {
            luck: Luck::new(plan.noise),
            links: plan.links.iter().flat_map(both).collect(),
            ports: (0..plan.nodes.len()).map(port).collect(),
            homes: (0..plan.nodes.len()).map(|node| (address(node, 0), node)).collect(),
            faults: BTreeMap::new(),
            flying: BTreeMap::new(),
            clogged: BTreeMap::new(),
            sent: BTreeMap::new(),
            busy: BTreeMap::new(),
            numbers: 0,
            hits: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), sooner: Arc::new(Notify::new()), start }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Carries datagrams to where they go, for ever.
    pub(super) async fn carry(self) {
        loop {
            let next = self.state().deliver(self.now());
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.start + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.sooner.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Opens a node's socket. The one before it is dead.
    pub(super) fn plug(&self, node: NodeNo) -> u64 {
        let mut state = self.state();
        state.numbers += 1;
        let number = state.numbers;
        if let Some(port) = state.ports.get_mut(node) {
            (port.socket, port.is_off) = (number, false);
            port.inbox.clear();
            port.reader = None;
        }
        number
    }

    /// Ends a node's socket; nobody is told.
    pub(super) fn unplug(&self, node: NodeNo) {
        if let Some(port) = self.state().ports.get_mut(node) {
            port.socket = 0;
            port.inbox.clear();
        }
    }

    /// Switches what a node sends and hears on or off.
    pub(super) fn set_off(&self, node: NodeNo, is_off: bool) {
        if let Some(port) = self.state().ports.get_mut(node) {
            port.is_off = is_off;
        }
    }

    /// Loses what a node sends for a while.
    pub(super) fn mute(&self, node: NodeNo, lasts: Duration) {
        let until = self.now() + lasts;
        if let Some(port) = self.state().ports.get_mut(node) {
            port.mute_until = until;
        }
    }

    /// Gives a node another address, and says which.
    pub(super) fn readdress(&self, node: NodeNo) -> Option<SocketAddr> {
        let mut state = self.state();
        let port = state.ports.get_mut(node)?;
        port.moves = port.moves.wrapping_add(1);
        let (before, after) = (port.address, address(node, port.moves));
        port.address = after;
        state.homes.remove(&before);
        state.homes.insert(after, node);
        Some(after)
    }

    /// Where a node is, and whether it has moved.
    pub(super) fn address_of(&self, node: NodeNo) -> Option<(SocketAddr, bool)> {
        let state = self.state();
        state.ports.get(node).map(|port| (port.address, port.moves > 0))
    }

    /// A fault of the network begins.
    pub(super) fn begin(&self, planned: &PlannedFault) {
        self.state().faults.insert(planned.no, planned.fault.clone());
    }

    /// It ends.
    pub(super) fn end(&self, no: u32) {
        let now = self.now();
        let mut state = self.state();
        state.faults.remove(&no);
        state.unclog(now);
        drop(state);
        self.sooner.notify_one();
    }

    /// All end.
    pub(super) fn clear(&self) {
        let now = self.now();
        let mut state = self.state();
        state.faults.clear();
        state.unclog(now);
        drop(state);
        self.sooner.notify_one();
    }

    /// What became of datagrams, by name.
    pub(super) fn hits(&self) -> BTreeMap<&'static str, u64> {
        self.state().hits.clone()
    }

    /// Sends a datagram; it is gone in any case.
    pub(super) fn send(&self, node: NodeNo, socket: u64, to: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let mut state = self.state();
        let before = state.flying.first_key_value().map(|(key, _)| *key);
        state.send(now, node, socket, to, bytes);
        let is_sooner = state.flying.first_key_value().map(|(key, _)| *key) != before;
        drop(state);
        if is_sooner {
            self.sooner.notify_one();
        }
    }

    /// Takes what has come for a socket, up to `count`; if nothing has, the reader is woken when something does.
    pub(super) fn receive(&self, node: NodeNo, socket: u64, count: usize, reader: &Waker) -> Vec<Datagram> {
        let mut state = self.state();
        let Some(port) = state.ports.get_mut(node).filter(|port| port.socket == socket) else { return Vec::new() };
        let count = count.min(port.inbox.len());
        let come: Vec<Datagram> = port.inbox.drain(..count).collect();
        if come.is_empty() {
            port.reader = Some(reader.clone());
        }
        come
    }
}

impl State {
    fn hit(&mut self, what: &'static str) {
        *self.hits.entry(what).or_default() += 1;
    }

    fn send(&mut self, now: Duration, node: NodeNo, socket: u64, to: SocketAddr, bytes: &[u8]) {
        let Some(port) = self.ports.get(node) else { return };
        if port.socket != socket || port.is_off || now < port.mute_until {
            return;
        }
        let Some(there) = self.homes.get(&to).copied() else { return self.hit("datagram to an address left") };
        let way = (node, there);
        let datagram = Datagram { from: port.address, bytes: bytes.to_vec() };
        let Some(link) = self.links.get(&way).cloned() else { return };
        let nth = self.sent.entry(way).or_default();
        *nth += 1;
        let nth = *nth;
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return self.hit("datagram too long");
        }
        let (is_cut, is_clogged, slow, lossy) = self.faults_of(way);
        if is_cut {
            return self.hit("datagram cut off");
        }
        let about = |what| [what, about::way(way), nth, 0];
        if self.luck.chance(link.loss_ppm.saturating_add(lossy), about(about::LOSS)) {
            return self.hit("datagram lost");
        }
        let Some(left) = self.pass(now, way, bytes, &link) else { return self.hit("datagram met a full queue") };
        let mut packet = Packet { way, to, datagram };
        if self.luck.chance(link.corrupt_ppm, about(about::CORRUPT)) {
            self.hit("datagram damaged");
            self.damage(&mut packet, nth);
        }
        let doubled = self.luck.chance(link.duplicate_ppm, about(about::DOUBLE));
        if doubled {
            self.hit("datagram doubled");
        }
        if is_clogged {
            let held = self.clogged.entry(way).or_default();
            if held.len() < CLOGGED_MAX {
                held.push(packet);
                self.hit("datagram held back");
            }
            return;
        }
        for copy in 0..=u64::from(doubled) {
            let random = self.luck.draw32([about::LATENCY, about::way(way), nth, copy]);
            let at = left + link.latency.at(random) * slow;
            self.fly(at, packet.clone());
        }
    }

    fn fly(&mut self, at: Duration, packet: Packet) {
        self.numbers += 1;
        self.flying.insert((at, self.numbers), packet);
    }

    /// When the last byte has left, after all that waits before it.
    fn pass(&mut self, now: Duration, way: (NodeNo, NodeNo), bytes: &[u8], link: &LinkPlan) -> Option<Duration> {
        if link.bandwidth == 0 {
            return Some(now);
        }
        let is_handshake = bytes.first().is_some_and(|first| first & 0x80 != 0);
        let weight = if is_handshake { HANDSHAKE_BYTES } else { bytes.len() };
        let busy = self.busy.entry(way).or_default();
        let begins = now.max(*busy);
        if begins - now > BACKLOG_MAX {
            return None;
        }
        *busy = begins + Duration::from_nanos((weight as u64).saturating_mul(1_000_000_000) / link.bandwidth);
        Some(*busy)
    }

    /// Flips bits, but none of the first byte: which kind of packet it then seems to be would depend on its key.
    fn damage(&self, packet: &mut Packet, nth: u64) {
        let about = |n| [about::FLIPS, about::way(packet.way), nth, n];
        let flips = 1 + self.luck.draw(about(0)) % FLIPS_MAX;
        let bits = (packet.datagram.bytes.len().saturating_sub(1) * 8).max(1) as u64;
        let chosen: Vec<u64> = (1..=flips).map(|n| 8 + self.luck.draw(about(n)) % bits).collect();
        for bit in chosen {
            let byte = usize::try_from(bit / 8).unwrap_or(usize::MAX);
            if let Some(byte) = packet.datagram.bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Whether a way is cut or clogged, how many times slower it is, and what it loses on top.
    fn faults_of(&self, (a, b): (NodeNo, NodeNo)) -> (bool, bool, u32, u32) {
        let (mut is_cut, mut is_clogged, mut slow, mut lossy) = (false, false, 1_u32, 0_u32);
        for fault in self.faults.values() {
            let there = |from: &[NodeNo], to: &[NodeNo]| from.contains(&a) && to.contains(&b);
            let either = |from: &[NodeNo], to: &[NodeNo]| there(from, to) || there(to, from);
            match fault {
                Fault::Cut { from, to, one_way: true } => is_cut |= there(from, to),
                Fault::Cut { from, to, one_way: false } => is_cut |= either(from, to),
                Fault::Clog { from, to } => is_clogged |= there(from, to),
                Fault::Slow { from, to, factor } if either(from, to) => slow = slow.saturating_mul((*factor).max(1)),
                Fault::Lossy { from, to, loss_ppm } if either(from, to) => lossy = lossy.saturating_add(*loss_ppm),
                _ => {}
            }
        }
        (is_cut, is_clogged, slow, lossy)
    }

    /// Lets go what no fault holds back any more, all at once.
    fn unclog(&mut self, now: Duration) {
        let ways: BTreeSet<_> = self.clogged.keys().copied().filter(|way| !self.faults_of(*way).1).collect();
        for way in ways {
            for packet in self.clogged.remove(&way).unwrap_or_default() {
                self.fly(now, packet);
            }
        }
    }

    /// Delivers what is due; says when the next is.
    fn deliver(&mut self, now: Duration) -> Option<Duration> {
        while let Some(entry) = self.flying.first_entry() {
            let at = entry.key().0;
            if at > now {
                return Some(at);
            }
            let packet = entry.remove();
            let there = self.homes.get(&packet.to).copied();
            let Some(port) = there.and_then(|node| self.ports.get_mut(node)) else { continue };
            if port.socket == 0 || port.is_off {
                continue;
            }
            if port.inbox.len() >= SOCKET_DATAGRAMS_MAX {
                self.hit("datagram met a full socket");
                continue;
            }
            port.inbox.push_back(packet.datagram);
            if let Some(reader) = port.reader.take() {
                reader.wake();
            }
        }
        None
    }
}
