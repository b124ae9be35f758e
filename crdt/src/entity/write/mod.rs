//! Writes: what a client asks for, planned against the present state and turned into one change.

mod fields;
mod paths;
mod request;
mod slots;

pub use request::{PatchOp, PatchOpError, TypedOp, Write};

use super::change::Own;
use super::doc::{Action, Key, Live, Operation, Value};
use super::id::OpId;
use super::ops::Ops;
use super::{Change, ChangeError, DELETED, EntityState, Provenance};
use crate::json::pointer::PointerError;
use crate::{FeedId, Hlc};
use fields::Mode;

/// Bytes that the canonical view of an entity may have after a write that does not shrink it.
pub const VIEW_BYTES_MAX: usize = 1 << 20;

/// Why a write is not made. The caller's fault unless said otherwise. The writer is spent; the entity is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// An entity, a merge patch for it, or a base is not a JSON object.
    #[error("an entity is a JSON object")]
    NotAnObject,
    /// A patch or typed operation on an entity that is not there.
    #[error("there is no such entity")]
    Absent,
    /// The value would nest containers deeper than [`crate::json::WRITE_DEPTH_MAX`].
    #[error("nested deeper than 64")]
    TooDeep,
    /// The entity's view would have this many bytes and not be smaller than before.
    #[error("the entity would have {0} bytes, more than 1 MiB")]
    TooLarge(usize),
    /// The change itself would have more bytes, operations, replaced values or bytes of keys than [`super::Change`] may:
    /// [`super::CHANGE_BYTES_MAX`] of the first three, [`super::CHANGE_KEY_BYTES_MAX`] of the last.
    #[error(
        "the change would have {operations} operations and be over a limit: it may have 1 MiB, in it a byte for each \
         operation and each value they replace, and 4 MiB of keys"
    )]
    ChangeTooLarge {
        /// Values set or removed, elements of lists each.
        operations: usize,
    },
    /// Not a JSON Pointer.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// The path, or the place it needs above it, does not exist.
    #[error("nothing at `{0}`")]
    NoSuchPath(String),
    /// A list operation on something else.
    #[error("`{0}` is not a list")]
    NotAList(String),
    /// An increment of something that is no counter.
    #[error("`{0}` is not a counter")]
    NotACounter(String),
    /// An index or a count beyond the list's end.
    #[error("index out of range at `{0}`")]
    Index(String),
    /// A counter would leave the range of `i64`.
    #[error("a counter would leave its range")]
    Overflow,
    /// A `test` of a JSON Patch found another value.
    #[error("test failed at `{0}`")]
    TestFailed(String),
    /// A `move` of a value into itself.
    #[error("`{0}` cannot be moved into itself")]
    MoveIntoItself(String),
    /// The entity has used up its 2³¹ operations. Nobody's fault; it takes no more writes.
    #[error("the entity's operation counters are used up")]
    Exhausted,
    /// A write before this one failed. The caller's defect.
    #[error("an earlier write failed: the writer must be dropped")]
    Spent,
}

/// Gathers writes to one entity into one change. Later writes see earlier ones.
///
/// After an error the writer is spent: it makes no change at all.
#[derive(Debug)]
pub struct Writer<'a> {
    original: &'a EntityState,
    state: EntityState,
    actor: FeedId,
    hlc: Hlc,
    start_op: u64,
    ops: Vec<Operation>,
    spent: bool,
    exhausted: bool,
}

impl<'a> Writer<'a> {
    /// Begins a change by `actor`, dated `hlc`, to the present state.
    #[must_use]
    pub fn new(state: &'a EntityState, actor: FeedId, hlc: Hlc) -> Self {
        let start_op = state.clock.counter_max() + 1;
        let copy = state.clone();
        Self { original: state, state: copy, actor, hlc, start_op, ops: Vec::new(), spent: false, exhausted: false }
    }

    /// The state with the writes so far: what the next write will see. Its heads and clock are still the old ones.
    #[must_use]
    pub fn state(&self) -> &EntityState {
        &self.state
    }

