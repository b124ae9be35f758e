//! Automerge change chunks: bytes to [`Change`] and back. The only place that calls Automerge's codec.
//!
//! **Members are trusted until the bounded decoder exists.** Automerge's decoder expands column runs without a bound and
//! can panic on crafted bytes; a panic is caught here, memory is not bounded. Everything else that ARCHITECTURE.md §6
//! asks of the bytes alone is checked.

use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{self, ElementId, ObjectId};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};

use super::doc::{Action, Key, Kind, Operation, Value};
use super::id::{NUMBER_END, OpId};
use crate::{ChangeHash, FeedId};

/// Bytes a change may have.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Chunk type of a change that is not deflated.
const CHUNK_CHANGE: u8 = 1;

/// Why bytes are not a change. The author's fault; nothing changed. All but [`ChangeError::Unknown`] are refused(structure).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// More than [`CHANGE_BYTES_MAX`].
    #[error("more than 1 MiB")]
    TooLarge,
    /// Not exactly one chunk of type 1: other magic or type, cut off, or bytes behind it.
    #[error("not exactly one change chunk")]
    Chunk,
    /// Automerge's decoder refuses it, or panics over it.
    #[error("not decodable")]
    Undecodable,
    /// Encoding what was decoded gives other bytes: a wrong checksum, or not the canonical form.
    #[error("not in canonical form")]
    NotCanonical,
    /// Made by another actor than its feed's.
    #[error("the actor is not the feed")]
    Actor,
    /// A counter or sequence number of 0 or from 2³¹ on, dependencies or predecessors twice, or a malformed operation.
    #[error("a number or an operation is out of range")]
    Range,
    /// An operation this version does not know, rich-text marks among them. A newer version may.
    #[error("an operation of an unknown kind")]
    Unknown,
}

/// A change that passed every check its bytes alone allow.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    hash: ChangeHash,
    actor: FeedId,
    seq: u64,
    start_op: u64,
    deps: Vec<ChangeHash>,
    bytes: Vec<u8>,
    ops: Vec<Operation>,
}

impl Change {
    /// Parses and checks the bytes of one change that the feed `actor` carries.
    pub fn parse(bytes: &[u8], actor: FeedId) -> Result<Self, ChangeError> {
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        check_chunk(bytes).ok_or(ChangeError::Chunk)?;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let change = automerge::Change::try_from(bytes).map_err(|error| unknown_or_undecodable(&error))?;
            let expanded = change.decode();
            let same = automerge::Change::from(expanded.clone()).raw_bytes() == bytes;
            Ok((change.hash(), expanded, same))
        }));
        let (hash, expanded, same) = decoded.unwrap_or(Err(ChangeError::Undecodable))?;
        let change = Self::from_expanded(&expanded, ChangeHash::from_bytes(hash.0), bytes.to_vec())?;
        if !same || !expanded.extra_bytes.is_empty() {
            return Err(ChangeError::NotCanonical);
        }
        if change.actor != actor {
            return Err(ChangeError::Actor);
        }
        Ok(change)
    }

    fn from_expanded(expanded: &ExpandedChange, hash: ChangeHash, bytes: Vec<u8>) -> Result<Self, ChangeError> {
        let mut deps: Vec<_> = expanded.deps.iter().map(|dep| ChangeHash::from_bytes(dep.0)).collect();
        deps.sort_unstable();
        let start_op = expanded.start_op.get();
        let twice = deps.windows(2).any(|pair| pair.first() == pair.last());
        let end = start_op.saturating_add(expanded.operations.len() as u64);
        if twice || end > NUMBER_END || expanded.seq == 0 || expanded.seq >= NUMBER_END {
            return Err(ChangeError::Range);
        }
        let ops = expanded.operations.iter().map(operation).collect::<Result<_, _>>()?;
        Ok(Self { hash, actor: feed(&expanded.actor_id)?, seq: expanded.seq, start_op, deps, bytes, ops })
    }

    /// Encodes a change of our own. The caller vouches for the numbers.
    pub(crate) fn build(own: Own) -> Result<Self, ChangeError> {
        let mut deps = own.deps;
        deps.sort_unstable();
        let expanded = ExpandedChange {
            operations: own.ops.iter().map(legacy_operation).collect(),
            actor_id: actor_id(own.actor),
            hash: None,
            seq: own.seq,
            start_op: NonZeroU64::new(own.start_op).ok_or(ChangeError::Range)?,
            time: own.time,
            message: None,
            deps: deps.iter().map(|dep| automerge::ChangeHash(*dep.as_bytes())).collect(),
            extra_bytes: Vec::new(),
            author: None,
        };
        let encoded = automerge::Change::from(expanded);
        let bytes = encoded.raw_bytes().to_vec();
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        let hash = ChangeHash::from_bytes(encoded.hash().0);
        Ok(Self { hash, actor: own.actor, seq: own.seq, start_op: own.start_op, deps, bytes, ops: own.ops })
    }

    /// Automerge's hash of the change.
    #[must_use]
    pub fn hash(&self) -> ChangeHash {
        self.hash
    }

    /// The changes it was made on top of, sorted.
    #[must_use]
    pub fn deps(&self) -> &[ChangeHash] {
        &self.deps
    }

    /// Its number among its actor's changes to the entity, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Counter of its first operation.
    #[must_use]
    pub fn start_op(&self) -> u64 {
        self.start_op
    }

    /// Counter of its last operation; below [`Change::start_op`] if it has none.
    #[must_use]
    pub fn max_op(&self) -> u64 {
        self.start_op + self.ops.len() as u64 - 1
    }

    /// The chunk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The feed that carries it.
    #[must_use]
    pub fn actor(&self) -> FeedId {
        self.actor
    }

    /// Its operations with their ids.
    pub(crate) fn ops(&self) -> impl Iterator<Item = (OpId, &Operation)> {
        let ids = (self.start_op..).map_while(|counter| OpId::new(counter, self.actor));
        ids.zip(&self.ops)
    }
}

/// What a change of our own is built from.
pub(crate) struct Own {
    pub(crate) actor: FeedId,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) time: i64,
    pub(crate) deps: Vec<ChangeHash>,
    pub(crate) ops: Vec<Operation>,
}

/// magic, 4 bytes of checksum, type, length (LEB128), and exactly that many bytes.
fn check_chunk(bytes: &[u8]) -> Option<()> {
    let (magic, rest) = bytes.split_at_checked(4)?;
    let (_checksum, rest) = rest.split_at_checked(4)?;
    let (kind, mut rest) = rest.split_first()?;
    let mut length = 0_u64;
    let mut shift = 0;
    loop {
        let (byte, tail) = rest.split_first()?;
        rest = tail;
        length |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if shift > 28 {
            return None;
        }
    }
    (magic == MAGIC && *kind == CHUNK_CHANGE && rest.len() as u64 == length).then_some(())
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

fn actor_id(feed: FeedId) -> ActorId {
    ActorId::from(feed.as_bytes().as_slice())
}

fn op_id(id: &legacy::OpId) -> Result<OpId, ChangeError> {
    OpId::new(id.counter(), feed(id.actor())?).ok_or(ChangeError::Range)
}

fn legacy_id(id: OpId) -> legacy::OpId {
    legacy::OpId::new(id.counter(), &actor_id(id.actor()))
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
