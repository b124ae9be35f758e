//! Our codec and Automerge's give the same answers.

use automerge::legacy;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::entity::doc::{Action, Key, Kind, Value};

pub(super) fn feed(node: u8) -> FeedId {
    FeedId::from_bytes([node + 1; 16])
}

fn id() -> impl Strategy<Value = OpId> {
    let counter = prop_oneof![6 => 1..6_u64, 2 => 1..300_u64, 1 => Just(NUMBER_END - 1), 1 => 1..NUMBER_END];
    (counter, prop_oneof![3 => Just(0_u8), 3 => 0..5_u8])
        .prop_map(|(counter, node)| OpId::new(counter, feed(node)).unwrap())
}

fn key() -> impl Strategy<Value = Key> {
    let elem = prop_oneof![1 => Just(OpId::ROOT), 3 => id()].prop_map(Key::Elem);
    let text = prop_oneof![3 => "[ab]{0,1}", 1 => "\\PC{0,8}", 1 => "x{100,200}"].prop_map(Key::Map);
    prop_oneof![1 => text, 1 => elem]
}

fn value() -> impl Strategy<Value = Value> {
    let int = || prop_oneof![4 => -3..3_i64, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        3 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::Bool),
        2 => int().prop_map(Value::Int),
        1 => prop_oneof![0..300_u64, any::<u64>(), Just(u64::MAX)].prop_map(Value::Uint),
        1 => any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        1 => prop_oneof![Just(f64::NAN), Just(-0.0), Just(f64::INFINITY)].prop_map(Value::Float),
        2 => "\\PC{0,6}".prop_map(Value::Str),
        1 => bytes().prop_map(Value::Bytes),
        1 => int().prop_map(Value::Counter),
        1 => int().prop_map(Value::Timestamp),
        1 => (10..16_u8, bytes()).prop_map(|(code, bytes)| Value::Unknown(code, bytes)),
        1 => prop::sample::select(vec![Kind::Map, Kind::List, Kind::Text, Kind::Table]).prop_map(Value::Object),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => value().prop_map(Action::Put),
        2 => Just(Action::Delete),
        1 => any::<i64>().prop_map(Action::Increment),
    ]
}

/// Operations as this version may make them.
fn operation() -> impl Strategy<Value = Operation> {
    let obj = prop_oneof![1 => Just(OpId::ROOT), 1 => id()];
    let pred = prop::collection::btree_set(id(), 0..4).prop_map(|pred| pred.into_iter().collect());
    (obj, key(), any::<bool>(), action(), pred).prop_map(|(obj, key, insert, action, pred)| {
        let elem = matches!(&key, Key::Elem(elem) if *elem == OpId::ROOT);
        let insert = elem || (insert && matches!(key, Key::Elem(_)));
        let action = if insert && !matches!(action, Action::Put(_)) { Action::Put(Value::Null) } else { action };
        Operation { obj, key, insert, action, pred }
    })
}

pub(super) fn own() -> impl Strategy<Value = Own> {
    let run = (operation(), prop_oneof![4 => Just(1_usize), 1 => 1..5_usize]);
    let ops = prop::collection::vec(run, 0..12)
        .prop_map(|runs| runs.into_iter().flat_map(|(op, times)| std::iter::repeat_n(op, times)).collect::<Vec<_>>());
    let deps = prop::collection::btree_set(any::<[u8; 32]>().prop_map(ChangeHash::from_bytes), 0..4);
    let number = || prop_oneof![1..200_u64, 1..NUMBER_END];
    let start = number().prop_map(|start| start.min(NUMBER_END - 100));
    (number(), start, any::<i64>(), deps, ops).prop_map(|(seq, start_op, time, deps, ops)| Own {
        actor: feed(0),
        seq,
        start_op,
        time,
        deps: deps.into_iter().collect(),
        ops,
    })
}

/// Like `==`, but a NaN equals itself.
fn same(ours: &Change, theirs: &Change) -> bool {
    format!("{ours:?}") == format!("{theirs:?}")
}

/// What may be wrong with a change that Automerge's encoder writes all the same.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    Mark(bool),
    InsertedKey,
    UpdatedHead,
    InsertedDelete,
    Actor,
    ShortActor,
    Counter(u64),
    PredTwice,
    DepTwice,
    Seq(u64),
    StartOp(u64),
    Extra,
}

