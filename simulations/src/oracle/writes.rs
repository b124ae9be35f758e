//! The writes of a plan, and how an entry names the one it comes from: by its trace context.

use std::collections::BTreeMap;

use tombolo_crdt::entry::{Entry, Trace};

use super::model::Edit;
use crate::plan::{Action, NodeNo, Plan};

/// Numbers of [`Plan::initial`] begin here: the first has this one.
pub const INITIAL_FROM: u32 = 1 << 31;

/// The trace context that a lane gives to a planned write (or to an initial entity: [`INITIAL_FROM`] and its index).
#[must_use]
pub fn trace_of(no: u32) -> Trace {
    let mut trace = [0; 16];
    let (number, _) = trace.split_at_mut(4);
    number.copy_from_slice(&no.to_le_bytes());
    Trace { trace, span: [0; 8], flags: 0 }
}

/// The write that a trace context names; `None`: it is of somebody else.
#[must_use]
pub fn write_of(trace: &Trace) -> Option<u32> {
    let (number, rest) = trace.trace.split_first_chunk::<4>()?;
    let ours = rest.iter().chain(&trace.span).all(|byte| *byte == 0) && trace.flags == 0;
    ours.then(|| u32::from_le_bytes(*number))
}

/// The write an entry comes from.
pub(super) fn of_entry(entry: &Entry) -> Option<u32> {
    write_of(entry.trace.as_ref()?)
}

/// Collection and id.
pub(super) type Name = (String, String);

/// A write of the plan, read as a node reads it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Where it is asked for.
    pub(super) node: NodeNo,
    /// Index of its space.
    pub(super) space: usize,
    /// In their order.
    pub(super) edits: Vec<(Name, Edit)>,
}

impl Asked {
    /// The entities of the write, with the edits of each.
    pub(super) fn by_entity(&self) -> BTreeMap<&Name, Vec<&Edit>> {
        let mut entities: BTreeMap<&Name, Vec<&Edit>> = BTreeMap::new();
        for (name, edit) in &self.edits {
            entities.entry(name).or_default().push(edit);
        }
        entities
    }
}

/// All writes of a plan, by number, the initial entities among them.
pub(super) fn of_plan(plan: &Plan) -> BTreeMap<u32, Asked> {
    let mut all = BTreeMap::new();
    for (no, initial) in (INITIAL_FROM..).zip(&plan.initial) {
        let node = plan.spaces.get(initial.space).and_then(|space| space.members.first()).map_or(0, |(node, _)| *node);
        let name = (initial.collection.clone(), initial.id.clone());
        let edits = Edit::of(&Action::Put(initial.value.clone())).map(|edit| (name, edit));
        all.insert(no, Asked { node, space: initial.space, edits: edits.into_iter().collect() });
    }
    for write in &plan.writes {
        let edit =
            |edit: &crate::plan::Edit| Some(((edit.collection.clone(), edit.id.clone()), Edit::of(&edit.action)?));
        let edits = write.edits.iter().filter_map(edit).collect();
        all.insert(write.no, Asked { node: write.node, space: write.space, edits });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_name_their_writes() {
        for no in [1, 77, INITIAL_FROM, u32::MAX] {
            assert_eq!(write_of(&trace_of(no)), Some(no));
        }
        let mut other = trace_of(1);
        other.flags = 1;
        assert_eq!(write_of(&other), None);
        let mut other = trace_of(1);
        other.trace[15] = 1;
        assert_eq!(write_of(&other), None);
    }
}
