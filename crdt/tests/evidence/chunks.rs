//! Chunks that no honest node writes, put together byte by byte or by Automerge's own encoder.

use std::num::NonZeroU64;

use automerge::legacy::{self, ElementId, Key, ObjectId, OpType};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};
use sha2::{Digest, Sha256};

/// Magic, checksum, type, length, contents.
pub(crate) fn frame(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut hashed = vec![kind];
    let mut len = contents.len();
    while len >= 0x80 {
        hashed.push(len as u8 | 0x80);
        len >>= 7;
    }
    hashed.push(len as u8);
    hashed.extend_from_slice(contents);
    [[0x85, 0x6f, 0x4a, 0x83].as_slice(), &Sha256::digest(&hashed)[..4], &hashed].concat()
}

/// A change of actor 01…01 with number 1: others it names, and columns as specification and content.
pub(crate) fn chunk(others: &[[u8; 16]], columns: &[(u8, &[u8])]) -> Vec<u8> {
    let mut contents = [[0, 16].as_slice(), &[1; 16], &[1, 1, 0, 0]].concat();
    contents.push(u8::try_from(others.len()).unwrap());
    for other in others {
        contents.push(16);
        contents.extend_from_slice(other);
    }
    contents.push(u8::try_from(columns.len()).unwrap());
    for (spec, content) in columns {
        // Specifications from 128 on take two bytes; none is used here.
        contents.extend([*spec, u8::try_from(content.len()).unwrap()]);
    }
    columns.iter().for_each(|(_, content)| contents.extend_from_slice(content));
    frame(1, &contents)
}

/// The columns of "put null under k", but for the key.
pub(crate) const PUT: [(u8, &[u8]); 4] = [(0x34, &[1]), (0x42, &[0x7f, 1]), (0x56, &[0x7f, 0]), (0x70, &[0x7f, 0])];

/// "Put null under k", `count` (signed LEB128) times.
pub(crate) fn puts(count: &[u8], insert: &[u8]) -> Vec<u8> {
    let run = |entry: &[u8]| [count, entry].concat();
    chunk(&[], &[(0x15, &run(b"\x01k")), (0x34, insert), (0x42, &run(&[1])), (0x56, &run(&[0])), (0x70, &run(&[0]))])
}

pub(crate) fn actor(number: u8) -> ActorId {
    ActorId::from([number; 16])
}

pub(crate) fn id(counter: u64, by: u8) -> legacy::OpId {
    legacy::OpId::new(counter, &actor(by))
}

fn op(obj: ObjectId, key: Key, insert: bool, action: OpType, pred: &[legacy::OpId]) -> legacy::Op {
    legacy::Op { action, obj, key, pred: pred.to_vec().into(), insert }
}

pub(crate) fn put(obj: ObjectId, key: &str, value: i64, pred: &[legacy::OpId]) -> legacy::Op {
    op(obj, Key::Map(key.into()), false, OpType::Put(ScalarValue::Int(value)), pred)
}

pub(crate) fn make(key: &str, kind: ObjType) -> legacy::Op {
    op(ObjectId::Root, Key::Map(key.into()), false, OpType::Make(kind), &[])
}

/// Inserts after an element, before all for none, or (with `update`) puts in its place.
pub(crate) fn element(list: legacy::OpId, elem: Option<legacy::OpId>, update: bool) -> legacy::Op {
    let key = Key::Seq(elem.map_or(ElementId::Head, ElementId::Id));
    op(ObjectId::Id(list), key, !update, OpType::Put(ScalarValue::Int(9)), &[])
}

/// A change as Automerge encodes it, whatever it says.
pub(crate) fn change(by: u8, (seq, start_op): (u64, u64), deps: &[&[u8]], ops: Vec<legacy::Op>) -> ExpandedChange {
    let hash = |chunk: &&[u8]| automerge::Change::try_from(*chunk).unwrap().hash();
    ExpandedChange {
        operations: ops,
        actor_id: actor(by),
        hash: None,
        seq,
        start_op: NonZeroU64::new(start_op).unwrap(),
        time: 0,
        message: None,
        deps: deps.iter().map(hash).collect(),
        extra_bytes: Vec::new(),
        author: None,
    }
}

pub(crate) fn encoded(change: ExpandedChange) -> Vec<u8> {
    automerge::Change::from(change).raw_bytes().to_vec()
}
