//! What honest changes take of an entity's counters.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The gate asks for it: nothing that a node writes is refused for that, and as the past is that of the change's
    /// own dependencies, every node finds the same.
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
