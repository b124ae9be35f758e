//! What is held costs nothing until what it waits for comes.

use super::*;
use tombolo_crdt::verdict::Wait;

/// Feeds that change `e` on top of a change that is never sent, each of its own.
fn waiting(bed: &Bed, state: &EntityState, epochs: std::ops::Range<u64>) -> Vec<Pen> {
    let of = |epoch| {
        let mut missing = Writer::new(state, FeedId::from_bytes([99; 16]), Hlc::from_millis(WALL));
        missing.write(&patch(r#"{"never":1}"#)).unwrap();
        let (_, after) = missing.finish(&Provenance::default(), 1).unwrap().unwrap();
        let mut pen = bed.pen(epoch);
        pen.entries.push(bed.entry(&pen, "e", &pen.change(&after, &patch(r#"{"by":"b"}"#))));
        pen
    };
    epochs.map(of).collect()
}

/// Counted in what is looked at, not in time: a look would find the row spoilt, and say so.
#[test]
fn what_is_held_for_a_change_costs_nothing_until_that_comes() {
    let mut bed = Bed::new();
    bed.write("e", 0..50);
    let state = bed.row("e");
    let ranges: Vec<_> = waiting(&bed, &state, 100..120).iter().map(Pen::range).collect();
    bed.take(ranges);
    assert_eq!(bed.engine.held(bed.space).unwrap().0, 20);
    let waits = |bed: &Bed| {
        let space = &bed.engine.memory.spaces[&bed.space];
        let blockers = space.held.feeds().into_iter().filter_map(|feed| space.held.blocker(feed));
        blockers.filter(|wait| matches!(wait, Wait::Change(..))).count()
    };
    assert_eq!(waits(&bed), 20);
    let whole = state.encode();
    bed.work(|work, space| work.batch.put_row(space.row.space_no, "x", "e", vec![1; 64]).unwrap());
    // Changes of other entities come.
    let mut other = bed.pen(7);
    other.entries.push(bed.entry(&other, "o", &other.change(&EntityState::new(), &put(r#"{"o":1}"#))));
    bed.take([other.range()]);
    assert_eq!(waits(&bed), 20, "somebody looked: {:?}", bed.held());
    bed.work(|work, space| work.batch.put_row(space.row.space_no, "x", "e", whole).unwrap());
    // As when it was built anew.
    bed.work(|_, space| space.held.anew("x", "e"));
    assert_eq!(waits(&bed), 0);
    bed.take([]);
    assert_eq!(waits(&bed), 20);
}

#[test]
fn what_is_held_for_a_change_is_settled_when_that_is_applied_or_refused() {
    for refused in [false, true] {
        let mut bed = Bed::new();
        bed.write("e", [0]);
        let state = bed.row("e");
        let mut first = bed.pen(7);
        let change = first.change(&state, &patch(r#"{"first":1}"#));
        let mut entry = bed.entry(&first, "e", &change);
        if refused && let Body::Data(changes) = &mut entry.body {
            // Refused whole, for what its other change is.
            changes.push(EntityChange { collection: "x".to_owned(), id: "f".to_owned(), origin: 0, change: vec![0] });
        }
        first.entries.push(entry);
        let mut after = state.clone();
        after.apply(&change, state.clock(), &Provenance::default(), 1);
        let mut second = bed.pen(8);
        second.entries.push(bed.entry(&second, "e", &second.change(&after, &patch(r#"{"second":1}"#))));
        bed.take([second.range()]);
        assert!(matches!(&bed.held()[..], [held] if held.reason.contains("waits for change")), "{:?}", bed.held());
        bed.take([first.range()]);
        assert_eq!(bed.held(), Vec::new());
        let (view, count) = if refused { (r#"{"n":0}"#, 2) } else { (r#"{"first":1,"n":0,"second":1}"#, 0) };
        assert_eq!((bed.view("e").as_str(), bed.engine.memory.spaces[&bed.space].row.refused), (view, count));
    }
}
