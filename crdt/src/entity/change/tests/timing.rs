//! What reading and writing cost. By hand: `cargo test --release -p tombolo-crdt timing -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::*;
use crate::entity::doc::{Action, Key, Value};
use differential::feed;

/// The shortest of several rounds, per call.
fn time(what: &str, ops: usize, bytes: usize, mut call: impl FnMut()) {
    let calls = if bytes + ops > 10_000 { 3 } else { 20_000 };
    let mut best = Duration::MAX;
    for _ in 0..7 {
        #[expect(clippy::disallowed_methods, reason = "measures time and decides nothing")]
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        best = best.min(start.elapsed() / calls);
    }
    let nanos = best.as_nanos();
    println!("{what}: {bytes} bytes, {ops} operations, {nanos} ns");
}

pub(super) fn puts(count: u64, value: impl Fn(u64) -> Value) -> Own {
    let op = |n: u64| Operation {
        obj: OpId::ROOT,
        key: Key::Map(format!("field{n}")),
        insert: false,
        action: Action::Put(value(n)),
        pred: OpId::new(n + 1, feed(1)).into_iter().collect(),
    };
    let deps = vec![ChangeHash::from_bytes([3; 32])];
    Own { actor: feed(0), seq: 2, start_op: 1 << 24, time: 1_800_000_000, deps, ops: (0..count).map(op).collect() }
}

/// A list with `count` values that take no bytes.
pub(super) fn nulls(count: u64) -> Own {
    let list = OpId::new(1, feed(0)).unwrap();
    let op = |n: u64| Operation {
        obj: list,
        key: Key::Elem(if n == 0 { OpId::ROOT } else { OpId::new(n + 1, feed(0)).unwrap() }),
        insert: true,
        action: Action::Put(Value::Null),
        pred: Vec::new(),
    };
    let deps = Vec::new();
    Own { actor: feed(0), seq: 2, start_op: 2, time: 1_800_000_000, deps, ops: (0..count).map(op).collect() }
}

fn both(what: &str, own: &Own) {
    let bytes = reference::encode(own, 0);
    time(&format!("{what}, read"), own.ops.len(), bytes.len(), || {
        assert!(Change::parse(&bytes, feed(0)).is_ok());
    });
    time(&format!("{what}, read by Automerge"), own.ops.len(), bytes.len(), || {
        assert!(oracle::parse(&bytes, feed(0)).is_ok());
    });
    time(&format!("{what}, written"), own.ops.len(), bytes.len(), || {
        assert!(Change::build(copy(own)).is_ok());
    });
    time(&format!("{what}, written by Automerge"), own.ops.len(), bytes.len(), || {
        assert!(!reference::encode(&copy(own), 0).is_empty());
    });
    time(&format!("{what}, copied for writing"), own.ops.len(), bytes.len(), || {
        assert!(copy(own).start_op > 0);
    });
}

fn copy(own: &Own) -> Own {
    let Own { actor, seq, start_op, time, deps, ops } = own;
    let (deps, ops) = (deps.clone(), ops.clone());
    Own { actor: *actor, seq: *seq, start_op: *start_op, time: *time, deps, ops }
}

#[test]
#[ignore = "prints figures"]
fn timing() {
    both("one field", &puts(1, |_| Value::Int(7)));
    both("ten fields", &puts(10, |n| Value::Str(format!("text {n}"))));
    both("10,000 fields", &puts(10_000, |n| Value::Str(format!("text {n}"))));
    both("1 MB of text", &puts(1, |_| Value::Str("x".repeat(1_000_000))));
    both("65,536 nulls in a list", &nulls(65_536));
}

/// What a few bytes may cost once they are through the gate.
#[test]
#[ignore = "prints figures"]
fn hostile_lists() {
    use crate::entity::{EntityState, Provenance};
    let list = OpId::new(1, feed(0)).unwrap();
    let make = Operation {
        obj: OpId::ROOT,
        key: Key::Map("l".into()),
        insert: false,
        action: Action::Put(Value::Object(crate::entity::doc::Kind::List)),
        pred: Vec::new(),
    };
    let count = 65_000;
    for (what, after) in [("in front", 0_u64), ("behind", 1), ("anywhere", 2)] {
        let mut ops = vec![make.clone()];
        for n in 1..count {
            let elem = match after {
                0 => OpId::ROOT,
                1 if n > 1 => OpId::new(n, feed(0)).unwrap(),
                2 if n > 1 => OpId::new(2 + (n * 7919) % (n - 1), feed(0)).unwrap(),
                _ => OpId::ROOT,
            };
            ops.push(Operation {
                obj: list,
                key: Key::Elem(elem),
                insert: true,
                action: Action::Put(Value::Null),
                pred: Vec::new(),
            });
        }
        let own = Own { actor: feed(0), seq: 1, start_op: 1, time: 0, deps: Vec::new(), ops };
        let change = Change::build(own).unwrap();
        #[expect(clippy::disallowed_methods, reason = "measures time and decides nothing")]
        let start = Instant::now();
        let mut state = EntityState::new();
        assert!(state.gate(&change, &crate::entity::Clock::new()).is_ok());
        state.apply(&change, &crate::entity::Clock::new(), &Provenance::default(), 1);
        println!("{what}: {} bytes, {} ms", change.bytes().len(), start.elapsed().as_millis());
    }
}

/// One key with as many values as a change may hold, then as many below them, then all overwritten at once.
#[test]
#[ignore = "prints figures"]
fn hostile_conflicts() {
    use crate::entity::{Clock, EntityState, Provenance};
    let count = 65_000_u64;
    let put = |pred| Operation {
        obj: OpId::ROOT,
        key: Key::Map("k".into()),
        insert: false,
        action: Action::Put(Value::Null),
        pred,
    };
    let change = |node, start_op, deps, ops| {
        Change::build(Own { actor: feed(node), seq: 1, start_op, time: 0, deps, ops }).unwrap()
    };
    let plain = |_| put(Vec::new());
    let high = change(0, 1 << 20, Vec::new(), (0..count).map(plain).collect());
    let low = change(1, 1, Vec::new(), (0..count).map(plain).collect());
    let pred = (0..count).map(|n| OpId::new(n + 1, feed(1)).unwrap()).collect();
    let over = change(2, 1 << 21, vec![low.hash()], vec![put(pred)]);
    let past = Clock::new().with(&low);
    let mut state = EntityState::new();
    for (what, change, past) in [("high", high, Clock::new()), ("low", low, Clock::new()), ("over", over, past)] {
        #[expect(clippy::disallowed_methods, reason = "measures time and decides nothing")]
        let start = Instant::now();
        assert!(state.gate(&change, &past).is_ok());
        state.apply(&change, &past, &Provenance::default(), 1);
        println!("{what}: {} bytes, {} ms", change.bytes().len(), start.elapsed().as_millis());
    }
}
