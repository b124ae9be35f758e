//! A look at entities' pasts that takes longer than a step may: made off the engine's thread, as a job with an answer.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use tombolo_crdt::ChangeHash;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::EntityState;

use super::clock::{ClockAt, clock_at};
use super::search::{Name, Search};
use super::{Budget, Caught, EntityKey, Entries, Index, Past, PastError, Until};
use crate::store::{Reader, Reading, StoreError};

/// What is read of a chain with one reading: some 10 ms, so that none is held for long.
const PIECE: Budget = Budget { changes: 2_048, bytes: 8 << 20 };
/// Changes gone over to find one clock where none of the entity's heads meet: five seconds.
const STEPS_MAX: usize = if cfg!(test) { 1 << 14 } else { 1 << 24 };

/// A question of the engine about the past. Carry it out with [`Look::answer`], on any thread, and hand what it returns
/// to the engine that asked.
#[derive(Debug)]
pub struct Look {
    /// Which of the engine's questions this is.
    pub number: u64,
    pub(crate) reader: Reader,
    pub(crate) space_no: u32,
    pub(crate) what: What,
}

/// What is asked.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a node asks one question at a time")]
pub(crate) enum What {
    /// The clocks at some heads of an entity; `index` is what is known of its changes.
    Clocks { name: Name, asked: BTreeSet<Vec<ChangeHash>>, index: Index },
    /// Where the newest changes of entities are, from a journal position backwards.
    Search { names: BTreeSet<Name>, from: u64 },
    /// What the changes of an entity come to, up to the one at a journal position.
    Fold { name: Name, newest: u64 },
}

/// The answer to a [`Look`].
#[derive(Debug)]
pub struct Looked {
    /// That of the question.
    pub number: u64,
    pub(crate) found: Result<Found, StoreError>,
}

/// What a look has found.
#[derive(Debug)]
pub(crate) enum Found {
    Clocks(Clocks),
    Search(Search),
    Fold(Box<Result<EntityState, PastError>>),
}

/// Clocks of an entity.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// Journal position of the entity's last change then: whatever came later was not looked at.
    pub(crate) newest: u64,
    /// Per heads asked for.
    pub(crate) clocks: Vec<(Vec<ChangeHash>, ClockAt)>,
    /// The index, unless the entity has too many changes for one.
    pub(crate) index: Option<Index>,
}

impl Looked {
    /// The answer where the program failed over the question: what it was about is treated as damaged.
    #[must_use]
    pub fn failed(number: u64, reason: &str) -> Self {
        Self { number, found: Err(StoreError::corrupt("entries", format!("the program failed over it: {reason}"))) }
    }
}

impl Look {
    /// Reads what has to be read, with a fresh reading every some milliseconds. `wanted` turns false when nobody waits
    /// any more.
    ///
    /// Clocks cost a walk over what the index does not have, some 5 µs per change; where the entity has more changes
    /// than an index may have, a walk back to each of the heads. A search costs what [`Search`] says, a fold what
    /// [`Past`] does.
    pub fn answer(self, wanted: &dyn Fn() -> bool) -> Looked {
        let Self { number, reader, space_no, what } = self;
        let found = match what {
            What::Clocks { name, asked, index } => {
                let key = EntityKey { space_no, collection: &name.0, id: &name.1 };
                clocks(&reader, key, &asked, index, wanted).map(Found::Clocks)
            }
            What::Search { names, from } => {
                search(&reader, Search::new(space_no, names, from, 0), wanted).map(Found::Search)
            }
            What::Fold { name, newest } => {
                let key = EntityKey { space_no, collection: &name.0, id: &name.1 };
                match fold(&reader, key, newest, wanted) {
                    Err(PastError::Store(error)) if !matches!(error, StoreError::Corrupt { .. }) => Err(error),
                    folded => Ok(Found::Fold(Box::new(folded))),
                }
            }
        };
        Looked { number, found }
    }
}

fn search(reader: &Reader, mut search: Search, wanted: &dyn Fn() -> bool) -> Result<Search, StoreError> {
    while !search.step(&reader.reading()?)? {
        if !wanted() {
            return Err(StoreError::Closed);
        }
    }
    Ok(search)
}

