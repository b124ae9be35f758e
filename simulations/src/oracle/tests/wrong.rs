//! Falsified observations: each is noticed by the oracle whose matter it is.

use super::*;

#[test]
fn other_values_than_were_asked_for_are_noticed() {
    let told = [write(1, 1, vec![edit("a", put(json!({"price": 1})))])];
    let done = [write(1, 1, vec![edit("a", put(json!({"price": 2})))])];
    noticed(&told, &done, Oracle::Values);
    let done = [write(1, 1, vec![edit("a", Action::Patch(json!({"price": 1})))])];
    let violation = noticed(&told, &done, Oracle::Resurrection);
    assert_eq!(violation.place, "an overwritten value is back");
    let told = [
        write(1, 1, vec![edit("a", Action::Patch(json!({"price": 1})))]),
        write(2, 1, vec![edit("a", Action::Delete)]),
    ];
    let done = [told[0].clone(), write(2, 1, vec![edit("a", Action::Patch(json!({"x": 1})))])];
    let violation = noticed(&told, &done, Oracle::Resurrection);
    assert_eq!(violation.place, "an entity is back");
    let violation = noticed(&done, &told, Oracle::Values);
    assert_eq!(violation.place, "an entity is gone");
}

#[test]
fn sums_that_differ_are_noticed() {
    let first = write(1, 1, vec![edit("a", increment(5))]);
    let told = [first.clone(), write(2, 1, vec![edit("a", increment(3))])];
    let done = [first, write(2, 1, vec![edit("a", increment(2))])];
    noticed(&told, &done, Oracle::Counters);
}

#[test]
fn acknowledged_writes_that_were_not_made_are_noticed() {
    let told = [write(1, 1, vec![edit("a", Action::Patch(json!({"price": 1})))])];
    let done = [write(1, 1, vec![edit("a", Action::Patch(json!({"name": "a"})))])];
    let violation = noticed(&told, &done, Oracle::Values);
    assert_eq!(violation.place, "a write was acknowledged and not made");
}

#[test]
fn a_transaction_in_parts_is_noticed() {
    let both = write(1, 1, vec![edit("a", put(json!({"x": 1}))), edit("b", put(json!({"x": 1})))]);
    let half = write(1, 1, vec![edit("a", put(json!({"x": 1})))]);
    noticed(std::slice::from_ref(&both), &[half], Oracle::Atomicity);

    let mut plan = plan();
    plan.writes = vec![both.clone()];
    let mut run = Run::new(&plan);
    run.command(1, Some(1), &both.edits, false);
    run.meet();
    assert_eq!(run.quiet().unwrap_err().place, "one write in several entries");
}

#[test]
fn what_nobody_asked_for_is_noticed() {
    let mut run = Run::new(&plan());
    run.command(1, None, &[edit("a", put(json!({"x": 1})))], true);
    run.meet();
    let violation = run.quiet().unwrap_err();
    assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Resurrection, "an entry nobody asked for"));

    let told = [write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    let elsewhere = [write(1, 2, told[0].edits.clone())];
    noticed(&told, &elsewhere, Oracle::Permission);
}

#[test]
fn an_author_without_a_role_is_noticed() {
    let mut plan = plan();
    plan.writes = vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    plan.spaces[0].members[1].1 = Role::Reader;
    let mut run = Run::new(&plan);
    run.write(&plan.writes[0]);
    run.meet();
    assert_eq!(run.quiet().unwrap_err().oracle, Oracle::Permission);
}

#[test]
fn a_store_that_went_back_is_noticed() {
    let mut plan = plan();
    plan.writes = vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    let mut run = Run::new(&plan);
    let image = run.world.image(1);
    run.write(&plan.writes[0]);
    run.world.restore(1, image);
    let violation = run.oracles.started(AT, 1, Start::Crash, run.world.engine(1)).unwrap_err();
    assert_eq!((violation.oracle, violation.node), (Oracle::Durability, Some(1)));
    // Said to be a restore, it is excused; and so is the loss in the end.
    run.oracles.started(AT, 1, Start::Restored, run.world.engine(1)).unwrap();
    run.meet();
    assert_eq!(run.quiet(), Ok(()));
}

#[test]
fn survivors_that_differ_are_noticed() {
    let mut plan = plan();
    plan.writes = vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    let mut run = Run::new(&plan);
    run.write(&plan.writes[0]);
    assert_eq!(run.quiet().unwrap_err().oracle, Oracle::Convergence);
    // Those that cannot reach each other need not agree.
    run.oracles.plan.links.clear();
    assert_eq!(run.quiet(), Ok(()));
}

