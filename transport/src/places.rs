//! Who may come in, and who goes when it gets tight. Pure state: reads no clock, knows no sockets.
//!
//! Whoever dials in takes a place, from its first packet on. A place moves up: the handshake is under way, the control
//! stream is awaited, a stranger, a guest, somebody known, a member. The lower four have bounds, for all and for each
//! address; beyond one the oldest goes, not the newcomer: who has come to talk needs its place for a moment only.
//! Known keys and members are never put out for strangers or guests, nor guests for strangers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tombolo_crdt::NodeId;

/// Bounds on those who dial in. The defaults are right for nodes; tests make them small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceLimits {
    /// Handshakes under way.
    pub handshakes: Bound,
    /// Finished handshakes whose control stream has not begun.
    pub waiting: Bound,
    /// Strangers with a control stream; and as many guests whose keys are not known.
    pub strangers: Bound,
    /// Connections of one key that are no member's.
    pub per_key: usize,
}

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of the whole endpoint.
    pub all: usize,
    /// From one IPv4 address or one IPv6 network of 64 bits.
    pub per_address: usize,
}

/// How far a newcomer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Handshake,
    Waiting,
    Stranger,
    /// Something is expected of it. Keys are free: whoever comes with many has as many places as strangers have.
    Guest,
    /// Whose key is a member's.
    Known,
    Member,
}

#[derive(Debug)]
struct Place {
    tier: Tier,
    from: IpAddr,
    key: Option<NodeId>,
}

/// The places of an endpoint, numbered by age.
#[derive(Debug)]
pub(crate) struct Places {
    limits: PlaceLimits,
    next: u64,
    places: BTreeMap<u64, Place>,
    known: Arc<BTreeSet<NodeId>>,
}

impl Places {
    pub(crate) fn new(limits: PlaceLimits) -> Self {
        Self { limits, next: 0, places: BTreeMap::new(), known: Arc::default() }
    }

    /// Keys whose holders come in past strangers.
    pub(crate) fn set_known(&mut self, known: Arc<BTreeSet<NodeId>>) {
        self.known = known;
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many are at a tier.
    pub(crate) fn count(&self, tier: Tier) -> usize {
        self.places.values().filter(|place| place.tier == tier).count()
    }

    /// A newcomer's first packet: its number, and who goes for it.
    pub(crate) fn enter(&mut self, from: IpAddr) -> (u64, Vec<u64>) {
        let no = self.next;
        self.next += 1;
        let from = network(from);
        self.places.insert(no, Place { tier: Tier::Handshake, from, key: None });
        (no, self.settle(no))
    }

    /// The handshake is over, its key proven: who goes for it.
    pub(crate) fn named(&mut self, no: u64, key: NodeId) -> Vec<u64> {
        let known = self.known.contains(&key);
        let Some(place) = self.places.get_mut(&no) else { return Vec::new() };
        place.key = Some(key);
        place.tier = if known { Tier::Known } else { Tier::Waiting };
        self.settle(no)
    }

    /// Moves a place up; never down. Who goes for it.
    pub(crate) fn raise(&mut self, no: u64, tier: Tier) -> Vec<u64> {
        let Some(place) = self.places.get_mut(&no) else { return Vec::new() };
        if place.tier >= tier {
            return Vec::new();
        }
        place.tier = tier;
        self.settle(no)
    }

    pub(crate) fn leave(&mut self, no: u64) {
        self.places.remove(&no);
    }

    /// Makes the bounds hold again after `no` has come to its tier.
    fn settle(&mut self, no: u64) -> Vec<u64> {
        let mut out = Vec::new();
        let Some(Place { tier, from, key }) = self.places.get(&no) else { return out };
        let (tier, from, key) = (*tier, *from, *key);
        if let Some(key) = key.filter(|_| tier < Tier::Member) {
            let of_key = |place: &Place| place.key == Some(key) && place.tier < Tier::Member;
            self.thin(self.limits.per_key, of_key, &mut out);
        }
        let bound = match tier {
            Tier::Handshake => self.limits.handshakes,
            Tier::Waiting => self.limits.waiting,
            Tier::Stranger | Tier::Guest => self.limits.strangers,
            Tier::Known | Tier::Member => return out,
        };
        self.thin(bound.per_address, |place| place.tier == tier && place.from == from, &mut out);
        while self.count(tier) > bound.all {
            // One address with many must not put out those who came alone.
            let (heaviest, count) = self.heaviest(tier);
            assert!(count > 0, "a tier that is over its bound has somebody to put out");
            self.thin(count.saturating_sub(1), |place| place.tier == tier && place.from == heaviest, &mut out);
        }
        debug_assert!(self.count(tier) <= bound.all, "places are bounded");
        out
    }

    /// Puts out the oldest of those chosen until no more than `most` are left.
    fn thin(&mut self, most: usize, chosen: impl Fn(&Place) -> bool, out: &mut Vec<u64>) {
        let of: Vec<u64> = self.places.iter().filter(|(_, place)| chosen(place)).map(|(no, _)| *no).collect();
        for no in of.iter().take(of.len().saturating_sub(most)) {
            self.places.remove(no);
            out.push(*no);
        }
    }

    /// The address with the most places at a tier, and how many; of several the one whose first place is the oldest.
    fn heaviest(&self, tier: Tier) -> (IpAddr, usize) {
        let mut counts: BTreeMap<IpAddr, (usize, Reverse<u64>)> = BTreeMap::new();
        for (no, place) in self.places.iter().filter(|(_, place)| place.tier == tier) {
            counts.entry(place.from).or_insert((0, Reverse(*no))).0 += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, weight)| *weight);
        most.map_or((IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0), |(from, (count, _))| (from, count))
    }
}

