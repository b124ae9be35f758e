//! The live operations of an entity, and what one more operation does to them.
//!
//! Automerge's own rule: an operation is visible exactly when no applied operation names it as predecessor. So a key or
//! an element holds the operations nobody has overwritten; increments are folded into the counters they name and remove
//! those of their predecessors that are not counters. An object lives as long as the operation that made it.

use std::collections::BTreeMap;

use super::id::OpId;
use super::ops::Ops;
use super::seq::{Elem, Seq};
use super::visits::{ELEMS_PER_VISIT, Visits};
use crate::defect::{self, Defect};

/// What kind of object an operation made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    List,
    Text,
    Table,
}

impl Kind {
    /// Maps and tables: what has keys, and unites.
    pub(crate) fn has_keys(self) -> bool {
        matches!(self, Self::Map | Self::Table)
    }
}

/// What an operation puts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    Counter(i64),
    Timestamp(i64),
    /// A scalar of a kind that Automerge may have one day.
    Unknown(u8, Vec<u8>),
    Object(Kind),
}

impl Value {
    /// The bytes value that stands for a map without keys (`docs/formats.md`, Values).
    pub(crate) const EMPTY_MAP: &[u8] = b"\0{}";

    pub(crate) fn is_empty_map(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes == Self::EMPTY_MAP)
    }

    /// Whether this made an object with keys.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self, Self::Object(kind) if kind.has_keys())
    }
}

/// Where in its object an operation acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Map(String),
    /// At, or when inserting after, an element; [`OpId::ROOT`] is the place before the first.
    Elem(OpId),
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Put(Value),
    Delete,
    Increment(i64),
}

/// One operation of a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    pub(crate) obj: OpId,
    pub(crate) key: Key,
    pub(crate) insert: bool,
    pub(crate) action: Action,
    pub(crate) pred: Vec<OpId>,
}

impl Operation {
    /// Bytes it takes in memory, with what it points to.
    pub(crate) fn memory(&self) -> usize {
        let key = if let Key::Map(text) = &self.key { text.capacity() } else { 0 };
        let value = match &self.action {
            Action::Put(Value::Str(text)) => text.capacity(),
            Action::Put(Value::Bytes(bytes) | Value::Unknown(_, bytes)) => bytes.capacity(),
            _ => 0,
        };
        size_of::<Self>() + key + value + self.pred.capacity() * size_of::<OpId>()
    }

    /// Whether this puts the tombstone of the entity.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.obj == OpId::ROOT
            && self.action == Action::Put(Value::Bool(true))
            && matches!(&self.key, Key::Map(key) if key == super::DELETED)
    }
}

/// An operation nobody has overwritten.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Live {
    pub(crate) id: OpId,
    pub(crate) value: Value,
}

/// The live operations of a map. No key is without any.
pub(crate) type Keys = BTreeMap<String, Ops>;

/// An object's content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    Map(Keys),
    Seq(Seq),
}

impl Object {
    pub(crate) fn new(kind: Kind) -> Self {
        if kind.has_keys() { Self::Map(Keys::new()) } else { Self::Seq(Seq::default()) }
    }

    /// How many keys or elements it has, tombstones among them.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Map(keys) => keys.len(),
            Self::Seq(seq) => seq.len(),
        }
    }

    /// All live operations within, in order.
    pub(crate) fn live(&self) -> Box<dyn Iterator<Item = &Live> + '_> {
        match self {
            Self::Map(keys) => Box::new(keys.values().flatten()),
            Self::Seq(seq) => Box::new(seq.iter().flat_map(|elem| &elem.ops)),
        }
    }
}

/// All live objects by the operation that made them; the root map under [`OpId::ROOT`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Doc {
    pub(crate) objects: BTreeMap<OpId, Object>,
    pub(super) visits: Visits,
}

impl Doc {
    pub(crate) fn new() -> Self {
        Self::of(BTreeMap::from([(OpId::ROOT, Object::Map(Keys::new()))]))
    }

    /// These objects, the root map among them.
    pub(crate) fn of(objects: BTreeMap<OpId, Object>) -> Self {
        debug_assert!(matches!(objects.get(&OpId::ROOT), Some(Object::Map(_))), "the root is a map and always there");
        Self { objects, visits: Visits::default() }
    }

