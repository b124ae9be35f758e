//! Groups of many maps with many keys.

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Doc, Key, Kind, Operation, Value};
use crate::entity::view::{Shown, Slot, stored_key};

/// So many maps at the key `m`, one key in each, and so many more keys in the first one.
fn crowd(maps: u64, keys: u64) -> EntityState {
    let op = |obj: OpId, key: String, value: Value| Operation {
        obj,
        key: Key::Map(key),
        insert: false,
        action: Action::Put(value),
        pred: Vec::new(),
    };
    let id = |counter: u64| OpId::new(counter, feed(0)).unwrap();
    let mut ops: Vec<Operation> = (0..maps).map(|_| op(OpId::ROOT, "m".to_owned(), Value::Object(Kind::Map))).collect();
    ops.extend((1..=maps).map(|n| op(id(n), format!("own{n:05}"), Value::Int(1))));
    // Every other key is in two maps, or nothing would be in conflict.
    ops.extend((0..keys).map(|n| op(id(1), format!("key{n:05}"), Value::Int(2))));
    ops.extend((0..keys).step_by(2).map(|n| op(id(2), format!("key{n:05}"), Value::Int(3))));
    let change = Change::build(Own { actor: feed(0), seq: 1, start_op: 1, time: 0, deps: Vec::new(), ops }).unwrap();
    let mut state = EntityState::new();
    Made { change, past: Clock::new() }.apply(&mut state);
    state
}

/// What a write makes of a state, and how much planning looked at.
fn written(state: &EntityState, write: &Write) -> (EntityState, u64) {
    let mut writer = Writer::new(state, feed(1), Hlc::from_millis(1_800_000_000_000));
    writer.write(write).unwrap();
    let visits = writer.visits();
    (writer.finish(&Provenance::default(), 2).unwrap().unwrap().1, visits)
}

/// What is read of a state, and how much was looked at for it.
fn read<T>(state: &EntityState, what: impl FnOnce(&EntityState) -> T) -> (T, u64) {
    let before = state.doc.visits.count();
    let done = what(state);
    (done, state.doc.visits.count() - before)
}

#[test]
fn reading_and_writing_a_group_looks_at_each_slot_a_few_times() {
    const MAPS: u64 = 600;
    const KEYS: u64 = 600;
    let state = crowd(MAPS, KEYS);
    // Each map and each key some ten times; all maps for each key would be 800,000.
    let few = 20 * (MAPS + KEYS);
    let check = |what: &str, visits: u64| assert!((1..few).contains(&visits), "{what}: {visits}");
    let (view, count) = read(&state, EntityState::view_bytes);
    check("view", count);
    let (conflicts, count) = read(&state, EntityState::conflicts);
    check("conflicts", count);
    assert_eq!(conflicts.len() as u64, KEYS / 2);
    let ((blamed, more), count) = read(&state, |state| state.blame(&[], 10_000));
    check("blame", count);
    assert_eq!((blamed.len() as u64, more), (MAPS + KEYS, false));
    // Half of the fields go, half get another value.
    let mut fields = json(std::str::from_utf8(&view).unwrap());
    let Json::Object(outer) = &mut fields else { panic!() };
    let Some(Json::Object(inner)) = outer.get_mut("m") else { panic!() };
    let keys: Vec<String> = inner.keys().cloned().collect();
    for (no, key) in keys.into_iter().enumerate() {
        if no % 2 == 0 {
            inner.remove(&key);
        } else {
            inner.insert(key, Json::Bool(true));
        }
    }
    let merged = json(std::str::from_utf8(&view).unwrap());
    let nulls: Vec<String> = (0..KEYS).map(|n| format!("\"key{n:05}\":null")).collect();
    for (what, write) in [
        ("put", Write::Put { value: fields.clone(), base: None }),
        ("put with base", Write::Put { value: fields.clone(), base: Some(merged) }),
        ("removal", put("{}")),
        ("patch", Write::MergePatch(fields.clone())),
        ("patch of nulls", patch(&format!(r#"{{"m":{{{}}}}}"#, nulls.join(",")))),
    ] {
        let (after, count) = written(&state, &write);
        check(what, count);
        if what.starts_with("put") {
            assert_eq!(after.view(), fields, "{what}");
        }
    }
}

/// Whether these are the same operations of the same maps, in the same order.
fn same(one: &[Slot<'_>], other: &[Slot<'_>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.holder == b.holder && std::ptr::eq(a.ops, b.ops))
}

/// What one pass over a group finds is what every map of it says when it is asked for each key. Goes into all groups,
/// and says how many had several maps.
fn check_group(doc: &Doc, group: &[OpId]) -> usize {
    let (keys, all) = (doc.keys(group), doc.all_slots(group));
    assert!(all.keys().eq(keys.iter()) && doc.has_keys(group) != keys.is_empty());
    let mut each = Vec::new();
    doc.each_key(group, |shown, slots| each.push((shown.to_owned(), slots.to_vec())));
    assert_eq!(each.len(), keys.len());
    let everyone = doc.holders(group, |_| true);
    let nobody = doc.holders(group, |_| false);
    let mut several = usize::from(group.len() > 1);
    for (key, (shown, slots)) in keys.iter().zip(each) {
        let expected = doc.slots(group, key);
        assert!(same(&all[key], &expected) && same(&slots, &expected), "{key}");
        assert_eq!(stored_key(group, &shown), *key);
        assert!(same(&doc.slots(everyone.of(key), key), &expected), "{key}");
        for holders in [&everyone, &nobody] {
            assert_eq!(holders.of(key).iter().max(), group.iter().max(), "{key}");
        }
        for candidate in doc.candidates(&expected, false) {
            if let Shown::Map(maps) = &candidate.shown {
                several += check_group(doc, maps);
            }
        }
    }
    several
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_pass_over_a_group_finds_what_each_map_says(events in events(3, 24)) {
        let mut world = World::new(3);
        world.run(&events);
        world.settle();
        for state in &world.nodes {
            check_group(&state.doc, &[OpId::ROOT]);
        }
    }
}

#[test]
fn the_maps_of_a_crowd_are_a_group() {
    assert_eq!(check_group(&crowd(5, 7).doc, &[OpId::ROOT]), 1);
}
