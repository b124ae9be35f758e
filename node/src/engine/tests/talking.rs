//! What is said to a peer by a node some of whose settled entries cannot be read.

use tombolo_crdt::feed::Position;
use tombolo_crdt::{ChainHash, Digest, NodeId};
use tombolo_transport::frame::{Frame, FrontierPage, Probe, Summary};

use super::*;
use crate::engine::peers::session::Session;
use crate::engine::peers::session::since::STEP_LOOKS;
use crate::engine::peers::session::talk::Talk;
use crate::engine::peers::transfer::STEP_READ_BYTES;
use crate::engine::{Acks, ConnId};

fn peer() -> NodeId {
    NodeId::from_bytes([8; 32])
}

/// Says what is to be said in a session.
fn talk(bed: &mut Bed, session: &mut Session) -> Vec<Frame> {
    let Engine { store, memory, .. } = &mut bed.engine;
    let spaces = &mut memory.spaces;
    let reading = store.reader().reading().unwrap();
    let now = Now { mono: bed.mono, wall_millis: WALL };
    let mut out = Vec::new();
    let (conn, peer, have_wait) = (ConnId(1), peer(), Duration::ZERO);
    let (mut acks, mut looked) = (Acks::default(), 0);
    let (acks, left, looked) = (&mut acks, &mut { STEP_READ_BYTES }, &mut looked);
    let mut talk = Talk {
        conn,
        peer,
        now,
        have_wait,
        reading: &reading,
        out: &mut out,
        acks,
        left,
        looks: &mut { STEP_LOOKS },
        looked,
    };
    talk.session(spaces.get_mut(&bed.space).unwrap(), session).unwrap();
    let frame = |out| match out {
        Output::Control(_, frame) | Output::Transfer(_, _, frame) => Some(frame),
        _ => None,
    };
    out.into_iter().filter_map(frame).collect()
}

fn space(bed: &mut Bed) -> &mut Space {
    bed.engine.memory.spaces.get_mut(&bed.space).unwrap()
}

fn seq(bed: &mut Bed, feed: FeedId) -> u64 {
    space(bed).frontier.seq(feed)
}

/// Spoils the newest row of the journal.
fn rot_journal(bed: &mut Bed) {
    let space = space(bed);
    let (space_no, last) = (space.row.space_no, space.row.journal);
    bed.work(|work, _| work.batch.spoil_journal(space_no, last));
}

fn rot(bed: &mut Bed, feed: FeedId, seq: u64) {
    bed.work(|work, _| work.batch.spoil_entry(feed, seq));
}

/// Two data feeds, of which the peer has had all; then the own one moved on. With the digest of what both had.
fn remembered() -> (Bed, FeedId, Digest) {
    let mut bed = Bed::new();
    bed.write("e", 0..4);
    let mut other = bed.pen(51);
    for n in 0..3 {
        other.entries.push(bed.entry(&other, &format!("o{n}"), &other.change(&EntityState::new(), &put("{}"))));
    }
    bed.take([other.range()]);
    let space = space(&mut bed);
    let (digest, journal) = (space.frontier_digest(), space.row.journal);
    space.memory.entry(peer()).or_default().shared(digest, journal);
    bed.write("f", 0..3);
    (bed, other.feed(), digest)
}

/// A session with the peer, which has stayed where it was.
fn session(bed: &Bed, frontier: Digest) -> Session {
    let summary = Summary { space: bed.space, frontier, state: frontier, frozen: 0, common: Some(frontier) };
    let mut session = Session::with_room(usize::MAX);
    session.heard.summary = Some(summary);
    session
}

