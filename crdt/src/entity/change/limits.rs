//! What a change and an entry may stand for: limits of the verdict, counted in operations and not in bytes alone.
//!
//! Runs make a few bytes stand for any number of operations, so the size of a chunk bounds nothing by itself. Each
//! operation takes about a hundred bytes of memory and some 0.1 µs to read: whoever wants others to do that work sends
//! a byte for it.

use super::{Change, ChangeError};
use crate::entity::doc::{Key, Operation};

/// Bytes a change may have (1 MiB).
pub const CHANGE_BYTES_MAX: usize = 1 << 20;
/// Operations a change may stand for, and as many predecessors, if it has as many bytes: else as many as it has bytes.
pub const CHANGE_OPERATIONS_MAX: usize = 1 << 18;
/// Bytes that the keys of all operations of a change may have together, each counted as often as it is used (4 MiB).
pub const CHANGE_KEY_BYTES_MAX: usize = 4 << 20;
/// Bytes of keys, so counted, for each byte of the change: runs of one key would multiply it.
pub(super) const KEY_BYTES_PER_BYTE: usize = 16;
/// Operations that the changes of one entry may stand for together, and as many predecessors.
pub const ENTRY_OPERATIONS_MAX: usize = 1 << 19;

/// What the operations of one change may still take. Spent by reader and writer alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) ops: usize,
    pub(super) preds: usize,
    pub(super) key_bytes: usize,
}

impl Budget {
    /// That of a change with so many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        let rows = bytes.min(CHANGE_OPERATIONS_MAX);
        Self { ops: rows, preds: rows, key_bytes: (bytes * KEY_BYTES_PER_BYTE).min(CHANGE_KEY_BYTES_MAX) }
    }

    /// Takes one operation with its predecessors and its key.
    pub(super) fn spend(&mut self, preds: usize, key_bytes: usize) -> Result<(), ChangeError> {
        let less = |from: &mut usize, by| from.checked_sub(by).map(|left| *from = left).ok_or(ChangeError::TooLarge);
        less(&mut self.ops, 1)?;
        less(&mut self.preds, preds)?;
        less(&mut self.key_bytes, key_bytes)
    }
}

/// What operations take of a [`Budget`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// How many they are.
    pub(crate) ops: usize,
    /// How many predecessors they name together.
    pub(crate) preds: usize,
    /// Bytes of their keys, each as often as it is used.
    pub(crate) key_bytes: usize,
}

impl Weight {
    /// That of these. O(operations).
    pub(super) fn of(ops: &[Operation]) -> Self {
        ops.iter().fold(Self::default(), Self::and)
    }

    /// With one more.
    pub(crate) fn and(self, op: &Operation) -> Self {
        let key = if let Key::Map(text) = &op.key { text.len() } else { 0 };
        Self { ops: self.ops + 1, preds: self.preds + op.pred.len(), key_bytes: self.key_bytes + key }
    }

    /// Bytes that a change needs to stand for so much; `None`: none may.
    pub(crate) fn bytes(self) -> Option<usize> {
        let rows = self.ops.max(self.preds);
        let within = rows <= CHANGE_OPERATIONS_MAX && self.key_bytes <= CHANGE_KEY_BYTES_MAX;
        within.then(|| rows.max(self.key_bytes.div_ceil(KEY_BYTES_PER_BYTE)))
    }
}

/// What the changes of one entry may still stand for: part of the verdict, beside the limits of each change.
///
/// The sum does not depend on the order of the changes, so neither does whether it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryBudget {
    operations: usize,
    predecessors: usize,
}

impl EntryBudget {
    /// That of an entry without changes.
    #[must_use]
    pub const fn new() -> Self {
        Self { operations: ENTRY_OPERATIONS_MAX, predecessors: ENTRY_OPERATIONS_MAX }
    }

    /// Takes one more change; `false`: the entry stands for more than it may. O(1) in all but the change's operations.
    #[must_use]
    pub fn take(&mut self, change: &Change) -> bool {
        let left = self.operations.checked_sub(change.operations());
        let Some((operations, predecessors)) = left.zip(self.predecessors.checked_sub(change.predecessors())) else {
            return false;
        };
        (self.operations, self.predecessors) = (operations, predecessors);
        debug_assert!(
            operations <= ENTRY_OPERATIONS_MAX && predecessors <= ENTRY_OPERATIONS_MAX,
            "a budget only falls"
        );
        true
    }
}

impl Default for EntryBudget {
    fn default() -> Self {
        Self::new()
    }
}
