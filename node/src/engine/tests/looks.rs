//! Changes made on old or unknown ones: a step reads little of the entity's history, however long it is.

use super::*;
use crate::chain::{EntityKey, Past, Until};

/// Changes of history: many times what a step walks.
const HISTORY: usize = 1_000;

/// The state after `count` changes of a bed's entity, and the bed with all of them.
fn long() -> (Bed, Vec<EntityState>) {
    let mut bed = Bed::new();
    let mut states = Vec::new();
    for n in 0..HISTORY / 100 {
        bed.write("e", n * 100..(n + 1) * 100);
        states.push(bed.row("e"));
    }
    (bed, states)
}

/// An entry made on a change that nobody has.
fn on_nothing(bed: &Bed, state: &EntityState, epoch: u64) -> Pen {
    let stranger = FeedId::from_bytes([u8::try_from(epoch).unwrap(); 16]);
    let mut missing = Writer::new(state, stranger, Hlc::from_millis(WALL));
    missing.write(&patch(r#"{"never":1}"#)).unwrap();
    let (_, after) = missing.finish(&Provenance::default(), 1).unwrap().unwrap();
    made_on(bed, &after, epoch)
}

/// An entry made on a state.
fn made_on(bed: &Bed, state: &EntityState, epoch: u64) -> Pen {
    let mut pen = bed.pen(epoch);
    pen.entries.push(bed.entry(&pen, "e", &pen.change(state, &patch(&format!(r#"{{"by":{epoch}}}"#)))));
    pen
}

impl Bed {
    /// Takes ranges in a step. Returns how many entries were read for it.
    fn reads(&mut self, ranges: Vec<VerifiedRange>) -> u64 {
        self.work(|work, space| {
            let mut taken = Taken::default();
            for mut range in ranges {
                work.take_range(space, &mut range, &mut taken).unwrap();
            }
            work.drain_held(space, &mut taken).unwrap();
            work.entries.reads()
        })
    }

    /// Makes the looks that are asked for. Returns how many these were.
    fn look(&mut self) -> usize {
        let mut count = 0;
        let reader = self.engine.reader();
        let mut next = self.engine.looks.next(self.mono, || reader.clone());
        while let Some(look) = next {
            count += 1;
            self.mono += Duration::from_millis(1);
            let input = Input::Looked(Box::new(look.answer(&|| true)));
            let out = self.engine.step(Now { mono: self.mono, wall_millis: WALL }, vec![input]);
            next = out.list.into_iter().find_map(|out| if let Output::Look(look) = out { Some(*look) } else { None });
        }
        self.engine.check_invariants();
        count
    }

    fn waits_for(&self, what: &str) -> bool {
        let held = self.held();
        !held.is_empty() && held.iter().all(|held| held.reason.contains(what))
    }

    /// The row is what the entity's changes give.
    #[track_caller]
    fn assert_sound(&mut self, id: &str) {
        // A step writes the feeds' rows that were changed beside one.
        self.mono += Duration::from_millis(1);
        drop(self.engine.step(Now { mono: self.mono, wall_millis: WALL }, vec![Input::Timer]));
        let key = EntityKey { space_no: self.engine.memory.spaces[&self.space].row.space_no, collection: "x", id };
        let row = self.row(id);
        let reading = self.engine.reader().reading().unwrap();
        let folded = Past::new(key, row.journal(), Until::Present).whole(&reading).unwrap();
        assert_eq!((folded.clock(), folded.heads()), (row.clock(), row.heads()));
        assert_eq!(folded.view_bytes(), row.view_bytes());
        assert_eq!(folded.blame(&[], 1_000), row.blame(&[], 1_000));
        assert_eq!(folded.encode(), row.encode());
    }
}

#[test]
fn a_change_made_on_one_that_nobody_has_costs_a_step_no_history() {
    let (mut bed, states) = long();
    let present = states.last().unwrap();
    let first = on_nothing(&bed, present, 100);
    let read = bed.reads(vec![first.range()]);
    assert!(read <= 128, "{read} entries of a history of {HISTORY}");
    assert!(bed.waits_for("a look at the past of x/e"), "{:?}", bed.held());
    assert_eq!(bed.look(), 1);
    assert!(bed.waits_for("waits for change"), "{:?}", bed.held());
    // Nobody walks for the next.
    for epoch in 101..110 {
        let next = on_nothing(&bed, present, epoch);
        assert_eq!(bed.reads(vec![next.range()]), 0);
    }
    assert_eq!((bed.look(), bed.held().len()), (0, 10));
    assert!(bed.waits_for("waits for change"), "{:?}", bed.held());
}

#[test]
fn a_step_reads_so_much_and_no_more_however_many_changes_ask() {
    let (mut bed, states) = long();
    for other in 0..40 {
        bed.write(&format!("o{other}"), 0..130);
    }
    let mut pen = bed.pen(100);
    let stranger = FeedId::from_bytes([7; 16]);
    let change = |id: &str| {
        let mut missing = Writer::new(&states[0], stranger, Hlc::from_millis(WALL));
        missing.write(&patch(r#"{"never":1}"#)).unwrap();
        let (_, after) = missing.finish(&Provenance::default(), 1).unwrap().unwrap();
        let change = pen.change(&after, &patch(r#"{"by":1}"#)).bytes().to_vec();
        EntityChange { collection: "x".to_owned(), id: id.to_owned(), origin: 0, change }
    };
    let mut ids: Vec<String> = (0..40).map(|other| format!("o{other}")).collect();
    ids.sort();
    let changes = ids.iter().map(|id| change(id)).collect();
    let mut entry = bed.entry(&pen, "e", &pen.change(&states[0], &patch(r#"{"n":1}"#)));
    entry.body = Body::Data(changes);
    pen.entries.push(entry);
    let read = bed.reads(vec![pen.range()]);
    assert!((4_096 - 128..=4_096 + 128).contains(&read), "{read}");
    // All are asked for at once, and the entry is tried again after the last.
    assert_eq!(bed.look(), 40);
    assert!(bed.waits_for("waits for change"), "{:?}", bed.held());
}

#[test]
fn a_change_made_long_ago_is_applied_after_one_look_and_the_next_at_once() {
    let (mut bed, states) = long();
    let away = made_on(&bed, &states[1], 100);
    let read = bed.reads(vec![away.range()]);
    assert!(read <= 128 && bed.waits_for("a look at the past"), "{read}: {:?}", bed.held());
    assert_eq!((bed.look(), bed.held()), (1, Vec::new()));
    assert_eq!(bed.view("e"), format!(r#"{{"by":100,"n":{}}}"#, HISTORY - 1));
    let other = made_on(&bed, &states[3], 101);
    let read = bed.reads(vec![other.range()]);
    assert!(read <= 4 && bed.held().is_empty(), "{read}: {:?}", bed.held());
    // What has been written since is added to what is known.
    bed.write("e", 2_000..2_100);
    let third = made_on(&bed, &states[5], 102);
    let read = bed.reads(vec![third.range()]);
    assert!((100..=128).contains(&read) && bed.held().is_empty(), "{read}: {:?}", bed.held());
    bed.write("e", 3_000..3_300);
    let fourth = made_on(&bed, &states[6], 103);
    assert!(bed.reads(vec![fourth.range()]) <= 128);
    assert_eq!((bed.look(), bed.held()), (1, Vec::new()));
    bed.assert_sound("e");
}

#[test]
fn what_comes_while_a_look_is_made_is_not_missed() {
    let (mut bed, states) = long();
    let first = made_on(&bed, &states[2], 100);
    let mut after = states[2].clone();
    let Body::Data(changes) = &first.entries[0].body else { unreachable!() };
    let change = Change::parse(&changes[0].change, first.feed()).unwrap();
    after.apply(&change, states[2].clock(), &Provenance::default(), 1);
    let second = made_on(&bed, &after, 101);
    bed.reads(vec![second.range()]);
    let reader = bed.engine.reader();
    let look = bed.engine.looks.next(bed.mono, || reader).unwrap();
    let looked = look.answer(&|| true);
    // The answer will say that nobody has it.
    bed.reads(vec![first.range()]);
    bed.mono += Duration::from_millis(1);
    let now = Now { mono: bed.mono, wall_millis: WALL };
    drop(bed.engine.step(now, vec![Input::Looked(Box::new(looked))]));
    bed.look();
    assert_eq!(bed.held(), Vec::new());
    assert!(bed.view("e").contains(r#""by":101"#), "{}", bed.view("e"));
    bed.assert_sound("e");
}

#[test]
fn a_history_that_is_found_damaged_freezes_its_entity_and_is_not_read_again_and_again() {
    let (mut bed, states) = long();
    let own = bed.own_feed();
    bed.spoil(own, 500);
    let away = made_on(&bed, &states[1], 100);
    bed.reads(vec![away.range()]);
    assert_eq!(bed.look(), 1);
    assert!(bed.waits_for("which is damaged on this node"), "{:?}", bed.held());
    let next = made_on(&bed, &states[2], 101);
    assert!(bed.reads(vec![next.range()]) <= 128);
    assert_eq!(bed.look(), 0);
    assert!(bed.waits_for("which is damaged on this node"), "{:?}", bed.held());
}

#[test]
fn the_index_finds_what_a_walk_finds_wherever_branches_part_and_meet() {
    let mut bed = Bed::new();
    bed.write("e", 0..400);
    let base = bed.row("e");
    // Two branches of 150 entries that meet only in the end, all of them on something old.
    let mut pens: Vec<Pen> = (100..102).map(|epoch| bed.pen(epoch)).collect();
    let mut tips = vec![base.clone(), base];
    for n in 0..150 {
        for (pen, tip) in pens.iter_mut().zip(&mut tips) {
            let change = pen.change(tip, &patch(&format!(r#"{{"n{n}":{n}}}"#)));
            pen.entries.push(bed.entry(pen, "e", &change));
            let past = tip.clock().clone();
            tip.apply(&change, &past, &Provenance::default(), 1);
        }
    }
    bed.write("e", 400..700);
    bed.reads(pens.iter().map(Pen::range).collect());
    while bed.look() > 0 {}
    assert_eq!(bed.held(), Vec::new());
    bed.assert_sound("e");
    let late = made_on(&bed, &tips[0], 110);
    bed.reads(vec![late.range()]);
    while bed.look() > 0 {}
    assert_eq!(bed.held(), Vec::new());
    bed.assert_sound("e");
}
