//! What peers may send that no engine would write: it stalls nobody, divides nobody, and strangers leave no trace.

use ed25519_dalek::SigningKey;
use tombolo_crdt::entity::Write;
use tombolo_crdt::entry::ENTRY_DEPS_MAX;
use tombolo_crdt::feed::{FeedKind, Position};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Role;
use tombolo_crdt::{ChainHash, SpaceId};
use tombolo_sim::hand::{Pen, World};

/// Three members on a line, in step; the rules heads they have.
fn line(seed: u64) -> (World, SpaceId, Vec<ChainHash>) {
    let mut world = World::new(seed, 3);
    let space = world.found_space("attack");
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    let heads = world.engine(1).rules_heads(space).expect("held");
    (world, space, heads)
}

#[test]
fn a_gap_that_closes_does_not_leave_the_feed_waiting_for_what_has_come() {
    let (mut world, space, heads) = line(71);
    let mut zoe = Pen::new(world.key(2), space, 7, FeedKind::Data);
    let mut xu = Pen::new(world.key(2), space, 8, FeedKind::Data);
    let z1 = zoe.write(heads.clone(), Vec::new(), "zoe");
    let x1 = xu.write(heads.clone(), vec![zoe.dep()], "xu1");
    let x2 = xu.write(heads, Vec::new(), "xu2");
    // x2 comes before x1, which waits for z1.
    for range in [x2, x1, z1] {
        world.inject(2, 1, space, vec![range]);
    }
    assert_eq!(world.space(1, space).held, Vec::new());
    assert_eq!(world.export(1, space).len(), 3);
}

#[test]
fn two_gaps_in_a_feed_close_one_after_the_other() {
    let (mut world, space, heads) = line(76);
    let mut zoe = Pen::new(world.key(2), space, 7, FeedKind::Data);
    let [z1, z2, z3, z4] = ["zoe1", "zoe2", "zoe3", "zoe4"].map(|id| zoe.write(heads.clone(), Vec::new(), id));
    for (range, settled) in [(z4, 0), (z2, 0), (z1, 2), (z3, 4)] {
        world.inject(2, 1, space, vec![range]);
        assert_eq!(world.export(1, space).len(), settled);
    }
    assert_eq!(world.space(1, space).held, Vec::new());
}

#[test]
fn a_relay_that_swaps_the_opening_of_a_feed_blocks_nobody() {
    let (mut world, space, heads) = line(72);
    let mut honest = Pen::new(world.key(0), space, 8, FeedKind::Data);
    let x1 = honest.write(heads.clone(), Vec::new(), "x1");
    let x2 = honest.write(heads, Vec::new(), "x2");
    let mut opening = honest.opening().clone();
    opening.closes = vec![Position { feed: opening.feed(), seq: 1, chain: opening.chain() }];
    let mut forged = x2.clone();
    forged.opening = opening.encode();
    world.inject(2, 1, space, vec![forged]);
    world.inject(0, 1, space, vec![x1, x2]);
    assert_eq!(world.space(1, space).held, Vec::new());
    assert_eq!(world.export(1, space).len(), 2);
}

#[test]
fn refused_rules_entries_are_nobodys_heads() {
    let (mut world, space, heads) = line(73);
    // Rules entries of somebody who is no member, brought in by one.
    for epoch in 0..300 {
        let mut stranger = Pen::new(&SigningKey::from_bytes(&[9; 32]), space, epoch, FeedKind::Rules);
        let range = stranger.rule(heads.clone(), &[]);
        world.inject(2, 1, space, vec![range]);
    }
    world.settle();
    assert_eq!(world.space(1, space).refused, 300);
    assert_eq!(world.engine(1).rules_heads(space), Some(heads));
    world.write(1, space, "x", "honest", [put()]).expect("written");
    world.settle();
    let (a, b) = (world.space(0, space), world.space(1, space));
    assert_eq!((a.frontier, a.state), (b.frontier, b.state));
    assert_eq!(world.export(0, space), world.export(1, space));
    assert_eq!(world.export(0, space).len(), 1);
}

