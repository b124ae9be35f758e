//! What a step costs with many peers, in sessions visited; and who is woken by what a peer has.

use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::{Role, admit_message};
use tombolo_crdt::{Digest, NodeId, Receipt};
use tombolo_transport::frame::{FeedHave, Frame, Have, Hello, Join, PROTOCOL_VERSION, Summary};

use super::*;
use crate::engine::space::away::Abreast;
use crate::engine::{Acks, ConnId, MemberStatus, Outputs, ReceiptState};

impl Bed {
    fn stepped(&mut self, inputs: Vec<Input>) -> Outputs {
        self.mono += Duration::from_millis(1);
        let out = self.engine.step(Now { mono: self.mono, wall_millis: WALL }, inputs);
        self.engine.check_invariants();
        out
    }

    /// Connects a peer that says hello and names what it has.
    fn meet(&mut self, conn: ConnId, peer: NodeId, names: &[SpaceId]) {
        let contact = Contact { name: "peer".to_owned(), addrs: Vec::new() };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            contact,
            process: [1; 16],
            counter: conn.0,
            wall_millis: WALL,
            ext: Vec::new(),
        };
        let address = "127.0.0.1:1".to_owned();
        let mut inputs = vec![Input::Connected { conn, peer, dialled: false, address }];
        inputs.push(Input::Frame(conn, Frame::Hello(hello)));
        inputs.extend(names.iter().map(|space| Input::Frame(conn, Frame::Rules(*space, Digest::from_bytes([0; 32])))));
        inputs.push(Input::Frame(conn, Frame::RulesDone));
        drop(self.stepped(inputs));
    }

    /// Makes a peer a member, connected and in step.
    fn member(&mut self, n: u8) -> (ConnId, NodeId) {
        let (conn, peer) = (ConnId(n.into()), NodeId::from_bytes(key(n).verifying_key().to_bytes()));
        let ticket = key(n + 100);
        let (space, one_time) = (self.space, ticket.verifying_key().to_bytes());
        let invite = Command::Invite { space, role: Role::Writer, key: one_time, expires: WALL * 2 };
        drop(self.stepped(vec![Input::Command(ReplyTo(9), invite)]));
        self.meet(conn, peer, &[space]);
        let signature = Signature::sign(&ticket, &admit_message(space, peer));
        let contact = Contact { name: format!("peer {n}"), addrs: Vec::new() };
        let join = Join { space, key: one_time, signature, contact };
        drop(self.stepped(vec![Input::Frame(conn, Frame::Join(join))]));
        assert!(self.engine.memory.spaces[&space].role(peer).is_some(), "{n} is a member");
        (conn, peer)
    }

    /// A member says that it has what this node has.
    fn agree(&mut self, conn: ConnId) {
        let (space, frontier, state) = self.stands();
        let summary = Summary { space, frontier, state, frozen: 0, common: None };
        drop(self.stepped(vec![Input::Frame(conn, Frame::Summary(summary))]));
    }

    fn stands(&self) -> (SpaceId, Digest, Digest) {
        let frontier = self.engine.frontier(self.space).unwrap().digest();
        (self.space, frontier, self.engine.state_digest(self.space).unwrap())
    }

    /// What the status says of a member.
    fn seen(&mut self, peer: NodeId) -> MemberStatus {
        let out = self.stepped(vec![Input::Command(ReplyTo(7), Command::Status)]);
        let status = |out| if let Output::Reply(_, Reply::Status(status)) = out { Some(status) } else { None };
        let status = out.list.into_iter().find_map(status).unwrap();
        status.spaces[0].members.iter().find(|member| member.node == peer).unwrap().clone()
    }

    fn visits(&self) -> u64 {
        self.engine.counters().visits
    }

    fn receipt(&mut self, receipt: Receipt) -> ReceiptState {
        let out = self.stepped(vec![Input::Command(ReplyTo(7), Command::Receipt(receipt))]);
        let state = |out| if let Output::Reply(_, Reply::Receipt(Some(state))) = out { Some(state) } else { None };
        out.list.into_iter().find_map(state).unwrap()
    }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn acks(out: Outputs) -> Acks {
    let told = |out| if let Output::Acknowledged(acks) = out { Some(acks) } else { None };
    out.list.into_iter().find_map(told).unwrap_or_default()
}

#[test]
fn a_stranger_that_says_hello_again_and_again_makes_nobody_be_visited() {
    let mut bed = Bed::new();
    let members: Vec<_> = (20..30).map(|n| bed.member(n)).collect();
    members.iter().for_each(|(conn, _)| bed.agree(*conn));
    // All timers of what was said so far have gone off.
    for _ in 0..40 {
        bed.mono += Duration::from_millis(200);
        drop(bed.stepped(vec![Input::Timer]));
    }
    let before = bed.visits();
    let stranger = ConnId(99);
    bed.meet(stranger, NodeId::from_bytes(key(99).verifying_key().to_bytes()), &[]);
    for _ in 0..50 {
        let contact = Contact { name: "x".to_owned(), addrs: Vec::new() };
        let (process, ext) = ([0; 16], Vec::new());
        let hello = Hello { version: PROTOCOL_VERSION, contact, process, counter: 0, wall_millis: WALL, ext };
        let names = Frame::Rules(SpaceId::from_bytes([7; 32]), Digest::from_bytes([0; 32]));
        let frames = [Frame::Hello(hello), names, Frame::RulesDone];
        drop(bed.stepped(frames.map(|frame| Input::Frame(stranger, frame)).into()));
    }
    assert_eq!(bed.visits() - before, 0, "sessions that were visited");
}

