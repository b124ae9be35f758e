//! Planning beside the engine. A write to a large row, or with a large body, takes up to half a second to plan: the
//! engine hands it out with the rows that it is made on, the caller plans it on a thread of its own, and the engine
//! takes the plan if the rows are still those. So nobody waits for the planning of others, and preconditions hold
//! exactly: a plan is made on one state, and it is that state which is written over.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entity::{Draft, EntityState};
use tombolo_crdt::names::{check_collection, check_id};
use tombolo_crdt::{FeedId, Hlc, SpaceId};

use crate::engine::Work;
use crate::engine::interface::{EntityWrite, Refusal, WriteCommand, WriteOutcome};
use crate::engine::space::Space;
use crate::engine::space::idempotency;
use crate::engine::space::local::{Drafted, Fault, Seen, Touched, plan};
use crate::store::{Counted, StoreError};

/// Bytes of body and rows together up to which a write is planned in the step: some 20 ms at most.
pub const PLANNED_HERE_BYTES: usize = 48 * 1024;
/// Bytes of rows that one write may be made on: they are copied for the planning, and looked at again when the plan is
/// taken, some 10 ms of a step. A single row is always taken.
pub const PLANNED_ROWS_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 16 << 20 };
/// Bytes at the end of a row that are a hash over it: what tells one version from another.
const VERSION_BYTES: usize = 16;

/// Collection and id.
type Name = (String, String);
/// Which version of a row; `None`: there is none.
type Version = Option<[u8; VERSION_BYTES]>;

/// A write to be planned beside the engine.
#[derive(Debug)]
pub struct Plan {
    command: WriteCommand,
    rows: BTreeMap<Name, Option<Vec<u8>>>,
    feed: FeedId,
    hlc: Hlc,
}

/// A write that was planned.
#[derive(Debug)]
pub struct Planned {
    command: WriteCommand,
    feed: FeedId,
    entities: BTreeMap<Name, Entity>,
}

/// What became of planning.
#[derive(Debug)]
pub enum Outcome {
    /// To be handed to the engine.
    Planned(Box<Planned>),
    /// The write cannot be made on the state it was planned on. That was the present one when the plan was handed out.
    Refused(Refusal),
    /// A row is damaged: the engine has to look at it.
    Back(WriteCommand),
}

#[derive(Debug)]
struct Entity {
    version: Version,
    original: EntityState,
    counted: Option<Counted>,
    draft: Option<Draft>,
}

/// The hash at a row's end.
fn version(row: &[u8]) -> Option<[u8; VERSION_BYTES]> {
    row.last_chunk().copied()
}

impl Plan {
    /// Plans the write. Takes as long as it takes, and memory for the rows and the operations.
    #[must_use]
    pub fn make(self) -> Outcome {
        let Self { command, rows, feed, hlc } = self;
        let mut entities = BTreeMap::new();
        for (name, row) in rows {
            let decoded = row.as_deref().map(|row| Some((version(row)?, EntityState::decode(row).ok()?)));
            let (version, original, counted) = match decoded {
                None => (None, EntityState::new(), None),
                Some(Some((version, state))) => {
                    let counted = (state.contribution(&name.0, &name.1), state.is_present());
                    (Some(version), state, Some(counted))
                }
                Some(None) => return Outcome::Back(command),
            };
            entities.insert(name, Entity { version, original, counted, draft: None });
        }
        match drafts(&command, &entities, (feed, hlc)) {
            Err(refusal) => return Outcome::Refused(refusal),
            Ok(drafts) => {
                for (entity, draft) in entities.values_mut().zip(drafts) {
                    entity.draft = draft;
                }
            }
        }
        Outcome::Planned(Box::new(Planned { command, feed, entities }))
    }
}

/// The planned change of each entity, in their order.
fn drafts(
    command: &WriteCommand,
    entities: &BTreeMap<Name, Entity>,
    by: (FeedId, Hlc),
) -> Result<Vec<Option<Draft>>, Refusal> {
    let mut touched: BTreeMap<(&str, &str), Touched<'_>> = BTreeMap::new();
    for write in &command.writes {
        let name = (write.collection.clone(), write.id.clone());
        plan(entities.get(&name).map(|entity| &entity.original), by, write, &mut touched)?;
    }
    assert_eq!(touched.len(), entities.len(), "the rows are those of the writes");
    let draft = |((collection, id), entity): ((&str, &str), Touched<'_>)| {
        let refusal = |source| Refusal::Write { collection: collection.to_owned(), id: id.to_owned(), source };
        entity.writer.draft().map_err(refusal)
    };
    touched.into_iter().map(draft).collect()
}

