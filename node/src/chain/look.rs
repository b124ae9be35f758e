//! A look at an entity's past that takes longer than a step may: made off the engine's thread, as a job with an answer.

use std::collections::BTreeSet;

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::EntityState;

use super::clock::{ClockAt, clock_at};
use super::{Budget, Caught, EntityKey, Entries, Index, PastError};
use crate::store::{Reader, Snapshot, StoreError};

/// What is read of a chain with one snapshot: some 10 ms, so that none is held for long.
const PIECE: Budget = Budget { changes: 2_048, bytes: 8 << 20 };
/// Changes gone over to find one clock where none of the entity's heads meet: five seconds.
const STEPS_MAX: usize = if cfg!(test) { 1 << 14 } else { 1 << 24 };

/// Clocks of one entity that are asked for. Carry it out with [`Look::answer`], on any thread, and hand what it returns
/// to the engine that asked.
#[derive(Debug)]
pub struct Look {
    /// Which of the engine's questions this is.
    pub number: u64,
    pub(crate) reader: Reader,
    pub(crate) space_no: u32,
    pub(crate) collection: String,
    pub(crate) id: String,
    /// The heads at each of the clocks.
    pub(crate) asked: BTreeSet<Vec<ChangeHash>>,
    /// What is known of the entity's changes.
    pub(crate) index: Index,
}

/// The answer to a [`Look`].
#[derive(Debug)]
pub struct Looked {
    /// That of the question.
    pub number: u64,
    pub(crate) found: Result<Found, StoreError>,
}

impl Looked {
    /// The answer where the program failed over the question: the entity is treated as damaged.
    #[must_use]
    pub fn failed(number: u64, reason: &str) -> Self {
        Self { number, found: Err(StoreError::corrupt("entries", format!("the program failed over it: {reason}"))) }
    }
}

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Journal position of the entity's last change then: whatever came later was not looked at.
    pub(crate) newest: u64,
    /// Per heads asked for.
    pub(crate) clocks: Vec<(Vec<ChangeHash>, ClockAt)>,
    /// The index, unless the entity has too many changes for one.
    pub(crate) index: Option<Index>,
}

impl Look {
    /// Reads what has to be read. `wanted` turns false when nobody waits any more.
    ///
    /// Costs one walk over what the index does not have, some 5 µs per change. Where the entity has more changes than an
    /// index may have, a walk back to each of the heads.
    pub fn answer(self, wanted: &dyn Fn() -> bool) -> Looked {
        let Self { number, reader, space_no, collection, id, asked, index } = self;
        let key = EntityKey { space_no, collection: &collection, id: &id };
        Looked { number, found: look(&reader, key, &asked, index, wanted) }
    }
}

fn look(
    reader: &Reader,
    key: EntityKey<'_>,
    asked: &BTreeSet<Vec<ChangeHash>>,
    mut index: Index,
    wanted: &dyn Fn() -> bool,
) -> Result<Found, StoreError> {
    let mut entries = Entries::passing();
    let mut snapshot = reader.snapshot()?;
    let state = present(&snapshot, key)?;
    let newest = state.journal();
    let mut caught = Caught::from(newest);
    loop {
        // An index of none leads to any chain's beginning.
        match caught.walk((&snapshot, &mut entries), key, &index, PIECE) {
            Ok(true) => break,
            Ok(false) => {}
            Err(PastError::Store(error)) => return Err(error),
            Err(PastError::Unknown) => (index, caught) = (Index::default(), Caught::from(newest)),
            Err(_) => {
                let clocks = each(asked, |heads| walked(&snapshot, key, &state, heads))?;
                return Ok(Found { newest, clocks, index: None });
            }
        }
        if !wanted() {
            return Err(StoreError::Closed);
        }
        snapshot = reader.snapshot()?;
    }
    index.add((&snapshot, &mut entries), key, caught)?;
    let clocks = each(asked, |heads| indexed((&snapshot, &mut entries), key, &index, heads, STEPS_MAX))?;
    Ok(Found { newest, clocks, index: Some(index) })
}

fn each(
    asked: &BTreeSet<Vec<ChangeHash>>,
    mut find: impl FnMut(&[ChangeHash]) -> Result<ClockAt, StoreError>,
) -> Result<Vec<(Vec<ChangeHash>, ClockAt)>, StoreError> {
    asked.iter().map(|heads| Ok((heads.clone(), find(heads)?))).collect()
}

fn present(snapshot: &Snapshot, key: EntityKey<'_>) -> Result<EntityState, StoreError> {
    let Some(row) = snapshot.row(key.space_no, key.collection, key.id)? else { return Ok(EntityState::new()) };
    EntityState::decode(&row).map_err(|error| StoreError::corrupt("entities", error.to_string()))
}

fn walked(
    snapshot: &Snapshot,
    key: EntityKey<'_>,
    state: &EntityState,
    heads: &[ChangeHash],
) -> Result<ClockAt, StoreError> {
    let present = (state.clock(), state.journal());
    clock_at((snapshot, &mut Entries::passing()), key, present, heads, &|_| None, Budget::UNBOUNDED)
}

/// The clock at `heads` from an index that has all changes there are. At most `steps` changes are gone over for it.
///
/// # Errors
/// As [`Index::find`].
pub(crate) fn indexed(
    (snapshot, entries): (&Snapshot, &mut Entries),
    key: EntityKey<'_>,
    index: &Index,
    heads: &[ChangeHash],
    mut steps: usize,
) -> Result<ClockAt, StoreError> {
    let mut numbers = Vec::with_capacity(heads.len());
    for head in heads {
        match index.find((snapshot, &mut *entries), key, *head)? {
            Some(number) => numbers.push(number),
            None => return Ok(ClockAt::Unknown(*head)),
        }
    }
    Ok(index.clock(&numbers, &mut steps).map_or(ClockAt::NotYet, ClockAt::Known))
}
