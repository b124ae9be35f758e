//! Findings of a review, as tests that fail.

use std::time::{Duration, Instant};

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Key, Kind, Operation, Value};

fn op(key: &str, pred: Vec<OpId>) -> Operation {
    let (key, action) = (Key::Map(key.to_owned()), Action::Put(Value::Null));
    Operation { obj: OpId::ROOT, key, insert: false, action, pred }
}

fn change(seq: u64, start_op: u64, deps: Vec<ChangeHash>, ops: Vec<Operation>) -> Change {
    let own = Own { actor: feed(0), seq, start_op, time: 0, deps, ops };
    let bytes = Change::build(own).unwrap().bytes().to_vec();
    Change::parse(&bytes, feed(0)).unwrap()
}

/// A9 again, at our own limit: one change of a member makes the entity read-only for everybody, for ever.
#[test]
fn no_change_makes_an_entity_unwritable() {
    let (_, mut state) = {
        let mut world = World::new(2);
        world.try_write(1, &[put(r#"{"a":1}"#)]).unwrap();
        ((), world.nodes[1].clone())
    };
    let last = (1_u64 << 31) - 1;
    let pill = change(1, last, state.heads().to_vec(), vec![op("b", vec![])]);
    let past = state.clock().clone();
    if state.gate(&pill, &past).is_ok() {
        state.apply(&pill, &past, &Provenance::default(), 2);
    }
    let mut writer = Writer::new(&state, feed(1), Hlc::from_millis(1_800_000_000_000));
    writer.write(&patch(r#"{"c":1}"#)).unwrap();
    writer.finish(&Provenance::default(), 3).expect("an honest node can still write");
}

/// What a node does per change beside the row's reading and writing: apply, and the hash of the heads.
fn siblings(count: u64) -> Duration {
    let mut state = EntityState::new();
    let changes: Vec<Change> = (1..=count).map(|seq| change(seq, seq, Vec::new(), vec![op("k", vec![])])).collect();
    let begun = Instant::now();
    for change in &changes {
        let past = Clock::new();
        state.gate(change, &past).unwrap();
        state.apply(change, &past, &Provenance::default(), 1);
        std::hint::black_box(state.heads_hash());
    }
    begun.elapsed()
}

/// A feed whose changes name no dependency: each becomes a head, and each further change hashes them all.
#[test]
fn changes_without_dependencies_cost_each_what_one_costs() {
    let (few, many) = (siblings(1_000), siblings(8_000));
    println!("1,000: {few:?}; 8,000: {many:?}");
    assert!(many < few * 8 * 3, "1,000: {few:?}; 8,000: {many:?}");
}

/// A list of so many elements with high ids, and then a change of a hundred bytes that inserts 1,024 with low ids at its
/// beginning: each passes over all blocks. How long that change takes, and its bytes.
fn inserts_below(elements: u64) -> (Duration, usize) {
    let own = |no, seq, start_op, deps, ops| {
        let own = Own { actor: feed(no), seq, start_op, time: 0, deps, ops };
        Change::build(own).unwrap()
    };
    let list = OpId::new(1, feed(0)).unwrap();
    let make = Operation { action: Action::Put(Value::Object(Kind::List)), ..op("l", Vec::new()) };
    let base = own(0, 1, 1, Vec::new(), vec![make]);
    let insert = || Operation {
        obj: list,
        key: Key::Elem(OpId::ROOT),
        insert: true,
        action: Action::Put(Value::Null),
        pred: Vec::new(),
    };
    let past = Clock::new().with(&base);
    let mut state = EntityState::new();
    state.apply(&base, &Clock::new(), &Provenance::default(), 1);
    let high = own(1, 1, 1 << 24, vec![base.hash()], (0..elements).map(|_| insert()).collect());
    state.gate(&high, &past).unwrap();
    state.apply(&high, &past, &Provenance::default(), 2);
    let low = own(2, 1, 2, vec![base.hash()], (0..1024).map(|_| insert()).collect());
    let begun = Instant::now();
    state.gate(&low, &past).unwrap();
    state.apply(&low, &past, &Provenance::default(), 3);
    (begun.elapsed(), low.bytes().len())
}

#[test]
fn inserting_before_many_elements_costs_what_inserting_before_few_does() {
    let ((few, bytes), (many, _)) = (inserts_below(4_000), inserts_below(400_000));
    println!("{bytes} bytes; list of 4,000: {few:?}; of 400,000: {many:?}");
    assert!(many < few * 8, "{bytes} bytes; list of 4,000: {few:?}; of 400,000: {many:?}");
}
