//! What it costs to compare frontiers, in what is looked at and what is kept.

use tombolo_crdt::feed::Position;
use tombolo_crdt::{ChainHash, Digest, NodeId};
use tombolo_transport::frame::{FRONTIER_PAGE_MAX, Frame, FrontierPage, Summary};

use super::*;
use crate::engine::peers::session::since::STEP_LOOKS;
use crate::engine::peers::session::talk::Talk;
use crate::engine::peers::session::{Phase, Session};
use crate::engine::peers::transfer::STEP_READ_BYTES;
use crate::engine::space::known::Known;
use crate::engine::{Acks, ConnId};

fn peer() -> NodeId {
    NodeId::from_bytes([8; 32])
}

/// Says what is to be said in a session. With how many feeds, positions and rows of the journal were looked at.
fn talk(bed: &mut Bed, session: &mut Session) -> (Vec<Frame>, u64) {
    talk_within(bed, session, STEP_LOOKS)
}

/// In a step that may look at so many.
fn talk_within(bed: &mut Bed, session: &mut Session, mut looks: u64) -> (Vec<Frame>, u64) {
    let Engine { store, memory, .. } = &mut bed.engine;
    let spaces = &mut memory.spaces;
    let reading = store.reader().reading().unwrap();
    let now = Now { mono: bed.mono, wall_millis: WALL };
    let (mut out, mut acks, mut looked) = (Vec::new(), Acks::default(), 0);
    let (conn, peer, have_wait) = (ConnId(1), peer(), Duration::ZERO);
    let (reading, out_now, acks, left) = (&reading, &mut out, &mut acks, &mut { STEP_READ_BYTES });
    let (looks, looked_at) = (&mut looks, &mut looked);
    let mut talk = Talk { conn, peer, now, have_wait, reading, out: out_now, acks, left, looks, looked: looked_at };
    let space = spaces.get_mut(&bed.space).unwrap();
    talk.session(space, session).unwrap();
    session.check_bounds(space);
    let frame = |out| match out {
        Output::Control(_, frame) | Output::Transfer(_, _, frame) => Some(frame),
        _ => None,
    };
    (out.into_iter().filter_map(frame).collect(), looked)
}

fn session(bed: &Bed, frontier: Digest, common: Option<Digest>) -> Session {
    let summary = Summary { space: bed.space, frontier, state: frontier, frozen: 0, common };
    let mut session = Session::with_room(usize::MAX);
    session.heard.summary = Some(summary);
    session
}

/// A space with so many feeds beside its own, of one entry each.
fn many_feeds(count: u64) -> Bed {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let of = |epoch| {
        let mut pen = bed.pen(100 + epoch);
        let change = pen.change(&EntityState::new(), &put("{}"));
        pen.entries.push(bed.entry(&pen, &format!("o{epoch}"), &change));
        pen.range()
    };
    let ranges: Vec<VerifiedRange> = (0..count).map(of).collect();
    bed.take(ranges);
    bed
}

/// A page of feeds that are not here, from the `from`th on, ascending.
fn unknown_page(bed: &Bed, from: usize, last: bool) -> FrontierPage {
    let feed = |n: usize| {
        let mut bytes = [0xff; 16];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        FeedId::from_bytes(bytes)
    };
    let chain = ChainHash::from_bytes([1; 32]);
    let positions = (from..from + FRONTIER_PAGE_MAX).map(|n| Position { feed: feed(n), seq: 1, chain }).collect();
    FrontierPage { space: bed.space, base: None, positions, last }
}

