//! Objects against objects: what PUT and PATCH do to the fields below a path.

use std::collections::BTreeSet;

use tombolo_crdt::json::{Fields, Json};

use super::acts::Step;
use super::{Candidate, Content, Path};

/// How a field meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// PUT on an entity that is not there: everything is written anew.
    Create,
    /// PUT: what is shown already is not written.
    Put,
    /// PATCH: neither, unless it is in conflict; that decides it.
    Patch,
}

/// What a field may do, depending on what won there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The field becomes exactly the value.
    Set,
    /// The field is that already.
    Nothing,
    /// The objects are merged; values beside them go or stay. Only for objects with fields.
    Merge { alone: bool },
    /// A new counter.
    Renew,
    /// The counter at this place counts on.
    Add(usize),
}

fn join(path: &[String], key: &str) -> Path {
    let mut path = path.to_vec();
    path.push(key.to_owned());
    path
}

impl Step<'_> {
    /// Makes a path show exactly these fields.
    pub(super) fn replace_fields(&mut self, path: &[String], fields: &Fields, mode: Mode) {
        let keys: BTreeSet<String> =
            self.entity.below(path).filter_map(|(at, _)| at.get(path.len()).cloned()).collect();
        for key in keys.iter().filter(|key| !fields.contains_key(*key)) {
            self.clear(&join(path, key));
        }
        for (key, value) in fields {
            self.put_field(&join(path, key), value, mode);
        }
    }

    fn set(&mut self, path: &[String], value: &Json, mode: Mode) {
        match value {
            Json::Object(fields) if !fields.is_empty() => {
                self.kill_plain(path);
                self.replace_fields(path, fields, mode);
            }
            _ => {
                self.clear(path);
                self.put(path, Content::Plain(value.clone()));
            }
        }
    }

    fn put_field(&mut self, path: &[String], value: &Json, mode: Mode) {
        if mode == Mode::Create {
            return self.set(path, value, mode);
        }
        let mut ways = self.ways(path, value, mode);
        if let Json::Object(fields) = value
            && !fields.is_empty()
        {
            // Whatever is there, the fields are written; what beside them is no object may go.
            let keeps = ways.contains(&Way::Merge { alone: false });
            if !keeps || ways.len() > 1 {
                self.with(!keeps, |step| step.kill_plain(path));
            }
            return self.replace_fields(path, fields, mode);
        }
        if let (true, Some(initial)) = (ways.len() == 2 && ways.contains(&Way::Set), value.as_i64())
            && ways.contains(&Way::Renew)
        {
            // Both overwrite everything with the same number; only its kind is open.
            self.clear(path);
            return self.put(path, Content::Counter { initial, additions: Vec::new(), certain: false });
        }
        let one = ways.len() == 1;
        for way in ways.drain(..) {
            self.with(one, |step| step.go(path, value, mode, way));
        }
    }

    fn go(&mut self, path: &[String], value: &Json, mode: Mode, way: Way) {
        match way {
            Way::Nothing | Way::Merge { .. } => {}
            Way::Set => self.set(path, value, mode),
            Way::Renew => {
                self.clear(path);
                let initial = value.as_i64().unwrap_or(0);
                self.put(path, Content::Counter { initial, additions: Vec::new(), certain: true });
            }
            Way::Add(index) => {
                let val = self.entity.values.get(path).and_then(|vals| vals.get(index));
                let shown = val.and_then(|val| self.entity.sum(&val.content, &self.cut));
                let by = shown.zip(value.as_i64()).map(|(shown, new)| new.wrapping_sub(shown));
                self.add(path, index, by);
            }
        }
    }

    /// All that a field may do.
    fn ways(&self, path: &[String], value: &Json, mode: Mode) -> Vec<Way> {
        let there = self.entity.there(path, &self.cut);
        let mut ways = Vec::new();
        let mut may = |way: Way| {
            if !ways.contains(&way) {
                ways.push(way);
            }
        };
        if !there.any {
            may(Way::Set);
        }
        // What a conflict makes of it, where it matters and is known.
        let decided = match mode {
            Mode::Patch => there.conflict.map_or(vec![true, false], |conflict| vec![conflict]),
            Mode::Create | Mode::Put => vec![false],
        };
        let object = matches!(value, Json::Object(fields) if !fields.is_empty());
        for candidate in &there.candidates {
            match candidate {
                Candidate::Map if object => decided.iter().for_each(|alone| may(Way::Merge { alone: *alone })),
                Candidate::Map => may(Way::Set),
                Candidate::Empty if matches!(value, Json::Object(fields) if fields.is_empty()) => {
                    decided.iter().for_each(|decided| may(if *decided { Way::Set } else { Way::Nothing }));
                }
                Candidate::Empty => may(Way::Set),
                Candidate::Value(index) => {
                    let certain = self.counter(path, *index);
                    if certain.is_some() && value.as_i64().is_some() {
                        decided.iter().for_each(|new| may(if *new { Way::Renew } else { Way::Add(*index) }));
                    }
                    if certain == Some(true) && value.as_i64().is_some() {
                        continue;
                    }
                    let (equal, other) = self.equal(path, *index, value);
                    if equal {
                        decided.iter().for_each(|decided| may(if *decided { Way::Set } else { Way::Nothing }));
                    }
                    if other {
                        may(Way::Set);
                    }
                }
            }
        }
        assert!(!ways.is_empty(), "a field does something, if only nothing");
        ways
    }

    /// Whether a value may be equal to the one at a place, and whether it may be another.
    fn equal(&self, path: &[String], index: usize, value: &Json) -> (bool, bool) {
        let Some(val) = self.entity.values.get(path).and_then(|vals| vals.get(index)) else { return (false, true) };
        match &val.content {
            Content::Plain(plain) => (plain == value, plain != value),
            counter @ Content::Counter { .. } => match (self.entity.sum(counter, &self.cut), value.as_i64()) {
                (_, None) => (false, true),
                (None, Some(_)) => (true, true),
                (Some(sum), Some(new)) => (sum == new, sum != new),
            },
        }
    }

    pub(super) fn merge_patch(&mut self, path: &[String], patch: &Fields) {
        for (key, value) in patch {
            let at = join(path, key);
            match value {
                Json::Null => self.clear(&at),
                Json::Object(inner) => {
                    let there = self.entity.there(&at, &self.cut);
                    let map = there.candidates.contains(&Candidate::Map);
                    let other = !there.any || there.candidates.iter().any(|candidate| *candidate != Candidate::Map);
                    if map {
                        self.with(!other, |step| step.merge_into(&at, inner));
                    }
                    if other {
                        self.with(!map, |step| step.patch_over(&at, inner));
                    }
                }
                _ => self.put_field(&at, value, Mode::Patch),
            }
        }
    }

    /// A patch of an object that shows.
    fn merge_into(&mut self, path: &[String], inner: &Fields) {
        self.kill_plain(path);
        self.merge_patch(path, inner);
        // An object that lost its last key is `{}`, not gone.
        let there = self.entity.there(path, &self.cut);
        if !there.any {
            let sure = there.candidates.is_empty();
            self.with(sure, |step| step.put(path, Content::Plain(Json::Object(Fields::new()))));
        }
    }

    /// A patch that is an object, over what is none or `{}`.
    fn patch_over(&mut self, path: &[String], inner: &Fields) {
        let value = Json::Object(without_nulls(inner));
        let there = self.entity.there(path, &self.cut);
        let empty = matches!(&value, Json::Object(fields) if fields.is_empty());
        if !empty || !there.candidates.contains(&Candidate::Empty) {
            return self.set(path, &value, Mode::Patch);
        }
        // `{}` over `{}`: nothing, unless it decides a conflict; over anything else it is put.
        let only = there.candidates == [Candidate::Empty] && there.any;
        match there.conflict {
            Some(false) if only => {}
            Some(true) => self.set(path, &value, Mode::Patch),
            _ => self.with(false, |step| step.set(path, &value, Mode::Patch)),
        }
    }
}

/// A merge patch applied to nothing.
fn without_nulls(patch: &Fields) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in patch {
        match value {
            Json::Null => {}
            Json::Object(inner) => drop(fields.insert(key.clone(), Json::Object(without_nulls(inner)))),
            other => drop(fields.insert(key.clone(), other.clone())),
        }
    }
    fields
}
