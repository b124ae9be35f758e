//! What Automerge shows of a document through its own interface, and the bytes of a canonical part made from that.

use std::collections::BTreeMap;

use automerge::legacy::{self, Key, ObjectId};
use automerge::{ObjId, ObjType, Prop, ReadDoc, ScalarValue};
use tombolo_crdt::FeedId;
use tombolo_crdt::entity::Clock;

use crate::history::Made;

/// Counter and actor: greater wins.
pub(crate) type Id = (u64, FeedId);

/// A value nobody has overwritten.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) id: Id,
    pub(crate) value: Value,
}

/// With everything in it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(ScalarValue),
    Map(ObjType, Map),
    Seq(ObjType, Vec<Vec<Op>>),
}

/// The keys in byte order.
pub(crate) type Map = BTreeMap<String, Vec<Op>>;

fn id(id: &ObjId) -> Id {
    let ObjId::Id(counter, actor, _) = id else { return (0, FeedId::from_bytes([0; 16])) };
    (*counter, FeedId::from_bytes(actor.to_bytes().try_into().unwrap()))
}

/// All values at a key or index, ascending; the winner is the one that Automerge shows.
fn ops(doc: &impl ReadDoc, object: &ObjId, prop: Prop) -> Vec<Op> {
    let winner = doc.get(object, prop.clone()).unwrap().map(|(_, found)| id(&found));
    let all = doc.get_all(object, prop).unwrap();
    let mut ops: Vec<Op> = all.into_iter().map(|(value, found)| op(doc, value, &found)).collect();
    ops.sort_by_key(|op| op.id);
    assert_eq!(ops.last().map(|op| op.id), winner, "the greatest wins");
    ops
}

fn op(doc: &impl ReadDoc, value: automerge::Value<'_>, found: &ObjId) -> Op {
    let value = match value {
        automerge::Value::Scalar(scalar) => Value::Scalar(scalar.into_owned()),
        automerge::Value::Object(kind) if kind.is_sequence() => {
            let elems = (0..doc.length(found)).map(|index| ops(doc, found, Prop::Seq(index))).collect();
            Value::Seq(kind, elems)
        }
        automerge::Value::Object(kind) => Value::Map(kind, map(doc, found)),
    };
    Op { id: id(found), value }
}

/// A map of a document with everything in it.
pub(crate) fn map(doc: &impl ReadDoc, object: &ObjId) -> Map {
    let keys: Vec<String> = doc.keys(object).collect();
    keys.into_iter().map(|key| (key.clone(), ops(doc, object, Prop::Map(key)))).collect()
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The canonical part of the row (docs/formats.md).
pub(crate) fn canonical(heads: &[automerge::ChangeHash], root: &Map, marks: &Marks) -> Vec<u8> {
    let mut out = Vec::new();
    let mut heads: Vec<_> = heads.iter().map(|head| head.0).collect();
    heads.sort_unstable();
    number(&mut out, heads.len() as u64);
    heads.iter().for_each(|head| out.extend_from_slice(head));
    put_map(&mut out, root);
    for counters in [&marks.updates, &marks.deleted] {
        number(&mut out, counters.len() as u64);
        for (actor, counter) in counters {
            out.extend_from_slice(actor.as_bytes());
            number(&mut out, *counter);
        }
    }
    out
}

fn put_map(out: &mut Vec<u8>, map: &Map) {
    for (key, ops) in map {
        out.push(1);
        sized(out, key.as_bytes());
        put_ops(out, ops);
    }
    out.push(0);
}

fn put_ops(out: &mut Vec<u8>, ops: &[Op]) {
    number(out, ops.len() as u64);
    for op in ops {
        number(out, op.id.0);
        out.extend_from_slice(op.id.1.as_bytes());
        match &op.value {
            Value::Scalar(scalar) => put_scalar(out, scalar),
            Value::Map(kind, map) => {
                out.push(if *kind == ObjType::Table { 19 } else { 16 });
                put_map(out, map);
            }
            Value::Seq(kind, elems) => {
                out.push(if *kind == ObjType::Text { 18 } else { 17 });
                for ops in elems {
                    out.push(1);
                    put_ops(out, ops);
                }
                out.push(0);
            }
        }
    }
}

fn put_scalar(out: &mut Vec<u8>, scalar: &ScalarValue) {
    let mut eight = |tag: u8, bytes: [u8; 8]| {
        out.push(tag);
        out.extend_from_slice(&bytes);
    };
    match scalar {
        ScalarValue::Int(int) => eight(3, int.to_le_bytes()),
        ScalarValue::Uint(uint) => eight(4, uint.to_le_bytes()),
        ScalarValue::F64(float) => eight(5, float.to_le_bytes()),
        ScalarValue::Counter(counter) => eight(8, i64::from(counter).to_le_bytes()),
        ScalarValue::Timestamp(millis) => eight(9, millis.to_le_bytes()),
        ScalarValue::Null => out.push(0),
        ScalarValue::Boolean(bool) => out.push(1 + u8::from(*bool)),
        ScalarValue::Str(text) => {
            out.push(6);
            sized(out, text.as_bytes());
        }
        ScalarValue::Bytes(bytes) => {
            out.push(7);
            sized(out, bytes);
        }
        ScalarValue::Unknown { type_code, bytes } => {
            out.extend_from_slice(&[10, *type_code]);
            sized(out, bytes);
        }
    }
}

/// What of a row no document shows: read off the changes as Automerge decodes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) updates: BTreeMap<FeedId, u64>,
    pub(crate) deleted: BTreeMap<FeedId, u64>,
    pub(crate) clock: BTreeMap<FeedId, (u64, u64)>,
}

impl Marks {
    pub(crate) fn of<'a>(changes: impl Iterator<Item = &'a Made>) -> Self {
        let mut marks = Self::default();
        for made in changes {
            let actor = made.ours.actor();
            let mut counter = made.theirs.start_op().get();
            for op in made.theirs.decode().operations {
                if is_tombstone(&op) {
                    marks.delete(&made.past);
                } else {
                    raise(&mut marks.updates, actor, counter);
                }
                counter += 1;
            }
            let last = marks.clock.entry(actor).or_default();
            *last = (made.theirs.seq().max(last.0), (counter - 1).max(last.1));
        }
        marks
    }

    fn delete(&mut self, past: &Clock) {
        for (actor, mark) in past {
            raise(&mut self.deleted, *actor, mark.counter);
        }
    }

    /// Whether some update was seen by no deletion.
    pub(crate) fn is_present(&self) -> bool {
        self.updates.iter().any(|(actor, counter)| self.deleted.get(actor).is_none_or(|seen| seen < counter))
    }
}

fn raise(counters: &mut BTreeMap<FeedId, u64>, actor: FeedId, counter: u64) {
    let mark = counters.entry(actor).or_default();
    *mark = counter.max(*mark);
}

fn is_tombstone(op: &legacy::Op) -> bool {
    let at = op.obj == ObjectId::Root && op.key == Key::Map("$deleted".into());
    at && op.action == legacy::OpType::Put(ScalarValue::Boolean(true))
}
