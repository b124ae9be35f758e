//! Who is no member: how long it may stay, what it is told, what it may offer and what is offered to it.

use tombolo_crdt::hash::Tagged;
use tombolo_crdt::rules::{Found, Grant, Invite, Record, Role, admit_message, rules_entry};
use tombolo_crdt::{ChainHash, NodeId};
use tombolo_transport::frame::{Frame, Hello, Join, RULES_PAGE_BYTES};
use tombolo_transport::{CloseCode, Standing};

use super::*;
use crate::engine::peers::strangers::{OFFER_TIME, OFFER_WAIT, OFFERS_MAX, STRANGER_WAIT};
use crate::engine::space::offer::{Offer, OfferError};
use crate::engine::{ConnId, JoinRequest};

const CONN: ConnId = ConnId(1);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn id(key: &SigningKey) -> NodeId {
    NodeId::from_bytes(key.verifying_key().to_bytes())
}

fn hello() -> Frame {
    let contact = Contact { name: "stranger".to_owned(), addrs: Vec::new() };
    Frame::Hello(Hello { version: 1, contact, process: [1; 16], counter: 1, wall_millis: WALL, ext: Vec::new() })
}

impl Bed {
    fn step(&mut self, inputs: Vec<Input>) -> Vec<Output> {
        let out = self.engine.step(Now { mono: self.mono, wall_millis: WALL }, inputs);
        self.engine.check_invariants();
        out.list
    }

    /// Time goes by, up to the moment the engine wants to wake at, or beyond it.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.mono += time;
        self.step(vec![Input::Timer])
    }

    fn connect(&mut self, conn: ConnId, peer: NodeId, address: &str) -> Vec<Output> {
        self.step(vec![Input::Connected { conn, peer, dialled: false, address: address.to_owned() }])
    }

    /// Waits to be let into a space.
    fn join(&mut self, space: SpaceId, inviter: NodeId) {
        let once = key(20);
        let signature = Signature::sign(&once, &admit_message(space, self.engine.own.node));
        let (name, key) = ("j".to_owned(), *id(&once).as_bytes());
        let request = JoinRequest { space, name, key, signature, inviter, addrs: Vec::new() };
        drop(self.step(vec![Input::Command(ReplyTo(4), Command::Join(request))]));
        assert!(self.engine.memory.joins.contains_key(&space));
    }
}

/// A space that the node of a [`Bed`] is no member of.
fn elsewhere() -> SpaceId {
    SpaceId::from_bytes([7; 32])
}

fn naming(space: SpaceId) -> Frame {
    Frame::Rules(space, tombolo_crdt::Digest::from_bytes([0; 32]))
}

/// Who is let go.
fn gone(outputs: &[Output]) -> Vec<ConnId> {
    let gone = |out: &Output| if let Output::Close(conn, ..) = out { Some(*conn) } else { None };
    outputs.iter().filter_map(gone).collect()
}

/// Why a connection is closed, if it is.
fn closed(outputs: &[Output]) -> Option<(CloseCode, &str)> {
    outputs.iter().find_map(|output| match output {
        Output::Close(_, code, reason) => Some((*code, reason.as_str())),
        _ => None,
    })
}

fn standing(outputs: &[Output], of: ConnId) -> Option<Standing> {
    outputs.iter().find_map(|output| match output {
        Output::Standing(conn, standing) if *conn == of => Some(*standing),
        _ => None,
    })
}

/// A range of rules entries, one after the other in a new feed of this key, on top of all rules here.
fn rules_range(bed: &Bed, key: &SigningKey, epoch: u64, entries: &[Vec<Record>]) -> VerifiedRange {
    rules_range_of(bed.space, key, epoch, &bed.engine.rules_heads(bed.space).unwrap(), entries)
}

fn rules_range_of(
    space: SpaceId,
    key: &SigningKey,
    epoch: u64,
    parents: &[ChainHash],
    entries: &[Vec<Record>],
) -> VerifiedRange {
    let opening = Opening::new(id(key), space, epoch, FeedKind::Rules, Vec::new());
    let (feed, mut last) = (opening.feed(), opening.chain());
    let mut bytes = Vec::new();
    for (seq, records) in (1..).zip(entries) {
        let entry = rules_entry(seq, Hlc::from_millis(WALL), parents.to_vec(), records).encode();
        last = chain(feed, seq, last, &entry);
        bytes.push(entry.into());
    }
    let seal = Signature::sign(key, &seal_message(feed, entries.len() as u64, last));
    let (opening, previous) = (opening.encode(), opening.chain());
    Range { opening, from: 1, previous, entries: bytes, seal }.verify().unwrap()
}

