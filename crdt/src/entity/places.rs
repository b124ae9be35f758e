//! Which fields a change of the past was about: ids of objects turned into paths.
//!
//! A change names the object it writes to by the operation that made it. Where that object is, or was, says the change
//! that made it: it is in the row as long as it lives, else somewhere further back in the entity's history.

use std::collections::{BTreeMap, BTreeSet};

use super::doc::{Action, Key, Object, Operation, Value};
use super::id::OpId;
use super::view::shown_key;
use super::{Change, DELETED, EntityState};
use crate::json::pointer;

/// Paths of one change that are listed.
pub const PATHS_MAX: usize = 64;
/// Different paths of one change that are looked at.
const PATHS_SEEN_MAX: usize = 4_096;
/// Steps of all paths of one change that are climbed (each some 50 ns): merging can nest as deep as it likes.
const CLIMB_MAX: usize = 1 << 20;

/// Which object lies where.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The object that holds it and the key there; no key: it is an element.
    known: BTreeMap<OpId, (OpId, Option<String>)>,
    /// Objects that changes write to, or that hold others, and whose makers have not been seen.
    wanted: BTreeSet<OpId>,
}

/// What a change wrote to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// JSON Pointers of fields, sorted, at most [`PATHS_MAX`]. What is within an array or text counts for it. Of a map
    /// that was made or removed together with fields in it only these are listed.
    pub paths: Vec<String>,
    /// Whether there are more.
    pub more: bool,
    /// Whether it deletes the entity.
    pub deletes: bool,
    /// Whether it also wrote to objects whose place is not known.
    pub unplaced: bool,
}

impl Places {
    /// The objects that live in an entity. O(its live operations).
    #[must_use]
    pub fn of(state: &EntityState) -> Self {
        let mut places = Self::default();
        for (holder, object) in &state.doc.objects {
            match object {
                Object::Map(keys) => {
                    for (key, op) in keys.iter().flat_map(|(key, ops)| ops.iter().map(move |op| (key, op))) {
                        if matches!(op.value, Value::Object(_)) {
                            places.known.insert(op.id, (*holder, Some(key.clone())));
                        }
                    }
                }
                Object::Seq(_) => {
                    let made = object.live().filter(|op| matches!(op.value, Value::Object(_)));
                    places.known.extend(made.map(|op| (op.id, (*holder, None))));
                }
            }
        }
        places
    }

    /// Learns the places of the objects that a change made.
    pub fn learn(&mut self, change: &Change) {
        for (id, op) in change.ops() {
            if !matches!(op.action, Action::Put(Value::Object(_))) {
                continue;
            }
            let key = if let Key::Map(key) = &op.key { Some(key.clone()) } else { None };
            self.known.entry(id).or_insert((op.obj, key));
            if self.wanted.remove(&id) {
                self.want(op.obj);
            }
        }
    }

    /// Remembers which objects a change writes to, to be found in older changes.
    pub fn ask(&mut self, change: &Change) {
        for (_, op) in change.ops() {
            self.want(op.obj);
        }
    }

    fn want(&mut self, object: OpId) {
        if object != OpId::ROOT && !self.known.contains_key(&object) {
            self.wanted.insert(object);
        }
    }

