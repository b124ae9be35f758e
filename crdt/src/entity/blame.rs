//! Who made a field what it is: the change behind every value in the view.

use super::EntityState;
use super::conflicts::{CONFLICT_VALUES_MAX, ConflictValue, Step};
use super::doc::{Kind, Object, Value};
use super::id::OpId;
use super::view::{Candidate, Shown, Slot};
use crate::json::{VIEW_DEPTH_MAX, pointer};

/// A value in the view and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blamed {
    /// Where it is.
    pub path: Vec<Step>,
    /// The value that is shown, and after it those it is in conflict with, at most [`CONFLICT_VALUES_MAX`] in all.
    pub values: Vec<ConflictValue>,
    /// How many more there are.
    pub unlisted: usize,
    /// Whether the shown value is a counter: it is blamed on the change that made it, not on its increments.
    pub counter: bool,
}

impl EntityState {
    /// The values in the view at `under` (steps of a pointer; none: everywhere) and within it, in the view's order:
    /// scalars, texts, empty objects and arrays; other objects and arrays only where they are in conflict.
    ///
    /// At most `limit` of them; says whether there are more. A text is blamed on its newest live piece. O(the entity),
    /// and copies the values.
    #[must_use]
    pub fn blame(&self, under: &[String], limit: usize) -> (Vec<Blamed>, bool) {
        let (returned, path, found) = (self.came_back(), Vec::new(), Vec::new());
        let mut walk = Walk { state: self, returned, under, path, limit, found, more: false };
        walk.fields(&[OpId::ROOT], 1);
        debug_assert!(walk.path.is_empty() && walk.found.len() <= limit, "it ends where it began, within its limit");
        (walk.found, walk.more)
    }
}

struct Walk<'a> {
    state: &'a EntityState,
    /// Whether the entity came back.
    returned: bool,
    under: &'a [String],
    path: Vec<Step>,
    limit: usize,
    found: Vec<Blamed>,
    more: bool,
}

