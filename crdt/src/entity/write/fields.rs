//! Objects against objects: PUT with and without a base, merge patch.

use std::collections::BTreeSet;

use super::{WriteError, Writer};
use crate::defect::{self, Defect};
use crate::entity::doc::{Key, Value};
use crate::entity::id::OpId;
use crate::entity::view::{Candidate, Shown, shown_key, stored_key};
use crate::json::{Fields, Json};

/// How a field meets what is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    /// Write everything, even what is equal; do not go on counting in old counters.
    fresh: bool,
    /// A value equal to the shown one is written all the same if it is in conflict: that decides it.
    decide: bool,
    /// A number over a counter in conflict is a new counter.
    renew: bool,
}

impl Mode {
    /// PUT on an entity that is not there: nothing of what was there shall count.
    pub(super) const CREATE: Self = Self { fresh: true, decide: true, renew: false };
    /// PUT without base: equal fields are not touched.
    pub(super) const PUT: Self = Self { fresh: false, decide: false, renew: false };
    /// PUT with base: the fields that the caller changed.
    const CHANGED: Self = Self { fresh: false, decide: true, renew: false };
    /// PATCH: the fields that the caller named.
    pub(super) const PATCH: Self = Self { fresh: false, decide: true, renew: true };
}

/// What decides how a field is written; taken out of the borrow of the state.
enum Present {
    Nothing,
    Map(Vec<OpId>),
    Counter { holder: OpId, id: OpId, value: i64 },
    Equal,
    Other,
}

