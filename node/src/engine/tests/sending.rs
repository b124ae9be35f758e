//! What is sent: little within a step, everything else read beside the engine, a few loads at a time.

use std::collections::VecDeque;

use tombolo_transport::frame::Frame;

use super::*;
use crate::engine::memory::Memory;
use crate::engine::peers::conn::Conn;
use crate::engine::peers::session::{Phase, Session, sending};
use crate::engine::peers::transfer::{Loads, STEP_READ_BYTES};
use crate::engine::space::known::Known;
use crate::engine::{ConnId, Outputs};

/// A session to which all of a feed is to be sent.
fn lagging(bed: &Bed, feed: FeedId) -> Session {
    let mut session = Session::with_room(1 << 20);
    let space = &bed.engine.memory.spaces[&bed.space];
    session.phase = Phase::Streaming(Known::nothing(&space.frontier));
    session.heard_of = space.news.total();
    session.sending.lag = [feed].into();
    session
}

/// Sizes of the frames in which a feed's entries went out, from the first to the last without a gap.
fn sent(out: &[Output], to: ConnId, reached: &mut u64) -> Vec<usize> {
    let mut sizes = Vec::new();
    for out in out {
        let Output::Transfer(conn, _, Frame::Ranges(frame)) = out else { continue };
        if *conn != to {
            continue;
        }
        sizes.push(frame.ranges.iter().map(Range::entry_bytes).sum());
        for range in &frame.ranges {
            assert_eq!(range.from, *reached + 1, "each entry goes out once");
            *reached = range.clone().verify().unwrap().end();
        }
    }
    sizes
}