fn put() -> Write {
    Write::Put { value: Json::parse(br#"{"n":1}"#).expect("JSON"), base: None }
}

/// Core review 3: the joining entry listed all heads, more than an entry may; its author applied it, everybody else
/// refused it, and the states were unequal for ever.
#[test]
fn more_heads_than_an_entry_may_name_are_joined_in_pieces_and_states_stay_equal() {
    let (mut world, space, heads) = line(77);
    let feeds = 2 * ENTRY_DEPS_MAX + 10;
    for epoch in 0..feeds as u64 {
        let mut pen = Pen::new(world.key(2), space, epoch, FeedKind::Data);
        let range = pen.write(heads.clone(), Vec::new(), &format!("e{epoch}"));
        world.inject(2, 1, space, vec![range]);
    }
    world.settle();
    let before = world.space(1, space);
    assert_eq!((before.journal, before.refused), (world.space(0, space).journal, 0));
    let written = world.write(1, space, "x", "joined", [put()]).expect("written");
    assert_eq!(written.receipt.map(|receipt| receipt.seq), Some(3), "two empty entries come before it");
    world.settle();
    // Node 2 only seems to have sent these feeds.
    let all = [0, 1].map(|node| world.space(node, space));
    for space in &all {
        assert_eq!((space.refused, &space.frontier, &space.state), (0, &all[1].frontier, &all[1].state));
        assert_eq!(space.journal, before.journal + 3);
    }
    // From here on there is one head.
    let written = world.write(0, space, "x", "next", [put()]).expect("written");
    assert_eq!(written.receipt.map(|receipt| receipt.seq), Some(1));
}

/// Attacks §2: each was a head, and the next honest write named them all.
#[test]
fn refused_entries_are_named_by_nobody() {
    let mut world = World::new(78, 3);
    let space = world.found_space_with("refused", |node| if node == 2 { Role::Reader } else { Role::Writer });
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    let heads = world.engine(1).rules_heads(space).expect("held");
    for epoch in 0..ENTRY_DEPS_MAX as u64 + 4 {
        let mut pen = Pen::new(world.key(2), space, epoch, FeedKind::Data);
        let range = pen.write(heads.clone(), Vec::new(), "lie");
        world.inject(2, 1, space, vec![range]);
    }
    world.settle();
    let written = world.write(1, space, "x", "honest", [put()]).expect("written");
    assert_eq!(written.receipt.map(|receipt| receipt.seq), Some(1), "nothing has to be joined");
    world.settle();
    let (a, b) = (world.space(0, space), world.space(1, space));
    assert_eq!((a.frontier, a.state, a.refused), (b.frontier, b.state, b.refused));
    assert_eq!((a.refused, world.export(0, space).len()), (ENTRY_DEPS_MAX as u64 + 4, 1));
}

#[test]
fn a_stranger_offers_rules_in_vain() {
    let mut world = World::new(74, 3);
    let space = world.found_space("closed");
    let heads = world.engine(0).rules_heads(space).expect("held");
    let mut stranger = Pen::new(&SigningKey::from_bytes(&[9; 32]), space, 1, FeedKind::Rules);
    let range = stranger.rule(heads, &[]);
    let before = world.space(0, space);
    world.offer_as_stranger(0, &SigningKey::from_bytes(&[9; 32]), space, vec![range]);
    let after = world.space(0, space);
    assert_eq!((before.frontier, before.state, before.refused), (after.frontier, after.state, after.refused));
}

#[test]
fn what_is_settled_of_a_sealed_run_reaches_others_though_its_end_is_held() {
    let (mut world, space, heads) = line(75);
    let mut zoe = Pen::new(world.key(2), space, 7, FeedKind::Data);
    let mut xu = Pen::new(world.key(2), space, 8, FeedKind::Data);
    let missing = zoe.write(heads.clone(), Vec::new(), "zoe");
    let mut run = xu.write(heads.clone(), Vec::new(), "xu1");
    let end = xu.write(heads, vec![zoe.dep()], "xu2");
    // One run of two entries under one seal; the second waits for what only its author has, and its author is gone.
    run.entries.extend(end.entries);
    run.seal = end.seal;
    world.inject(2, 1, space, vec![run]);
    world.disconnect(1, 2);
    world.settle();
    let (a, b) = (world.space(0, space), world.space(1, space));
    assert_eq!(a.frontier, b.frontier);
    assert_eq!(world.export(0, space), world.export(1, space));
    assert_eq!((world.export(0, space).len(), a.held.len(), b.held.len()), (1, 1, 1));
    world.connect(1, 2);
    world.settle();
    world.inject(2, 1, space, vec![missing]);
    world.settle();
    assert_eq!(world.export(0, space).len(), 3);
    assert_eq!(world.space(0, space).held, Vec::new());
}