fn wrong() -> impl Strategy<Value = Wrong> {
    let number =
        || prop_oneof![Just(NUMBER_END - 1), Just(NUMBER_END), Just(NUMBER_END + 1), Just(u64::from(u32::MAX))];
    prop_oneof![
        Just(Wrong::Nothing),
        any::<bool>().prop_map(Wrong::Mark),
        Just(Wrong::InsertedKey),
        Just(Wrong::UpdatedHead),
        Just(Wrong::InsertedDelete),
        Just(Wrong::Actor),
        Just(Wrong::ShortActor),
        prop_oneof![Just(0), number()].prop_map(Wrong::Counter),
        Just(Wrong::PredTwice),
        Just(Wrong::DepTwice),
        prop_oneof![Just(0), number()].prop_map(Wrong::Seq),
        number().prop_map(Wrong::StartOp),
        Just(Wrong::Extra),
    ]
}

fn spoil(change: &mut automerge::ExpandedChange, wrong: Wrong, at: Index) {
    let root = legacy::ObjectId::Root;
    let put = legacy::OpType::Put(automerge::ScalarValue::Null);
    let key = legacy::Key::Map("k".into());
    let plain = legacy::Op { action: put, obj: root, key, pred: Vec::new().into(), insert: false };
    let actor = change.actor_id.clone();
    let op = match wrong {
        Wrong::Nothing => return,
        Wrong::Mark(begin) => {
            let data = legacy::MarkData { name: "bold".into(), value: automerge::ScalarValue::Null, expand: true };
            let action = if begin { legacy::OpType::MarkBegin(data) } else { legacy::OpType::MarkEnd(true) };
            legacy::Op { action, ..plain }
        }
        Wrong::InsertedKey => legacy::Op { insert: true, ..plain },
        Wrong::UpdatedHead => legacy::Op { key: legacy::Key::head(), ..plain },
        Wrong::InsertedDelete => {
            legacy::Op { key: legacy::Key::head(), insert: true, action: legacy::OpType::Delete, ..plain }
        }
        Wrong::ShortActor => {
            let id = legacy::OpId::new(7, &automerge::ActorId::from([1, 2, 3]));
            legacy::Op { pred: vec![id].into(), ..plain }
        }
        Wrong::Counter(counter) => legacy::Op { pred: vec![legacy::OpId::new(counter, &actor)].into(), ..plain },
        Wrong::PredTwice => legacy::Op { pred: vec![legacy::OpId::new(7, &actor); 2].into(), ..plain },
        Wrong::Actor => return change.actor_id = automerge::ActorId::from([9; 16]),
        Wrong::DepTwice => return change.deps.extend([automerge::ChangeHash([1; 32]); 2]),
        Wrong::Seq(seq) => return change.seq = seq,
        Wrong::StartOp(start) => return change.start_op = start.try_into().unwrap(),
        Wrong::Extra => return change.extra_bytes = vec![1, 2],
    };
    change.operations.insert(at.index(change.operations.len() + 1), op);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_write_and_read_the_same(own in own()) {
        let theirs = reference::encode(&own, 0);
        let parsed = Change::parse(&theirs, feed(0)).unwrap();
        prop_assert_eq!(format!("{:?}", &parsed.ops), format!("{:?}", &own.ops));
        prop_assert!(same(&parsed, &oracle::parse(&theirs, feed(0)).unwrap()));
        let built = Change::build(own).unwrap();
        prop_assert!(same(&built, &parsed));
    }

    #[test]
    fn both_refuse_what_automerge_writes_and_this_version_does_not(
        own in own(), wrong in wrong(), at in any::<Index>(), message in prop::option::of("\\PC{0,9}"),
    ) {
        let mut expanded = automerge::Change::try_from(reference::encode(&own, 0).as_slice()).unwrap().decode();
        expanded.message = message;
        spoil(&mut expanded, wrong, at);
        let encoded = automerge::Change::from(expanded);
        let ours = Change::parse(encoded.raw_bytes(), feed(0));
        match (&ours, oracle::parse(encoded.raw_bytes(), feed(0))) {
            (Ok(ours), Ok(theirs)) => prop_assert!(same(ours, &theirs)),
            (Err(ours), Err(theirs)) => {
                prop_assert_eq!(*ours == ChangeError::Unknown, theirs == ChangeError::Unknown, "{} {}", ours, theirs);
            }
            (ours, theirs) => prop_assert!(false, "{ours:?}, but Automerge: {theirs:?}"),
        }
    }
}
