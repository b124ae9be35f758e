//! Goal: whatever is written where, in whatever order frames arrive and connections break, nodes that are connected in
//! the end hold the same bytes, and nothing that was acknowledged is missing.
//! Method: real engines over stores in memory, a seed per world; `SIM_SEED=n` runs one.

use std::collections::BTreeMap;

use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::{TypedOp, Write};
use tombolo_crdt::json::Json;
use tombolo_sim::hand::World;

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("JSON")
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..count).collect(),
    }
}

fn put(text: &str) -> Write {
    Write::Put { value: json(text), base: None }
}

fn increment(by: i64) -> Write {
    Write::Ops(vec![TypedOp::Increment { path: "/n".to_owned(), by }])
}

/// Every node in step with every other member it is connected to; equal digests; equal bytes.
fn assert_converged(world: &mut World, space: SpaceId, seed: u64) {
    let first = world.space(0, space);
    let export = world.export(0, space);
    for node in 0..world.len() {
        let status = world.space(node, space);
        assert_eq!(status.held, Vec::new(), "seed {seed}: node {node} holds entries");
        assert_eq!(status.frontier, first.frontier, "seed {seed}: frontier of node {node}");
        assert_eq!(status.state, first.state, "seed {seed}: state of node {node}");
        assert_eq!(world.export(node, space), export, "seed {seed}: views of node {node}");
        assert!(status.members.iter().all(|member| !member.diverged), "seed {seed}: {status:?}");
        for member in status.members.iter().filter(|member| member.connected) {
            assert!(member.in_step, "seed {seed}: node {node} says of {}: {}", member.name, member.reason);
        }
    }
}

#[test]
fn two_nodes_exchange_and_then_fall_silent() {
    let mut world = World::new(1, 2);
    let space = world.found_space("shop");
    world.write(0, space, "x", "1", [put(r#"{"a":1}"#)]).expect("written");
    world.write(1, space, "x", "2", [put(r#"{"b":2}"#)]).expect("written");
    world.connect(0, 1);
    world.settle();
    assert_converged(&mut world, space, 1);
    assert_eq!(world.export(1, space), vec![r#"x/1 {"a":1}"#, r#"x/2 {"b":2}"#]);
    // Reconnecting with nothing new costs a constant.
    let before = world.bytes();
    world.connect(0, 1);
    world.settle();
    let cost = world.bytes() - before;
    assert!(cost <= 1_500, "reconnecting with nothing new took {cost} bytes");
    // One write costs a range and its acknowledgements, not the frontier.
    let before = world.bytes();
    world.write(0, space, "x", "3", [put(r#"{"c":3}"#)]).expect("written");
    world.settle();
    assert_converged(&mut world, space, 1);
    let cost = world.bytes() - before;
    assert!(cost <= 1_500, "one write took {cost} bytes");
}

#[test]
fn a_relay_connects_nodes_that_never_meet() {
    let mut world = World::new(2, 3);
    let space = world.found_space("line");
    world.connect(0, 1);
    world.connect(1, 2);
    world.write(0, space, "x", "0", [put(r#"{"from":0}"#)]).expect("written");
    world.write(2, space, "x", "2", [put(r#"{"from":2}"#)]).expect("written");
    world.settle();
    assert_converged(&mut world, space, 2);
    assert_eq!(world.export(2, space).len(), 2);
}

/// One random world: writes, deliveries, broken and new connections, killed nodes, then a heal.
fn random_world(seed: u64) {
    let count = 2 + (seed % 4) as usize;
    let mut world = World::new(seed, count);
    let space = world.found_space("random");
    let mut counters: BTreeMap<String, i64> = BTreeMap::new();
    let mut marks: Vec<(String, String)> = Vec::new();
    for step in 0..120 {
        let node = world.dice().below(count);
        let other = world.dice().below(count);
        let id = format!("e{}", world.dice().below(5));
        match world.dice().below(13) {
            0 if node != other => world.connect(node, other),
            1 => world.disconnect(node, other),
            2..=4 => drop(world.deliver(1 + step % 7)),
            5 => {
                let text = format!(r#"{{"n":{step},"by":{node},"nested":{{"k{node}":{step}}},"list":[{step}]}}"#);
                world.write(node, space, "x", &id, [put(&text)]).expect("written");
            }
            6 => drop(world.write(node, space, "x", &id, [Write::Delete])),
            7 => {
                let patch = json(&format!(r#"{{"nested":{{"p{}":{step}}},"n":null}}"#, step % 3));
                drop(world.write(node, space, "x", &id, [Write::MergePatch(patch)]));
            }
            8 | 9 => {
                // Counters on entities that only node 0 makes, so that none is created twice.
                let id = format!("c{}", step % 2);
                if world.write(node, space, "counters", &id, [increment(step as i64)]).is_ok() {
                    *counters.entry(id).or_default() += i64::from(step as u32);
                }
            }
            10 if node == 0 => {
                for id in ["c0", "c1"] {
                    if !world.export(0, space).iter().any(|line| line.starts_with(&format!("counters/{id} "))) {
                        // In one entry: who has the entity has its counter, and does not make another.
                        let made = [put(r#"{"kind":"counter"}"#), increment(0)];
                        world.write(0, space, "counters", id, made).expect("written");
                    }
                }
            }
            11 => world.restart(node),
            _ => {
                // A mark: written once, to an entity of its own, so it must be everywhere in the end.
                let id = format!("m{step}");
                world.write(node, space, "marks", &id, [put(&format!(r#"{{"step":{step}}}"#))]).expect("written");
                marks.push((id, format!(r#"{{"step":{step}}}"#)));
            }
        }
    }
    // Heal along a line: relaying must do.
    for node in 1..count {
        world.connect(node - 1, node);
    }
    world.settle();
    assert_converged(&mut world, space, seed);
    let export = world.export(count - 1, space);
    for (id, view) in &marks {
        let line = format!("marks/{id} {view}");
        assert!(export.contains(&line), "seed {seed}: acknowledged and not there: {line}");
    }
    for (id, sum) in &counters {
        let line = format!("counters/{id} {{\"kind\":\"counter\",\"n\":{sum}}}");
        assert!(export.contains(&line), "seed {seed}: expected {line} in {export:#?}");
    }
}

#[test]
fn random_worlds_converge() {
    for seed in seeds(40) {
        random_world(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = |seed| {
        let mut world = World::new(seed, 3);
        let space = world.found_space("same");
        world.connect(0, 1);
        world.connect(1, 2);
        for n in 0..20 {
            world.write(n % 3, space, "x", &format!("{n}"), [put(r#"{"a":1}"#)]).expect("written");
            world.deliver(3);
        }
        world.settle();
        (world.space(2, space).state, world.bytes())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}
