//! Changes of one kind, as many operations as wanted.

use super::*;
use crate::entity::doc::{Action, Key, Value};
use differential::feed;

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
