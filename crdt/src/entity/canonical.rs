//! The canonical part of a row: what equal replicas have equal bytes of. Final: it enters the state digest.
//!
//! Numbers are LEB128 unless said otherwise; *sized* is a length and that many bytes.
//!
//! ```text
//! part    = count of heads, the sorted heads (32 bytes each), content of the root map, updates, deleted
//! updates = count, per actor in byte order: actor (16 bytes), counter         (deleted alike)
//! map     = per key in byte order: 01, sized key, ops;  then 00
//! seq     = per element in order that has a live operation: 01, ops;  then 00
//! ops     = count, per operation by (counter, actor): counter, actor (16 bytes), tag, value
//! value   = by tag: 0 null · 1 false · 2 true · 3 i64 · 4 u64 · 5 bits of a double · 6 sized string · 7 sized bytes
//!           8 i64 counter, increments folded · 9 i64 milliseconds · 10 type code, sized bytes (a scalar of the future)
//!           16 map · 17 list · 18 text · 19 table, each followed by the object's content
//!           (fixed-size numbers are 8 bytes, little-endian)
//! ```
//!
//! Objects that lost are included, dead ones are not, tombstones of sequences neither.

use std::collections::{BTreeMap, btree_map};

use super::EntityState;
use super::doc::{Doc, Kind, Live, Object, Value};
use super::id::OpId;
use super::ops::{self, Ops};
use super::row::{put_number, put_sized};
use super::seq::Elems;
use crate::FeedId;

/// A place in the walk. An explicit stack, because merging can nest deeper than a thread's stack is.
enum Walk<'a> {
    Keys(btree_map::Iter<'a, String, Ops>),
    Elems(Elems<'a>),
    Ops(ops::Iter<'a>),
}

impl<'a> Walk<'a> {
    fn into_object(doc: &'a Doc, id: OpId) -> Self {
        match doc.objects.get(&id) {
            Some(Object::Map(keys)) => Self::Keys(keys.iter()),
            Some(Object::Seq(seq)) => Self::Elems(seq.iter()),
            None => Self::Elems(Elems::default()),
        }
    }
}

impl EntityState {
    /// The bytes of the canonical part.
    pub(super) fn canonical_part(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        put_number(&mut out, self.heads.len() as u64);
        for head in &self.heads {
            out.extend_from_slice(head.as_bytes());
        }
        content(&self.doc, &mut out);
        counters(&self.updates, &mut out);
        counters(&self.deleted, &mut out);
        out
    }
}

fn counters(counters: &BTreeMap<FeedId, u64>, out: &mut Vec<u8>) {
    put_number(out, counters.len() as u64);
    for (actor, counter) in counters {
        out.extend_from_slice(actor.as_bytes());
        put_number(out, *counter);
    }
}

fn content(doc: &Doc, out: &mut Vec<u8>) {
    let mut stack = vec![Walk::into_object(doc, OpId::ROOT)];
    while let Some(top) = stack.last_mut() {
        let deeper = match top {
            Walk::Keys(keys) => keys.next().map(|(key, ops)| {
                out.push(1);
                put_sized(out, key.as_bytes());
                put_number(out, ops.len() as u64);
                Walk::Ops(ops.iter())
            }),
            Walk::Elems(elems) => elems.find(|elem| !elem.ops.is_empty()).map(|elem| {
                out.push(1);
                put_number(out, elem.ops.len() as u64);
                Walk::Ops(elem.ops.iter())
            }),
            Walk::Ops(ops) => match ops.next() {
                Some(op) => {
                    live(op, out);
                    match op.value {
                        Value::Object(_) => Some(Walk::into_object(doc, op.id)),
                        _ => continue,
                    }
                }
                None => {
                    stack.pop();
                    continue;
                }
            },
        };
        if let Some(deeper) = deeper {
            stack.push(deeper);
        } else {
            out.push(0);
            stack.pop();
        }
    }
}

fn live(op: &Live, out: &mut Vec<u8>) {
    put_number(out, op.id.counter());
    out.extend_from_slice(op.id.actor().as_bytes());
    put_value(&op.value, out);
}

/// Tag and value; rows use the same bytes.
pub(super) fn put_value(value: &Value, out: &mut Vec<u8>) {
    let mut eight = |tag: u8, bytes: [u8; 8]| {
        out.push(tag);
        out.extend_from_slice(&bytes);
    };
    match value {
        Value::Int(int) => eight(3, int.to_le_bytes()),
        Value::Uint(uint) => eight(4, uint.to_le_bytes()),
        Value::Float(float) => eight(5, float.to_bits().to_le_bytes()),
        Value::Counter(counter) => eight(8, counter.to_le_bytes()),
        Value::Timestamp(millis) => eight(9, millis.to_le_bytes()),
        Value::Null => out.push(0),
        Value::Bool(bool) => out.push(1 + u8::from(*bool)),
        Value::Str(text) => {
            out.push(6);
            put_sized(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(7);
            put_sized(out, bytes);
        }
        Value::Unknown(code, bytes) => {
            out.extend_from_slice(&[10, *code]);
            put_sized(out, bytes);
        }
        Value::Object(kind) => out.push(match kind {
            Kind::Map => 16,
            Kind::List => 17,
            Kind::Text => 18,
            Kind::Table => 19,
        }),
    }
}
