//! Counter-examples of the design review that need several nodes: refused and held entries, restored images, readers
//! that never read, full disks.

use tombolo_crdt::entity::Write;
use tombolo_crdt::feed::FeedKind;
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Role;
use tombolo_crdt::{ChainHash, SpaceId};
use tombolo_node::engine::Refusal;
use tombolo_sim::hand::{Pen, World};

fn put(text: &str) -> [Write; 1] {
    [Write::Put { value: Json::parse(text.as_bytes()).expect("JSON"), base: None }]
}

/// The rules heads of a space on a node, as its own next entry would state them.
fn rules_heads(world: &World, node: usize, space: SpaceId) -> Vec<ChainHash> {
    world.engine(node).rules_heads(space).expect("the space is held")
}

#[test]
fn v1_a_refused_entry_poisons_nobody() {
    let mut world = World::new(11, 4);
    // Mallory is a reader: whatever she writes is refused everywhere.
    let space = world.found_space_with("v1", |node| if node == 3 { Role::Reader } else { Role::Writer });
    world.connect(3, 0);
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    let mut mallory = Pen::new(world.key(3), space, 99, FeedKind::Data);
    let heads = rules_heads(&world, 0, space);
    let range = mallory.write(heads, Vec::new(), "mallory");
    world.inject(3, 0, space, vec![range]);
    // Ann, who holds the refused entry, writes to another entity: what is refused she does not name.
    world.write(0, space, "x", "ann", put(r#"{"ann":1}"#)).expect("written");
    world.settle();
    for node in 0..3 {
        let status = world.space(node, space);
        assert_eq!(status.refused, 1, "node {node}: {status:?}");
        assert_eq!(status.held, Vec::new(), "node {node}");
        assert_eq!(world.export(node, space), vec![r#"x/ann {"ann":1}"#], "node {node}");
    }
    let digests = [0, 1, 2].map(|node| world.space(node, space).state);
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[1], digests[2]);
    // A writer's further entries, which have Ann's in their past, are fine as well.
    world.write(2, space, "x", "cy", put(r#"{"cy":1}"#)).expect("written");
    world.settle();
    assert_eq!(world.export(0, space).len(), 2);
}

#[test]
fn f2_held_entries_are_not_in_the_frontier_survive_a_restart_and_settle_as_soon_as_they_can() {
    let mut world = World::new(21, 3);
    let space = world.found_space("f2");
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    let heads = rules_heads(&world, 1, space);
    let mut zoe = Pen::new(world.key(2), space, 7, FeedKind::Data);
    let mut xu = Pen::new(world.key(2), space, 8, FeedKind::Data);
    let missing = zoe.write(heads.clone(), Vec::new(), "zoe");
    let waiting = xu.write(heads, vec![zoe.dep()], "xu");
    world.inject(2, 1, space, vec![waiting]);
    world.settle();
    // Node 1 holds it, says so, and falls silent: frontiers are equal without it.
    let (held, other) = (world.space(1, space), world.space(0, space));
    assert_eq!((held.held.len(), other.held.len()), (1, 0));
    assert_eq!(held.frontier, other.frontier);
    assert!(held.held[0].reason.contains("waits for entry 1"), "{}", held.held[0].reason);
    world.restart(1);
    assert_eq!(world.space(1, space).held.len(), 1, "held entries survive a restart");
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    world.inject(2, 1, space, vec![missing]);
    world.settle();
    // Node 1 believed that node 2 had what came from there; it does not. Node 1 notices that nothing moves, and begins
    // anew on another connection, where all is stated again.
    world.connect(1, 2);
    world.settle();
    for node in 0..3 {
        let status = world.space(node, space);
        assert_eq!(status.held, Vec::new(), "node {node}");
        assert_eq!(world.export(node, space).len(), 2, "node {node}");
    }
}

#[test]
fn f3_a_restored_image_writes_no_position_twice_and_gets_its_own_lost_entries_back() {
    let mut world = World::new(31, 2);
    let space = world.found_space("f3");
    world.write(0, space, "x", "before", put(r#"{"n":0}"#)).expect("written");
    let image = world.image(0);
    world.connect(0, 1);
    world.settle();
    let lost = world.write(0, space, "x", "lost", put(r#"{"n":1}"#)).expect("written");
    world.settle();
    world.restore(0, image);
    let after = world.write(0, space, "x", "after", put(r#"{"n":2}"#)).expect("written");
    assert_ne!(lost.receipt, after.receipt, "no feed position is written twice");
    world.connect(0, 1);
    world.settle();
    for node in 0..2 {
        assert_eq!(world.export(node, space).len(), 3, "node {node}");
        assert_eq!(world.space(node, space).held, Vec::new(), "no fork");
    }
}

#[test]
fn a_receiver_that_never_reads_with_five_spaces_stops_nobody_else() {
    let mut world = World::new(41, 3);
    let spaces: Vec<SpaceId> = (0..5).map(|n| world.found_space(&format!("s{n}"))).collect();
    world.connect(0, 1);
    world.connect(0, 2);
    world.settle();
    world.set_deaf(2, true);
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(50_000));
    for n in 0..60 {
        for space in &spaces {
            world.write(0, *space, "x", &format!("{n}"), put(&text)).expect("written");
        }
    }
    world.settle();
    for space in &spaces {
        assert_eq!(world.export(1, *space).len(), 60, "who reads has everything");
    }
    // What waits for the one that does not read is bounded by its room, not by what was written (15 MB).
    let waiting = world.waiting(2);
    assert!(waiting <= 5 * ((1 << 20) + (1 << 19)) + (1 << 16), "{waiting} bytes wait");
    world.set_deaf(2, false);
    world.settle();
    for space in &spaces {
        assert_eq!(world.export(2, *space).len(), 60, "and it catches up when it reads again");
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reading_and_recovers_by_itself() {
    let mut world = World::new(51, 2);
    let space = world.found_space("full");
    world.connect(0, 1);
    world.write(1, space, "x", "before", put(r#"{"n":0}"#)).expect("written");
    world.settle();
    world.fill_disk(1, true);
    let refused = world.write(1, space, "x", "no", put(r#"{"n":1}"#));
    assert!(matches!(refused, Err(Refusal::Full(_))), "{refused:?}");
    world.write(0, space, "x", "meanwhile", put(r#"{"n":2}"#)).expect("the other goes on");
    world.deliver(200);
    assert_eq!(world.export(1, space), vec![r#"x/before {"n":0}"#], "reads go on");
    assert!(world.status(1).full.is_some());
    world.fill_disk(1, false);
    world.settle();
    assert_eq!(world.export(1, space).len(), 2, "what was turned away has come");
    world.write(1, space, "x", "again", put(r#"{"n":3}"#)).expect("writes are taken again");
    assert!(world.status(1).full.is_none());
}

#[test]
fn roles_are_judged_by_everyone() {
    let mut world = World::new(61, 2);
    let space = world.found_space("roles");
    assert_eq!(world.space(0, space).role, Some(Role::Admin));
    assert_eq!(world.space(1, space).role, Some(Role::Writer));
}

#[test]
fn a_disk_that_fails_in_a_commit_costs_what_was_not_acknowledged_and_nothing_else() {
    let mut world = World::new(81, 2);
    let space = world.found_space("failing");
    world.connect(0, 1);
    world.settle();
    for round in 0..5 {
        let id = |what: &str| format!("{what}-{round}");
        let before = world.write(0, space, "x", &id("before"), put(r#"{"n":1}"#)).expect("written");
        world.fail_disk(0, true);
        let failed = world.write(0, space, "x", &id("during"), put(r#"{"n":2}"#));
        assert!(matches!(failed, Err(Refusal::Store(_))), "{failed:?}");
        // Nothing is done on a memory that is not the disk's.
        let again = world.write(0, space, "x", &id("still"), put(r#"{"n":3}"#));
        assert!(matches!(again, Err(Refusal::Store(_))), "{again:?}");
        world.fail_disk(0, false);
        let after = world.write(0, space, "x", &id("after"), put(r#"{"n":4}"#)).expect("written again");
        assert_ne!(before.receipt.map(|r| r.feed), after.receipt.map(|r| r.feed), "in a new epoch");
        world.connect(0, 1);
        world.settle();
        let (a, b) = (world.space(0, space), world.space(1, space));
        assert_eq!((a.frontier, a.state), (b.frontier, b.state), "round {round}");
        let there = world.export(1, space);
        for what in ["before", "after"] {
            assert!(there.iter().any(|line| line.starts_with(&format!("x/{} ", id(what)))), "{what} in {there:?}");
        }
    }
}
