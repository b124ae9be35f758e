//! Values that were written concurrently and have not been decided between.

use super::doc::{Kind, Object, Value};
use super::id::OpId;
use super::view::{Candidate, Shown, Slot};
use super::{EntityState, Provenance};
use crate::json::{Json, VIEW_DEPTH_MAX};

/// Values of one conflict set that are listed; the rest is counted.
pub const CONFLICT_VALUES_MAX: usize = 1024;

/// A step from a value to one within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// A key or element with more than one live value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where it is.
    pub path: Vec<Step>,
    /// Whether its first value is in the view. If not, it lies within a value that lost at some step of the path.
    pub in_view: bool,
    /// The values, the shown one first, at most [`CONFLICT_VALUES_MAX`].
    pub values: Vec<ConflictValue>,
    /// How many more there are.
    pub unlisted: usize,
}

/// One of the values in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictValue {
    /// The value.
    pub value: Json,
    /// The operation it wins or loses by; its actor is the feed.
    pub id: OpId,
    /// Where it came from.
    pub provenance: Option<Provenance>,
    /// Whether a deletion that still stands had seen it: it is here again because the entity came back.
    pub came_back: bool,
}

impl EntityState {
    /// All conflicts, in the order of the view: those within values that lost too, or values there would be nowhere.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let (returned, found) = (self.came_back(), Vec::new());
        let mut walk = Walk { state: self, returned, path: Vec::new(), in_view: true, found };
        walk.fields(&[OpId::ROOT], 1);
        debug_assert!(walk.path.is_empty() && walk.in_view, "whoever goes into a value comes out of it");
        walk.found
    }
}

struct Walk<'a> {
    state: &'a EntityState,
    /// Whether the entity came back.
    returned: bool,
    path: Vec<Step>,
    in_view: bool,
    found: Vec<Conflict>,
}

impl Walk<'_> {
    fn fields(&mut self, group: &[OpId], depth: usize) {
        let state = self.state;
        let doc = &state.doc;
        doc.each_key(group, |key, slots| {
            self.path.push(Step::Key(key.to_owned()));
            self.visit(&doc.candidates(slots, false), depth);
            self.path.pop();
        });
    }

    fn visit(&mut self, candidates: &[Candidate<'_>], depth: usize) {
        if candidates.len() > 1 {
            let listed = candidates.iter().take(CONFLICT_VALUES_MAX).map(|candidate| ConflictValue {
                value: self.state.doc.json(candidate, depth, &mut false),
                id: candidate.id,
                provenance: self.state.provenance_of(&candidate.id),
                came_back: self.returned && self.state.was_deleted(&candidate.id),
            });
            let values = listed.collect();
            let unlisted = candidates.len().saturating_sub(CONFLICT_VALUES_MAX);
            self.found.push(Conflict { path: self.path.clone(), in_view: self.in_view, values, unlisted });
        }
        if depth >= VIEW_DEPTH_MAX {
            return;
        }
        let above = self.in_view;
        for (rank, candidate) in candidates.iter().enumerate() {
            self.in_view = above && rank == 0;
            match &candidate.shown {
                Shown::Map(group) => self.fields(group, depth + 1),
                Shown::Value(Value::Object(Kind::List)) => self.elements(candidate.id, depth + 1),
                _ => {}
            }
        }
        self.in_view = above;
    }

    fn elements(&mut self, list: OpId, depth: usize) {
        let doc = &self.state.doc;
        let Some(Object::Seq(seq)) = doc.objects.get(&list) else { return };
        for (index, elem) in seq.shown().enumerate() {
            let candidates = doc.candidates(&[Slot { holder: list, ops: &elem.ops }], true);
            self.path.push(Step::Index(index));
            self.visit(&candidates, depth);
            self.path.pop();
        }
    }
}
