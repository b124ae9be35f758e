//! How large an entity is: its view, what its row holds beside that, and how many of its numbers are used.

use std::collections::BTreeSet;

use super::EntityState;
use super::doc::{Live, Object, Value};
use super::id::{NUMBER_END, OpId};

/// Operation numbers of an entity from which on people are told that they end: half of them.
pub const NUMBERS_WARN: u64 = 1 << 30;

/// What was removed from an entity and is still in its row, on every node: what is written concurrently may go into it,
/// or beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Objects that hold nothing any more.
    pub objects: usize,
    /// Elements of arrays and texts.
    pub elements: usize,
}

impl EntityState {
    /// How many operations the entity may still take, of 2³¹; the last [`super::NUMBERS_RESERVED`] of them are kept for
    /// deletes and for the PUT of `{}`. O(its actors).
    #[must_use]
    pub fn numbers_left(&self) -> u64 {
        let used = self.clock.counter_max();
        debug_assert!(used < NUMBER_END, "the codec lets no greater number through");
        NUMBER_END - 1 - used
    }

    /// Whether people should be told that its numbers end: `x-merge: list` for arrays, or a new id, is the remedy.
    #[must_use]
    pub fn is_running_out(&self) -> bool {
        self.clock.counter_max() >= NUMBERS_WARN
    }

    /// What was removed and is still there. O(the entity), without copying anything.
    #[must_use]
    pub fn removed(&self) -> Removed {
        // An object is made after the one that holds it, so from the last to the first those within come first.
        let mut filled: BTreeSet<OpId> = BTreeSet::new();
        let mut removed = Removed::default();
        for (id, object) in self.doc.objects.iter().rev() {
            match object {
                Object::Map(_) => {
                    let holds = object.live().any(|op| !op.value.is_map() || filled.contains(&op.id));
                    if holds {
                        filled.insert(*id);
                    }
                }
                Object::Seq(seq) => removed.elements += seq.len() - seq.shown_len(),
            }
        }
        // A map that is an element is shown, empty or not.
        for object in self.doc.objects.values().filter(|object| matches!(object, Object::Map(_))) {
            removed.objects += object.live().filter(|op| op.value.is_map() && !filled.contains(&op.id)).count();
        }
        removed
    }

    /// Never less than the size of the view: what every live operation can take at most.
    pub(super) fn view_bound(&self) -> usize {
        let value = |op: &Live| match &op.value {
            Value::Str(text) => 6 * text.len() + 4,
            Value::Bytes(bytes) | Value::Unknown(_, bytes) => 2 * bytes.len() + 8,
            _ => 32,
        };
        let object = |object: &Object| match object {
            Object::Map(keys) => {
                keys.iter().map(|(key, ops)| 6 * key.len() + 4 + ops.iter().map(value).sum::<usize>()).sum::<usize>()
            }
            Object::Seq(_) => object.live().map(value).sum(),
        };
        self.doc.objects.values().map(object).sum()
    }
}
