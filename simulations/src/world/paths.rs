//! Where packets pass at present, and how long they take.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::luck::Luck;
use crate::plan::{LinkPlan, NodeNo, Plan, Spread};

/// Bytes of entries in one packet, to say how many packets a frame is.
const PACKET_BYTES: usize = 1_200;
/// Packets of one frame that are asked one by one whether they are lost; beyond it they share the luck of these.
const PACKETS_ASKED_MAX: usize = 64;
/// Several faults together make a link at most this many times slower.
const SLOWER_MAX: u32 = 10_000;
/// Times one packet is lost in a row at most: beyond it the connection would be given up.
const LOSSES_MAX: u32 = 6;
const _: () = assert!(LOSSES_MAX < 1 << 8, "each loss of a packet is drawn under a name of its own");
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
    pub(in crate::world) const FULL: u64 = 11;
    pub(in crate::world) const FATE: u64 = 12;
    pub(in crate::world) const LOOK: u64 = 13;
    pub(in crate::world) const LOAD: u64 = 15;
    pub(in crate::world) const BAD: u64 = 14;
}

/// A direction: from, to.
type Way = (NodeNo, NodeNo);

/// Values that faults give to ways.
type ByFault = BTreeMap<Way, BTreeMap<u32, u32>>;

/// The state of all ways between nodes.
#[derive(Debug)]
pub(super) struct Paths {
    links: BTreeMap<Way, LinkPlan>,
    /// How many faults close a way, by direction.
    closed: BTreeMap<Way, u32>,
    /// How many faults hold back what is sent on a way.
    clogged: BTreeMap<Way, u32>,
    /// By fault: how many times slower, and what is lost on top in parts per million.
    slow: ByFault,
    lossy: ByFault,
    /// When the last packet has left, by direction.
    busy: BTreeMap<Way, Duration>,
}

impl Paths {
    pub(super) fn new(plan: &Plan) -> Self {
        let both = |link: &LinkPlan| [((link.from, link.to), link.clone()), ((link.to, link.from), link.clone())];
        let links = plan.links.iter().flat_map(both).collect();
        let (closed, clogged) = (BTreeMap::new(), BTreeMap::new());
        Self { links, closed, clogged, slow: ByFault::new(), lossy: ByFault::new(), busy: BTreeMap::new() }
    }

    pub(super) fn has_link(&self, from: NodeNo, to: NodeNo) -> bool {
        self.links.contains_key(&(from, to))
    }

    pub(super) fn is_open(&self, from: NodeNo, to: NodeNo) -> bool {
        !self.closed.contains_key(&(from, to))
    }

    /// Whether what is sent on a way waits there, while its ends hold the connection up.
    pub(super) fn is_clogged(&self, from: NodeNo, to: NodeNo) -> bool {
        self.clogged.contains_key(&(from, to))
    }

    /// Closes ways, or opens them again. Returns those that changed.
    pub(super) fn set_closed(&mut self, ways: &BTreeSet<Way>, closed: bool) -> Vec<Way> {
        count(&mut self.closed, ways, closed)
    }

    /// Clogs ways, or lets go what waits. Returns those that changed.
    pub(super) fn set_clogged(&mut self, ways: &BTreeSet<Way>, clogged: bool) -> Vec<Way> {
        count(&mut self.clogged, ways, clogged)
    }

    /// Ends every fault on the ways for which `of` holds. Returns those that are open or free again.
    pub(super) fn clear(&mut self, of: impl Fn(&Way) -> bool) -> Vec<Way> {
        self.slow.retain(|way, _| !of(way));
        self.lossy.retain(|way, _| !of(way));
        let mut changed = Vec::new();
        for counts in [&mut self.closed, &mut self.clogged] {
            changed.extend(counts.keys().filter(|way| of(way)).copied());
            counts.retain(|way, _| !of(way));
        }
        changed
    }

    /// A fault makes ways slower, or does no more.
    pub(super) fn set_slow(&mut self, fault: u32, ways: &BTreeSet<Way>, factor: Option<u32>) {
        set(&mut self.slow, fault, ways, factor);
    }

    /// A fault makes ways lose more, or does no more.
    pub(super) fn set_lossy(&mut self, fault: u32, ways: &BTreeSet<Way>, ppm: Option<u32>) {
        set(&mut self.lossy, fault, ways, ppm);
    }

    /// How long one packet takes.
    pub(super) fn latency(&self, from: NodeNo, to: NodeNo, random: u32) -> Duration {
        let spread = self.links.get(&(from, to)).map_or(BESIDE, |link| link.latency);
        let factors = self.slow.get(&(from, to)).into_iter().flat_map(BTreeMap::values);
        spread.at(random) * factors.fold(1_u32, |all, factor| all.saturating_mul((*factor).max(1)).min(SLOWER_MAX))
    }

    /// When a frame that leaves now arrives: after those before it on this way, the time its bytes take, the latency,
    /// and a round trip for whatever is lost. Whether anything was lost.
    pub(super) fn arrival(
        &mut self,
        (from, to): Way,
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
        let on_top: u32 = self.lossy.get(&way).into_iter().flat_map(BTreeMap::values).sum();
        let ppm = link.loss_ppm.saturating_add(on_top).min(1_000_000);
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
        assert!(leaves >= now, "nothing leaves before it is sent");
        (leaves + latency + waits, waits > Duration::ZERO)
    }
}

fn count(counts: &mut BTreeMap<Way, u32>, ways: &BTreeSet<Way>, more: bool) -> Vec<Way> {
    let mut changed = Vec::new();
    for way in ways {
        let count = counts.entry(*way).or_default();
        if more {
            *count += 1;
            if *count == 1 {
                changed.push(*way);
            }
        } else {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(way);
                changed.push(*way);
            }
        }
    }
    debug_assert!(counts.values().all(|count| *count > 0), "what no fault closes is open");
    changed
}

fn set(map: &mut ByFault, fault: u32, ways: &BTreeSet<Way>, value: Option<u32>) {
    for way in ways {
        let of_way = map.entry(*way).or_default();
        match value {
            Some(value) => drop(of_way.insert(fault, value)),
            None => drop(of_way.remove(&fault)),
        }
    }
}

/// The ways from one side to another, and back if asked for.
pub(super) fn ways(from: &[NodeNo], to: &[NodeNo], back: bool) -> BTreeSet<Way> {
    let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
    let ways: BTreeSet<Way> = pairs.flat_map(|(a, b)| [Some((a, b)), back.then_some((b, a))]).flatten().collect();
    debug_assert!(ways.iter().all(|(a, b)| a != b), "nobody has a way to itself");
    ways
}