#[test]
fn a_reconnect_looks_at_what_moved_and_not_at_what_there_is() {
    let mut bed = many_feeds(200);
    let space = bed.engine.memory.spaces.get_mut(&bed.space).unwrap();
    let (digest, journal, feeds) = (space.frontier_digest(), space.row.journal, space.frontier.len());
    space.memory.entry(peer()).or_default().shared(digest, journal);
    assert!(feeds > 200);
    bed.write("f", [1]);
    let mut session = session(&bed, digest, Some(digest));
    let page = FrontierPage { space: bed.space, base: Some(digest), positions: Vec::new(), last: true };
    session.heard.pages = vec![page];
    let (said, looked) = talk(&mut bed, &mut session);
    // One row to tell what moved, and one to see what the peer lacks.
    assert_eq!(looked, 2, "of {feeds} feeds: {said:?}");
    let told = said.iter().find_map(|frame| match frame {
        Frame::Frontier(page) => Some(page.positions.iter().map(|position| position.feed).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(told, Some(vec![bed.own_feed()]));
    assert!(said.iter().any(|frame| matches!(frame, Frame::Ranges(ranges) if ranges.ranges.len() == 1)), "{said:?}");
    let known = session.known().unwrap();
    assert_eq!(known.iter().collect::<Vec<_>>(), [(bed.own_feed(), 1)], "the others take no memory");
}

#[test]
fn feeds_that_do_not_exist_here_are_not_remembered_however_many_are_named() {
    let mut bed = many_feeds(3);
    let mut session = session(&bed, Digest::from_bytes([9; 32]), None);
    // Far beyond what was kept of one frontier: 286,720 feeds.
    let pages = 70;
    for n in 0..pages {
        let last = n + 1 == pages;
        session.heard.pages = vec![unknown_page(&bed, n * FRONTIER_PAGE_MAX, last)];
        let (said, _) = talk(&mut bed, &mut session);
        let asks = said.iter().filter(|frame| matches!(frame, Frame::FrontierRequest(_))).count();
        assert_eq!(asks, usize::from(!last), "the next page is asked for when this one is read");
        assert!(session.known().is_some() == last, "page {n}");
    }
    let space = &bed.engine.memory.spaces[&bed.space];
    let known = session.known().unwrap();
    assert_eq!(known, &Known::nothing(&space.frontier), "the peer has nothing of what is here, and that is all");
    let parted = session.part(space).unwrap();
    assert_eq!(parted.len(), space.frontier.len());
}

#[test]
fn a_whole_frontier_is_read_page_by_page_and_only_the_difference_is_kept() {
    let mut bed = many_feeds(20);
    let all: Vec<Position> = bed.engine.memory.spaces[&bed.space].frontier.positions().collect();
    let mut theirs = all.clone();
    // Two feeds the peer has not.
    let lacking = [theirs.remove(15).feed, theirs.remove(3).feed];
    let mut session = session(&bed, Digest::from_bytes([9; 32]), None);
    let pages: Vec<&[Position]> = theirs.chunks(5).collect();
    for (n, positions) in pages.iter().enumerate() {
        let last = n + 1 == pages.len();
        session.heard.pages = vec![FrontierPage { space: bed.space, base: None, positions: positions.to_vec(), last }];
        talk(&mut bed, &mut session);
    }
    let mut expected = lacking.map(|feed| (feed, 0));
    expected.sort_unstable();
    assert_eq!(session.known().unwrap().iter().collect::<Vec<_>>(), expected);
    // Pages that do not ascend are no frontier.
    let mut session = self::session(&bed, Digest::from_bytes([9; 32]), None);
    for positions in [&all[5..10], &all[..5]] {
        let page = FrontierPage { space: bed.space, base: None, positions: positions.to_vec(), last: false };
        session.heard.pages = vec![page];
        talk(&mut bed, &mut session);
    }
    assert!(matches!(&session.phase, Phase::Comparing(comparing) if comparing.learning.len() == 0));
}

#[test]
fn a_frontier_of_many_pages_is_told_one_page_at_a_time_as_it_is_asked_for() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let space = bed.engine.memory.spaces.get_mut(&bed.space).unwrap();
    // Feeds in the frontier alone: nothing else is read to tell it.
    for position in unknown_page_of(bed.space, 3 * FRONTIER_PAGE_MAX) {
        space.frontier.advance(position);
    }
    let all: Vec<FeedId> = space.frontier.positions().map(|position| position.feed).collect();
    let mut session = session(&bed, Digest::from_bytes([9; 32]), None);
    let mut told = Vec::new();
    for round in 1.. {
        let (said, _) = talk(&mut bed, &mut session);
        let pages: Vec<FrontierPage> = said
            .into_iter()
            .filter_map(|frame| match frame {
                Frame::Frontier(page) => Some(page),
                _ => None,
            })
            .collect();
        assert_eq!(pages.len(), 1, "round {round}");
        told.extend(pages[0].positions.iter().map(|position| position.feed));
        let (said, _) = talk(&mut bed, &mut session);
        assert!(!said.iter().any(|frame| matches!(frame, Frame::Frontier(_))), "nothing is told unasked");
        if pages[0].last {
            break;
        }
        session.said.telling.ask();
    }
    assert_eq!(told, all);
}

fn unknown_page_of(space: SpaceId, count: usize) -> Vec<Position> {
    let chain = ChainHash::from_bytes([1; 32]);
    let feed = |n| Opening::new(peer(), space, n, FeedKind::Data, Vec::new()).feed();
    (0..count as u64).map(|n| Position { feed: feed(n), seq: 1, chain }).collect()
}

/// It held the end of a run that it was known to have, told its digest before this node came to have as much, and said
/// nothing more: both waited until the connection was begun anew.
#[test]
fn a_peer_that_is_thought_to_be_ahead_is_found_equal_once_this_node_has_what_it_stated() {
    let mut bed = many_feeds(1);
    let space = &bed.engine.memory.spaces[&bed.space];
    let stated = (space.frontier_digest(), space.state_digest());
    let mut session = session(&bed, Digest::from_bytes([9; 32]), None);
    session.phase = Phase::Streaming(Known::differing([(bed.own_feed(), 2)].into()));
    session.heard.stated = Some(stated);
    talk(&mut bed, &mut session);
    let space = &bed.engine.memory.spaces[&bed.space];
    assert!(session.is_in_step(space));
    assert_eq!(session.known().unwrap().len(), 0);
}

/// What a peer is told of what moved since a state that both remember, and what is known of it then: in steps that may
/// look at so much, between which something moves. With how many steps that took.
fn reconnected(looks: u64, by_feeds: bool) -> (Vec<FeedId>, Known, usize) {
    let mut bed = many_feeds(40);
    let space = bed.engine.memory.spaces.get_mut(&bed.space).unwrap();
    let (digest, journal) = (space.frontier_digest(), space.row.journal);
    space.memory.entry(peer()).or_default().shared(digest, journal);
    bed.write("f", if by_feeds { 0..2_000 } else { 0..100 });
    let mut session = session(&bed, digest, Some(digest));
    let page = FrontierPage { space: bed.space, base: Some(digest), positions: Vec::new(), last: true };
    session.heard.pages = vec![page];
    let mut told = Vec::new();
    for step in 1.. {
        assert!(step < 1_000, "it comes to an end");
        let (said, _) = talk_within(&mut bed, &mut session, looks);
        told.extend(said.into_iter().filter_map(|frame| match frame {
            Frame::Frontier(page) => Some(page.positions.into_iter().map(|position| position.feed).collect::<Vec<_>>()),
            _ => None,
        }));
        assert_eq!(session.goes_on.is_some(), session.known().is_none(), "it is visited again until all is known");
        let due = session.next_moment().is_some_and(|(at, _)| at <= bed.mono);
        assert!(due || session.goes_on.is_none(), "and at once");
        if let Some(known) = session.known() {
            assert!(session.since.is_none(), "nothing is kept of the walk");
            return (told.concat(), known.clone(), step);
        }
        if step == 4 {
            // By feeds, it has been passed by.
            let first = (100..140).min_by_key(|epoch| bed.pen(*epoch).feed()).unwrap();
            moves(&mut bed, first);
        }
    }
    unreachable!("steps have no end");
}

/// The feed of an epoch of [`many_feeds`] moves by one entry, of which sessions are to hear.
fn moves(bed: &mut Bed, epoch: u64) {
    let mut pen = bed.pen(epoch);
    for id in [format!("o{}", epoch - 100), "more".to_owned()] {
        let change = pen.change(&EntityState::new(), &put("{}"));
        pen.entries.push(bed.entry(&pen, &id, &change));
    }
    let feed = pen.feed();
    bed.take([pen.part(1, 1)]);
    let space = bed.engine.memory.spaces.get_mut(&bed.space).unwrap();
    assert_eq!(space.frontier.seq(feed), 2);
    space.news.add(feed, 1, Now { mono: bed.mono, wall_millis: WALL });
}

#[test]
fn what_moved_is_looked_at_in_slices_and_what_moves_meanwhile_is_among_it() {
    for by_feeds in [false, true] {
        let (_, _, steps) = reconnected(STEP_LOOKS, by_feeds);
        assert_eq!(steps, 1);
        for looks in [1, 7] {
            let (told, known, steps) = reconnected(looks, by_feeds);
            assert!(steps > 5, "{steps} steps");
            assert_eq!((told.len(), known.len()), (2, 2), "{by_feeds} {looks}: {told:?} {known:?}");
            assert!(known.iter().all(|(_, seq)| seq == 1), "{known:?}");
        }
    }
}
