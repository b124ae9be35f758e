//! What planning one change may take, however little asks for it: a patch of a few hundred bytes can ask for any amount
//! of copies, and a long one can look at all of the entity once per operation.

use super::{WriteError, Writer};
use crate::entity::change::{CHANGE_BYTES_MAX, Weight};
use crate::entity::doc::{Action, Operation, Value};
use crate::entity::id::NUMBER_END;
use crate::json::Json;

/// Visits to the entity that planning one change may take, each some tens of nanoseconds.
///
/// Eight for each operation that a change may have: enough for any write that says what it writes.
pub const PLAN_VISITS_MAX: u64 = 1 << 21;
/// What `copy` and `move` of one change may carry beyond what the entity held before it, in bytes as [`weigh`] counts.
const COPIES_FREE: usize = 1 << 18;
/// What a copied value counts beside its text: about what its operation takes.
const COPIED_VALUE_BYTES: usize = 32;
/// Operation numbers at the end of an entity's that are kept for deletes and for the PUT of `{}`.
pub const NUMBERS_RESERVED: u64 = 1 << 16;
/// How many of them are kept for deletes alone: a PUT and a delete in turn must not use them up.
const NUMBERS_FOR_DELETES: u64 = NUMBERS_RESERVED / 2;

/// What of its limits a change has used up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    weight: Weight,
    value_bytes: usize,
    /// Visits to states that were dropped since.
    visits: u64,
    /// What may still be copied, once something was.
    copies_left: Option<usize>,
    /// [`PLAN_VISITS_MAX`], but in tests.
    visits_max: u64,
    /// Operations of the present write are numbered below this.
    pub(super) numbers_end: u64,
}

/// What a write is to the numbers that are kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Delete,
    Empty,
    Other,
}

impl Used {
    pub(super) fn new() -> Self {
        let weight = Weight::default();
        Self {
            weight,
            value_bytes: 0,
            visits: 0,
            copies_left: None,
            visits_max: PLAN_VISITS_MAX,
            numbers_end: NUMBER_END,
        }
    }

    /// The next write is for that.
    pub(super) fn begin(&mut self, purpose: Purpose) {
        self.numbers_end = match purpose {
            Purpose::Delete => NUMBER_END,
            Purpose::Empty => NUMBER_END - NUMBERS_FOR_DELETES,
            Purpose::Other => NUMBER_END - NUMBERS_RESERVED,
        };
    }

    /// All operations are dropped, with the state they made. The work for them is done and counts.
    pub(super) fn dropped(&mut self, visits: u64) {
        (self.weight, self.value_bytes) = (Weight::default(), 0);
        self.visits += visits;
    }
}

impl Writer<'_> {
    /// With another limit than [`PLAN_VISITS_MAX`].
    #[cfg(test)]
    pub(in super::super) fn within(mut self, visits: u64) -> Self {
        self.used.visits_max = visits;
        self
    }

    /// How many operations are planned.
    #[cfg(test)]
    pub(in super::super) fn operations(&self) -> usize {
        self.ops.len()
    }

    /// Visits to the entity so far.
    pub(in super::super) fn visits(&self) -> u64 {
        self.used.visits + self.state.doc.visits.count()
    }

    /// Fails once planning has looked at more than it may. To be asked before each step that looks at what it did not
    /// ask for by its own length: a step costs at most what the entity is large.
    pub(super) fn afford(&self) -> Result<(), WriteError> {
        if self.visits() > self.used.visits_max { Err(WriteError::TooMuchWork) } else { Ok(()) }
    }

    /// Makes room for an operation in the change, or says that there is none.
    pub(super) fn reserve(&mut self, op: &Operation) -> Result<(), WriteError> {
        self.afford()?;
        let weight = self.used.weight.and(op);
        let value = match &op.action {
            Action::Put(Value::Str(text)) => text.len(),
            Action::Put(Value::Bytes(bytes) | Value::Unknown(_, bytes)) => bytes.len(),
            _ => 0,
        };
        let value_bytes = self.used.value_bytes + value;
        if weight.bytes().is_none() || value_bytes > CHANGE_BYTES_MAX {
            return Err(WriteError::ChangeTooLarge { operations: weight.ops });
        }
        debug_assert_eq!(weight.ops, self.ops.len() + 1, "what is planned is what is counted");
        (self.used.weight, self.used.value_bytes) = (weight, value_bytes);
        Ok(())
    }

    /// Takes a value that is copied from what `copy` and `move` may carry: as much as there was, and a little.
    pub(super) fn carry(&mut self, value: &Json) -> Result<(), WriteError> {
        let all = || self.original.view_bound().saturating_add(COPIES_FREE);
        let left = self.used.copies_left.unwrap_or_else(all);
        let left = left.checked_sub(weigh(value)).ok_or(WriteError::TooMuchWork)?;
        self.used.copies_left = Some(left);
        Ok(())
    }
}

/// Bytes of text in a value and its keys, and so many more for each value in it.
fn weigh(value: &Json) -> usize {
    COPIED_VALUE_BYTES
        + match value {
            Json::String(text) => text.len(),
            Json::Array(items) => items.iter().map(weigh).sum(),
            Json::Object(fields) => fields.iter().map(|(key, value)| key.len() + weigh(value)).sum(),
            _ => 0,
        }
}