#[test]
fn entries_that_name_more_or_less_than_was_seen_are_noticed() {
    let mut plan = plan();
    plan.writes =
        vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))]), write(2, 2, vec![edit("b", put(json!({"x": 2})))])];
    for (swap, place) in [(false, "an entry names less than was seen"), (true, "an entry names more than was seen")] {
        let mut run = Run::new(&plan);
        let early = run.world.engine(2).frontier(run.space).unwrap().clone();
        run.write(&plan.writes[0]);
        if swap {
            // It claims a past that its node did not have.
            run.oracles.asked(2, 2, &early);
            run.stepped(2);
            run.meet();
        } else {
            // Its node is said to have had what it did not name.
            let ahead = run.world.engine(1).frontier(run.space).unwrap().clone();
            run.oracles.asked(2, 2, &ahead);
        }
        run.command(2, Some(2), &plan.writes[1].edits, true);
        run.meet();
        let violation = run.quiet().unwrap_err();
        assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Causality, place));
    }
}

#[test]
fn an_assertion_that_fails_is_noticed() {
    let mut plan = plan();
    let over = Over::Entity { space: 0, collection: "goods".to_owned() };
    plan.assertions = vec![Assertion { name: "sold".to_owned(), expression: "entity.name == 'b'".to_owned(), over }];
    let violation = Run::new(&plan).quiet().unwrap_err();
    assert_eq!(violation.oracle, Oracle::Assertion);
    assert!(violation.detail.contains("`sold` for goods/a"), "{violation:?}");
}

#[test]
fn traffic_beyond_measure_is_noticed() {
    let mut run = Run::new(&plan());
    let transferred = Traffic { bytes: 1 << 20, transferred: 1 << 20, connections: 2, wasted: 0 };
    assert_eq!(run.quiet_with(transferred, &mut Stats::default()).unwrap_err().oracle, Oracle::Traffic);
    let mut missing = Stats { bytes_missing: 1 << 18, ..Stats::default() };
    assert_eq!(run.quiet_with(transferred, &mut missing), Ok(()));
    let chatter = Traffic { bytes: 1 << 20, transferred: 0, connections: 2, wasted: 0 };
    assert_eq!(run.quiet_with(chatter, &mut Stats::default()).unwrap_err().oracle, Oracle::Silence);
    let mut queue = Stats { queue_peak: QUEUE_BYTES_MAX + 1, ..Stats::default() };
    assert_eq!(run.quiet_with(Traffic::default(), &mut queue).unwrap_err().oracle, Oracle::Bounds);
    let equals = Traffic { bytes: 900, transferred: 1, connections: 2, wasted: 0 };
    assert_eq!(run.oracles.reconnected(AT, equals).unwrap_err().oracle, Oracle::Silence);
    let dear = Traffic { bytes: 1 << 20, transferred: 0, connections: 2, wasted: 0 };
    assert_eq!(run.oracles.reconnected(AT, dear).unwrap_err().oracle, Oracle::Silence);
    let cheap = Traffic { bytes: 900, transferred: 0, connections: 2, wasted: 0 };
    assert_eq!(run.oracles.reconnected(AT, cheap), Ok(()));
}

#[test]
fn damage_that_is_served_is_noticed() {
    let mut plan = plan();
    plan.writes = writes(5, 20);
    let mut run = Run::new(&plan);
    plan.writes.iter().for_each(|write| run.write(write));
    run.meet();
    // A sound store may call itself damaged: everything it shows is so.
    run.oracles.started(AT, 2, Start::Damaged, run.world.engine(2)).unwrap();
    assert_eq!(run.quiet(), Ok(()));
    run.oracles.damage.iter_mut().for_each(damage::Seen::falsify_row);
    assert_eq!(run.quiet().unwrap_err().place, "a damaged row is served");
    run.oracles.damage.clear();
    run.oracles.started(AT, 2, Start::Damaged, run.world.engine(2)).unwrap();
    run.oracles.damage.iter_mut().for_each(damage::Seen::falsify_entry);
    let violation = run.quiet().unwrap_err();
    assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Damage, "a damaged entry is served"));
}

#[test]
fn rows_that_differ_from_their_history_or_from_each_other_are_noticed() {
    let mut plan = plan();
    plan.writes = writes(6, 20);
    let mut run = Run::new(&plan);
    plan.writes.iter().for_each(|write| run.write(write));
    run.meet();
    let store = run.world.engine(0).reader().reading().unwrap();
    let ledger = ledger::Ledger::read(&store, run.space).unwrap();
    let rows = survivors::rows(&store, run.space).unwrap();
    assert_eq!(replay::check(&ledger, &rows, 3), Ok(()));
    let mut other = rows.clone();
    let names: Vec<_> = rows.keys().cloned().collect();
    other.insert(names[0].clone(), rows[&names[1]].clone());
    assert_eq!(replay::check(&ledger, &other, 3).unwrap_err().place, "another order gives another row");
    assert_eq!(survivors::equal(0, &rows, &rows), Ok(()));
    assert_eq!(survivors::equal(0, &rows, &other).unwrap_err().oracle, Oracle::Convergence);
    other.remove(&names[0]);
    assert_eq!(replay::check(&ledger, &other, 3).unwrap_err().place, "entries without a row");
    assert_eq!(survivors::equal(0, &rows, &other).unwrap_err().oracle, Oracle::Convergence);
}