#[test]
fn who_waits_is_told_of_the_feeds_that_a_peer_has_and_of_no_others() {
    let mut bed = Bed::new();
    let (conn, peer) = bed.member(20);
    bed.agree(conn);
    let other = bed.pen(51);
    bed.write("e", [0]);
    let (own, receipt) = (bed.own_feed(), Receipt { feed: bed.own_feed(), seq: 1 });
    let has = |state: ReceiptState| state.peers.iter().any(|of| of.node == peer && of.acknowledged);
    assert!(!has(bed.receipt(receipt)));
    let (space, _, state) = bed.stands();
    // It has this one feed and not yet another state that is this node's.
    let frontier = Frontier::new().digest();
    let feeds = vec![FeedHave { feed: own, settled: 1, held: Vec::new() }];
    let have = Have { space, number: 0, feeds, frontier, state };
    let told = acks(bed.stepped(vec![Input::Frame(conn, Frame::Have(have.clone()))]));
    assert_eq!((told.feeds, told.spaces), ([own].into(), BTreeSet::new()));
    assert!(has(bed.receipt(receipt)));
    assert_eq!(acks(bed.stepped(vec![Input::Frame(conn, Frame::Have(have))])), Acks::default(), "nothing new");
    // Of feeds that are not known here nothing is told, and any number may be named.
    let held = vec![(0, u64::MAX), (1, 2)];
    let feeds = [own, other.feed()].map(|feed| FeedHave { feed, settled: u64::MAX, held: held.clone() });
    let have = Have { space, number: 1, feeds: feeds.into(), frontier, state };
    drop(bed.stepped(vec![Input::Frame(conn, Frame::Have(have))]));
    // What it had is known when it is gone.
    drop(bed.stepped(vec![Input::Closed(conn, "gone".to_owned())]));
    assert!(has(bed.receipt(receipt)));
}

#[test]
fn a_member_that_is_away_lacks_what_was_written_since() {
    let mut bed = Bed::new();
    let (conn, peer) = bed.member(20);
    bed.agree(conn);
    let behind = |bed: &mut Bed| {
        let of = bed.seen(peer);
        (of.connected, of.behind)
    };
    assert_eq!(behind(&mut bed), (true, Some(0)));
    bed.write("e", 0..3);
    assert_eq!(behind(&mut bed), (true, Some(3)));
    drop(bed.stepped(vec![Input::Closed(conn, "gone".to_owned())]));
    assert_eq!(behind(&mut bed), (false, Some(3)));
    bed.write("e", 3..5);
    assert_eq!(behind(&mut bed), (false, Some(5)));
}

#[test]
fn members_that_are_away_are_looked_at_once_and_not_with_every_write() {
    let mut bed = Bed::new();
    let members: Vec<_> = (20..30).map(|n| bed.member(n)).collect();
    members.iter().for_each(|(conn, _)| bed.agree(*conn));
    let away = |bed: &Bed| match &bed.engine.memory.spaces[&bed.space].abreast {
        Abreast::Everybody => usize::MAX,
        Abreast::These(these) => these.len(),
    };
    for (conn, _) in &members {
        drop(bed.stepped(vec![Input::Closed(*conn, "gone".to_owned())]));
    }
    assert_eq!(away(&bed), 10);
    for n in 0..3 {
        bed.write("e", [n]);
        assert_eq!(away(&bed), 0, "whoever is known to be behind is not looked at again");
    }
    for (_, peer) in &members {
        let of = bed.seen(*peer);
        assert_eq!((of.connected, of.behind, of.behind_since), (false, Some(3), Some(WALL)));
    }
    // After a start nothing is known but what was in common, until something moves.
    bed.engine.load().unwrap();
    assert_eq!(away(&bed), usize::MAX);
    bed.write("e", [4]);
    assert_eq!(away(&bed), 0);
    assert_eq!(bed.seen(members[0].1).behind_since, Some(WALL));
}

#[test]
fn who_connects_after_a_move_hears_where_this_node_is_now() {
    let mut bed = Bed::new();
    let told = |bed: &mut Bed, n: u64| {
        let (conn, peer) = (ConnId(n), NodeId::from_bytes([n as u8; 32]));
        let connected = Input::Connected { conn, peer, dialled: false, address: "127.0.0.1:1".to_owned() };
        let hello = |out| match out {
            Output::Control(_, Frame::Hello(hello)) => Some(hello.contact.addrs),
            _ => None,
        };
        bed.stepped(vec![connected]).list.into_iter().find_map(hello).expect("a hello")
    };
    assert_eq!(told(&mut bed, 70), Vec::<String>::new());
    let moved = vec!["192.0.2.7:7700".to_owned()];
    drop(bed.stepped(vec![Input::Command(ReplyTo(5), Command::Addresses(moved.clone()))]));
    assert_eq!(told(&mut bed, 71), moved);
    let status = bed.stepped(vec![Input::Command(ReplyTo(6), Command::Status)]).list;
    let addrs = |out| if let Output::Reply(_, Reply::Status(status)) = out { Some(status.addrs.clone()) } else { None };
    assert_eq!(status.into_iter().find_map(addrs), Some(moved));
}