#[test]
fn a_remembered_peer_is_told_of_every_feed_that_may_have_moved() {
    let (mut bed, other, digest) = remembered();
    let own = bed.own_feed();
    // The journal tells exactly; only where it is damaged the feeds are looked at.
    let rotten = |feed| (true, Some(feed));
    for (unread, rotten) in [(false, None), (true, None), rotten(other), rotten(own)] {
        if unread {
            rot_journal(&mut bed);
        }
        if let Some(feed) = rotten {
            let last = seq(&mut bed, feed);
            rot(&mut bed, feed, last);
        }
        let mut session = session(&bed, digest);
        let said = talk(&mut bed, &mut session);
        let told = said.into_iter().find_map(|frame| match frame {
            Frame::Frontier(page) => Some(page),
            _ => None,
        });
        let FrontierPage { base, positions, last, .. } = told.unwrap();
        assert_eq!((base, last), (Some(digest), true));
        let mut feeds = if unread && rotten.is_some() { vec![own, other] } else { vec![own] };
        feeds.sort_unstable();
        assert_eq!(positions.iter().map(|position| position.feed).collect::<Vec<_>>(), feeds);
        assert!(positions.iter().all(|position| position.seq == seq(&mut bed, position.feed)));
    }
}

#[test]
fn what_a_peer_had_is_known_as_far_as_it_can_be_read() {
    let (mut bed, other, digest) = remembered();
    let own = bed.own_feed();
    // Of its own feed it had four, of the other three, which are all.
    let known_as = |bed: &mut Bed| {
        let mut session = session(bed, digest);
        let page = FrontierPage { space: bed.space, base: Some(digest), positions: Vec::new(), last: true };
        session.heard.pages = vec![page];
        talk(bed, &mut session);
        let of = |feed| session.settled(&bed.engine.memory.spaces[&bed.space], feed);
        (of(own), of(other))
    };
    assert_eq!(known_as(&mut bed), (4, 3), "the journal tells");
    rot_journal(&mut bed);
    for (feed, rotten, known) in
        [(own, None, (4, 3)), (own, Some(4), (3, 3)), (other, Some(2), (3, 3)), (other, Some(3), (3, 1))]
    {
        if let Some(seq) = rotten {
            rot(&mut bed, feed, seq);
        }
        assert_eq!(known_as(&mut bed), known, "{rotten:?}");
    }
}

#[test]
fn a_rotten_entry_is_no_fork_unless_what_comes_after_it_says_so() {
    let (mut bed, _, digest) = remembered();
    let own = bed.own_feed();
    let chain = bed.engine.reader().reading().unwrap().entry_chain(own, 2).unwrap().unwrap();
    rot(&mut bed, own, 2);
    let says = |bed: &mut Bed, chain: ChainHash| {
        let mut session = session(bed, digest);
        let positions = vec![Position { feed: own, seq: 2, chain }];
        session.heard.pages = vec![FrontierPage { space: bed.space, base: None, positions, last: true }];
        talk(bed, &mut session);
        session.probing.rests(own)
    };
    let another = ChainHash::from_bytes([9; 32]);
    assert_eq!((says(&mut bed, chain), says(&mut bed, another)), (false, true));
    rot(&mut bed, own, 3);
    assert_eq!((says(&mut bed, chain), says(&mut bed, another)), (false, false), "nothing tells");
}

#[test]
fn questions_about_a_rotten_entry_are_answered_and_answers_are_compared() {
    let (mut bed, _, digest) = remembered();
    let own = bed.own_feed();
    let chain = bed.engine.reader().reading().unwrap().entry_chain(own, 2).unwrap().unwrap();
    rot(&mut bed, own, 2);
    let probe = |bed: &Bed, seq, chain| Probe { space: bed.space, feed: own, seq, chain };
    let mut asked = session(&bed, digest);
    for seq in [2, 9] {
        asked.probing.note(probe(&bed, seq, None));
    }
    let said = talk(&mut bed, &mut asked);
    let answers: Vec<_> = said.into_iter().filter(|frame| matches!(frame, Frame::Probe(_))).collect();
    assert_eq!(answers, [2, 9].map(|seq| Frame::Probe(probe(&bed, seq, Some(None)))));
    for (theirs, bounds) in [(chain, (2, 4)), (ChainHash::from_bytes([9; 32]), (0, 2))] {
        let mut asking = session(&bed, digest);
        assert!(asking.probing.begin(own, (0, 4)));
        asking.probing.note(probe(&bed, 2, Some(Some(theirs))));
        talk(&mut bed, &mut asking);
        assert_eq!(asking.probing.bounds(own), Some(bounds));
    }
}
