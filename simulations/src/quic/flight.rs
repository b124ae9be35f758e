//! Datagrams on their way: they take their time, get lost, doubled, damaged and out of order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use super::about;
use crate::luck::Luck;
use crate::plan::{Fault, LinkPlan, NodeNo, Plan};

/// The longest datagrams that pass, in bytes: the least that QUIC asks for, tunnels, Ethernet. Longer ones vanish. Each
/// link has one of them, and another one after a node has moved.
const DATAGRAM_BYTES_MAX: [usize; 4] = [1_200, 1_280, 1_400, 1_452];
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

const _: () = assert!(DATAGRAM_BYTES_MAX[0] >= 1_200, "QUIC's least datagram passes everywhere");

/// A datagram as it is received.
#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// A datagram on its way.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    way: (NodeNo, NodeNo),
    to: SocketAddr,
    datagram: Datagram,
}

/// A node's place on the network.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: SocketAddr,
    pub(super) moves: u8,
    /// The socket that is open; an older one neither sends nor hears.
    pub(super) socket: u64,
    pub(super) inbox: VecDeque<Datagram>,
    pub(super) reader: Option<Waker>,
    /// Neither sends nor hears until it is switched on again.
    pub(super) is_off: bool,
    /// Sends nothing until then.
    pub(super) mute_until: Duration,
}

/// Everything on the network.
#[derive(Debug)]
pub(super) struct State {
    luck: Luck,
    links: BTreeMap<(NodeNo, NodeNo), LinkPlan>,
    pub(super) ports: Vec<Port>,
    pub(super) homes: BTreeMap<SocketAddr, NodeNo>,
    pub(super) faults: BTreeMap<u32, Fault>,
    /// On their way, by arrival and number.
    pub(super) flying: BTreeMap<(Duration, u64), Packet>,
    clogged: BTreeMap<(NodeNo, NodeNo), Vec<Packet>>,
    sent: BTreeMap<(NodeNo, NodeNo), u64>,
    /// When the last byte has left, by direction.
    busy: BTreeMap<(NodeNo, NodeNo), Duration>,
    pub(super) numbers: u64,
    pub(super) hits: BTreeMap<&'static str, u64>,
}

/// A node's first address, or the one after so many moves.
pub(super) fn address(node: NodeNo, moves: u8) -> SocketAddr {
    assert!(node < usize::from(u16::MAX), "every node has an address of its own");
    let [high, low] = u16::try_from(node + 1).unwrap_or(u16::MAX).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, moves, high, low), PORT))
}

impl State {
    /// The network of a plan; no socket is open.
    pub(super) fn new(plan: &Plan) -> Self {
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
        Self {
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
        }
    }

    fn hit(&mut self, what: &'static str) {
        *self.hits.entry(what).or_default() += 1;
    }

    /// Sends a datagram, or loses it.
    pub(super) fn send(&mut self, now: Duration, node: NodeNo, socket: u64, to: SocketAddr, bytes: &[u8]) {
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
        if bytes.len() > self.datagram_max(way) {
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
                assert!(held.len() <= CLOGGED_MAX, "what a clog holds back is bounded");
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

    /// The longest datagram that passes between two nodes where they are now.
    fn datagram_max(&self, (a, b): (NodeNo, NodeNo)) -> usize {
        let moves = |node: NodeNo| self.ports.get(node).map_or(0, |port| u64::from(port.moves));
        let drawn = self.luck.draw([about::PATH, about::way((a.min(b), a.max(b))), moves(a), moves(b)]);
        let nth = usize::try_from(drawn % DATAGRAM_BYTES_MAX.len() as u64).unwrap_or(0);
        DATAGRAM_BYTES_MAX.get(nth).copied().unwrap_or(1_200)
    }

    fn fly(&mut self, at: Duration, packet: Packet) {
        self.numbers += 1;
        let before = self.flying.insert((at, self.numbers), packet);
        assert!(before.is_none(), "no datagram takes the place of another");
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
        assert!(*busy >= now, "nothing has left before it was sent");
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
            assert!(byte > 0, "the first byte stays: it says which kind of packet it is");
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
    pub(super) fn unclog(&mut self, now: Duration) {
        let ways: BTreeSet<_> = self.clogged.keys().copied().filter(|way| !self.faults_of(*way).1).collect();
        for way in ways {
            for packet in self.clogged.remove(&way).unwrap_or_default() {
                self.fly(now, packet);
            }
        }
    }

    /// Delivers what is due; says when the next is.
    pub(super) fn deliver(&mut self, now: Duration) -> Option<Duration> {
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
            assert!(port.inbox.len() <= SOCKET_DATAGRAMS_MAX, "what waits for a socket's reader is bounded");
            if let Some(reader) = port.reader.take() {
                reader.wake();
            }
        }
        None
    }
}
