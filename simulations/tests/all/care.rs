//! Rows that are damaged or wrong are found and built anew; what cannot be is frozen, alone, and said.

use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::{EntityState, Write};
use tombolo_crdt::json::Json;
use tombolo_node::chain::{EntityKey, Entries, Past, Until};
use tombolo_node::engine::{Command, EntityWrite, Expect, Refusal, Reply, SpaceStatus, WriteCommand};
use tombolo_node::store::Batch;
use tombolo_node::stream::{ChangeReader, Told};
use tombolo_sim::hand::World;
use tombolo_sim::outcome::{RunOptions, Verdict};
use tombolo_sim::scenario::Scenario;
use tombolo_sim::{quic, world};

const ENTITIES: usize = 40;

fn put(value: &str) -> Write {
    Write::Put { value: Json::parse(value.as_bytes()).expect("JSON"), base: None }
}

/// Two members in step, with some entities that have been written a few times by both.
fn pair(seed: u64) -> (World, SpaceId) {
    let mut world = World::new(seed, 2);
    let space = world.found_space("care");
    world.connect(0, 1);
    for round in 0..3 {
        for no in 0..ENTITIES {
            let value = format!(r#"{{"n":{round},"of":{no},"text":"some text"}}"#);
            world.write((no + round) % 2, space, "x", &format!("e{no}"), [put(&value)]).expect("written");
        }
        world.settle();
    }
    assert_eq!(status(&mut world, 0, space).state, status(&mut world, 1, space).state);
    (world, space)
}

fn status(world: &mut World, node: usize, space: SpaceId) -> SpaceStatus {
    world.space(node, space)
}

/// Both hold the same.
fn in_step(world: &mut World, space: SpaceId) {
    world.connect(0, 1);
    world.settle();
    let (a, b) = (status(world, 0, space), status(world, 1, space));
    assert_eq!((a.frontier, a.state, a.entities), (b.frontier, b.state, b.entities));
    assert_eq!(world.export(0, space), world.export(1, space));
}

/// Both hold the same, and every row is what its entries give.
fn sound(world: &mut World, space: SpaceId) {
    in_step(world, space);
    for node in 0..2 {
        let status = status(world, node, space);
        assert!(status.frozen.is_empty() && status.disputed.is_empty() && status.held.is_empty(), "{status:?}");
        let reading = world.engine(node).reader().reading().expect("a reading");
        let report = tombolo_node::verify::reading(&reading, &mut |_, _, _| {}).expect("readable");
        assert_eq!(report.findings, Vec::new());
    }
}

#[test]
fn a_row_that_rots_on_a_cold_disk_is_found_and_built_anew() {
    let (mut world, space) = pair(81);
    for id in ["e3", "e17", "e39"] {
        let row = world.row(0, space, "x", id);
        world.rot(0, &row);
    }
    let before = status(&mut world, 0, space).journal;
    world.settle();
    let after = status(&mut world, 0, space);
    assert_eq!((after.care.repaired, after.care.scrubs, after.journal), (3, 1, before + 3));
    sound(&mut world, space);
}

#[test]
fn a_change_to_a_damaged_row_waits_until_it_is_built_anew() {
    let (mut world, space) = pair(82);
    world.disconnect(0, 1);
    world.write(1, space, "x", "e5", [put(r#"{"n":9}"#)]).expect("written");
    world.settle();
    let row = world.row(0, space, "x", "e5");
    world.rot(0, &row);
    sound(&mut world, space);
    assert_eq!(status(&mut world, 0, space).care.repaired, 1);
    assert!(world.export(0, space).contains(&r#"x/e5 {"n":9}"#.to_owned()));
}

#[test]
fn a_writer_is_refused_and_a_reader_need_not_wait_for_the_next_pass() {
    let (mut world, space) = pair(83);
    world.settle();
    let row = world.row(0, space, "x", "e5");
    world.rot(0, &row);
    let refused = world.write(0, space, "x", "e5", [put("{}")]);
    assert!(matches!(refused, Err(Refusal::Damaged { .. })), "{refused:?}");
    // The first pass comes after five seconds; this is done before.
    for _ in 0..20 {
        world.command(0, Command::Status);
    }
    assert_eq!((status(&mut world, 0, space).care.repaired, status(&mut world, 0, space).care.scrubs), (1, 0));
    world.write(0, space, "x", "e5", [put(r#"{"n":10}"#)]).expect("written");
    let row = world.row(0, space, "x", "e6");
    world.rot(0, &row);
    world.command(0, Command::Damaged(space, "x".to_owned(), "e6".to_owned()));
    world.command(0, Command::Damaged(space, "x".to_owned(), "e7".to_owned()));
    for _ in 0..20 {
        world.command(0, Command::Status);
    }
    assert_eq!((status(&mut world, 0, space).care.repaired, status(&mut world, 0, space).care.scrubs), (1, 0));
    sound(&mut world, space);
}

#[test]
fn a_client_of_the_changes_is_told_what_comes_before_a_damaged_row_and_everything_once() {
    let (mut world, space) = pair(88);
    let no =
        world.engine(0).reader().reading().expect("a reading").space(space).expect("readable").expect("held").space_no;
    let mut client = ChangeReader::new(space, no, "").expect("the beginning");
    while client.next(&world.engine(0).reader()).expect("readable").is_some() {}
    for ids in [&["e4"][..], &["e5", "e6"]] {
        let one = |id: &&str| EntityWrite {
            collection: "x".to_owned(),
            id: (*id).to_owned(),
            expect: Expect::Any,
            write: put(r#"{"n":9}"#),
        };
        let writes = ids.iter().map(one).collect();
        let command = WriteCommand { space, writes, atomic: true, idempotency: None, trace: None };
        assert!(matches!(world.command(0, Command::Write(command)), Reply::Written(Ok(_))));
    }
    let row = world.row(0, space, "x", "e6");
    world.rot(0, &row);
    let mut told = Vec::new();
    let mut read = |world: &World, told: &mut Vec<_>| loop {
        match client.next(&world.engine(0).reader()) {
            Ok(Some(Told::Entity { entity, receipt, .. })) => told.push((entity.1, receipt.is_some())),
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    };
    assert!(!read(&world, &mut told) && !read(&world, &mut told), "it cannot be read");
    assert_eq!(told, [("e4".to_owned(), true)]);
    world.settle();
    assert!(read(&world, &mut told));
    // What was built anew is told, and is no entry's doing.
    let rest = [("e5".to_owned(), true), ("e6".to_owned(), true), ("e6".to_owned(), false)];
    assert_eq!(told[1..], rest);
}

/// The position in its feed and the bytes of an entity's newest entry.
fn newest_entry(world: &World, node: usize, space: SpaceId, id: &str) -> Vec<u8> {
    let state = EntityState::decode(&world.row(node, space, "x", id)).expect("sound");
    let reading = world.engine(node).reader().reading().expect("a reading");
    let no = reading.space(space).expect("readable").expect("held").space_no;
    let at = reading.journal(no, state.journal()).expect("readable").expect("there");
    reading.entry(at.feed, at.seq).expect("readable").expect("there").bytes
}

#[test]
fn an_entity_whose_history_is_damaged_too_is_frozen_alone() {
    let (mut world, space) = pair(84);
    let (row, entry) = (world.row(0, space, "x", "e5"), newest_entry(&world, 0, space, "e5"));
    world.disconnect(0, 1);
    world.rot(0, &row);
    world.rot(0, &entry);
    world.settle();
    let status = status(&mut world, 0, space);
    assert_eq!((status.frozen_entities, status.frozen.len(), status.care.repaired), (1, 1, 0));
    let (collection, id, reason) = &status.frozen[0];
    assert_eq!((collection.as_str(), id.as_str()), ("x", "e5"));
    assert!(
        reason.contains("cannot be read: damaged value") && reason.ends_with("its checksum does not match"),
        "{reason}"
    );
    world.write(0, space, "x", "e6", [put(r#"{"n":11}"#)]).expect("others are not concerned");
    let refused = world.write(0, space, "x", "e5", [put("{}")]);
    assert!(matches!(refused, Err(Refusal::Damaged { .. })), "{refused:?}");
}

/// Peers that remember each other tell what moved since, and ask the entries for it.
#[test]
fn a_rotten_last_entry_ends_no_exchange() {
    let (mut world, space) = pair(90);
    world.disconnect(0, 1);
    let last = format!("e{}", ENTITIES - 1);
    let entry = newest_entry(&world, 0, space, &last);
    world.rot(0, &entry);
    world.write(1, space, "x", "e5", [put(r#"{"n":12}"#)]).expect("written");
    world.write(0, space, "x", "e6", [put(r#"{"n":13}"#)]).expect("written");
    in_step(&mut world, space);
    assert!(world.export(0, space).contains(&r#"x/e5 {"n":12}"#.to_owned()));
    assert!(world.export(1, space).contains(&r#"x/e6 {"n":13}"#.to_owned()));
    assert_eq!(world.engine(0).counters().failures, 0);
}

/// Puts an older state of an entity in the place of its row, as if a change had been forgotten; the sums are those of
/// the rows still, unless it was the disk that forgot.
fn forget_the_newest_change(batch: &mut Batch<'_>, space: SpaceId, id: &str, disk: bool) {
    let mut row = batch.space(space).expect("readable").expect("held");
    let stored = batch.row(row.space_no, "x", id).expect("readable").expect("there");
    let state = EntityState::decode(&stored).expect("sound");
    let key = EntityKey { space_no: row.space_no, collection: "x", id };
    let newest = Entries::passing().link(batch, key, state.journal()).expect("readable");
    let older = match newest.previous {
        0 => EntityState::new(),
        before => Past::new(key, before, Until::Present).whole(batch).expect("folds"),
    };
    if !disk {
        row.sums.rows.remove(&state.contribution("x", id));
        row.sums.rows.add(&older.contribution("x", id));
    }
    batch.put_row(row.space_no, "x", id, older.encode()).expect("a row");
    batch.put_space(&row).expect("a space");
}

#[test]
fn rows_that_differ_at_equal_frontiers_are_found_by_their_buckets_and_built_anew() {
    let (mut world, space) = pair(85);
    for id in ["e7", "e8"] {
        world.tamper(0, |batch| forget_the_newest_change(batch, space, id, false));
    }
    let (a, b) = (status(&mut world, 0, space), status(&mut world, 1, space));
    assert_eq!(a.frontier, b.frontier);
    assert_ne!(a.state, b.state);
    sound(&mut world, space);
    assert_eq!(status(&mut world, 0, space).care.repaired, 2);
    assert_eq!(status(&mut world, 1, space).care.repaired, 0);
    let told = world.bytes();
    world.settle();
    assert_eq!(world.bytes(), told, "and nobody says any more");
}

#[test]
fn a_write_that_the_disk_lost_is_noticed_by_the_pass_and_found_with_the_peer() {
    let (mut world, space) = pair(89);
    world.tamper(0, |batch| forget_the_newest_change(batch, space, "e7", true));
    let (a, b) = (status(&mut world, 0, space), status(&mut world, 1, space));
    assert_eq!((a.frontier, a.state), (b.frontier, b.state), "nothing shows");
    sound(&mut world, space);
    let (a, b) = (status(&mut world, 0, space).care, status(&mut world, 1, space).care);
    assert_eq!((a.sums_corrected, a.repaired, b.sums_corrected, b.repaired), (1, 1, 0, 0));
}

#[test]
fn a_row_that_is_missing_and_one_that_nobody_wrote_are_found() {
    let (mut world, space) = pair(86);
    world.tamper(1, |batch| {
        let mut row = batch.space(space).expect("readable").expect("held");
        let stored = batch.row(row.space_no, "x", "e7").expect("readable").expect("there");
        let state = EntityState::decode(&stored).expect("sound");
        row.sums.rows.remove(&state.contribution("x", "e7"));
        row.sums.rows.add(&state.contribution("x", "stranger"));
        batch.remove_row(row.space_no, "x", "e7").expect("removed");
        batch.put_row(row.space_no, "x", "stranger", stored).expect("a row");
        batch.put_space(&row).expect("a space");
    });
    sound(&mut world, space);
    assert_eq!(status(&mut world, 1, space).care.repaired, 2);
    assert_eq!(world.export(1, space).len(), ENTITIES);
}

#[test]
fn sums_that_are_not_those_of_the_rows_are_corrected() {
    let (mut world, space) = pair(87);
    world.tamper(0, |batch| {
        let mut row = batch.space(space).expect("readable").expect("held");
        row.sums.rows.add(&[7; 32]);
        row.entities += 2;
        batch.put_space(&row).expect("a space");
    });
    sound(&mut world, space);
    let status = status(&mut world, 0, space);
    assert_eq!((status.care.sums_corrected, status.care.repaired), (1, 0));
}

/// More rows than can be in doubt at a time, which is 1,024.
const MANY: usize = 3_000;

/// Two members in step, with many entities of which the first one's rows are all damaged.
fn many(seed: u64) -> (World, SpaceId) {
    let mut world = World::new(seed, 2);
    let space = world.found_space("care");
    world.connect(0, 1);
    write_all(&mut world, 0, space, 0);
    world.settle();
    world.tamper(0, |batch| {
        let no = batch.space(space).expect("readable").expect("held").space_no;
        for of in 0..MANY {
            let id = format!("e{of:04}");
            let mut row = batch.row(no, "x", &id).expect("readable").expect("there");
            let middle = row.len() / 2;
            row[middle] ^= 1;
            batch.put_row(no, "x", &id, row).expect("a row");
        }
    });
    (world, space)
}

fn write_all(world: &mut World, node: usize, space: SpaceId, n: usize) {
    for half in [0..MANY / 2, MANY / 2..MANY] {
        let one = |of: usize| EntityWrite {
            collection: "x".to_owned(),
            id: format!("e{of:04}"),
            expect: Expect::Any,
            write: put(&format!(r#"{{"n":{n},"of":{of}}}"#)),
        };
        let writes = half.map(one).collect();
        let command = WriteCommand { space, writes, atomic: true, idempotency: None, trace: None };
        assert!(matches!(world.command(node, Command::Write(command)), Reply::Written(Ok(_))));
    }
}

#[test]
fn more_damaged_rows_than_can_be_in_doubt_at_a_time_are_all_built_anew_in_one_pass() {
    let (mut world, space) = many(89);
    world.settle();
    let after = status(&mut world, 0, space);
    assert_eq!((after.care.repaired, after.care.scrubs), (MANY as u64, 1));
    in_step(&mut world, space);
}

#[test]
fn changes_to_more_damaged_rows_than_can_be_in_doubt_at_a_time_are_all_applied() {
    let (mut world, space) = many(90);
    write_all(&mut world, 1, space, 1);
    world.connect(0, 1);
    in_step(&mut world, space);
    assert_eq!(status(&mut world, 0, space).care.repaired, MANY as u64);
    assert!(world.export(0, space).contains(&r#"x/e2999 {"n":1,"of":2999}"#.to_owned()));
}

#[test]
fn whatever_rots_while_a_shop_is_closed_is_built_anew_on_both_lanes() {
    let scenario = Scenario::of_library("rotten-row").expect("known").expect("fine");
    for (lane, seed) in [("world", 0), ("world", 1), ("quic", 0)] {
        let plan = scenario.plan(seed);
        let outcome = match lane {
            "world" => world::run(&plan, RunOptions::default()),
            _ => quic::run(&plan, RunOptions::default()),
        };
        assert_eq!(outcome.verdict, Verdict::Held, "{lane}, seed {seed}");
        let hits = |what: &str| outcome.stats.hits.get(what).copied().unwrap_or(0);
        assert_eq!((hits("rows damaged"), hits("rows built anew")), (14, 14), "{lane}, seed {seed}");
    }
}