/// Review: 100 sites that come back at a time had 100 MiB read in one step.
#[test]
fn what_is_long_to_read_is_read_beside_the_engine_for_a_few_at_a_time() {
    const COUNT: u64 = 30;
    const BYTES: usize = 100_000;
    let mut bed = Bed::new();
    let mut pen = bed.pen(7);
    for n in 0..COUNT {
        let text = format!(r#"{{"text":"{n}{}"}}"#, "x".repeat(BYTES));
        pen.entries.push(bed.entry(&pen, &format!("e{n}"), &pen.change(&EntityState::new(), &put(&text))));
    }
    bed.take((0..COUNT as usize).map(|n| pen.part(n, 1)));
    for n in 1..=3 {
        let mut conn = Conn::new(bed.engine.own.node, false, "here".to_owned(), WALL, 0);
        conn.sessions.insert(bed.space, lagging(&bed, pen.feed()));
        bed.engine.memory.conns.insert(ConnId(n), conn);
    }
    let mut reached = [0; 3];
    let space = bed.space;
    let room = |conn| Input::Writable(ConnId(conn), space, 1 << 20);
    let (mut inputs, mut loads) = ((1..=3).map(room).collect::<Vec<_>>(), VecDeque::new());
    for step in 0..100 {
        let out = bed.given(std::mem::take(&mut inputs)).list;
        let sizes = [1, 2, 3].map(|n| sent(&out, ConnId(n), &mut reached[n as usize - 1]));
        if step == 0 {
            let read: usize = sizes.iter().flatten().sum();
            assert!((STEP_READ_BYTES..STEP_READ_BYTES + 2 * BYTES).contains(&read), "within the step: {sizes:?}");
            assert!(sizes[1].is_empty() && sizes[2].is_empty(), "{sizes:?}");
        }
        assert!(sizes.iter().flatten().all(|size| *size < (512 << 10) + 2 * BYTES), "{sizes:?}");
        loads.extend(out.into_iter().filter_map(|out| if let Output::Load(load) = out { Some(load) } else { None }));
        assert!(loads.len() <= 2, "step {step}: two at a time");
        if reached == [COUNT; 3] {
            break;
        }
        assert!(step < 99);
        // The peer takes what has come so far.
        inputs = (1..=3).map(room).collect();
        let Some(load) = loads.pop_front() else { continue };
        let loaded = load.answer();
        let bytes: usize = loaded.read.as_ref().unwrap().runs.iter().map(crate::outgoing::Run::bytes).sum();
        assert!(bytes < (1 << 20) + 2 * BYTES, "no more than there is room for");
        inputs.push(Input::Loaded(Box::new(loaded)));
    }
    assert_eq!(reached, [COUNT; 3]);
}

/// What happened to a feed while it was being read was forgotten when the load said that there was nothing more.
#[test]
fn what_comes_while_a_load_is_under_way_is_sent_after_it() {
    let mut bed = Bed::new();
    let mut pen = bed.pen(7);
    for n in 0..4 {
        let text = format!(r#"{{"text":"{n}{}"}}"#, "x".repeat(200_000));
        pen.entries.push(bed.entry(&pen, &format!("e{n}"), &pen.change(&EntityState::new(), &put(&text))));
    }
    bed.take((0..3).map(|n| pen.part(n, 1)));
    let conn = bed.connected();
    let session = lagging(&bed, pen.feed());
    bed.engine.memory.conns.get_mut(&conn).unwrap().sessions.insert(bed.space, session);
    let load = |out: Outputs| {
        out.list.into_iter().find_map(|out| if let Output::Load(load) = out { Some(load) } else { None })
    };
    let mut reached = 0;
    let mut step = |bed: &mut Bed, input: Input| {
        let out = bed.given(vec![input]);
        sent(&out.list, conn, &mut reached);
        (load(out), reached)
    };
    let room = Input::Writable(conn, bed.space, 1 << 20);
    let (first, before) = step(&mut bed, room);
    let loaded = first.unwrap().answer();
    assert_eq!((before, loaded.runs()), (2, 1));
    // It comes from somebody else.
    let mut other = Conn::new(bed.engine.own.node, false, "there".to_owned(), WALL, 0);
    other.sessions.insert(bed.space, Session::default());
    bed.engine.memory.conns.insert(ConnId(2), other);
    let range = Input::Ranges { conn: ConnId(2), space: bed.space, number: 1, ranges: vec![pen.part(3, 1)] };
    assert!(step(&mut bed, range).0.is_none(), "one load at a time for a session");
    step(&mut bed, Input::Loaded(Box::new(loaded)));
    bed.mono += Duration::from_secs(10);
    let (_, after) = step(&mut bed, Input::Timer);
    assert_eq!(after, 4);
}

/// A load whose connection ended, or from before the store failed, takes nobody's place.
#[test]
fn a_load_that_nobody_waits_for_any_more_takes_no_place() {
    let mut bed = Bed::new();
    bed.write("e", 0..4);
    let own = bed.own_feed();
    let mut loads = Loads::default();
    let space = bed.space;
    let begin = |bed: &mut Bed, loads: &mut Loads, conn: ConnId| {
        let mut session = lagging(bed, own);
        session.sending.loading = sending::Loading::Hungry;
        assert!(session.sending.loading.queue());
        let mut of = Conn::new(bed.engine.own.node, false, "here".to_owned(), WALL, 0);
        of.sessions.insert(space, session);
        bed.engine.memory.conns.insert(conn, of);
        loads.wait((conn, space));
        let (mut out, reader) = (Vec::new(), bed.engine.reader());
        let Memory { conns, spaces, .. } = &mut bed.engine.memory;
        loads.begin(conns, spaces, || reader.clone(), &mut out);
        out.into_iter().find_map(|out| if let Output::Load(load) = out { Some(load.answer()) } else { None })
    };
    let first = begin(&mut bed, &mut loads, ConnId(1)).unwrap();
    let second = begin(&mut bed, &mut loads, ConnId(2)).unwrap();
    assert!(begin(&mut bed, &mut loads, ConnId(3)).is_none(), "two are under way");
    bed.engine.memory.conns.remove(&ConnId(1));
    assert_eq!(loads.loaded(first, &mut bed.engine.memory.conns), None);
    assert!(loads.has_turn());
    loads.forget();
    assert_eq!(loads.loaded(second, &mut bed.engine.memory.conns), None, "from before");
    assert!(!loads.has_turn(), "nobody waits");
    let again = begin(&mut bed, &mut loads, ConnId(4)).unwrap();
    assert_eq!(loads.loaded(again, &mut bed.engine.memory.conns), Some((ConnId(4), space)));
}