#[test]
fn a_row_without_its_part_of_a_transaction_is_noticed() {
    let mut run = Run::new(&plan());
    run.command(0, Some(1), &[edit("a", put(json!({"x": 1}))), edit("b", put(json!({"x": 1})))], true);
    let store = run.world.engine(0).reader().reading().unwrap();
    let no = store.space(run.space).unwrap().unwrap().space_no;
    assert_eq!(atomicity::check(&store, run.space, &|_, _| false), Ok(()));
    let entry = store.journal_range(no, 1, 100).unwrap().pop().unwrap().1;
    let read = |id: &str| {
        let row = store.row(no, "goods", id).unwrap();
        (id != "b").then(|| tombolo_crdt::entity::EntityState::decode(&row.unwrap()).unwrap())
    };
    let fault = atomicity::whole(&store, no, (entry.feed, entry.seq), &|_, id| read(id), &|_, _| false).unwrap_err();
    assert_eq!((fault.oracle, fault.place), (Oracle::Atomicity, "a transaction is in only partly"));
    let excused = |known: &'static str| {
        atomicity::whole(&store, no, (entry.feed, entry.seq), &|_, id| read(id), &move |_, id| id == known)
    };
    assert_eq!(excused("b"), Ok(()));
    assert_eq!(excused("a").unwrap_err().place, "a transaction is in only partly");
}

#[test]
fn a_damaged_row_is_excused_until_it_can_be_read_and_then_it_is_its_history() {
    let mut run = Run::new(&plan());
    run.command(0, Some(1), &[edit("a", put(json!({"x": 1}))), edit("b", put(json!({"x": 1})))], true);
    let (space, rows) = (run.space, ["a", "b"].map(|id| (run.space, "goods".to_owned(), id.to_owned())));
    let sound = run.world.row(0, space, "goods", "b");
    run.world.rot(0, &sound);
    run.oracles.rotted(0, &rows[1..]);
    let started = |run: &mut Run| run.oracles.started(AT, 0, Start::Crash, run.world.engine(0));
    assert_eq!(started(&mut run), Ok(()));
    assert_eq!(run.oracles.damaged(&[1, 2]), None);
    assert!(run.oracles.damaged(&[0]).is_some_and(|told| told.contains("goods/b of n0")));
    assert!(run.oracles.rot.excuses(0, space, "goods", "b"));
    assert!(!run.oracles.rot.excuses(0, space, "goods", "a") && !run.oracles.rot.excuses(1, space, "goods", "b"));
    // Another row in its place is noticed, whether it was served so or built so.
    run.world.tamper(0, |batch| {
        let no = batch.space(space).unwrap().unwrap().space_no;
        let other = batch.row(no, "goods", "a").unwrap().unwrap();
        batch.put_row(no, "goods", "b", other).unwrap();
    });
    let violation = started(&mut run).unwrap_err();
    assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Damage, "a damaged row is served"));
    run.oracles.rotted(0, &rows[1..]);
    let fault = run.oracles.rot.stepped(0, run.world.engine(0)).unwrap_err();
    assert_eq!((fault.oracle, fault.place), (Oracle::Replay, "a row built anew is not its history"));
    // The sound row is back.
    run.oracles.rotted(0, &rows);
    run.world.tamper(0, |batch| {
        let no = batch.space(space).unwrap().unwrap().space_no;
        batch.put_row(no, "goods", "b", sound.clone()).unwrap();
    });
    assert_eq!(started(&mut run), Ok(()));
    assert_eq!(run.oracles.damaged(&[0]), None);
    assert!(!run.oracles.rot.excuses(0, space, "goods", "b"));
    // An older disk may have the damage still; an ordinary start may not.
    run.world.rot(0, &sound);
    assert_eq!(started(&mut run), Ok(()));
    assert!(!run.oracles.rot.excuses(0, space, "goods", "b"));
    assert_eq!(run.oracles.started(AT, 0, Start::Restored, run.world.engine(0)), Ok(()));
    assert!(run.oracles.rot.excuses(0, space, "goods", "b"));
}