#[test]
fn who_has_nothing_in_common_is_let_go_and_hears_why() {
    for (inputs, reason) in [(vec![], "no hello in time"), (vec![Input::Frame(CONN, hello())], "no space in common")] {
        let mut bed = Bed::new();
        bed.connect(CONN, id(&key(8)), "192.0.2.1:7700");
        bed.step(inputs);
        assert_eq!(closed(&bed.wait(STRANGER_WAIT - Duration::from_millis(2))), None);
        assert_eq!(closed(&bed.wait(Duration::from_millis(2))), Some((CloseCode::Refused, reason)));
        assert_eq!(closed(&bed.wait(STRANGER_WAIT)), None, "it is gone");
    }
}

#[test]
fn the_engine_wakes_for_the_one_that_is_to_be_let_go() {
    let mut bed = Bed::new();
    bed.connect(CONN, id(&key(8)), "192.0.2.1:7700");
    let out = bed.engine.step(Now { mono: bed.mono, wall_millis: WALL }, vec![Input::Timer]);
    let (at, _) = out.wake.unwrap();
    assert!(at <= bed.mono + STRANGER_WAIT, "{at:?}");
}

#[test]
fn who_joins_with_a_ticket_is_a_guest_and_gets_the_rules_in_pages() {
    let mut bed = Bed::new();
    let (once, newcomer) = (key(20), key(8));
    let invite = Invite { key: *id(&once).as_bytes(), role: Role::Writer, expires: WALL + 1_000 };
    let mut rules = |records: Vec<Record>| {
        let command = |record| match record {
            Record::Invite(Invite { key, role, expires }) => Command::Invite { space: bed.space, role, key, expires },
            other => panic!("{other:?}"),
        };
        let inputs = records.into_iter().map(|record| Input::Command(ReplyTo(3), command(record))).collect();
        let now = Now { mono: bed.mono, wall_millis: WALL };
        drop(bed.engine.step(now, inputs));
    };
    // So many places that the rules need several pages.
    for batch in 0..8_u64 {
        let other = |n: u64| {
            let hash = Tagged::new("tombolo/1 draw").number(batch * 1_000 + n).finish();
            Record::Invite(Invite { key: hash, role: Role::Reader, expires: WALL + 1_000 })
        };
        rules((0..250).map(other).collect());
    }
    rules(vec![Record::Invite(invite.clone())]);
    bed.connect(CONN, id(&newcomer), "192.0.2.1:7700");
    let signature = Signature::sign(&once, &admit_message(bed.space, id(&newcomer)));
    let contact = Contact { name: "new".to_owned(), addrs: Vec::new() };
    let join = Frame::Join(Join { space: bed.space, key: invite.key, signature, contact });
    let out =
        bed.step(vec![Input::Frame(CONN, hello()), Input::Frame(CONN, Frame::RulesDone), Input::Frame(CONN, join)]);
    assert_eq!(standing(&out, CONN), Some(Standing::Guest));
    let pages: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Control(_, Frame::RulesRanges(page)) => Some(page.clone()),
            _ => None,
        })
        .collect();
    assert!(pages.len() > 1, "{} pages", pages.len());
    assert!(pages.iter().all(|page| Frame::RulesRanges(page.clone()).encode().len() <= RULES_PAGE_BYTES + 4_096));
    let last: Vec<bool> = pages.iter().map(|page| page.last).collect();
    assert!(last.iter().rev().skip(1).all(|last| !last) && last.last() == Some(&true), "{last:?}");
    // What was offered makes it a member, judged page by page from nothing.
    let mut offer = Offer::of(bed.space);
    for page in pages {
        let ranges = page.ranges.into_iter().map(|range| range.verify().unwrap()).collect();
        offer.page(ranges).unwrap();
    }
    assert!(offer.admits(id(&newcomer)));
    assert_eq!(closed(&bed.wait(OFFER_TIME * 2)), None, "a member has time");
}

