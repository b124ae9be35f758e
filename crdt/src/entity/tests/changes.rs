//! What is taken for a change, and what the gate refuses.

use automerge::{ActorId, ExpandedChange, ROOT, ScalarValue, transaction::Transactable};

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Key, Operation};

fn bytes() -> Vec<u8> {
    let mut world = World::new(1);
    world.write(0, &put(r#"{"a":[1,2,{"b":"text"}],"m":{"x":0.5}}"#));
    world.made[0].change.bytes().to_vec()
}

fn rehash(bytes: &mut [u8]) {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(&bytes[8..]);
    bytes[4..8].copy_from_slice(&hash[..4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_bytes_are_refused_or_canonical(
        at in any::<Index>(), byte in any::<u8>(), cut in any::<Option<Index>>(), repair in any::<bool>(),
    ) {
        let mut bytes = bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if repair && bytes.len() > 8 {
            rehash(&mut bytes);
        }
        if let Ok(change) = Change::parse(&bytes, feed(0)) {
            prop_assert_eq!(change.bytes(), bytes.as_slice());
            let mut state = EntityState::new();
            if state.gate(&change, &Clock::new()).is_ok() {
                state.apply(&change, &Clock::new(), &Provenance::default(), 1);
                prop_assert_eq!(EntityState::decode(&state.encode()).unwrap(), state);
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let good = bytes();
    assert!(Change::parse(&good, feed(0)).is_ok());
    assert_eq!(Change::parse(&good, feed(1)), Err(ChangeError::Actor));
    assert_eq!(Change::parse(&[good.as_slice(), &[0]].concat(), feed(0)), Err(ChangeError::Chunk));
    assert_eq!(Change::parse(&[], feed(0)), Err(ChangeError::Chunk));
    assert_eq!(Change::parse(&vec![0; CHANGE_BYTES_MAX + 1], feed(0)), Err(ChangeError::TooLarge));
    let mut checksum = good.clone();
    checksum[5] ^= 1;
    assert!(Change::parse(&checksum, feed(0)).is_err());
    let mut document = good.clone();
    document[8] = 0;
    assert_eq!(Change::parse(&document, feed(0)), Err(ChangeError::Chunk));
}

fn expanded() -> ExpandedChange {
    automerge::Change::try_from(bytes().as_slice()).unwrap().decode()
}

fn reparse(change: ExpandedChange) -> Result<Change, ChangeError> {
    Change::parse(automerge::Change::from(change).raw_bytes(), feed(0))
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert!(reparse(expanded()).is_ok());
    let last = (1 << 31) - expanded().operations.len() as u64;
    for (seq, start, good) in [(0, 1, false), (1 << 31, 1, false), (1, last, true), (1, last + 1, false)] {
        let mut change = expanded();
        change.seq = seq;
        let by = start - 1;
        change.start_op = start.try_into().unwrap();
        change.operations.retain(|op| op.obj == automerge::legacy::ObjectId::Root);
        let ops = expanded().operations.len() - change.operations.len();
        change.start_op = (start + ops as u64).try_into().unwrap();
        assert_eq!(reparse(change).is_ok(), good, "seq {seq}, moved by {by}");
    }
    let mut twice = expanded();
    twice.deps = vec![automerge::ChangeHash([1; 32]); 2];
    assert_eq!(reparse(twice), Err(ChangeError::Range));
    let mut extra = expanded();
    extra.extra_bytes = vec![1];
    assert_eq!(reparse(extra), Err(ChangeError::NotCanonical));
}

#[test]
fn compressed_changes_and_marks_are_not_taken() {
    let mut doc = automerge::AutoCommit::new().with_actor(ActorId::from([1; 16]));
    doc.put(ROOT, "k", "x".repeat(1000)).unwrap();
    let mut change = doc.get_last_local_change().unwrap();
    assert!(Change::parse(change.raw_bytes(), feed(0)).is_ok());
    assert_eq!(Change::parse(&change.bytes(), feed(0)), Err(ChangeError::Chunk));
    let text = doc.put_object(ROOT, "t", automerge::ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, "abc").unwrap();
    let mark = automerge::marks::Mark::new("bold".into(), ScalarValue::Boolean(true), 0, 2);
    doc.mark(&text, mark, automerge::marks::ExpandMark::None).unwrap();
    let marked = doc.get_last_local_change().unwrap();
    assert_eq!(Change::parse(marked.raw_bytes(), feed(0)), Err(ChangeError::Unknown));
}

fn forged(node: usize, seq: u64, start_op: u64, pred: Vec<OpId>, obj: OpId) -> Change {
    let op = Operation { obj, key: Key::Map("h".into()), insert: false, action: Action::Delete, pred };
    let own = Own { actor: feed(node), seq, start_op, time: 0, deps: Vec::new(), ops: vec![op] };
    let built = Change::build(own).unwrap();
    Change::parse(built.bytes(), feed(node)).unwrap()
}

/// L1: what is named must lie in the past, or replicas would answer differently.
#[test]
fn l1_names_outside_the_past_are_refused() {
    let mut world = World::new(2);
    world.write(0, &put(r#"{"h":1,"i":2}"#));
    world.settle();
    let state = &world.nodes[1];
    let past = state.clock().clone();
    let id = |counter, node| OpId::new(counter, feed(node)).unwrap();
    let gate = |change: &Change, past: &Clock| state.gate(change, past);
    assert_eq!(gate(&forged(1, 1, 3, vec![id(1, 0)], OpId::ROOT), &past), Ok(()));
    // Others have come further in these.
    let further = |mut past: Clock| {
        past.raise(feed(2), Mark { seq: 1, counter: 8 });
        past
    };
    let (wide, aside) = (further(past.clone()), further(Clock::new()));
    // Not there any more, never there, of another type: in the past all the same.
    assert_eq!(gate(&forged(1, 1, 3, vec![id(2, 0)], id(1, 0)), &past), Ok(()));
    for (change, past) in [
        (forged(1, 1, 9, vec![id(3, 0)], OpId::ROOT), &wide),
        (forged(1, 1, 9, vec![id(1, 7)], OpId::ROOT), &wide),
        (forged(1, 1, 9, vec![id(1, 0)], OpId::ROOT), &aside),
        (forged(1, 1, 9, vec![], id(3, 0)), &wide),
        (forged(1, 1, 2, vec![id(2, 0)], OpId::ROOT), &past),
        (forged(1, 1, 3, vec![id(3, 1)], OpId::ROOT), &past),
        (forged(1, 1, 3, vec![id(4, 1)], OpId::ROOT), &past),
    ] {
        assert!(matches!(gate(&change, past), Err(GateError::NotInPast { .. })), "{change:?}");
    }
    assert_eq!(gate(&forged(1, 2, 9, vec![], OpId::ROOT), &past), Err(GateError::Sequence { seq: 2, expected: 1 }));
    assert_eq!(
        gate(&forged(0, 2, 2, vec![], OpId::ROOT), &past),
        Err(GateError::StartOp { start: 2, last: 2, next: 3 })
    );
    assert_eq!(
        gate(&forged(1, 1, 4, vec![], OpId::ROOT), &past),
        Err(GateError::StartOp { start: 4, last: 0, next: 3 })
    );
    // Its actor's change before it is not in its past.
    assert_eq!(gate(&forged(0, 2, 3, vec![], OpId::ROOT), &aside), Err(GateError::Aside { before: 1 }));
}

/// A predecessor under another key, an object that is none: no effect, and no reason to refuse.
#[test]
fn names_that_are_not_there_have_no_effect() {
    let mut world = World::new(2);
    world.write(0, &put(r#"{"h":1,"i":2}"#));
    world.settle();
    let mut state = world.nodes[1].clone();
    let id = |counter| OpId::new(counter, feed(0)).unwrap();
    let before = state.view_bytes();
    for (seq, pred, obj) in [(1, vec![id(2)], OpId::ROOT), (2, vec![id(1)], id(1))] {
        let change = forged(1, seq, 2 + seq, pred, obj);
        let past = state.clock().clone();
        assert_eq!(state.gate(&change, &past), Ok(()));
        assert_eq!(state.apply(&change, &past, &Provenance::default(), 2), Applied::Applied);
    }
    assert_eq!(state.view_bytes(), before);
    assert_eq!(EntityState::decode(&state.encode()).unwrap(), state);
}

/// Nesting without limit: no thread's stack is that deep, so nothing may recurse over it.
#[test]
fn bottomless_maps_are_walked_without_recursion() {
    let mut ops = Vec::new();
    for counter in 0..30_000 {
        let obj = OpId::new(counter, feed(0)).unwrap_or(OpId::ROOT);
        let action = Action::Put(Value::Object(doc::Kind::Map));
        ops.push(Operation { obj, key: Key::Map("k".into()), insert: false, action, pred: Vec::new() });
    }
    let own = Own { actor: feed(0), seq: 1, start_op: 1, time: 0, deps: Vec::new(), ops: ops.clone() };
    let mut state = EntityState::new();
    state.apply(&Change::build(own).unwrap(), &Clock::new(), &Provenance::default(), 1);
    assert_eq!(state.view_bytes(), b"{}");
    let leaf = Operation {
        obj: OpId::new(30_000, feed(0)).unwrap(),
        key: Key::Map("leaf".into()),
        insert: false,
        action: Action::Put(Value::Null),
        pred: Vec::new(),
    };
    let past = state.clock().clone();
    let own = Own { actor: feed(0), seq: 2, start_op: 30_001, time: 0, deps: state.heads().to_vec(), ops: vec![leaf] };
    state.apply(&Change::build(own).unwrap(), &past, &Provenance::default(), 2);
    assert!(state.flags().over_depth);
    let _ = (state.conflicts(), state.contribution("c", "e"));
    assert_eq!(EntityState::decode(&state.encode()).unwrap(), state);
    let mut writer = Writer::new(&state, feed(1), Hlc::default());
    writer.write(&put(r#"{"a":1}"#)).unwrap();
    let (_, after) = writer.finish(&Provenance::default(), 3).unwrap().unwrap();
    assert_eq!(after.view_bytes(), br#"{"a":1}"#);
}

/// A9 at our own limit: counters end at 2^31, and a change that began there would be the entity's last for everybody.
#[test]
fn no_change_makes_an_entity_unwritable() {
    let mut world = World::new(2);
    world.write(1, &put(r#"{"a":1}"#));
    let mut state = world.nodes[1].clone();
    let past = state.clock().clone();
    let end = (1_u64 << 31) - 1;
    let pill = forged(0, 1, end, vec![], OpId::ROOT);
    assert_eq!(state.gate(&pill, &past), Err(GateError::StartOp { start: end, last: 0, next: 2 }));
    // Nor can one without operations: it raises its actor's mark to the one before its first.
    let own = Own { actor: feed(0), seq: 1, start_op: 2, time: 0, deps: state.heads().to_vec(), ops: Vec::new() };
    let empty = Change::build(own).unwrap();
    assert_eq!(state.gate(&empty, &past), Ok(()));
    state.apply(&empty, &past, &Provenance::default(), 2);
    let mut writer = Writer::new(&state, feed(1), Hlc::from_millis(1_800_000_000_000));
    writer.write(&patch(r#"{"c":1}"#)).unwrap();
    let (change, _) = writer.finish(&Provenance::default(), 3).expect("can be written").expect("something");
    assert_eq!(change.start_op(), 2);
}
