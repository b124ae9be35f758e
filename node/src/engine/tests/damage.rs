//! What is damaged stops what needs it, and nothing else.

use tombolo_crdt::NodeId;
use tombolo_crdt::digest::bucket;
use tombolo_transport::frame::{Audit, RowSum, Sums};

use super::*;
use crate::engine::ConnId;
use crate::engine::peers::session::{Phase, Session};
use crate::engine::peers::transfer;
use crate::engine::space::known::Known;

#[test]
fn a_damaged_entry_stops_nothing_but_its_entity() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let early = bed.row("e");
    bed.write("e", 1..6);
    bed.write("f", [1]);
    bed.spoil(bed.own_feed(), 4);
    // To judge it, its past is needed, and the way there leads over the damaged entry.
    let mut late = bed.pen(50);
    late.entries.push(bed.entry(&late, "e", &late.change(&early, &patch(r#"{"late":1}"#))));
    late.entries.push(bed.entry(&late, "f", &late.change(&bed.row("f"), &patch(r#"{"late":1}"#))));
    // These need nothing of it.
    let mut other = bed.pen(51);
    other.entries.push(bed.entry(&other, "f", &other.change(&bed.row("f"), &patch(r#"{"other":1}"#))));
    let mut newest = bed.pen(52);
    newest.entries.push(bed.entry(&newest, "e", &newest.change(&bed.row("e"), &patch(r#"{"newest":1}"#))));
    bed.take([late.range(), other.range(), newest.range()]);
    assert_eq!((bed.view("f"), bed.view("e")), (r#"{"n":1,"other":1}"#.to_owned(), r#"{"n":5,"newest":1}"#.to_owned()));
    let held = bed.held();
    assert_eq!(held.iter().map(|held| (held.seq, held.entries)).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(
        (&held[0].feed, held[0].reason.as_str()),
        (&late.feed().to_string(), "waits for x/e, which is damaged on this node")
    );
    let space = &bed.engine.memory.spaces[&bed.space];
    let frozen: Vec<_> = space.care.frozen().iter().collect();
    assert!(matches!(&frozen[..], [((_, id), why)] if id == "e" && why.contains("entries")), "{frozen:?}");
    // Nobody looks again until it has another chance, and nothing more fails for it.
    bed.take([]);
    assert_eq!(bed.held(), held);
}

/// What is served on a sound row, although the history is damaged, is served after every pass over the rows too; and
/// what waits for the history is settled once that is there again.
#[test]
fn a_sound_row_is_served_however_often_its_damaged_history_is_looked_at() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let early = bed.row("e");
    bed.write("e", 1..6);
    let was = bed.spoil(bed.own_feed(), 4);
    let mut late = bed.pen(50);
    late.entries.push(bed.entry(&late, "e", &late.change(&early, &patch(r#"{"late":1}"#))));
    bed.take([late.range()]);
    assert_eq!(bed.held().len(), 1);
    for n in 6..8 {
        assert!(bed.pass_by(2) > 0);
        bed.write("e", [n]);
        assert_eq!(bed.view("e"), format!(r#"{{"n":{n}}}"#));
        let frozen: Vec<_> = bed.engine.memory.spaces[&bed.space].care.frozen().iter().collect();
        assert!(matches!(&frozen[..], [((_, id), _)] if id == "e"), "{frozen:?}");
    }
    bed.replace(bed.own_feed(), 4, was);
    bed.pass_by(2);
    assert_eq!((bed.view("e").as_str(), bed.held().len()), (r#"{"late":1,"n":7}"#, 0));
    assert_eq!(bed.engine.memory.spaces[&bed.space].care.frozen().len(), 0);
}

/// A member says that it has another row, of an entity of whose history too much would have to be remembered at a time.
#[test]
fn a_sound_row_whose_history_is_too_wide_to_be_folded_is_kept() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let early = bed.row("e");
    bed.write("e", [1]);
    // Each is made on the one before it and not on all that is here: where it came from has to be known for each.
    for epoch in 50..53 {
        let (mut pen, mut state) = (bed.pen(epoch), early.clone());
        for n in 0..800 {
            let mut writer = Writer::new(&state, pen.feed(), Hlc::from_millis(WALL));
            writer.write(&patch(&format!(r#"{{"p":{n}}}"#))).unwrap();
            let (change, after) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
            pen.entries.push(bed.entry(&pen, "e", &change));
            state = after;
        }
        bed.take([pen.range()]);
        bed.carry_out(Input::Timer);
        assert_eq!(bed.held(), Vec::new());
    }
    let row = bed.row("e").encode();
    let peer = NodeId::from_bytes([8; 32]);
    let space = bed.engine.memory.spaces.get_mut(&bed.space).unwrap();
    let frontier = space.frontier_digest();
    let told = RowSum { collection: "x".to_owned(), id: "e".to_owned(), sum: [1; 16] };
    let sums = Sums::Rows(vec![bucket("x", "e")], vec![told]);
    space.care.audit.tell(peer, frontier, bed.mono);
    space.care.audit.hear(peer, Audit { space: space.id, frontier, sums }, frontier, bed.mono);
    bed.pass_by(1);
    let care = &bed.engine.memory.spaces[&bed.space].care;
    let disputed: Vec<_> = care.disputed().iter().map(|((_, id), with)| (id.as_str(), *with)).collect();
    assert_eq!((disputed, care.frozen().len()), (vec![("e", peer)], 0));
    assert_eq!(bed.row("e").encode(), row);
    bed.write("e", [2]);
}

/// Without row and history there is no verdict: the feeds that write to the entity wait, with all that rests on them,
/// and say what for. Everything else goes on.
#[test]
fn feeds_that_wait_for_a_frozen_entity_say_so_and_the_others_go_on() {
    let mut bed = Bed::new();
    for id in ["e5", "e6", "e7"] {
        bed.write(id, [1]);
    }
    let [e5, e6, e7] = ["e5", "e6", "e7"].map(|id| bed.row(id));
    let by = patch(r#"{"by":"b"}"#);
    let mut writes_to_it = bed.pen(77);
    writes_to_it.entries.push(bed.entry(&writes_to_it, "e5", &writes_to_it.change(&e5, &by)));
    writes_to_it.entries.push(bed.entry(&writes_to_it, "e6", &writes_to_it.change(&e6, &by)));
    let mut rests_on_it = bed.pen(78);
    let mut entry = bed.entry(&rests_on_it, "e6", &rests_on_it.change(&e6, &by));
    entry.deps = vec![writes_to_it.dep()];
    rests_on_it.entries.push(entry);
    let mut other = bed.pen(79);
    other.entries.push(bed.entry(&other, "e6", &other.change(&e6, &patch(r#"{"by":"c"}"#))));
    other.entries.push(bed.entry(&other, "e7", &other.change(&e7, &by)));
    let spoilt = e5.encode();
    bed.work(|work, space| {
        work.batch.put_row(space.row.space_no, "x", "e5", vec![1; spoilt.len()]).unwrap();
        space.care.history_damaged(("x".to_owned(), "e5".to_owned()), "its history is damaged".to_owned());
    });
    bed.take([rests_on_it.range(), writes_to_it.range(), other.range()]);
    assert_eq!(bed.view("e6"), r#"{"by":"c","n":1}"#);
    assert_eq!(bed.view("e7"), r#"{"by":"b","n":1}"#);
    let told = |pen: &Pen| {
        let feed = pen.feed().to_string();
        bed.held().into_iter().find(|held| held.feed == feed).map(|held| (held.seq, held.entries, held.reason))
    };
    let damaged = "waits for x/e5, which is damaged on this node";
    assert_eq!(told(&writes_to_it), Some((1, 2, damaged.to_owned())));
    let behind = format!("waits for entry 2 of feed {}, which {damaged}", writes_to_it.feed());
    assert_eq!(told(&rests_on_it), Some((1, 1, behind)));
    assert_eq!(told(&other), None);
    // Built anew, it stops nobody any more.
    bed.work(|work, space| {
        work.batch.put_row(space.row.space_no, "x", "e5", spoilt).unwrap();
        space.care = crate::engine::space::care::Care::default();
        space.held.healed(|_, _| false);
    });
    bed.take([]);
    assert_eq!(bed.held(), Vec::new());
    assert_eq!(bed.view("e5"), r#"{"by":"b","n":1}"#);
}

/// A damaged entry is named by others: what its chain hash was says the entry after it, while that is whole.
#[test]
fn an_entry_that_rests_on_a_damaged_one_is_settled() {
    let mut bed = Bed::new();
    bed.write("e", 0..4);
    bed.write("f", [0]);
    let f = bed.row("f");
    let first = |bed: &Bed, seq: u64| {
        let reading = bed.engine.reader().reading().unwrap();
        Dep { feed: bed.own_feed(), seq, chain: reading.entry_chain(bed.own_feed(), seq).unwrap().unwrap() }
    };
    let deps = [first(&bed, 2), first(&bed, 3)];
    // All of the row, so that not even its chain hash can be read.
    bed.work(|work, _| work.batch.spoil_entry(deps[0].feed, 2));
    let mut pens = [60, 61, 62].map(|epoch| bed.pen(epoch));
    let chains = [deps[0].chain, deps[1].chain, deps[0].chain];
    for ((pen, chain), field) in pens.iter_mut().zip(chains).zip(["a", "b", "c"]) {
        let mut entry = bed.entry(pen, "f", &pen.change(&f, &patch(&format!(r#"{{"{field}":1}}"#))));
        entry.deps = vec![Dep { chain, ..deps[0] }];
        pen.entries.push(entry);
    }
    let [good, forked, _] = &pens;
    bed.take([good.range(), forked.range()]);
    assert_eq!(bed.view("f"), r#"{"a":1,"n":0}"#);
    assert_eq!(bed.held().len(), 1, "it names another entry: {:?}", bed.held());
    // Of two in a row nothing tells.
    bed.work(|work, _| work.batch.spoil_entry(deps[0].feed, 3));
    bed.take([pens[2].range()]);
    let reason = format!("waits for entry 2 of feed {}, which is damaged on this node", deps[0].feed);
    assert!(bed.held().iter().any(|held| held.reason == reason), "{:?}", bed.held());
}

/// What is sent to a peer that lacks all: every feed but the one that cannot be read.
#[test]
fn a_feed_with_a_damaged_entry_is_not_sent_and_the_others_are() {
    let mut bed = Bed::new();
    bed.write("e", 0..4);
    let mut other = bed.pen(51);
    other.entries.push(bed.entry(&other, "e", &other.change(&bed.row("e"), &patch(r#"{"other":1}"#))));
    bed.take([other.range()]);
    let own = bed.own_feed();
    let sent = |bed: &Bed| {
        let space = &bed.engine.memory.spaces[&bed.space];
        let mut session = Session::with_room(usize::MAX);
        session.phase = Phase::Streaming(Known::nothing(&space.frontier));
        session.sending.lag = space.feeds.keys().copied().collect();
        let now = Now { mono: bed.mono, wall_millis: WALL };
        let mut out = Vec::new();
        let (reading, mut left) = (bed.engine.reader().reading().unwrap(), transfer::STEP_READ_BYTES);
        transfer::pump(space, &mut session, (now, ConnId(1)), (&reading, &mut left), &mut out).unwrap();
        session.sending.cursor.into_iter().filter(|(feed, _)| [own, other.feed()].contains(feed)).collect::<Vec<_>>()
    };
    let mut both = vec![(own, 4), (other.feed(), 1)];
    both.sort_unstable();
    assert_eq!(sent(&bed), both);
    for seq in [4, 1] {
        bed.work(|work, _| work.batch.spoil_entry(own, seq));
        assert_eq!(sent(&bed), [(other.feed(), 1)], "entry {seq}");
    }
}
