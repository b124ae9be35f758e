//! Where packets pass at present, and how long they take.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::luck::Luck;
use crate::plan::{LinkPlan, NodeNo, Plan, Spread};

/// Bytes of entries in one packet, to say how many packets a frame is.
const PACKET_BYTES: usize = 1_200;
/// Packets of one frame that are asked one by one whether they are lost; beyond it they share the luck of these.
const PACKETS_ASKED_MAX: usize = 64;
/// Times one packet is lost in a row at most: beyond it the connection would be given up.
const LOSSES_MAX: u32 = 6;
/// A link of machines that have none: they are as good as beside each other.
const BESIDE: Spread = Spread::fixed(500);

/// What is drawn for a packet; the first part of each question.
pub(super) mod about {
    pub(in crate::world) const LATENCY: u64 = 1;
    pub(in crate::world) const LOSS: u64 = 2;
    pub(in crate::world) const KEEP_ALIVE: u64 = 3;
    pub(in crate::world) const RESEND: u64 = 4;
    pub(in crate::world) const BACKOFF: u64 = 5;
    pub(in crate::world) const SEED: u64 = 6;
    pub(in crate::world) const COMMIT: u64 = 7;
    pub(in crate::world) const CRASH: u64 = 8;
    pub(in crate::world) const CLONE: u64 = 9;
    pub(in crate::world) const FLIPS: u64 = 10;
}

/// The state of all ways between nodes.
#[derive(Debug)]
pub(super) struct Paths {
    links: BTreeMap<(NodeNo, NodeNo), LinkPlan>,
    /// How many faults close a way, by direction.
    closed: BTreeMap<(NodeNo, NodeNo), u32>,
    slow: BTreeMap<(NodeNo, NodeNo), u32>,
    lossy: BTreeMap<(NodeNo, NodeNo), u32>,
    /// When the last packet has left, by direction.
    busy: BTreeMap<(NodeNo, NodeNo), Duration>,
}

impl Paths {
    pub(super) fn new(plan: &Plan) -> Self {
        let both = |link: &LinkPlan| [((link.from, link.to), link.clone()), ((link.to, link.from), link.clone())];
        let links = plan.links.iter().flat_map(both).collect();
        Self { links, closed: BTreeMap::new(), slow: BTreeMap::new(), lossy: BTreeMap::new(), busy: BTreeMap::new() }
    }

    pub(super) fn has_link(&self, from: NodeNo, to: NodeNo) -> bool {
        self.links.contains_key(&(from, to))
    }

    pub(super) fn is_open(&self, from: NodeNo, to: NodeNo) -> bool {
        !self.closed.contains_key(&(from, to))
    }

    /// Closes ways, or opens them again. Returns those that changed.
    pub(super) fn set_closed(&mut self, ways: &BTreeSet<(NodeNo, NodeNo)>, closed: bool) -> Vec<(NodeNo, NodeNo)> {
        let mut changed = Vec::new();
        for way in ways {
            let count = self.closed.entry(*way).or_default();
            if closed {
                *count += 1;
                if *count == 1 {
                    changed.push(*way);
                }
            } else {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.closed.remove(way);
                    changed.push(*way);
                }
            }
        }
        changed
    }

    /// Ends every fault of the network. Returns the ways that are open again.
    pub(super) fn clear(&mut self) -> Vec<(NodeNo, NodeNo)> {
        self.slow.clear();
        self.lossy.clear();
        std::mem::take(&mut self.closed).into_keys().collect()
    }

    pub(super) fn set_slow(&mut self, ways: &BTreeSet<(NodeNo, NodeNo)>, factor: Option<u32>) {
        set(&mut self.slow, ways, factor);
    }

    pub(super) fn set_lossy(&mut self, ways: &BTreeSet<(NodeNo, NodeNo)>, ppm: Option<u32>) {
        set(&mut self.lossy, ways, ppm);
    }

    /// How long one packet takes.
    pub(super) fn latency(&self, from: NodeNo, to: NodeNo, random: u32) -> Duration {
        let spread = self.links.get(&(from, to)).map_or(BESIDE, |link| link.latency);
        spread.at(random) * self.slow.get(&(from, to)).copied().unwrap_or(1)
    }

    /// When a frame that leaves now arrives: after those before it on this way, the time its bytes take, the latency, and
    /// a round trip for whatever is lost. Whether anything was lost.
    pub(super) fn arrival(
        &mut self,
        (from, to): (NodeNo, NodeNo),
        bytes: usize,
        now: Duration,
        luck: Luck,
        [a, b]: [u64; 2],
    ) -> (Duration, bool) {
        let latency = self.latency(from, to, luck.draw32([about::LATENCY, a, b, 0]));
        let Some(link) = self.links.get(&(from, to)) else { return (now + latency, false) };
        let way = (from, to);
        let mut leaves = now;
        if let Some(nanos) = (bytes as u64 * 1_000_000_000).checked_div(link.bandwidth) {
            let takes = Duration::from_nanos(nanos);
            let busy = self.busy.entry(way).or_default();
            leaves = now.max(*busy) + takes;
            *busy = leaves;
        }
        let ppm = link.loss_ppm + self.lossy.get(&way).copied().unwrap_or(0);
        let packets = bytes.div_ceil(PACKET_BYTES).clamp(1, PACKETS_ASKED_MAX) as u64;
        let mut waits = Duration::ZERO;
        if ppm > 0 {
            let round = latency * 2 + Duration::from_millis(5);
            for packet in 0..packets {
                let mut lost = 0;
                while lost < LOSSES_MAX && luck.chance(ppm, [about::LOSS, a, b, packet << 8 | u64::from(lost)]) {
                    // Probe timeouts double.
                    waits = waits.max(round * ((2 << lost) - 1));
                    lost += 1;
                }
            }
        }
        (leaves + latency + waits, waits > Duration::ZERO)
    }
}

fn set(map: &mut BTreeMap<(NodeNo, NodeNo), u32>, ways: &BTreeSet<(NodeNo, NodeNo)>, value: Option<u32>) {
    for way in ways {
        match value {
            Some(value) => drop(map.insert(*way, value)),
            None => drop(map.remove(way)),
        }
    }
}

/// The ways from one side to another, and back if asked for.
pub(super) fn ways(from: &[NodeNo], to: &[NodeNo], back: bool) -> BTreeSet<(NodeNo, NodeNo)> {
    let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
    pairs.flat_map(|(a, b)| [Some((a, b)), back.then_some((b, a))]).flatten().collect()
}