#[test]
fn what_was_refused_is_offered_to_nobody() {
    let mut bed = Bed::new();
    let nobody = key(8);
    let grant = |n: u8| {
        Record::Grant(Grant {
            node: NodeId::from_bytes([n; 32]),
            role: Role::Admin,
            contact: Contact { name: "x".repeat(100), addrs: Vec::new() },
        })
    };
    let refused = rules_range(&bed, &nobody, 1, &[vec![grant(1)], vec![grant(2)]]);
    let feed = refused.feed();
    bed.take([refused]);
    assert_eq!(bed.engine.frontier(bed.space).unwrap().seq(feed), 2, "it is kept");
    let reading = bed.engine.reader().reading().unwrap();
    let space = &bed.engine.memory.spaces[&bed.space];
    let mut pages = crate::engine::peers::pages::Pages::of(space, &reading).unwrap();
    let (frame, last) = pages.page(space, &reading).unwrap();
    let Frame::RulesRanges(page) = frame else { panic!("{frame:?}") };
    assert!(last && page.last && !page.ranges.is_empty());
    assert!(page.ranges.into_iter().all(|range| range.verify().unwrap().feed() != feed));
}

#[test]
fn an_offer_ends_at_the_first_entry_of_nobody_and_at_its_bound() {
    let mut bed = Bed::new();
    let nobody = key(8);
    let grant = Record::Grant(Grant {
        node: id(&nobody),
        role: Role::Admin,
        contact: Contact { name: String::new(), addrs: Vec::new() },
    });
    let offered = rules_range(&bed, &nobody, 1, &[vec![grant]]);
    let mut offer = Offer::onto(&bed.engine.memory.spaces[&bed.space]);
    assert_eq!(offer.page(vec![offered.clone()]), Err(OfferError::Stranger(id(&nobody))));

    // The same from a connection: it is told, and nothing is kept of it.
    bed.connect(CONN, id(&nobody), "192.0.2.1:7700");
    let named = Frame::Rules(bed.space, tombolo_crdt::Digest::from_bytes([0; 32]));
    let out = bed.step(vec![Input::Frame(CONN, hello()), Input::Frame(CONN, named)]);
    assert_eq!(standing(&out, CONN), Some(Standing::Guest));
    let feed = offered.feed();
    let page = Input::RulesRanges { conn: CONN, space: bed.space, ranges: vec![offered], last: true };
    let out = bed.step(vec![page]);
    let (code, reason) = closed(&out).expect("it is let go");
    assert!(code == CloseCode::Refused && reason.contains("no member"), "{reason}");
    assert_eq!(bed.engine.frontier(bed.space).unwrap().seq(feed), 0);
}

#[test]
fn one_address_offers_at_a_time_and_not_for_ever() {
    let mut bed = Bed::new();
    let named = Frame::Rules(bed.space, tombolo_crdt::Digest::from_bytes([0; 32]));
    let conns = [(ConnId(1), 8, "192.0.2.1:1"), (ConnId(2), 9, "192.0.2.1:2"), (ConnId(3), 10, "192.0.2.2:1")];
    let mut stands = Vec::new();
    for (conn, seed, address) in conns {
        bed.connect(conn, id(&key(seed)), address);
        let out = bed.step(vec![Input::Frame(conn, hello()), Input::Frame(conn, named.clone())]);
        stands.push(standing(&out, conn));
    }
    assert_eq!(stands, [Some(Standing::Guest), None, Some(Standing::Guest)]);
    assert_eq!(gone(&bed.wait(OFFER_WAIT)), [ConnId(1), ConnId(2), ConnId(3)]);
}

#[test]
fn whoever_comes_while_a_node_waits_to_join_is_asked_and_is_a_stranger_all_the_same() {
    let mut bed = Bed::new();
    bed.join(elsewhere(), id(&key(30)));
    let mut guests = Vec::new();
    for n in 0..20_u8 {
        let conn = ConnId(n.into());
        bed.connect(conn, id(&key(40 + n)), &format!("192.0.2.{n}:1"));
        let out = bed.step(vec![Input::Frame(conn, hello())]);
        let asked = |out: &Output| matches!(out, Output::Control(to, Frame::Join(_)) if *to == conn);
        assert!(out.iter().any(asked), "it may be a member that this node has never heard of");
        assert_eq!(standing(&out, conn), None, "{n}");
        // It has a space in common now, as it says.
        let out = bed.step(vec![Input::Frame(conn, naming(elsewhere()))]);
        guests.extend(standing(&out, conn).map(|_| conn));
    }
    assert_eq!(guests.len(), OFFERS_MAX, "{guests:?}");
    // The inviter that dials in, and whoever is dialled, takes none of these places.
    for (conn, peer, dialled) in [(ConnId(50), key(30), false), (ConnId(51), key(31), true)] {
        let peer = id(&peer);
        bed.step(vec![Input::Connected { conn, peer, dialled, address: "192.0.2.1:2".to_owned() }]);
        let out = bed.step(vec![Input::Frame(conn, hello())]);
        assert_eq!(standing(&out, conn), Some(Standing::Guest));
    }
    let out = bed.wait(OFFER_WAIT);
    assert_eq!(gone(&out), (0..20).map(ConnId).collect::<Vec<_>>());
}

