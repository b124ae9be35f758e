//! Paths into the view: JSON Patch and typed operations.

use super::fields::Mode;
use super::slots::At;
use super::{PatchOp, TypedOp, WriteError, Writer, ids};
use crate::entity::doc::{Key, Kind, Value};
use crate::entity::id::OpId;
use crate::entity::view::{Candidate, Shown, Slot, stored_key};
use crate::json::{Json, pointer};

/// What a path leads to.
enum Node {
    Map(Vec<OpId>),
    List(OpId),
    /// `{}` at a key: no map yet, or only empty ones.
    Empty,
    Leaf,
}

/// A node and where it is.
struct Spot {
    node: Node,
    /// Containers down to and with it.
    depth: usize,
    /// The group and stored key it is at; `None` for the root and for elements.
    above: Option<(Vec<OpId>, String)>,
}

/// A place that a value can be put to or taken from.
enum Place {
    Root,
    Field { group: Vec<OpId>, key: String, depth: usize, above: Option<(Vec<OpId>, String)> },
    Item { list: OpId, index: usize, len: usize, depth: usize },
}

impl Writer<'_> {
    pub(super) fn patch_op(&mut self, op: &PatchOp) -> Result<(), WriteError> {
        self.afford()?;
        match op {
            PatchOp::Add { path, value } => self.add(path, value),
            PatchOp::Remove { path } => self.take(path),
            PatchOp::Replace { path, value } => self.replace(path, value),
            PatchOp::Copy { from, path } => {
                let value = self.read(from)?;
                self.carry(&value)?;
                self.add(path, &value)
            }
            PatchOp::Move { from, path } => {
                let value = self.read(from)?;
                if path == from {
                    return Ok(());
                }
                if path.strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                    return Err(WriteError::MoveIntoItself(from.clone()));
                }
                self.carry(&value)?;
                self.take(from)?;
                self.add(path, &value)
            }
            PatchOp::Test { path, value } => {
                let same = self.read(path)? == *value;
                if same { Ok(()) } else { Err(WriteError::TestFailed(path.clone())) }
            }
        }
    }

    pub(super) fn typed_op(&mut self, op: &TypedOp) -> Result<(), WriteError> {
        self.afford()?;
        match op {
            TypedOp::Increment { path, by } => self.increment_at(path, *by),
            TypedOp::Insert { path, index, values } => self.splice(path, *index, 0, values),
            TypedOp::Delete { path, index, count } => self.splice(path, *index, *count, &[]),
            TypedOp::Splice { path, index, delete, values } => self.splice(path, *index, *delete, values),
        }
    }

    fn add(&mut self, path: &str, value: &Json) -> Result<(), WriteError> {
        match self.place(path)? {
            Place::Root => self.put_root(value),
            Place::Field { group, key, depth, .. } => self.put_field((&group, &key), None, value, Mode::PATCH, depth),
            Place::Item { list, index, depth, .. } => self.insert(list, index, std::slice::from_ref(value), depth),
        }
    }

    fn replace(&mut self, path: &str, value: &Json) -> Result<(), WriteError> {
        let nothing = || WriteError::NoSuchPath(path.to_owned());
        match self.place(path)? {
            Place::Root => self.put_root(value),
            Place::Field { group, key, depth, .. } => {
                if self.candidates(&group, &key).is_empty() {
                    return Err(nothing());
                }
                self.put_field((&group, &key), None, value, Mode::PATCH, depth)
            }
            Place::Item { list, index, len, depth } if index < len => self.set_elem(list, index, value, depth),
            Place::Item { .. } => Err(nothing()),
        }
    }

    fn take(&mut self, path: &str) -> Result<(), WriteError> {
        let nothing = || WriteError::NoSuchPath(path.to_owned());
        match self.place(path)? {
            Place::Root => Err(nothing()),
            Place::Field { group, key, depth, above } => {
                if self.candidates(&group, &key).is_empty() {
                    return Err(nothing());
                }
                self.remove(&group, &key)?;
                match above {
                    Some((group, key)) => self.keep_shown(&group, &key, depth - 1),
                    None => Ok(()),
                }
            }
            Place::Item { list, index, len, .. } if index < len => self.delete_elems(list, index, 1),
            Place::Item { .. } => Err(nothing()),
        }
    }

    fn put_root(&mut self, value: &Json) -> Result<(), WriteError> {
        let new = value.as_object().ok_or(WriteError::NotAnObject)?;
        self.replace_fields(&[OpId::ROOT], new, Mode::PATCH, 1)
    }

    fn increment_at(&mut self, path: &str, by: i64) -> Result<(), WriteError> {
        let wrong = || WriteError::NotACounter(path.to_owned());
        let counter = |winner: Option<&Candidate<'_>>| match winner {
            Some(Candidate { id, holder, shown: Shown::Value(Value::Counter(value)) }) => Ok((*holder, *id, *value)),
            _ => Err(wrong()),
        };
        match self.place(path)? {
            Place::Root => Err(wrong()),
            Place::Field { group, key, .. } => {
                let candidates = self.candidates(&group, &key);
                if candidates.is_empty() {
                    return self.set_counter(&group, &key, by);
                }
                let (holder, id, value) = counter(candidates.first())?;
                self.increment(holder, Key::Map(key), (id, value), by)
            }
            Place::Item { list, index, .. } => {
                let (elem, candidates) = self.elem(list, index).ok_or_else(wrong)?;
                let (_, id, value) = counter(candidates.first())?;
                self.increment(list, Key::Elem(elem), (id, value), by)
            }
        }
    }

    fn splice(&mut self, path: &str, index: usize, delete: usize, values: &[Json]) -> Result<(), WriteError> {
        let steps = pointer::parse(path)?;
        let spot = self.descend(&steps).ok_or_else(|| WriteError::NoSuchPath(path.to_owned()))?;
        let Node::List(list) = spot.node else { return Err(WriteError::NotAList(path.to_owned())) };
        let len = self.state.doc.shown_len(list);
        if index.checked_add(delete).is_none_or(|end| end > len) {
            return Err(WriteError::Index(path.to_owned()));
        }
        self.delete_elems(list, index, delete)?;
        self.insert(list, index, values, spot.depth)
    }

    /// Inserts before a shown element; `depth` is the list's.
    fn insert(&mut self, list: OpId, index: usize, values: &[Json], depth: usize) -> Result<(), WriteError> {
        let before = index.checked_sub(1).and_then(|at| self.state.doc.shown_from(list, at).next());
        let mut last = before.map_or(OpId::ROOT, |elem| elem.id);
        for value in values {
            last = self.create(At::after(list, last), value, depth + 1, true)?;
        }
        Ok(())
    }

    /// A shown element and its conflict set.
    fn elem(&self, list: OpId, index: usize) -> Option<(OpId, Vec<Candidate<'_>>)> {
        let elem = self.state.doc.shown_from(list, index).next()?;
        Some((elem.id, self.state.doc.candidates(&[Slot { holder: list, ops: &elem.ops }], true)))
    }

    /// Puts a value in the place of a shown element.
    fn set_elem(&mut self, list: OpId, index: usize, value: &Json, depth: usize) -> Result<(), WriteError> {
        let Some((elem, candidates)) = self.elem(list, index) else { return Ok(()) };
        if let [only] = candidates.as_slice() {
            if let (Shown::Value(Value::Counter(counter)), Some(new)) = (&only.shown, value.as_i64()) {
                let by = new.checked_sub(*counter).ok_or(WriteError::Overflow)?;
                let counter = (only.id, *counter);
                return self.increment(list, Key::Elem(elem), counter, by);
            }
            if self.state.doc.json(only, depth, &mut false) == *value {
                return Ok(());
            }
        }
        let live = self.state.doc.shown_from(list, index).next();
        let pred = live.map(|elem| ids(&elem.ops)).unwrap_or_default();
        self.create(At { obj: list, key: Key::Elem(elem), insert: false, pred }, value, depth + 1, true).map(|_| ())
    }

    /// The value a path shows.
    fn read(&self, path: &str) -> Result<Json, WriteError> {
        let steps = pointer::parse(path)?;
        let nothing = || WriteError::NoSuchPath(path.to_owned());
        let Some((last, parents)) = steps.split_last() else { return Ok(self.state.view()) };
        let spot = self.descend(parents).ok_or_else(nothing)?;
        let value = |winner: Option<&Candidate<'_>>| {
            winner.map(|winner| self.state.doc.json(winner, spot.depth, &mut false)).ok_or_else(nothing)
        };
        match &spot.node {
            Node::Map(group) => value(self.candidates(group, &stored_key(group, last)).first()),
            Node::List(list) => {
                let found = pointer::index(last).and_then(|index| self.elem(*list, index)).ok_or_else(nothing)?;
                value(found.1.first())
            }
            Node::Empty | Node::Leaf => Err(nothing()),
        }
    }

    /// Where a path's last step points; what it needs above is there. An index may be the list's length (`-`).
    fn place(&mut self, path: &str) -> Result<Place, WriteError> {
        let steps = pointer::parse(path)?;
        let nothing = || WriteError::NoSuchPath(path.to_owned());
        let Some((last, parents)) = steps.split_last() else { return Ok(Place::Root) };
        let Spot { node, depth, above } = self.descend(parents).ok_or_else(nothing)?;
        match node {
            Node::Map(group) => {
                let key = stored_key(&group, last).into_owned();
                Ok(Place::Field { group, key, depth, above })
            }
            Node::Empty => {
                let (outer, outer_key) = above.ok_or_else(nothing)?;
                let group = self.open_map(&outer, &outer_key, depth - 1)?;
                Ok(Place::Field { group, key: last.clone(), depth, above: Some((outer, outer_key)) })
            }
            Node::List(list) => {
                let len = self.state.doc.shown_len(list);
                let index = if last == "-" { Some(len) } else { pointer::index(last) };
                let index = index.ok_or_else(nothing)?;
                if index > len {
                    Err(WriteError::Index(path.to_owned()))
                } else {
                    Ok(Place::Item { list, index, len, depth })
                }
            }
            Node::Leaf => Err(nothing()),
        }
    }

    /// Follows the winners.
    fn descend(&self, steps: &[String]) -> Option<Spot> {
        let mut spot = Spot { node: Node::Map(vec![OpId::ROOT]), depth: 1, above: None };
        for step in steps {
            let (node, above) = match spot.node {
                Node::Map(group) => {
                    let key = stored_key(&group, step).into_owned();
                    let node = node(self.candidates(&group, &key).first()?);
                    (node, Some((group, key)))
                }
                Node::List(list) => (node(self.elem(list, pointer::index(step)?)?.1.first()?), None),
                Node::Empty | Node::Leaf => return None,
            };
            spot = Spot { node, depth: spot.depth + 1, above };
        }
        Some(spot)
    }
}

fn node(winner: &Candidate<'_>) -> Node {
    match &winner.shown {
        Shown::Map(group) => Node::Map(group.clone()),
        Shown::Empty => Node::Empty,
        Shown::Value(Value::Object(Kind::List)) => Node::List(winner.id),
        Shown::Value(_) => Node::Leaf,
    }
}