    /// Plans one write.
    pub fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        if self.spent {
            return Err(WriteError::Spent);
        }
        let planned = self.plan(write);
        self.spent = planned.is_err();
        planned
    }

    /// The change and the state after it, or `None` if the writes changed nothing.
    pub fn finish(
        mut self,
        provenance: &Provenance,
        journal: u64,
    ) -> Result<Option<(Change, EntityState)>, WriteError> {
        if self.spent {
            return Err(WriteError::Spent);
        }
        if self.exhausted {
            return Err(WriteError::Exhausted);
        }
        if self.ops.is_empty() {
            return Ok(None);
        }
        self.check_size()?;
        let operations = self.ops.len();
        let change = Change::build(Own {
            actor: self.actor,
            seq: self.original.clock.get(&self.actor).seq + 1,
            start_op: self.start_op,
            time: i64::try_from(self.hlc.millis() / 1000).unwrap_or(0),
            deps: self.original.heads.clone(),
            ops: self.ops,
        });
        let change = change.map_err(|error| match error {
            ChangeError::TooLarge => WriteError::ChangeTooLarge { operations },
            _ => WriteError::Exhausted,
        })?;
        self.state.settle(&change, provenance, journal);
        Ok(Some((change, self.state)))
    }

    fn plan(&mut self, write: &Write) -> Result<(), WriteError> {
        let absent = !self.state.is_present();
        match write {
            Write::Delete => {
                self.delete();
                return Ok(());
            }
            Write::Put { value, base } => {
                let new = value.as_object().ok_or(WriteError::NotAnObject)?;
                let base = base.as_ref().map(|base| base.as_object().ok_or(WriteError::NotAnObject)).transpose()?;
                match base {
                    _ if absent => {
                        self.reset();
                        self.replace_fields(&[OpId::ROOT], new, Mode::CREATE, 1)?;
                    }
                    None => self.replace_fields(&[OpId::ROOT], new, Mode::PUT, 1)?,
                    Some(base) => self.three_way(&[OpId::ROOT], base, new, 1)?,
                }
            }
            _ if absent => return Err(WriteError::Absent),
            Write::MergePatch(patch) => {
                let patch = patch.as_object().ok_or(WriteError::NotAnObject)?;
                self.merge_patch(&[OpId::ROOT], patch, 1)?;
            }
            Write::JsonPatch(ops) => ops.iter().try_for_each(|op| self.patch_op(op))?,
            Write::Ops(ops) => ops.iter().try_for_each(|op| self.typed_op(op))?,
        }
        self.clear_register();
        Ok(())
    }

    /// Drops what earlier writes planned.
    fn reset(&mut self) {
        if !self.ops.is_empty() {
            self.ops.clear();
            self.state = self.original.clone();
        }
    }

    /// The tombstone must be alone in its change: other operations beside it would bring the entity back.
    fn delete(&mut self) {
        if !self.state.is_present() {
            return;
        }
        self.reset();
        if self.state.is_present() {
            self.put_register(Action::Put(Value::Bool(true)));
        }
    }

    /// A write to an entity with tombstones deletes them, and shows that it is there even if it has no field.
    fn clear_register(&mut self) {
        let register = self.state.register();
        let tombstone = register.iter().any(|op| op.value == Value::Bool(true));
        if tombstone || (!register.is_empty() && !self.ops.is_empty()) {
            self.put_register(Action::Delete);
        }
        if !self.state.is_present() {
            self.put_register(Action::Put(Value::Bool(false)));
        }
    }

    fn put_register(&mut self, action: Action) {
        let pred = ids(self.state.register());
        self.push(Operation { obj: OpId::ROOT, key: Key::Map(DELETED.to_owned()), insert: false, action, pred });
    }

    /// Adds an operation to the change and applies it.
    fn push(&mut self, mut op: Operation) -> OpId {
        let counter = self.start_op + self.ops.len() as u64;
        let Some(id) = OpId::new(counter, self.actor) else {
            self.exhausted = true;
            return OpId::ROOT;
        };
        op.pred.sort_unstable();
        self.state.apply_op(id, &op, &self.original.clock);
        self.ops.push(op);
        id
    }

    fn check_size(&self) -> Result<(), WriteError> {
        if !self.state.is_present() || self.view_bound() <= VIEW_BYTES_MAX {
            return Ok(());
        }
        let bytes = self.state.view_bytes().len();
        let allowed = bytes <= VIEW_BYTES_MAX || bytes < self.original.view_bytes().len();
        if allowed { Ok(()) } else { Err(WriteError::TooLarge(bytes)) }
    }

    /// Never less than the size of the view: what every live operation can take at most.
    fn view_bound(&self) -> usize {
        let value = |op: &Live| match &op.value {
            Value::Str(text) => 6 * text.len() + 4,
            Value::Bytes(bytes) | Value::Unknown(_, bytes) => 2 * bytes.len() + 8,
            _ => 32,
        };
        let object = |object: &super::doc::Object| match object {
            super::doc::Object::Map(keys) => {
                keys.iter().map(|(key, ops)| 6 * key.len() + 4 + ops.iter().map(value).sum::<usize>()).sum::<usize>()
            }
            super::doc::Object::Seq(_) => object.live().map(value).sum(),
        };
        self.state.doc.objects.values().map(object).sum()
    }
}

fn ids(ops: &Ops) -> Vec<OpId> {
    ops.iter().map(|op| op.id).collect()
}