/// The founding entry of a space of this key, as a page, and the space.
fn founding(founder: &SigningKey, member: &SigningKey) -> (SpaceId, VerifiedRange) {
    let found = Found { name: "j".to_owned(), nonce: [1; 16], founder: id(founder) };
    let contact = Contact { name: "m".to_owned(), addrs: Vec::new() };
    let grant = Grant { node: id(member), role: Role::Admin, contact };
    let (space, records) = (found.space(), vec![Record::Found(found), Record::Grant(grant)]);
    (space, rules_range_of(space, founder, 1, &[], &[records]))
}

#[test]
fn the_inviter_is_heard_however_many_strangers_offer() {
    let mut bed = Bed::new();
    let (founder, inviter) = (key(33), key(30));
    let own = SigningKey::from_bytes(&bed.key.to_bytes());
    let (space, page) = founding(&founder, &own);
    bed.join(space, id(&inviter));
    // Nobody's entries, whose parents never come: as much as fits an offer that goes on.
    let nobody = |n: u8| {
        let parents = [ChainHash::from_bytes([n; 32])];
        let grant = Grant { node: id(&key(n)), role: Role::Admin, contact: Contact::default() };
        rules_range_of(space, &key(n), 1, &parents, &[vec![Record::Grant(grant)]])
    };
    let offers = |bed: &Bed| bed.engine.memory.conns.values().filter(|conn| !conn.door.offers.is_empty()).count();
    for n in 0..10_u8 {
        let conn = ConnId(n.into());
        bed.connect(conn, id(&key(40 + n)), &format!("192.0.2.{n}:1"));
        bed.step(vec![Input::Frame(conn, hello()), Input::Frame(conn, naming(space))]);
        let page = |ranges| Input::RulesRanges { conn, space, ranges, last: false };
        bed.step(vec![page(Vec::new())]);
        assert!(offers(&bed) <= usize::from(n), "nothing was offered");
        bed.step(vec![page(vec![nobody(40 + n)])]);
    }
    assert_eq!(offers(&bed), OFFERS_MAX);
    let conn = ConnId(50);
    bed.connect(conn, id(&inviter), "192.0.2.1:2");
    bed.step(vec![Input::Frame(conn, hello())]);
    bed.step(vec![Input::RulesRanges { conn, space, ranges: vec![page], last: true }]);
    assert!(bed.engine.memory.spaces.contains_key(&space), "it has joined");
}

#[test]
fn pages_with_nothing_in_them_keep_no_offer_alive() {
    let mut bed = Bed::new();
    bed.join(elsewhere(), id(&key(30)));
    bed.connect(CONN, id(&key(8)), "192.0.2.1:1");
    bed.step(vec![Input::Frame(CONN, hello()), Input::Frame(CONN, naming(elsewhere()))]);
    let space = elsewhere();
    let nothing = || Input::RulesRanges { conn: CONN, space, ranges: Vec::new(), last: false };
    bed.mono += OFFER_WAIT / 2;
    bed.step(vec![nothing()]);
    assert_eq!(gone(&bed.wait(OFFER_WAIT / 2)), [CONN]);
}

#[test]
fn an_offer_in_whatever_order_is_judged_once_when_its_parents_are_there() {
    let (founder, admin) = (key(201), key(200));
    let (space, first) = founding(&founder, &admin);
    let mut ranges = vec![first];
    for epoch in 1..=100 {
        let parents = [ranges.last().unwrap().entries()[0].chain];
        let grant = Grant { node: id(&key(epoch)), role: Role::Reader, contact: Contact::default() };
        ranges.push(rules_range_of(space, &admin, epoch.into(), &parents, &[vec![Record::Grant(grant)]]));
    }
    let judged = |pages: Vec<Vec<VerifiedRange>>| {
        let mut offer = Offer::of(space);
        pages.into_iter().for_each(|page| offer.page(page).unwrap());
        assert!((1..=100).all(|n| offer.admits(id(&key(n)))), "all are members");
        offer.take_judged()
    };
    let count = ranges.len();
    assert_eq!(judged(vec![ranges.clone()]), count);
    ranges.reverse();
    // Once to see what each waits for, but for the first, and once when that has come.
    assert_eq!(judged(vec![ranges.clone()]), 2 * count - 1);
    assert_eq!(judged(ranges.into_iter().map(|range| vec![range]).collect()), 2 * count - 1);
}