impl<'a> Walk<'a> {
    /// The step that is asked for at the depth of the path; `None`: any.
    fn asked(&self) -> Option<&'a str> {
        self.under.get(self.path.len()).map(String::as_str)
    }

    fn fields(&mut self, group: &[OpId], depth: usize) {
        let state = self.state;
        let doc = &state.doc;
        doc.each_key(group, |key, slots| {
            if self.more || self.asked().is_some_and(|asked| asked != key) {
                return;
            }
            self.path.push(Step::Key(key.to_owned()));
            self.visit(&doc.candidates(slots, false), depth);
            self.path.pop();
        });
    }

    fn elements(&mut self, list: OpId, depth: usize) {
        let doc = &self.state.doc;
        let Some(Object::Seq(seq)) = doc.objects.get(&list) else { return };
        for (index, elem) in seq.shown().enumerate() {
            if self.more || self.asked().is_some_and(|asked| pointer::index(asked) != Some(index)) {
                continue;
            }
            let candidates = doc.candidates(&[Slot { holder: list, ops: &elem.ops }], true);
            self.path.push(Step::Index(index));
            self.visit(&candidates, depth);
            self.path.pop();
        }
    }

    fn visit(&mut self, candidates: &[Candidate<'_>], depth: usize) {
        let Some(winner) = candidates.first() else { return };
        let within = depth < VIEW_DEPTH_MAX && self.has_parts(winner);
        if self.path.len() >= self.under.len() && (!within || candidates.len() > 1) {
            self.found(candidates, depth);
        }
        match &winner.shown {
            Shown::Map(group) if within => self.fields(group, depth + 1),
            Shown::Value(_) if within => self.elements(winner.id, depth + 1),
            _ => {}
        }
    }

    /// Whether it is shown as something that holds values.
    fn has_parts(&self, candidate: &Candidate<'_>) -> bool {
        match &candidate.shown {
            Shown::Map(group) => self.state.doc.has_keys(group),
            Shown::Value(Value::Object(Kind::List)) => {
                self.state.doc.seq(candidate.id).is_some_and(|seq| seq.shown().next().is_some())
            }
            _ => false,
        }
    }

    fn found(&mut self, candidates: &[Candidate<'_>], depth: usize) {
        if self.found.len() >= self.limit {
            self.more = true;
            return;
        }
        let state = self.state;
        let values = candidates.iter().take(CONFLICT_VALUES_MAX).map(|candidate| {
            let id = self.newest(candidate);
            let value = state.doc.json(candidate, depth, &mut false);
            let came_back = self.returned && state.was_deleted(&id);
            ConflictValue { value, id, provenance: state.provenance_of(&id), came_back }
        });
        self.found.push(Blamed {
            path: self.path.clone(),
            values: values.collect(),
            unlisted: candidates.len().saturating_sub(CONFLICT_VALUES_MAX),
            counter: matches!(candidates, [Candidate { shown: Shown::Value(Value::Counter(_)), .. }, ..]),
        });
    }

    /// The operation that a value is blamed on: of a text the newest of its pieces.
    fn newest(&self, candidate: &Candidate<'_>) -> OpId {
        let text = matches!(candidate.shown, Shown::Value(Value::Object(Kind::Text)));
        let pieces = self.state.doc.seq(candidate.id).filter(|_| text);
        let newest = pieces.into_iter().flat_map(|seq| seq.shown()).flat_map(|elem| &elem.ops).map(|op| op.id).max();
        newest.map_or(candidate.id, |newest| newest.max(candidate.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Change, Provenance, Write, Writer};
    use crate::json::Json;
    use crate::{FeedId, Hlc};

    fn write(state: &EntityState, actor: u8, seq: u64, write: &Write) -> (Change, Provenance, EntityState) {
        let provenance = Provenance { entry_seq: seq, hlc: Hlc::from_millis(seq), rules_seq: 0 };
        let mut writer = Writer::new(state, FeedId::from_bytes([actor; 16]), provenance.hlc);
        writer.write(write).unwrap();
        let (change, state) = writer.finish(&provenance, seq).unwrap().unwrap();
        (change, provenance, state)
    }

    fn put(text: &str) -> Write {
        Write::Put { value: Json::parse(text.as_bytes()).unwrap(), base: None }
    }

    /// Value, actor, entry.
    type Of = (String, u8, u64);

    fn shown(blamed: &[Blamed]) -> Vec<(String, Vec<Of>)> {
        let step = |step: &Step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        };
        let value = |value: &ConflictValue| {
            let text = String::from_utf8(value.value.to_bytes()).unwrap();
            (text, value.id.actor().as_bytes()[0], value.provenance.unwrap().entry_seq)
        };
        let one = |blamed: &Blamed| {
            let path: Vec<String> = blamed.path.iter().map(step).collect();
            (pointer::write(&path), blamed.values.iter().map(value).collect())
        };
        blamed.iter().map(one).collect()
    }

    #[test]
    fn every_value_names_the_change_that_made_it() {
        let (_, _, one) = write(&EntityState::new(), 1, 1, &put(r#"{"a":1,"m":{"x":1,"y":[1,2],"e":{}},"n":[]}"#));
        let (_, _, base) = write(&one, 2, 2, &put(r#"{"a":1,"m":{"x":5,"y":[1,2],"e":{}},"n":[]}"#));
        let (_, _, mut left) = write(&base, 1, 3, &put(r#"{"a":7,"m":{"x":5,"y":[1,2],"e":{}},"n":[]}"#));
        let (right, provenance, _) = write(&base, 3, 4, &put(r#"{"a":9,"m":{"x":5,"y":[1,2],"e":{}},"n":[]}"#));
        left.apply(&right, base.clock(), &provenance, 5);
        let of = |text: &str, actor, entry| (text.to_owned(), actor, entry);
        let expected = [
            ("/a", vec![of("9", 3, 4), of("7", 1, 3)]),
            ("/m/e", vec![of("{}", 1, 1)]),
            ("/m/x", vec![of("5", 2, 2)]),
            ("/m/y/0", vec![of("1", 1, 1)]),
            ("/m/y/1", vec![of("2", 1, 1)]),
            ("/n", vec![of("[]", 1, 1)]),
        ];
        let expected = expected.map(|(path, values)| (path.to_owned(), values));
        let (all, more) = left.blame(&[], 100);
        assert_eq!((shown(&all).as_slice(), more), (&expected[..], false));
        let (some, more) = left.blame(&[], 4);
        assert_eq!((shown(&some).as_slice(), more), (&expected[..4], true));
        let under = |pointer: &str| shown(&left.blame(&pointer::parse(pointer).unwrap(), 100).0);
        assert_eq!(under("/m"), expected[1..5]);
        assert_eq!(under("/m/y/1"), expected[4..5]);
        assert!(under("/m/z").is_empty() && under("/a/b").is_empty() && under("/m/y/01").is_empty());
    }

    /// F3: the entity came back with all that it held. What the deletion had seen says so, until somebody writes again.
    #[test]
    fn what_a_deletion_had_seen_says_that_it_came_back() {
        let (_, _, both) = write(&EntityState::new(), 1, 1, &put(r#"{"name":"N","visits":1}"#));
        let (_, _, drafted) = write(&both, 1, 2, &Write::MergePatch(Json::parse(br#"{"draft":1}"#).unwrap()));
        let (_, _, mut deleted) = write(&drafted, 1, 3, &Write::Delete);
        let (visit, provenance, _) = write(&both, 2, 4, &Write::MergePatch(Json::parse(br#"{"visits":2}"#).unwrap()));
        assert!(deleted.blame(&[], 9).0.iter().all(|field| !field.values[0].came_back));
        deleted.apply(&visit, both.clock(), &provenance, 5);
        let told = |state: &EntityState| {
            let (fields, _) = state.blame(&[], 9);
            let path = |field: &Blamed| shown(std::slice::from_ref(field))[0].0.clone();
            fields.iter().map(|field| (path(field), field.values[0].came_back)).collect::<Vec<_>>()
        };
        let of = |names: [(&str, bool); 3]| names.map(|(path, back)| (path.to_owned(), back)).to_vec();
        assert!(deleted.came_back());
        assert_eq!(told(&deleted), of([("/draft", true), ("/name", true), ("/visits", false)]));
        let (_, _, kept) = write(&deleted, 2, 5, &Write::MergePatch(Json::parse(br#"{"visits":3}"#).unwrap()));
        assert_eq!(told(&kept), of([("/draft", false), ("/name", false), ("/visits", false)]));
    }

    #[test]
    fn a_value_against_a_map_is_told_beside_what_is_in_the_map() {
        let (_, _, base) = write(&EntityState::new(), 1, 1, &put(r#"{"k":0}"#));
        let (_, _, mut left) = write(&base, 1, 2, &put(r#"{"k":{"x":1}}"#));
        let (right, provenance, _) = write(&base, 2, 3, &put(r#"{"k":5}"#));
        left.apply(&right, base.clock(), &provenance, 5);
        let (all, _) = left.blame(&[], 100);
        let all = shown(&all);
        let values: usize = all.iter().map(|(_, values)| values.len()).sum();
        assert!(all.iter().any(|(path, values)| path == "/k" && values.len() == 2), "{all:?}");
        assert!((2..=3).contains(&values), "{all:?}");
    }
}