impl Planned {
    /// The space that it writes to.
    #[must_use]
    pub fn space(&self) -> SpaceId {
        self.command.space
    }
}

impl Work<'_> {
    /// Hands a write out to be planned elsewhere, if that may take long; else gives it back to be carried out here.
    pub(in crate::engine) fn hand_out(
        &mut self,
        space: &Space,
        command: WriteCommand,
        body_bytes: usize,
    ) -> Result<Result<Plan, WriteCommand>, Fault> {
        // What is refused, or has been answered, needs no plan.
        if !command.atomic || !matches!(self.admitted(space, &command), Ok(None)) {
            return Ok(Err(command));
        }
        let names: BTreeSet<_> = command.writes.iter().map(|write| (&write.collection, &write.id)).collect();
        let mut bytes = body_bytes;
        for (collection, id) in &names {
            let named = check_collection(collection).and_then(|()| check_id(id)).is_ok();
            if !named || self.poison.holds(space.id, collection, id) || space.care.rests(collection, id) {
                return Ok(Err(command));
            }
            bytes += self.rows.stored(&self.batch, space.row.space_no, collection, id)?.map_or(0, <[u8]>::len);
            if bytes - body_bytes > PLANNED_ROWS_BYTES_MAX && names.len() > 1 {
                return Err(Refusal::RowsTooLarge { bytes: bytes - body_bytes }.into());
            }
        }
        if bytes <= PLANNED_HERE_BYTES {
            return Ok(Err(command));
        }
        let mut rows = BTreeMap::new();
        for (collection, id) in names {
            let row = self.rows.take_stored(&self.batch, space.row.space_no, collection, id)?;
            rows.insert((collection.clone(), id.clone()), row);
        }
        Ok(Ok(Plan { command, rows, feed: space.own_data_feed, hlc: Hlc::from_millis(self.now.wall_millis) }))
    }

    /// Whether planning a small write takes long, because its row is large.
    pub(in crate::engine) fn is_large(&mut self, space: &Space, write: &EntityWrite) -> Result<bool, StoreError> {
        let (collection, id) = (write.collection.as_str(), write.id.as_str());
        if check_collection(collection).and_then(|()| check_id(id)).is_err() {
            return Ok(false);
        }
        let size = self.rows.size(&self.batch, (space.row.space_no, collection, id), PLANNED_HERE_BYTES)?;
        Ok(size > PLANNED_HERE_BYTES)
    }

    /// Carries out a write that was planned elsewhere; gives it back if what it was planned on has moved.
    pub(in crate::engine) fn take_plan(
        &mut self,
        space: &mut Space,
        planned: Planned,
    ) -> Result<Result<WriteOutcome, WriteCommand>, Fault> {
        if let Some(outcome) = self.admitted(space, &planned.command)? {
            return Ok(Ok(outcome));
        }
        let space_no = space.row.space_no;
        if planned.feed != space.own_data_feed {
            return Ok(Err(planned.command));
        }
        for ((collection, id), entity) in &planned.entities {
            let busy =
                self.poison.holds(space.id, collection, id) || self.rows.peek(space_no, collection, id).is_some();
            if busy || self.rows.stored(&self.batch, space_no, collection, id)?.map(version) != entity.version.map(Some)
            {
                return Ok(Err(planned.command));
            }
        }
        let Planned { command, mut entities, .. } = planned;
        let mut drafts = Vec::with_capacity(entities.len());
        for ((collection, id), Entity { original, counted, draft, .. }) in &mut entities {
            let before = Seen::of(original);
            self.rows.adopt((space_no, collection, id), std::mem::take(original), counted.take());
            drafts.push(Drafted { collection, id, draft: draft.take(), before });
        }
        let hlc = self.next_hlc();
        let named = command.idempotency.as_ref().map(|key| idempotency::in_entry(space.id, key));
        let written = self.conclude(space, &command.writes, (hlc, drafts), command.trace, named)?;
        let outcome = WriteOutcome { writes: written.into_iter().map(Ok).collect(), replayed: false };
        if let Some(key) = &command.idempotency {
            idempotency::remember(&mut self.batch, key, &outcome, self.now.wall_millis)?;
        }
        Ok(Ok(outcome))
    }
}