/// What counts as one address: a site with IPv6 has a network of 64 bits to itself.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> PlaceLimits {
        PlaceLimits {
            handshakes: Bound { all: 4, per_address: 3 },
            waiting: Bound { all: 4, per_address: 3 },
            strangers: Bound { all: 6, per_address: 4 },
            per_key: 2,
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn key(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    /// Comes in up to a tier; the number, and who went for it.
    fn come(places: &mut Places, from: IpAddr, by: u8, tier: Tier) -> (u64, Vec<u64>) {
        let (no, mut out) = places.enter(from);
        out.extend(places.named(no, key(by)));
        out.extend(places.raise(no, tier));
        (no, out)
    }

    #[test]
    fn the_oldest_of_an_address_goes_and_others_stay() {
        let mut places = Places::new(limits());
        let (other, _) = come(&mut places, ip(9), 90, Tier::Stranger);
        let first: Vec<u64> = (0..4).map(|n| come(&mut places, ip(1), n, Tier::Stranger).0).collect();
        let (_, out) = come(&mut places, ip(1), 10, Tier::Stranger);
        assert_eq!(out, [first[0]]);
        assert_eq!(places.count(Tier::Stranger), 5);
        let (_, out) = come(&mut places, ip(2), 20, Tier::Stranger);
        assert_eq!(out, []);
        let (_, out) = come(&mut places, ip(3), 30, Tier::Stranger);
        assert_eq!(out, [first[1]], "the address with the most gives way, not {other}, which is older");
    }

    #[test]
    fn one_key_has_few_places_wherever_it_comes_from() {
        let mut places = Places::new(limits());
        let (first, _) = come(&mut places, ip(1), 1, Tier::Stranger);
        come(&mut places, ip(2), 1, Tier::Stranger);
        let (_, out) = come(&mut places, ip(3), 1, Tier::Stranger);
        assert_eq!(out, [first]);
    }

    #[test]
    fn known_keys_and_members_are_not_put_out() {
        let mut places = Places::new(limits());
        places.set_known(Arc::new([key(7)].into()));
        let (known, _) = places.enter(ip(1));
        places.named(known, key(7));
        let (member, _) = come(&mut places, ip(1), 8, Tier::Member);
        for n in 20..60 {
            let (_, out) = come(&mut places, ip(1), n, Tier::Stranger);
            assert!(!out.contains(&known) && !out.contains(&member));
        }
        assert_eq!(places.count(Tier::Stranger), 4);
        assert_eq!((places.count(Tier::Known), places.count(Tier::Member)), (1, 1));
    }

    #[test]
    fn guests_of_many_keys_are_bounded_and_put_out_nobody_else() {
        let mut places = Places::new(limits());
        places.set_known(Arc::new([key(7)].into()));
        let (known, _) = come(&mut places, ip(1), 7, Tier::Guest);
        let (stranger, _) = come(&mut places, ip(1), 8, Tier::Stranger);
        let (alone, _) = come(&mut places, ip(9), 9, Tier::Guest);
        let mut gone = Vec::new();
        for n in 20..60 {
            gone.extend(come(&mut places, ip(n % 5), n, Tier::Guest).1);
            assert!(places.count(Tier::Guest) <= limits().strangers.all, "{n}");
        }
        assert!([known, stranger, alone].iter().all(|no| !gone.contains(no)), "{gone:?}");
        assert_eq!((places.count(Tier::Known), places.count(Tier::Stranger)), (1, 1));
        // A guest that becomes a member takes none of their places.
        places.raise(alone, Tier::Member);
        assert_eq!(places.count(Tier::Member), 1);
    }

    #[test]
    fn handshakes_and_silent_ones_have_bounds_of_their_own() {
        let mut places = Places::new(limits());
        let (first, _) = places.enter(ip(1));
        let rest: Vec<u64> = (0..2).map(|_| places.enter(ip(1)).0).collect();
        assert_eq!(places.enter(ip(1)).1, [first]);
        assert_eq!(places.named(rest[0], key(1)), []);
        assert_eq!(places.count(Tier::Waiting), 1);
        // Numbers that have gone mean nothing any more.
        assert_eq!(places.named(first, key(1)), []);
        assert_eq!(places.raise(first, Tier::Member), []);
        places.leave(rest[0]);
        assert_eq!(places.count(Tier::Waiting), 0);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), ip(1));
    }
}
