//! How changes were read by Automerge before there was a decoder of our own: the reference of the tests.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{self, ElementId, ObjectId};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};

use super::*;
use crate::entity::doc::{Action, Key, Kind, Value};

/// What Automerge makes of a chunk. Only for chunks whose runs are known to be short.
pub(super) fn parse(bytes: &[u8], actor: FeedId) -> Result<Change, ChangeError> {
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let change = automerge::Change::try_from(bytes).map_err(|error| unknown_or_undecodable(&error))?;
        let expanded = change.decode();
        let same = automerge::Change::from(expanded.clone()).raw_bytes() == bytes;
        Ok((change.hash(), expanded, same))
    }));
    let (hash, expanded, same) = decoded.unwrap_or(Err(ChangeError::Undecodable))?;
    let change = from_expanded(&expanded, ChangeHash::from_bytes(hash.0), bytes.to_vec())?;
    if !same || !expanded.extra_bytes.is_empty() {
        return Err(ChangeError::NotCanonical);
    }
    if change.actor != actor {
        return Err(ChangeError::Actor);
    }
    Ok(change)
}

fn from_expanded(expanded: &ExpandedChange, hash: ChangeHash, bytes: Vec<u8>) -> Result<Change, ChangeError> {
    let mut deps: Vec<_> = expanded.deps.iter().map(|dep| ChangeHash::from_bytes(dep.0)).collect();
    deps.sort_unstable();
    let start_op = expanded.start_op.get();
    let twice = deps.windows(2).any(|pair| pair.first() == pair.last());
    let end = start_op.saturating_add(expanded.operations.len() as u64);
    if twice || end > NUMBER_END || expanded.seq == 0 || expanded.seq >= NUMBER_END {
        return Err(ChangeError::Range);
    }
    let ops = expanded.operations.iter().map(operation).collect::<Result<_, _>>()?;
    Ok(Change { hash, actor: feed(&expanded.actor_id)?, seq: expanded.seq, start_op, deps, bytes, ops })
}

/// Automerge tells an unknown action only in words.
fn unknown_or_undecodable(error: &automerge::LoadChangeError) -> ChangeError {
    let unknown = error.to_string().contains("unrecognized action");
    if unknown { ChangeError::Unknown } else { ChangeError::Undecodable }
}

fn feed(actor: &ActorId) -> Result<FeedId, ChangeError> {
    let bytes: [u8; 16] = actor.to_bytes().try_into().map_err(|_| ChangeError::Actor)?;
    Ok(FeedId::from_bytes(bytes))
}

fn op_id(id: &legacy::OpId) -> Result<OpId, ChangeError> {
    OpId::new(id.counter(), feed(id.actor())?).ok_or(ChangeError::Range)
}

fn operation(op: &legacy::Op) -> Result<Operation, ChangeError> {
    let obj = match &op.obj {
        ObjectId::Root => OpId::ROOT,
        ObjectId::Id(id) => op_id(id)?,
    };
    let key = match &op.key {
        legacy::Key::Map(key) => Key::Map(key.to_string()),
        legacy::Key::Seq(ElementId::Head) => Key::Elem(OpId::ROOT),
        legacy::Key::Seq(ElementId::Id(id)) => Key::Elem(op_id(id)?),
    };
    let action = match &op.action {
        legacy::OpType::Make(kind) => Action::Put(Value::Object(match kind {
            ObjType::Map => Kind::Map,
            ObjType::List => Kind::List,
            ObjType::Text => Kind::Text,
            ObjType::Table => Kind::Table,
        })),
        legacy::OpType::Put(value) => Action::Put(from_scalar(value)),
        legacy::OpType::Delete => Action::Delete,
        legacy::OpType::Increment(by) => Action::Increment(*by),
        legacy::OpType::MarkBegin(_) | legacy::OpType::MarkEnd(_) => return Err(ChangeError::Unknown),
    };
    let pred = op.pred.iter().map(op_id).collect::<Result<Vec<_>, _>>()?;
    let put = matches!(action, Action::Put(_));
    let well_formed = match &key {
        Key::Map(_) => !op.insert,
        Key::Elem(_) if op.insert => put,
        Key::Elem(elem) => *elem != OpId::ROOT,
    };
    if !well_formed || !pred.windows(2).all(|pair| pair.first() < pair.last()) {
        return Err(ChangeError::Range);
    }
    Ok(Operation { obj, key, insert: op.insert, action, pred })
}

fn from_scalar(value: &ScalarValue) -> Value {
    match value {
        ScalarValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
        ScalarValue::Str(text) => Value::Str(text.to_string()),
        ScalarValue::Int(int) => Value::Int(*int),
        ScalarValue::Uint(uint) => Value::Uint(*uint),
        ScalarValue::F64(float) => Value::Float(*float),
        ScalarValue::Counter(counter) => Value::Counter(i64::from(counter)),
        ScalarValue::Timestamp(millis) => Value::Timestamp(*millis),
        ScalarValue::Boolean(bool) => Value::Bool(*bool),
        ScalarValue::Unknown { type_code, bytes } => Value::Unknown(*type_code, bytes.clone()),
        ScalarValue::Null => Value::Null,
    }
}
