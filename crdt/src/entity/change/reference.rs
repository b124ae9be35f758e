//! Changes through Automerge's own codec: what ours is compared with, in tests and simulations (feature `reference`).

use std::num::NonZeroU64;

use automerge::legacy::{self, ElementId, ObjectId};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};

use super::Own;
use crate::FeedId;
use crate::entity::doc::{Action, Key, Kind, Operation, Value};
use crate::entity::id::OpId;

/// The bytes Automerge gives a change of ours with a message of `padding` spaces.
pub(super) fn encode(own: &Own, padding: usize) -> Vec<u8> {
    let expanded = ExpandedChange {
        operations: own.ops.iter().map(legacy_operation).collect(),
        actor_id: actor_id(own.actor),
        hash: None,
        seq: own.seq,
        start_op: NonZeroU64::new(own.start_op).expect("counters begin with 1"),
        time: own.time,
        message: (padding > 0).then(|| " ".repeat(padding)),
        deps: own.deps.iter().map(|dep| automerge::ChangeHash(*dep.as_bytes())).collect(),
        extra_bytes: Vec::new(),
        author: None,
    };
    automerge::Change::from(expanded).raw_bytes().to_vec()
}

fn actor_id(feed: FeedId) -> ActorId {
    ActorId::from(feed.as_bytes().as_slice())
}

fn legacy_id(id: OpId) -> legacy::OpId {
    legacy::OpId::new(id.counter(), &actor_id(id.actor()))
}

fn to_action(value: &Value) -> legacy::OpType {
    legacy::OpType::Put(match value {
        Value::Object(kind) => {
            return legacy::OpType::Make(match kind {
                Kind::Map => ObjType::Map,
                Kind::List => ObjType::List,
                Kind::Text => ObjType::Text,
                Kind::Table => ObjType::Table,
            });
        }
        Value::Null => ScalarValue::Null,
        Value::Bool(bool) => ScalarValue::Boolean(*bool),
        Value::Int(int) => ScalarValue::Int(*int),
        Value::Uint(uint) => ScalarValue::Uint(*uint),
        Value::Float(float) => ScalarValue::F64(*float),
        Value::Str(text) => ScalarValue::Str(text.as_str().into()),
        Value::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
        Value::Counter(counter) => ScalarValue::counter(*counter),
        Value::Timestamp(millis) => ScalarValue::Timestamp(*millis),
        Value::Unknown(type_code, bytes) => ScalarValue::Unknown { type_code: *type_code, bytes: bytes.clone() },
    })
}

fn legacy_operation(op: &Operation) -> legacy::Op {
    legacy::Op {
        action: match &op.action {
            Action::Put(value) => to_action(value),
            Action::Delete => legacy::OpType::Delete,
            Action::Increment(by) => legacy::OpType::Increment(*by),
        },
        obj: if op.obj == OpId::ROOT { ObjectId::Root } else { ObjectId::Id(legacy_id(op.obj)) },
        key: match &op.key {
            Key::Map(key) => legacy::Key::Map(key.as_str().into()),
            Key::Elem(id) if *id == OpId::ROOT => legacy::Key::head(),
            Key::Elem(id) => legacy::Key::Seq(ElementId::Id(legacy_id(*id))),
        },
        pred: op.pred.iter().map(|id| legacy_id(*id)).collect(),
        insert: op.insert,
    }
}
