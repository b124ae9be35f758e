//! Counters: what honest changes take of them, and what one hostile change can.

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Key, Operation, Value};
use crate::entity::id::NUMBER_END;

/// A change by somebody who has the last counters for himself, on top of what node 0 has; with or without an operation.
fn hostile(world: &World, ops: usize) -> Made {
    let op = Operation {
        obj: OpId::ROOT,
        key: Key::Map("h".into()),
        insert: false,
        action: Action::Put(Value::Null),
        pred: Vec::new(),
    };
    let own = Own {
        actor: feed(7),
        seq: 1,
        start_op: NUMBER_END - ops as u64,
        time: 0,
        deps: world.nodes[0].heads().to_vec(),
        ops: vec![op; ops],
    };
    let change = Change::build(own).unwrap();
    let change = Change::parse(change.bytes(), feed(7)).unwrap();
    Made { change, past: world.nodes[0].clock().clone() }
}

/// A known limit: the gate lets a change begin at any counter above its past, and there are 2³¹. A member who takes the
/// last one, even with a change without operations, ends all writing to that entity, deletion included. It stays
/// readable, no other entity is concerned, and what others wrote meanwhile is applied everywhere alike.
#[test]
fn who_takes_the_last_counter_ends_writing_to_that_entity_for_all() {
    for ops in [1, 0] {
        let mut world = World::new(2);
        world.write(0, &put(r#"{"a":1}"#));
        world.settle();
        let last = hostile(&world, ops);
        // Node 1 writes before it has heard of it.
        world.write(1, &patch(r#"{"b":2}"#));
        last.apply(&mut world.nodes[0]);
        world.sync(0, 1);
        last.apply(&mut world.nodes[1]);
        assert_eq!(world.nodes[0], world.nodes[1], "{ops}");
        let shown = if ops > 0 { r#"{"a":1,"b":2,"h":null}"# } else { r#"{"a":1,"b":2}"# };
        for node in 0..2 {
            assert_eq!(world.view(node), shown);
            for write in [put(r#"{"a":2}"#), patch(r#"{"c":3}"#), increment("/n", 1), Write::Delete] {
                assert_eq!(world.try_write(node, &[write]), Err(WriteError::Exhausted), "{ops}");
            }
        }
        let again = EntityState::decode(&world.nodes[0].encode()).unwrap();
        assert_eq!(again, world.nodes[0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// So a bound on how far above its past a change may begin would refuse nothing that a node writes; and as the past is
    /// that of the change's own dependencies, every node would find the same.
    #[test]
    fn what_a_node_writes_begins_right_above_its_past(events in events(3, 30), choices in prop::collection::vec(any::<Index>(), 1..9)) {
        let mut world = World::new(3);
        world.run(&events);
        let mut pasts = BTreeMap::new();
        for made in &world.made {
            let mut past = Clock::new();
            made.change.deps().iter().for_each(|dep| past.join(&pasts[dep]));
            prop_assert_eq!(&past, &made.past);
            prop_assert_eq!(made.change.start_op(), past.counter_max() + 1);
            pasts.insert(made.change.hash(), past.with(&made.change));
        }
        prop_assert_eq!(world.replay(&choices).clock().counter_max(), pasts.values().map(Clock::counter_max).max().unwrap_or(0));
    }
}