impl Writer<'_> {
    /// The conflict set of a stored key.
    pub(super) fn candidates(&self, group: &[OpId], key: &str) -> Vec<Candidate<'_>> {
        let doc = &self.state.doc;
        doc.candidates(&doc.slots(group, key), false)
    }

    fn present(&self, group: &[OpId], key: &str, new: &Json, depth: usize) -> (Present, bool) {
        let candidates = self.candidates(group, key);
        let Some(winner) = candidates.first() else { return (Present::Nothing, false) };
        let present = match &winner.shown {
            Shown::Map(maps) if matches!(new, Json::Object(fields) if !fields.is_empty()) => Present::Map(maps.clone()),
            Shown::Value(Value::Counter(value)) if new.as_i64().is_some() => {
                Present::Counter { holder: winner.holder, id: winner.id, value: *value }
            }
            _ if self.state.doc.json(winner, depth, &mut false) == *new => Present::Equal,
            _ => Present::Other,
        };
        (present, candidates.len() > 1)
    }

    /// Makes a stored key show a value, with as little as says so. `base`: what the caller had read there.
    pub(super) fn put_field(
        &mut self,
        (group, key): (&[OpId], &str),
        base: Option<&Json>,
        new: &Json,
        mode: Mode,
        depth: usize,
    ) -> Result<(), WriteError> {
        if mode.fresh {
            return self.set(group, key, new, mode, depth);
        }
        let (present, conflict) = self.present(group, key, new, depth);
        match (present, new) {
            (Present::Equal, _) if !(conflict && mode.decide) => Ok(()),
            (Present::Map(maps), Json::Object(fields)) => {
                if conflict && mode.decide {
                    self.remove_plain(group, key)?;
                }
                self.replace_fields(&maps, fields, mode, depth + 1)
            }
            (Present::Counter { holder, id, value }, _) => {
                let new = new.as_i64().unwrap_or(value);
                if conflict && mode.renew {
                    return self.set_counter(group, key, new);
                }
                let from = base.and_then(Json::as_i64).unwrap_or(value);
                let by = new.checked_sub(from).ok_or(WriteError::Overflow)?;
                self.increment(holder, Key::Map(key.to_owned()), (id, value), by)
            }
            _ => self.set(group, key, new, mode, depth),
        }
    }

    /// Makes a group show exactly these fields.
    pub(super) fn replace_fields(
        &mut self,
        group: &[OpId],
        new: &Fields,
        mode: Mode,
        depth: usize,
    ) -> Result<(), WriteError> {
        let holders = self.state.doc.holders(group, |_| true);
        let keys = self.state.doc.keys(group).into_iter();
        let gone = keys.filter(|key| shown_key(group, key).is_some_and(|key| !new.contains_key(key)));
        let gone: Vec<String> = gone.map(str::to_owned).collect();
        for key in gone {
            self.remove(holders.of(&key), &key)?;
        }
        for (key, value) in new {
            self.afford()?;
            let key = stored_key(group, key);
            self.put_field((holders.of(&key), &key), None, value, mode, depth)?;
        }
        Ok(())
    }

    /// Applies the difference base → new to what a group shows.
    pub(super) fn three_way(
        &mut self,
        group: &[OpId],
        base: &Fields,
        new: &Fields,
        depth: usize,
    ) -> Result<(), WriteError> {
        let keys: BTreeSet<&str> = base.keys().chain(new.keys()).map(String::as_str).collect();
        let holders = self.state.doc.holders(group, |key| keys.contains(key));
        for name in keys {
            self.afford()?;
            let key = &*stored_key(group, name);
            let group = holders.of(key);
            match (base.get(name), new.get(name)) {
                (before, after) if before == after => {}
                (Some(Json::Object(before)), None) => match self.maps_shown(group, key) {
                    // What others added within since the base was read is not the caller's to remove.
                    Some(maps) => self.three_way(&maps, before, &Fields::new(), depth + 1)?,
                    None => self.remove(group, key)?,
                },
                (_, None) => self.remove(group, key)?,
                (Some(Json::Object(before)), Some(Json::Object(after))) => {
                    if let Some(maps) = self.maps_shown(group, key) {
                        self.three_way(&maps, before, after, depth + 1)?;
                        self.keep_shown(group, key, depth)?;
                    } else {
                        let changed = difference(before, after);
                        if !changed.is_empty() || after.is_empty() {
                            self.put_field((group, key), None, &Json::Object(changed), Mode::CHANGED, depth)?;
                        }
                    }
                }
                (before, Some(after)) => self.put_field((group, key), before, after, Mode::CHANGED, depth)?,
            }
        }
        Ok(())
    }

    /// Applies a JSON Merge Patch to what a group shows.
    pub(super) fn merge_patch(&mut self, group: &[OpId], patch: &Fields, depth: usize) -> Result<(), WriteError> {
        if defect::is(Defect::LosingMapCopied) {
            self.copy_losers(group, depth)?;
        }
        let holders = self.state.doc.holders(group, |key| patch.contains_key(key));
        for (name, value) in patch {
            self.afford()?;
            let key = &*stored_key(group, name);
            let group = holders.of(key);
            match (value, self.maps_shown(group, key)) {
                (Json::Null, _) => self.remove(group, key)?,
                (Json::Object(inner), Some(maps)) => {
                    self.remove_plain(group, key)?;
                    self.merge_patch(&maps, inner, depth + 1)?;
                    self.keep_shown(group, key, depth)?;
                }
                (Json::Object(inner), None) => {
                    let value = Json::Object(without_nulls(inner));
                    self.put_field((group, key), None, &value, Mode::PATCH, depth)?;
                }
                _ => self.put_field((group, key), None, value, Mode::PATCH, depth)?,
            }
        }
        Ok(())
    }

    /// What [`Defect::LosingMapCopied`] does: every plain value of a group is written again, which moves it into the
    /// map that wins.
    fn copy_losers(&mut self, group: &[OpId], depth: usize) -> Result<(), WriteError> {
        let keys: Vec<String> = self.state.doc.keys(group).into_iter().map(str::to_owned).collect();
        for key in keys.iter().filter(|_| group.len() > 1) {
            let shown = self.candidates(group, key).into_iter().next();
            let value = shown.filter(|shown| matches!(shown.shown, Shown::Value(_)));
            if let Some(value) = value.map(|value| self.state.doc.json(&value, depth, &mut false)) {
                self.set(group, key, &value, Mode::PATCH, depth)?;
            }
        }
        Ok(())
    }

    /// The maps at a key, if they are what it shows.
    fn maps_shown(&self, group: &[OpId], key: &str) -> Option<Vec<OpId>> {
        match &self.candidates(group, key).first()?.shown {
            Shown::Map(maps) => Some(maps.clone()),
            _ => None,
        }
    }

    /// An object that lost its last key is `{}`, not gone.
    pub(super) fn keep_shown(&mut self, group: &[OpId], key: &str, depth: usize) -> Result<(), WriteError> {
        if self.candidates(group, key).is_empty() {
            return self.set(group, key, &Json::Object(Fields::new()), Mode::PUT, depth);
        }
        Ok(())
    }
}

/// The fields of `after` that `before` lacks or has otherwise.
fn difference(before: &Fields, after: &Fields) -> Fields {
    let mut changed = Fields::new();
    for (key, value) in after {
        match (before.get(key), value) {
            (Some(old), new) if old == new => {}
            (Some(Json::Object(old)), Json::Object(new)) if !new.is_empty() => {
                let inner = difference(old, new);
                if !inner.is_empty() {
                    changed.insert(key.clone(), Json::Object(inner));
                }
            }
            _ => {
                changed.insert(key.clone(), value.clone());
            }
        }
    }
    changed
}

/// A merge patch applied to nothing.
fn without_nulls(patch: &Fields) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in patch {
        match value {
            Json::Null => {}
            Json::Object(inner) => {
                fields.insert(key.clone(), Json::Object(without_nulls(inner)));
            }
            other => {
                fields.insert(key.clone(), other.clone());
            }
        }
    }
    fields
}
