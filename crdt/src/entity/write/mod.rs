//! Writes: what a client asks for, planned against the present state and turned into one change.

mod budget;
mod fields;
mod paths;
mod request;
mod slots;

pub use budget::{NUMBERS_RESERVED, PLAN_VISITS_MAX};
pub use request::{PatchOp, PatchOpError, TypedOp, Write};

use super::change::{CHANGE_OPERATIONS_MAX, Own};
use super::doc::{Action, Key, Object, Operation, Value};
use super::id::OpId;
use super::ops::Ops;
use super::{Change, ChangeError, DELETED, EntityState, Provenance};
use crate::json::Json;
use crate::json::pointer::PointerError;
use crate::{FeedId, Hlc};
use budget::{Purpose, Used};
use fields::Mode;

/// Bytes that the canonical view of an entity may have after a write that makes it larger.
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
    /// The entity's view would have this many bytes, and more than before.
    #[error("the entity would have {0} bytes, more than 1 MiB and than it has")]
    TooLarge(usize),
    /// The change itself would have more bytes, operations, replaced values or bytes of keys than [`super::Change`]
    /// may: [`super::CHANGE_BYTES_MAX`], [`super::CHANGE_OPERATIONS_MAX`] of the next two,
    /// [`super::CHANGE_KEY_BYTES_MAX`].
    #[error(
        "the change would have {operations} operations and be over a limit: it may have 1 MiB, 262144 operations that \
         replace as many values, and 4 MiB of keys"
    )]
    ChangeTooLarge {
        /// Values set or removed, elements of lists each.
        operations: usize,
    },
    /// Planning would take more visits to the entity than [`PLAN_VISITS_MAX`], or `copy` and `move` would carry more
    /// than the entity held and 256 KiB.
    #[error("the write asks for more work than one write may: send it in several, or PUT the result")]
    TooMuchWork,
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
    /// The entity has used up its 2³¹ operations, but for the [`NUMBERS_RESERVED`] that are kept for deletes and for
    /// the PUT of `{}`. Nobody's fault.
    #[error("the entity has used up its 2147483648 operations: write it under a new id, and delete this one")]
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
    used: Used,
    spent: bool,
}

/// A planned change whose place in feed and journal is not known yet.
#[derive(Debug)]
pub struct Draft {
    change: Change,
    state: EntityState,
}

impl Draft {
    /// The change and the state after it, at its place.
    #[must_use]
    pub fn settle(mut self, provenance: &Provenance, journal: u64) -> (Change, EntityState) {
        self.state.settle(&self.change, provenance, journal);
        (self.change, self.state)
    }
}

impl<'a> Writer<'a> {
    /// Begins a change by `actor`, dated `hlc`, to the present state.
    #[must_use]
    pub fn new(state: &'a EntityState, actor: FeedId, hlc: Hlc) -> Self {
        let start_op = state.clock.counter_max() + 1;
        let copy = state.clone();
        Self { original: state, state: copy, actor, hlc, start_op, ops: Vec::new(), used: Used::new(), spent: false }
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
    pub fn finish(self, provenance: &Provenance, journal: u64) -> Result<Option<(Change, EntityState)>, WriteError> {
        Ok(self.draft()?.map(|draft| draft.settle(provenance, journal)))
    }

    /// The change, before its place in feed and journal is known, or `None` if the writes changed nothing. All that
    /// takes long is done then.
    pub fn draft(self) -> Result<Option<Draft>, WriteError> {
        if self.spent {
            return Err(WriteError::Spent);
        }
        if self.ops.is_empty() {
            return Ok(None);
        }
        self.check_size()?;
        let operations = self.ops.len();
        debug_assert!(operations <= CHANGE_OPERATIONS_MAX, "no more is planned than a change may have");
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
        Ok(Some(Draft { change, state: self.state }))
    }

    fn plan(&mut self, write: &Write) -> Result<(), WriteError> {
        let absent = !self.state.is_present();
        self.afford()?;
        self.used.begin(match write {
            Write::Delete => Purpose::Delete,
            Write::Put { value: Json::Object(fields), .. } if fields.is_empty() => Purpose::Empty,
            _ => Purpose::Other,
        });
        match write {
            Write::Delete => return self.delete(),
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
        self.clear_register()
    }

    /// Drops what earlier writes planned.
    fn reset(&mut self) {
        if !self.ops.is_empty() {
            self.ops.clear();
            self.used.dropped(self.state.doc.visits.count());
            self.state = self.original.clone();
            // Copying looks at everything.
            self.state.doc.visits.add(self.state.doc.objects.values().map(Object::len).sum());
        }
    }

    /// The tombstone must be alone in its change: other operations beside it would bring the entity back.
    fn delete(&mut self) -> Result<(), WriteError> {
        if !self.state.is_present() {
            return Ok(());
        }
        self.reset();
        if self.state.is_present() {
            self.put_register(Action::Put(Value::Bool(true)))?;
        }
        Ok(())
    }

    /// A write to an entity with tombstones deletes them, and shows that it is there even if it has no field.
    fn clear_register(&mut self) -> Result<(), WriteError> {
        let register = self.state.register();
        let tombstone = register.iter().any(|op| op.value == Value::Bool(true));
        if tombstone || (!register.is_empty() && !self.ops.is_empty()) {
            self.put_register(Action::Delete)?;
        }
        if !self.state.is_present() {
            self.put_register(Action::Put(Value::Bool(false)))?;
        }
        debug_assert!(self.state.is_present(), "whatever is written that is no delete is there afterwards");
        Ok(())
    }

    fn put_register(&mut self, action: Action) -> Result<(), WriteError> {
        let pred = ids(self.state.register());
        self.push(Operation { obj: OpId::ROOT, key: Key::Map(DELETED.to_owned()), insert: false, action, pred })?;
        Ok(())
    }

    /// Adds an operation to the change and applies it.
    fn push(&mut self, mut op: Operation) -> Result<OpId, WriteError> {
        let counter = self.start_op + self.ops.len() as u64;
        let id = OpId::new(counter, self.actor).filter(|id| id.counter() < self.used.numbers_end);
        let id = id.ok_or(WriteError::Exhausted)?;
        self.reserve(&op)?;
        op.pred.sort_unstable();
        debug_assert!(op.pred.iter().all(|pred| *pred < id), "an operation names what came before it");
        self.state.apply_op(id, &op, &self.original.clock);
        self.ops.push(op);
        Ok(id)
    }

    /// An entity over the limit, as merging makes them, takes every write that does not make it larger, and increments:
    /// these add digits at most.
    fn check_size(&self) -> Result<(), WriteError> {
        if !self.state.is_present() || self.state.view_bound() <= VIEW_BYTES_MAX {
            return Ok(());
        }
        let increments = self.ops.iter().all(|op| matches!(op.action, Action::Increment(_)));
        let bytes = self.state.view_bytes().len();
        let before = || if self.original.is_present() { self.original.view_bytes().len() } else { 0 };
        if bytes <= VIEW_BYTES_MAX || increments || bytes <= before() {
            return Ok(());
        }
        Err(WriteError::TooLarge(bytes))
    }
}

fn ids(ops: &Ops) -> Vec<OpId> {
    ops.iter().map(|op| op.id).collect()
}
