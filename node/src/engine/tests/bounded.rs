//! Work of a step is bounded, whatever comes: counted, in steps of the engine as a driver makes them.

use std::sync::Arc;

use super::*;
use crate::engine::budget::{Budget, STEP_WORK_MAX};
use crate::engine::{Left, StepCost};

/// Feeds of one entry each, every one of which depends on the one before.
fn chained(bed: &Bed, count: u64) -> Vec<Pen> {
    let mut pens: Vec<Pen> = Vec::new();
    for epoch in 0..count {
        let mut pen = bed.pen(1_000 + epoch);
        let change = pen.change(&EntityState::new(), &put(r#"{"n":1}"#));
        let entry = bed.entry(&pen, &format!("e{epoch}"), &change);
        let deps = pens.last().map(Pen::dep).into_iter().collect();
        pen.entries.push(Entry { deps, ..entry });
        pens.push(pen);
    }
    pens
}

/// Core review 6: 16,000 entries that one sets free took 20.8 s, as each round looked at all of them.
#[test]
fn what_one_entry_sets_free_is_looked_at_once_each() {
    const COUNT: u64 = 400;
    let mut bed = Bed::new();
    let pens = chained(&bed, COUNT);
    bed.take(pens[1..].iter().rev().map(Pen::range));
    assert_eq!(bed.engine.held(bed.space).unwrap().0 as u64, COUNT - 1);
    let mut first = pens[0].range();
    let done = bed.work(|work, space| {
        let (mut taken, mut done) = (Taken::default(), 0);
        work.take_range(space, &mut first, &mut taken).unwrap();
        loop {
            work.drain_held(space, &mut taken).unwrap();
            done += work.budget.cost().work;
            if space.held.is_idle() {
                return done;
            }
            work.budget = Budget::new(STEP_WORK_MAX);
        }
    });
    assert_eq!(bed.held(), Vec::new());
    assert!(done < COUNT * 2 * 70_000, "each once, and not {COUNT} times: {done} ns");
}

/// Under attack: what was left over in the half of a step that entries of others have was forgotten, for ever.
#[test]
fn what_is_freed_in_the_first_half_of_a_step_is_settled_all_the_same() {
    for filler in [1_500, 1_700, 1_900] {
        let mut bed = Bed::new();
        let conn = bed.connected();
        let pens = chained(&bed, 400);
        bed.take(pens[1..].iter().map(Pen::range));
        let mut pen = bed.pen(7);
        for n in 0..filler {
            pen.entries.push(bed.entry(&pen, &format!("f{n}"), &pen.change(&EntityState::new(), &put("{}"))));
        }
        let ranges = vec![pen.part(0, filler / 2), pen.part(filler / 2, filler - filler / 2), pens[0].range()];
        let mut out = bed.given(vec![Input::Ranges { conn, space: bed.space, number: 1, ranges }]);
        for _ in 0..20 {
            if out.left == Left::Nothing {
                break;
            }
            out = bed.given(vec![Input::Timer]);
        }
        assert_eq!((out.left, bed.engine.held(bed.space).unwrap().0), (Left::Nothing, 0), "{filler}");
    }
}

/// Inputs that were first took all, and entries of others had every other step.
#[test]
fn inputs_and_entries_of_others_get_on_in_every_step() {
    const COUNT: usize = 6_000;
    let mut bed = Bed::new();
    let conn = bed.connected();
    let mut pen = bed.pen(7);
    for n in 0..COUNT {
        let change = pen.change(&EntityState::new(), &put("{}"));
        pen.entries.push(bed.entry(&pen, &format!("f{n}"), &change));
    }
    let write = |n: usize| EntityWrite {
        collection: "x".to_owned(),
        id: format!("e{n}"),
        expect: Expect::Any,
        write: put(r#"{"n":1}"#),
    };
    let writes = (0..COUNT).map(write).collect();
    let command = WriteCommand { space: bed.space, writes, atomic: false, idempotency: None, trace: None };
    let ranges = (0..6).map(|part| pen.part(part * 1_000, 1_000)).collect();
    let inputs = vec![
        Input::Ranges { conn, space: bed.space, number: 1, ranges },
        Input::Command(ReplyTo(9), Command::Write(command)),
    ];
    let progress = |bed: &Bed| {
        let frontier = bed.engine.frontier(bed.space).unwrap();
        [bed.own_feed(), pen.feed()].map(|feed| frontier.seq(feed))
    };
    // They are handed in: none of them waited before.
    let _ = bed.given(inputs);
    for step in 0..4 {
        let before = progress(&bed);
        let out = bed.given(vec![Input::Timer]);
        assert_eq!(out.left, Left::Inputs, "step {step}");
        let after = progress(&bed);
        assert!(after[0] > before[0] + 200 && after[1] > before[1] + 200, "step {step}: {before:?}, {after:?}");
    }
    let mut replies = 0;
    while bed.engine.left() != Left::Nothing {
        let out = bed.given(vec![Input::Timer]);
        replies +=
            out.list.iter().filter(|out| matches!(out, Output::Reply(ReplyTo(9), Reply::Written(Ok(_))))).count();
    }
    assert_eq!((progress(&bed), replies), ([COUNT as u64; 2], 1));
}

/// A store that cannot be read again was asked again without a pause if something had been left over.
#[test]
fn what_is_left_over_waits_until_the_memory_is_the_disks_again() {
    let mut bed = Bed::new();
    bed.engine.queue.drain_due = true;
    assert_eq!(bed.engine.left(), Left::Ranges);
    bed.engine.health.unloaded = true;
    assert_eq!(bed.engine.left(), Left::Nothing);
    let (at, why) = bed.engine.wake(Now { mono: bed.mono, wall_millis: WALL }).unwrap();
    assert_eq!((at > bed.mono, why), (true, "reload"), "care and timers wait as well");
}

/// Steps that are given ranges and then nothing, as long as something is left over.
fn worked_off(bed: &mut Bed, mut ranges: Vec<VerifiedRange>) -> Vec<StepCost> {
    let mut costs = Vec::new();
    loop {
        let mut left = false;
        bed.work(|work, space| {
            let mut taken = Taken::default();
            work.drain_held(space, &mut taken).unwrap();
            for range in &mut ranges {
                work.take_range(space, range, &mut taken).unwrap();
                left |= !range.entries().is_empty();
            }
            work.drain_held(space, &mut taken).unwrap();
            left |= work.budget.is_spent();
            costs.push(work.budget.cost());
        });
        if !left {
            return costs;
        }
    }
}

/// Attacks: 64 bytes that stand for tens of thousands of operations; and thousands of entries at once.
#[test]
fn no_step_does_more_than_its_work_and_one_entry() {
    const COUNT: u64 = 4_000;
    let mut bed = Bed::new();
    let mut pen = bed.pen(7);
    for n in 0..COUNT {
        let change = pen.change(&EntityState::new(), &put(r#"{"n":1}"#));
        let entry = bed.entry(&pen, &format!("e{n}"), &change);
        pen.entries.push(entry);
    }
    let mut ranges = Vec::new();
    for part in 0..4 {
        ranges.push(pen.part(part * 1_000, 1_000));
    }
    let costs = worked_off(&mut bed, ranges);
    assert!(costs.len() > 1, "it takes more than a step: {costs:?}");
    let one = 100_000;
    assert!(costs.iter().all(|cost| cost.work < STEP_WORK_MAX + one), "{costs:?}");
    assert_eq!(bed.engine.frontier(bed.space).unwrap().seq(pen.feed()), COUNT);
    assert_eq!(bed.held(), Vec::new());
}

/// Attacks, "fat openings": a feed stayed when its held entry was dropped, and its opening counted for nothing.
#[test]
fn feeds_of_which_nothing_settles_are_bounded_and_go_with_what_is_held_of_them() {
    let mut bed = Bed::new();
    let feeds = |bed: &Bed| {
        let space_no = bed.engine.memory.spaces[&bed.space].row.space_no;
        let stored = bed.engine.reader().reading().unwrap().feeds(space_no).unwrap().len();
        (bed.engine.memory.spaces[&bed.space].feeds.len(), stored)
    };
    bed.write("o", [0]);
    let before = feeds(&bed);
    let missing = bed.pen(1).dep_at(5);
    let wait = |bed: &Bed, epoch| {
        let mut pen = bed.pen(epoch);
        let change = pen.change(&EntityState::new(), &put(r#"{"n":1}"#));
        let entry = bed.entry(&pen, "e", &change);
        pen.entries.push(Entry { deps: vec![missing], ..entry });
        pen
    };
    bed.take([wait(&bed, 2).range()]);
    bed.write("o", [1]);
    assert_eq!(feeds(&bed), (before.0 + 1, before.1 + 1));
    let (entries, bytes) = bed.engine.held(bed.space).unwrap();
    let opening = wait(&bed, 2).opening.encode().len();
    assert!(entries == 1 && bytes > opening + 400, "{bytes} bytes");
    bed.work(|_, space| assert_eq!(space.held.surplus(), None));
    // As if there were no room: all of it goes.
    bed.work(|work, space| {
        let id = wait_feed(space);
        work.drop_held(space, id, 1).unwrap();
    });
    assert_eq!(feeds(&bed), before, "nothing is left, in memory and on disk");
}

fn wait_feed(space: &Space) -> FeedId {
    space.held.feeds()[0]
}

#[test]
fn a_frame_is_acknowledged_when_all_of_it_is_taken_and_commands_go_before() {
    const COUNT: u64 = 6_000;
    let mut bed = Bed::new();
    let conn = bed.connected();
    let mut pen = bed.pen(7);
    for n in 0..COUNT {
        let change = pen.change(&EntityState::new(), &put(r#"{"n":1}"#));
        let entry = bed.entry(&pen, &format!("e{n}"), &change);
        pen.entries.push(entry);
    }
    let ranges = (0..6).map(|part| pen.part(part * 1_000, 1_000)).collect();
    let frame = Input::Ranges { conn, space: bed.space, number: 1, ranges };
    let taken = |bed: &Bed| {
        let session = bed.engine.memory.conns.get(&conn).and_then(|conn| conn.sessions.get(&bed.space));
        session.map(|session| session.answering.taken())
    };
    assert_eq!(taken(&bed), Some(0), "there is a session");
    let out = bed.given(vec![frame]);
    assert!(out.left == Left::Ranges && out.wake.is_some_and(|(at, _)| at <= bed.mono), "the rest is done at once");
    assert_eq!(taken(&bed), Some(0));
    let own = bed.own_feed();
    let write = EntityWrite { collection: "x".to_owned(), id: "now".to_owned(), expect: Expect::Any, write: put("{}") };
    let command = WriteCommand { space: bed.space, writes: vec![write], atomic: false, idempotency: None, trace: None };
    let _ = bed.given(vec![Input::Command(ReplyTo(9), Command::Write(command))]);
    let written = bed.engine.frontier(bed.space).unwrap().seq(own);
    assert_eq!((written, taken(&bed)), (1, Some(0)), "a command is carried out before all is taken");
    let mut steps = 0;
    while bed.given(vec![Input::Timer]).left != Left::Nothing {
        steps += 1;
        assert!(steps < 10);
    }
    assert_eq!(taken(&bed), Some(1));
    assert_eq!(bed.engine.frontier(bed.space).unwrap().seq(pen.feed()), COUNT);
    assert!(bed.engine.counters.longest.values().any(|work| *work >= STEP_WORK_MAX));
}

/// Review: an entry of 40 KB that changes 4,096 rows of 1 MiB had all of them decoded in memory at once.
#[test]
fn rows_of_one_entry_are_not_all_kept_in_memory() {
    const COUNT: usize = 40;
    let mut bed = Bed::new();
    for n in 0..COUNT {
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(10_000));
        let mut pen = bed.pen(100 + n as u64);
        pen.entries.push(bed.entry(&pen, &format!("e{n:02}"), &pen.change(&EntityState::new(), &put(&text))));
        bed.take([pen.range()]);
    }
    let mut pen = bed.pen(7);
    let mut changes = Vec::new();
    for n in 0..COUNT {
        let id = format!("e{n:02}");
        let change = pen.change(&bed.row(&id), &patch(r#"{"m":1}"#));
        let Body::Data(mut one) = bed.entry(&pen, &id, &change).body else { panic!("data") };
        changes.append(&mut one);
    }
    let entry = bed.entry(&pen, "e00", &pen.change(&bed.row("e00"), &patch(r#"{"m":1}"#)));
    pen.entries.push(Entry { body: Body::Data(changes), ..entry });
    let mut range = pen.range();
    let kept = bed.work(|work, space| {
        work.take_range(space, &mut range, &mut Taken::default()).unwrap();
        work.rows.kept()
    });
    assert!(kept < (64 << 10) + 12_000, "{kept} bytes");
    for n in 0..COUNT {
        assert!(bed.view(&format!("e{n:02}")).starts_with(r#"{"m":1,"#), "e{n}");
    }
    // A pass over all rows finds the sums as they are counted.
    assert!(bed.pass_by(2) > 0);
    let space = &bed.engine.memory.spaces[&bed.space];
    assert_eq!((space.care.counters.sums_corrected, space.row.entities), (0, COUNT as u64));
}

/// Review: 500 that ask for the status at a time had it made 500 times in one step.
#[test]
fn all_who_ask_for_the_status_in_a_step_get_one() {
    let mut bed = Bed::new();
    let ask = (1..=3).map(|n| Input::Command(ReplyTo(n), Command::Status)).collect();
    let out = bed.given(ask);
    assert!(out.cost.said > 0, "telling is counted");
    let status = |out| if let Output::Reply(_, Reply::Status(status)) = out { Some(status) } else { None };
    let told: Vec<_> = out.list.into_iter().filter_map(status).collect();
    assert!(told.len() == 3 && told.iter().all(|one| Arc::ptr_eq(one, &told[0])));
}

/// Simulation, swarm 1071: care that was due in every step spent its work, and what it waited for was never taken in.
#[test]
fn care_that_is_always_due_leaves_every_other_step_to_others() {
    let mut bed = Bed::new();
    bed.write("e", [1]);
    bed.engine.queue.step_work = 1;
    let mut written = 0;
    for n in 0..10 {
        bed.engine.memory.spaces.get_mut(&bed.space).unwrap().care.hurry();
        let input = match n {
            0 => Input::Command(ReplyTo(9), Command::Status),
            _ => Input::Timer,
        };
        written += bed.given(vec![input]).list.iter().filter(|out| matches!(out, Output::Reply(ReplyTo(9), _))).count();
    }
    assert_eq!(written, 1);
}