/// Folds an entity from its newest change, however many there are, and sees that it comes to the heads that change
/// says.
fn fold(reader: &Reader, key: EntityKey<'_>, newest: u64, wanted: &dyn Fn() -> bool) -> Result<EntityState, PastError> {
    let reading = reader.reading()?;
    let mut entries = Entries::passing();
    let mut link = entries.link(&reading, key, newest)?;
    if link.previous > 0 && defect::is(Defect::RebuiltShort) {
        link = entries.link(&reading, key, link.previous)?;
    }
    drop(reading);
    let mut past = Past::new(key, link.journal, Until::Present).patient();
    loop {
        match past.step(&reader.reading()?)? {
            ControlFlow::Break(state) if state.heads_hash() == link.after => return Ok(state),
            ControlFlow::Break(_) => {
                let detail = "its changes do not give the heads they are said to give";
                return Err(StoreError::corrupt("entries", detail).into());
            }
            ControlFlow::Continue(()) if wanted() => {}
            ControlFlow::Continue(()) => return Err(StoreError::Closed.into()),
        }
    }
}

fn clocks(
    reader: &Reader,
    key: EntityKey<'_>,
    asked: &BTreeSet<Vec<ChangeHash>>,
    mut index: Index,
    wanted: &dyn Fn() -> bool,
) -> Result<Clocks, StoreError> {
    let mut entries = Entries::passing();
    let mut reading = reader.reading()?;
    let state = present(&reading, key)?;
    let newest = state.journal();
    let mut caught = Caught::from(newest);
    loop {
        match caught.walk((&reading, &mut entries), key, &index, PIECE) {
            Ok(true) => break,
            Ok(false) => {}
            Err(PastError::Store(error)) => return Err(error),
            // The row was built anew: the index is of another chain. One of no changes is of any.
            Err(PastError::Unknown) => (index, caught) = (Index::default(), Caught::from(newest)),
            Err(_) => {
                let clocks = each(asked, |heads| walked(&reading, key, &state, heads))?;
                return Ok(Clocks { newest, clocks, index: None });
            }
        }
        if !wanted() {
            return Err(StoreError::Closed);
        }
        reading = reader.reading()?;
    }
    index.add((&reading, &mut entries), key, caught)?;
    let clocks = each(asked, |heads| indexed((&reading, &mut entries), key, &index, heads, STEPS_MAX))?;
    Ok(Clocks { newest, clocks, index: Some(index) })
}

fn each(
    asked: &BTreeSet<Vec<ChangeHash>>,
    mut find: impl FnMut(&[ChangeHash]) -> Result<ClockAt, StoreError>,
) -> Result<Vec<(Vec<ChangeHash>, ClockAt)>, StoreError> {
    asked.iter().map(|heads| Ok((heads.clone(), find(heads)?))).collect()
}

fn present(reading: &Reading, key: EntityKey<'_>) -> Result<EntityState, StoreError> {
    let Some(row) = reading.row(key.space_no, key.collection, key.id)? else { return Ok(EntityState::new()) };
    EntityState::decode(&row).map_err(|error| StoreError::corrupt("entities", error.to_string()))
}

fn walked(
    reading: &Reading,
    key: EntityKey<'_>,
    state: &EntityState,
    heads: &[ChangeHash],
) -> Result<ClockAt, StoreError> {
    let present = (state.clock(), state.journal());
    clock_at((reading, &mut Entries::passing()), key, present, heads, &|_| None, Budget::UNBOUNDED)
}

/// The clock at `heads` from an index that has all changes there are. At most `steps` changes are gone over for it.
///
/// # Errors
/// As [`Index::find`].
pub(crate) fn indexed(
    (reading, entries): (&Reading, &mut Entries),
    key: EntityKey<'_>,
    index: &Index,
    heads: &[ChangeHash],
    mut steps: usize,
) -> Result<ClockAt, StoreError> {
    let mut numbers = Vec::with_capacity(heads.len());
    for head in heads {
        match index.find((reading, &mut *entries), key, *head)? {
            Some(number) => numbers.push(number),
            None => return Ok(ClockAt::Unknown(*head)),
        }
    }
    Ok(index.clock(&numbers, &mut steps).map_or(ClockAt::NotYet, ClockAt::Known))
}
