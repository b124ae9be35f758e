//! The primitives: make a key show a value, make it show nothing. Keys are stored keys.
//!
//! No operation here names a map operation as predecessor outside arrays: a map is emptied, never killed.

use super::fields::Mode;
use super::{WriteError, Writer, ids};
use crate::entity::doc::{Action, Key, Kind, Live, Operation, Value};
use crate::entity::id::OpId;
use crate::json::{Json, WRITE_DEPTH_MAX};

/// Where a value is created.
pub(super) struct At {
    pub(super) obj: OpId,
    pub(super) key: Key,
    pub(super) insert: bool,
    pub(super) pred: Vec<OpId>,
}

impl At {
    pub(super) fn after(list: OpId, elem: OpId) -> Self {
        Self { obj: list, key: Key::Elem(elem), insert: true, pred: Vec::new() }
    }
}

impl Writer<'_> {
    /// What is at a key: the maps, and per holder everything else.
    fn parts(&self, group: &[OpId], key: &str) -> (Vec<OpId>, Vec<(OpId, Vec<OpId>)>) {
        let mut maps = Vec::new();
        let mut plain = Vec::new();
        for slot in self.state.doc.slots(group, key) {
            let (there, others): (Vec<&Live>, Vec<_>) = slot.ops.iter().partition(|op| op.value.is_map());
            maps.extend(there.iter().map(|op| op.id));
            if !others.is_empty() {
                plain.push((slot.holder, others.iter().map(|op| op.id).collect()));
            }
        }
        (maps, plain)
    }

    fn unset(&mut self, obj: OpId, key: &str, pred: Vec<OpId>) -> Result<(), WriteError> {
        let key = Key::Map(key.to_owned());
        self.push(Operation { obj, key, insert: false, action: Action::Delete, pred }).map(|_| ())
    }

    /// Deletes everything at a key that is no map.
    pub(super) fn remove_plain(&mut self, group: &[OpId], key: &str) -> Result<(), WriteError> {
        self.parts(group, key).1.into_iter().try_for_each(|(holder, pred)| self.unset(holder, key, pred))
    }

    /// Makes a key show nothing.
    pub(super) fn remove(&mut self, group: &[OpId], key: &str) -> Result<(), WriteError> {
        self.remove_plain(group, key)?;
        let maps = self.parts(group, key).0;
        self.clear_maps(maps)
    }

    /// Deletes every key of these maps and of all maps within. A list of work, because merging nests without limit.
    fn clear_maps(&mut self, mut maps: Vec<OpId>) -> Result<(), WriteError> {
        while let Some(map) = maps.pop() {
            self.afford()?;
            let keys: Vec<String> = self.state.doc.map(map).into_iter().flatten().map(|(key, _)| key.clone()).collect();
            for key in keys {
                maps.extend(self.parts(&[map], &key).0);
                self.remove_plain(&[map], &key)?;
            }
        }
        Ok(())
    }

    /// Makes a key show exactly this value. `depth` counts the containers down to and with the group.
    pub(super) fn set(
        &mut self,
        group: &[OpId],
        key: &str,
        value: &Json,
        mode: Mode,
        depth: usize,
    ) -> Result<(), WriteError> {
        let maps = self.parts(group, key).0;
        if let Json::Object(fields) = value
            && !fields.is_empty()
            && !maps.is_empty()
        {
            if depth >= WRITE_DEPTH_MAX {
                return Err(WriteError::TooDeep);
            }
            self.remove_plain(group, key)?;
            return self.replace_fields(&maps, fields, mode, depth + 1);
        }
        self.clear_maps(maps)?;
        let at = self.claim(group, key)?;
        self.create(at, value, depth + 1, false).map(|_| ())
    }

    /// Makes a key hold a counter.
    pub(super) fn set_counter(&mut self, group: &[OpId], key: &str, counter: i64) -> Result<(), WriteError> {
        let maps = self.parts(group, key).0;
        self.clear_maps(maps)?;
        let At { obj, key, insert, pred } = self.claim(group, key)?;
        self.push(Operation { obj, key, insert, action: Action::Put(Value::Counter(counter)), pred }).map(|_| ())
    }

    /// The group of maps at a key, for a key to be put into: what is there and no map goes.
    pub(super) fn open_map(&mut self, group: &[OpId], key: &str, depth: usize) -> Result<Vec<OpId>, WriteError> {
        if depth >= WRITE_DEPTH_MAX {
            return Err(WriteError::TooDeep);
        }
        let maps = self.parts(group, key).0;
        if !maps.is_empty() {
            self.remove_plain(group, key)?;
            return Ok(maps);
        }
        let At { obj, key, insert, pred } = self.claim(group, key)?;
        let action = Action::Put(Value::Object(Kind::Map));
        Ok(vec![self.push(Operation { obj, key, insert, action, pred })?])
    }

    /// The place for a new value: in the map with the greatest id, over what is there; in the other maps it is deleted.
    fn claim(&mut self, group: &[OpId], key: &str) -> Result<At, WriteError> {
        debug_assert!(!group.is_empty(), "a key is in some map");
        let target = group.iter().copied().max().unwrap_or(OpId::ROOT);
        let mut over = Vec::new();
        for (holder, pred) in self.parts(group, key).1 {
            if holder == target {
                over = pred;
            } else {
                self.unset(holder, key, pred)?;
            }
        }
        Ok(At { obj: target, key: Key::Map(key.to_owned()), insert: false, pred: over })
    }

    /// Creates a value with everything in it. `depth` counts the containers down to and with it, if it is one.
    pub(super) fn create(&mut self, at: At, value: &Json, depth: usize, in_list: bool) -> Result<OpId, WriteError> {
        if matches!(value, Json::Object(_) | Json::Array(_)) && depth > WRITE_DEPTH_MAX {
            return Err(WriteError::TooDeep);
        }
        let action = Action::Put(stored_value(value, in_list));
        let id = self.push(Operation { obj: at.obj, key: at.key, insert: at.insert, action, pred: at.pred })?;
        match value {
            Json::Object(fields) => {
                for (key, value) in fields {
                    let at = At { obj: id, key: Key::Map(key.clone()), insert: false, pred: Vec::new() };
                    self.create(at, value, depth + 1, false)?;
                }
            }
            Json::Array(items) => {
                let mut last = OpId::ROOT;
                for item in items {
                    last = self.create(At::after(id, last), item, depth + 1, true)?;
                }
            }
            _ => {}
        }
        Ok(id)
    }

    pub(super) fn increment(&mut self, obj: OpId, key: Key, counter: (OpId, i64), by: i64) -> Result<(), WriteError> {
        debug_assert_ne!(counter.0, OpId::ROOT, "a counter was made by an operation");
        counter.1.checked_add(by).ok_or(WriteError::Overflow)?;
        if by != 0 {
            let (action, pred) = (Action::Increment(by), vec![counter.0]);
            self.push(Operation { obj, key, insert: false, action, pred })?;
        }
        Ok(())
    }

    /// Deletes elements that are shown now.
    pub(super) fn delete_elems(&mut self, list: OpId, index: usize, count: usize) -> Result<(), WriteError> {
        let elems = self.state.doc.shown_from(list, index).take(count);
        let gone: Vec<_> = elems.map(|elem| (elem.id, ids(&elem.ops))).collect();
        for (elem, pred) in gone {
            let (key, action) = (Key::Elem(elem), Action::Delete);
            self.push(Operation { obj: list, key, insert: false, action, pred })?;
        }
        Ok(())
    }
}

/// The operation's value for a JSON value; of containers only the container.
fn stored_value(json: &Json, in_list: bool) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Int(int) => Value::Int(*int),
        Json::Uint(uint) => i64::try_from(*uint).map_or(Value::Uint(*uint), Value::Int),
        Json::Float(float) if float.is_finite() => Value::Float(*float),
        Json::Float(_) => Value::Null,
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(_) => Value::Object(Kind::List),
        Json::Object(fields) if fields.is_empty() && !in_list => Value::Bytes(Value::EMPTY_MAP.to_vec()),
        Json::Object(_) => Value::Object(Kind::Map),
    }
}