    /// The keys of a map; `None` for what is no live map.
    pub(crate) fn map(&self, id: OpId) -> Option<&Keys> {
        if let Object::Map(keys) = self.objects.get(&id)? { Some(keys) } else { None }
    }

    /// The elements of a sequence; `None` for what is no live sequence.
    pub(crate) fn seq(&self, id: OpId) -> Option<&Seq> {
        if let Object::Seq(seq) = self.objects.get(&id)? { Some(seq) } else { None }
    }

    /// How many elements of a sequence are shown.
    pub(super) fn shown_len(&self, list: OpId) -> usize {
        self.seq(list).map_or(0, |seq| {
            self.visits.add(1 + seq.blocks() / ELEMS_PER_VISIT);
            seq.shown_len()
        })
    }

    /// The shown elements of a sequence from an index on.
    pub(super) fn shown_from(&self, list: OpId, index: usize) -> impl Iterator<Item = &Elem> {
        self.seq(list).into_iter().flat_map(move |seq| {
            let (elems, passed) = seq.shown_from(index);
            self.visits.add(1 + passed / ELEMS_PER_VISIT);
            elems
        })
    }

    /// Applies one operation. What it names and is not there has no effect.
    pub(crate) fn apply(&mut self, id: OpId, op: &Operation) {
        let mut dead = Vec::new();
        let placed = match (self.objects.get_mut(&op.obj), &op.key) {
            (Some(Object::Map(keys)), Key::Map(key)) if !op.insert => apply_to_key(keys, key, id, op, &mut dead),
            (Some(Object::Seq(seq)), Key::Elem(after)) if op.insert => match &op.action {
                Action::Put(value) => {
                    let ops = Ops::one(Live { id, value: value.clone() });
                    seq.insert(*after, Elem { id, ops })
                }
                _ => false,
            },
            (Some(Object::Seq(seq)), Key::Elem(elem)) => {
                seq.edit(*elem, |ops| apply_to_slot(ops, id, op, &mut dead)).unwrap_or(false)
            }
            _ => false,
        };
        if let (true, Action::Put(Value::Object(kind))) = (placed, &op.action) {
            self.objects.insert(id, Object::new(*kind));
        }
        self.bury(dead);
    }

    /// Drops objects with everything in them.
    fn bury(&mut self, mut dead: Vec<OpId>) {
        while let Some(id) = dead.pop() {
            if let Some(object) = self.objects.remove(&id) {
                dead.extend(object.live().filter(|op| matches!(op.value, Value::Object(_))).map(|op| op.id));
            }
        }
    }
}

fn apply_to_key(keys: &mut Keys, key: &str, id: OpId, op: &Operation, dead: &mut Vec<OpId>) -> bool {
    if let Some(slot) = keys.get_mut(key) {
        let placed = apply_to_slot(slot, id, op, dead);
        if slot.is_empty() {
            keys.remove(key);
        }
        return placed;
    }
    let Action::Put(value) = &op.action else { return false };
    keys.insert(key.to_owned(), Ops::one(Live { id, value: value.clone() }));
    true
}

/// What an operation does to one that it names: counters take increments, all else goes. Says whether it stays.
fn stays(live: &mut Live, id: OpId, op: &Operation, dead: &mut Vec<OpId>) -> bool {
    if let (Action::Increment(by), Value::Counter(counter)) = (&op.action, &mut live.value) {
        // Wrapping, because a sum must not depend on the order of its parts.
        *counter = counter.wrapping_add(*by);
        if defect::is(Defect::IncrementMiscounted) && id.counter().is_multiple_of(8) {
            *counter = counter.wrapping_add(*by);
        }
        return true;
    }
    if matches!(live.value, Value::Object(_)) {
        dead.push(live.id);
    }
    false
}

/// What an operation does to the live ones of its key or element. Says whether it lives there now.
fn apply_to_slot(slot: &mut Ops, id: OpId, op: &Operation, dead: &mut Vec<OpId>) -> bool {
    for pred in &op.pred {
        if slot.get_mut(*pred).is_some_and(|live| !stays(live, id, op, dead)) {
            slot.remove(*pred);
        }
    }
    let Action::Put(value) = &op.action else { return false };
    if defect::is(Defect::LoserDropped) && slot.last().is_some_and(|last| last.id > id) {
        return false;
    }
    slot.insert(Live { id, value: value.clone() });
    true
}
