//! Keys with hundreds of values in conflict, as nobody honest makes them.

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Key, Operation, Value};

/// Puts so many values under one key, every third a counter, none over another.
fn puts(node: usize, key: &str, count: u64, below: Option<&Change>) -> Change {
    let value = |n: u64| if n.is_multiple_of(3) { Value::Counter(1) } else { Value::Int(7) };
    let op = |n| Operation { key: Key::Map(key.into()), ..operation(Action::Put(value(n)), Vec::new()) };
    let ops = (0..count).map(op).collect();
    let (start_op, deps) = below.map_or((1, Vec::new()), |below| (below.max_op() + 1, vec![below.hash()]));
    Change::build(Own { actor: feed(node), seq: 1, start_op, time: 0, deps, ops }).unwrap()
}

fn operation(action: Action, pred: Vec<OpId>) -> Operation {
    Operation { obj: OpId::ROOT, key: Key::Map("k".into()), insert: false, action, pred }
}

/// On top of one change: adds 2 to everything from `from` on, then deletes every `step`th.
fn over(node: usize, below: &Change, from: usize, step: usize) -> Made {
    let ids: Vec<OpId> = below.ops().map(|(id, _)| id).collect();
    let deleted = ids.iter().copied().step_by(step).collect();
    let ops = vec![operation(Action::Increment(2), ids[from..].to_vec()), operation(Action::Delete, deleted)];
    let own = Own { actor: feed(node), seq: 1, start_op: below.max_op() + 1, time: 0, deps: vec![below.hash()], ops };
    Made { change: Change::build(own).unwrap(), past: Clock::new().with(below) }
}

fn made(change: Change) -> Made {
    Made { change, past: Clock::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn conflict_sets_of_many_are_the_same_in_any_order(
        counts in (1..200_u64, 1..200_u64),
        cuts in (any::<Index>(), 1..5_usize, 1..5_usize),
        choices in prop::collection::vec(any::<Index>(), 1..9),
    ) {
        let (first, second) = (puts(0, "k", counts.0, None), puts(1, "k", counts.1, None));
        let from = cuts.0.index(counts.0 as usize);
        let mut world = World::new(1);
        let third = over(2, &first, from, cuts.1);
        let fourth = over(3, &second, 0, cuts.2);
        // Whatever was incremented and is no counter is gone, and so is what was deleted.
        let lives = |from: usize, step: usize, n: usize| (n < from || n.is_multiple_of(3)) && !n.is_multiple_of(step);
        let left = (0..counts.0 as usize).filter(|n| lives(from, cuts.1, *n)).count()
            + (0..counts.1 as usize).filter(|n| lives(0, cuts.2, *n)).count();
        world.made = vec![made(first), made(second), third, fourth];
        let state = world.replay(&choices);
        let mut stored = EntityState::new();
        for made in &world.made {
            made.apply(&mut stored);
            stored = EntityState::decode(&stored.encode()).unwrap();
        }
        prop_assert_eq!(&stored, &state);
        let live = state.doc.map(OpId::ROOT).unwrap().get("k").map_or(0, Ops::len);
        prop_assert_eq!(live, left);
        let listed = state.conflicts().first().map_or(1, |conflict| conflict.values.len());
        prop_assert_eq!(listed, left.max(1));
    }
}

/// Below tens of thousands of values as many more, then those overwritten by one operation. As equal values they take a
/// hundred bytes.
#[test]
fn tens_of_thousands_of_values_come_and_go() {
    let (other, low) = (puts(3, "z", 60_000, None), puts(1, "k", 60_000, None));
    let high = puts(0, "k", 60_000, Some(&other));
    let all = low.ops().map(|(id, _)| id).collect();
    let (deps, ops) = (vec![low.hash()], vec![operation(Action::Put(Value::Null), all)]);
    let last = Change::build(Own { actor: feed(2), seq: 1, start_op: 60_001, time: 0, deps, ops }).unwrap();
    let high = Made { past: Clock::new().with(&other), change: high };
    let last = Made { past: Clock::new().with(&low), change: last };
    let mut state = EntityState::new();
    for made in [made(other), high, made(low), last] {
        made.apply(&mut state);
    }
    assert_eq!(state.doc.map(OpId::ROOT).unwrap()["k"].len(), 60_001);
    assert_eq!(state.view_bytes(), br#"{"k":7,"z":7}"#);
}