    /// Whether the places of all objects that were asked for are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.wanted.is_empty()
    }

    /// What a change wrote to, as far as the places are known.
    #[must_use]
    pub fn touched(&self, change: &Change) -> Touched {
        let mut touched = Touched::default();
        let (mut paths, mut left) = (BTreeSet::new(), CLIMB_MAX);
        for (_, op) in change.ops() {
            touched.deletes |= op.is_tombstone();
            if op.obj == OpId::ROOT && matches!(&op.key, Key::Map(key) if key == DELETED) {
                continue;
            }
            match self.path(op, &mut left) {
                Some(_) if paths.len() >= PATHS_SEEN_MAX => touched.more = true,
                Some((path, _)) => {
                    paths.insert(path);
                }
                None => touched.unplaced = true,
            }
        }
        // What lies within a path comes right behind it.
        let mut all = paths.into_iter().peekable();
        while let Some(path) = all.next() {
            let within = all.peek().is_some_and(|next| next.starts_with(&path));
            if !within && touched.paths.len() < PATHS_MAX {
                touched.paths.push(pointer::write(&path));
            } else {
                touched.more |= !within;
            }
        }
        touched
    }

    /// Whether a change wrote to the field at `path` (steps of a pointer), to something within it, or over or into what
    /// it is within (making an object where nothing was is neither), as far as the places are known; or deletes the
    /// entity.
    #[must_use]
    pub fn touches(&self, change: &Change, path: &[String]) -> bool {
        let mut left = CLIMB_MAX;
        change.ops().any(|(_, op)| {
            let register = op.obj == OpId::ROOT && matches!(&op.key, Key::Map(key) if key == DELETED);
            let mut within = || {
                let (there, inside) = self.path(op, &mut left)?;
                let over = there.len() >= path.len() || inside || !op.pred.is_empty();
                Some(over && there.iter().zip(path).all(|(there, asked)| there == asked))
            };
            op.is_tombstone() || (!register && within().unwrap_or(false))
        })
    }

    /// Where an operation acts, and whether that is inside of an array or text, which is then where; `None`: not known.
    /// Ids fall on the way to the root, so it ends.
    fn path<'a>(&'a self, op: &'a Operation, left: &mut usize) -> Option<(Vec<&'a str>, bool)> {
        let (mut steps, mut inside): (Vec<&str>, bool) = (Vec::new(), false);
        let (mut object, mut key) = (op.obj, if let Key::Map(key) = &op.key { Some(key.as_str()) } else { None });
        loop {
            *left = left.checked_sub(1)?;
            match key {
                Some(key) => steps.push(shown_key(&[object], key)?),
                None => {
                    steps.clear();
                    inside = true;
                }
            }
            if object == OpId::ROOT {
                steps.reverse();
                return Some((steps, inside));
            }
            let (holder, above) = self.known.get(&object)?;
            if *holder >= object {
                return None;
            }
            debug_assert!(*holder < object, "ids fall on the way to the root");
            (object, key) = (*holder, above.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Provenance, Write, Writer};
    use crate::json::Json;
    use crate::{FeedId, Hlc};

    fn write(state: &EntityState, write: Write) -> (Change, EntityState) {
        let mut writer = Writer::new(state, FeedId::from_bytes([1; 16]), Hlc::from_millis(1));
        writer.write(&write).unwrap();
        writer.finish(&Provenance::default(), 1).unwrap().unwrap()
    }

    fn put(state: &EntityState, text: &str) -> (Change, EntityState) {
        write(state, Write::Put { value: Json::parse(text.as_bytes()).unwrap(), base: None })
    }

    #[test]
    fn paths_are_told_for_what_lives_and_for_what_is_gone() {
        let (first, one) =
            put(&EntityState::new(), r#"{"a":{"x":1,"~/":{"y":2}},"list":[{"in":1}],"n":0,"$deleted":1}"#);
        let places = Places::of(&one);
        assert_eq!(places.touched(&first).paths, ["/$deleted", "/a/x", "/a/~0~1/y", "/list", "/n"]);
        let splice = Write::Ops(vec![crate::entity::TypedOp::Insert {
            path: "/list".to_owned(),
            index: 1,
            values: vec![Json::Int(5)],
        }]);
        let (second, two) = write(&one, splice);
        assert_eq!(Places::of(&two).touched(&second).paths, ["/list"]);
        // The list is replaced: only the change that made the old one says where it was.
        let (third, three) = put(&two, r#"{"a":{"x":1,"~/":{"y":2}},"list":[7],"n":0,"$deleted":1}"#);
        let mut places = Places::of(&three);
        assert_eq!(places.touched(&third).paths, ["/list"]);
        let before = places.touched(&second);
        assert!(before.unplaced && before.paths.is_empty(), "{before:?}");
        places.ask(&second);
        assert!(!places.is_complete());
        places.learn(&first);
        assert!(places.is_complete());
        let after = places.touched(&second);
        assert!(!after.unplaced && after.paths == ["/list"], "{after:?}");
        let touches = |change: &Change, path: &str| places.touches(change, &pointer::parse(path).unwrap());
        for (path, by_first, by_second) in [
            ("/list", true, true),
            ("/list/0", true, true),
            ("/a", true, false),
            ("/a/z", false, false),
            ("", true, true),
        ] {
            assert_eq!((touches(&first, path), touches(&second, path)), (by_first, by_second), "{path}");
        }
    }

    #[test]
    fn deletions_and_long_lists_are_told() {
        let fields: Vec<String> = (0..100).map(|n| format!("\"f{n:03}\":{n}")).collect();
        let (first, one) = put(&EntityState::new(), &format!("{{{}}}", fields.join(",")));
        let touched = Places::of(&one).touched(&first);
        assert_eq!((touched.paths.len(), touched.more, touched.deletes), (PATHS_MAX, true, false));
        let (gone, two) = write(&one, Write::Delete);
        let touched = Places::of(&two).touched(&gone);
        assert_eq!(touched, Touched { deletes: true, ..Touched::default() });
    }
}
