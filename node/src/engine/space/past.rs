//! The clock at given heads of an entity: remembered, looked up in an index, found by a short walk, or asked for.
//!
//! [`clock_at`] is the only way from a step to an entity's past. What it costs a step is bounded: see the constants.
//! What takes longer is looked at off the engine's thread (`looks.rs`).

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::{Clock, EntityState};
use tombolo_crdt::hash::Tagged;

use crate::chain::{self, Budget, Caught, EntityKey, Entries, Index, PastError};
use crate::engine::space::looks::{Asker, Looks, name_of};
use crate::engine::space::rows::{EntityOf, Pasts};
use crate::store::{Reading, StoreError};

pub(in crate::engine) use crate::chain::ClockAt;

/// What a step walks back for one clock: some 0.6 ms.
const INLINE: Budget = Budget { changes: 128, bytes: 256 << 10 };
/// Changes gone over in an index for one clock: some 1.3 ms.
const INLINE_STEPS: usize = 4_096;

/// The clock at `heads`: what lies in their past, themselves included.
///
/// [`ClockAt::NotYet`]: that takes longer than a step may. If there is an asker it has been asked for, and the asker's
/// feed is tried again when it is known. Costs nothing where `heads` are remembered; else what the constants of this
/// module say.
///
/// # Errors
/// [`StoreError::Corrupt`]: the entity's history is damaged where it is needed; any other: the store cannot be read.
pub(in crate::engine) fn clock_at(
    (batch, entries): (&Reading, &mut Entries),
    (pasts, looks): (&mut Pasts, &mut Looks),
    entity: EntityOf<'_>,
    state: &EntityState,
    heads: &[ChangeHash],
    asker: Option<Asker>,
) -> Result<ClockAt, StoreError> {
    debug_assert!(heads != state.heads(), "whoever asks has looked at the present");
    if let Some(clock) = remembered(pasts, entity, heads) {
        return Ok(ClockAt::Known(clock));
    }
    let name = name_of(entity);
    let before = entries.reads();
    let found = match looks.told(&name, heads)? {
        Some((told, newest)) if still_holds((batch, &mut *entries), entity, state, (heads, &told, newest))? => told,
        _ if looks.expects(&name) || !looks.may_read() => ClockAt::NotYet,
        _ => find((batch, &mut *entries), (&*pasts, &mut *looks), entity, state, heads)?,
    };
    looks.count(entries.reads() - before);
    match &found {
        ClockAt::Known(clock) => pasts.insert(entity, one_hash(heads), clock.clone()),
        ClockAt::NotYet => asker.into_iter().for_each(|asker| looks.ask(asker, &name, heads)),
        ClockAt::Unknown(_) => {}
    }
    Ok(found)
}

fn find(
    (batch, entries): (&Reading, &mut Entries),
    (pasts, looks): (&Pasts, &mut Looks),
    entity: EntityOf<'_>,
    state: &EntityState,
    heads: &[ChangeHash],
) -> Result<ClockAt, StoreError> {
    let (space_no, collection, id) = entity;
    let key = EntityKey { space_no, collection, id };
    if let Some(index) = looks.index(&name_of(entity), state) {
        return match caught_up((batch, &mut *entries), key, index, state)? {
            true => chain::indexed((batch, entries), key, index, heads, INLINE_STEPS),
            false => Ok(ClockAt::NotYet),
        };
    }
    let known = |hash: ChangeHash| pasts.get(entity, hash);
    chain::clock_at((batch, entries), key, (state.clock(), state.journal()), heads, &known, INLINE)
}

/// Adds to an index what has been written since. `false`: that is too much for a step.
fn caught_up(
    (batch, entries): (&Reading, &mut Entries),
    key: EntityKey<'_>,
    index: &mut Index,
    state: &EntityState,
) -> Result<bool, StoreError> {
    if index.newest() == state.journal() {
        return Ok(true);
    }
    let mut caught = Caught::from(state.journal());
    match caught.walk((batch, &mut *entries), key, index, INLINE) {
        Ok(true) => index.add((batch, entries), key, caught).map(|()| true),
        Ok(false) | Err(PastError::TooLong { .. } | PastError::Unknown | PastError::NotYet) => Ok(false),
        Err(PastError::Store(error)) => Err(error),
    }
}

/// Whether what was told of a state of the store that lies `newest` back holds now: a clock always does, and that a
/// change is unknown if it has not come since.
fn still_holds(
    (batch, entries): (&Reading, &mut Entries),
    (space_no, collection, id): EntityOf<'_>,
    state: &EntityState,
    (heads, told, newest): (&[ChangeHash], &ClockAt, u64),
) -> Result<bool, StoreError> {
    match told {
        ClockAt::Known(_) => return Ok(true),
        ClockAt::NotYet => return Ok(false),
        ClockAt::Unknown(_) => {}
    }
    let key = EntityKey { space_no, collection, id };
    let mut links = chain::walk(batch, entries, key, state.journal(), INLINE);
    while links.rest() > newest {
        let Some(link) = links.next().transpose()? else { return Ok(false) };
        if heads.contains(&link.parse()?.hash()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The clock, if it is remembered for these heads or for each of them.
fn remembered(pasts: &Pasts, entity: EntityOf<'_>, heads: &[ChangeHash]) -> Option<Clock> {
    if let Some(clock) = pasts.get(entity, one_hash(heads)) {
        return Some(clock.clone());
    }
    let mut clock = Clock::default();
    for head in heads {
        clock.join(pasts.get(entity, *head)?);
    }
    Some(clock)
}

/// What stands for several heads where one is remembered.
pub(in crate::engine) fn one_hash(heads: &[ChangeHash]) -> ChangeHash {
    match heads {
        [head] => *head,
        _ => {
            let hash = Tagged::new("tombolo/1 remembered heads");
            ChangeHash::from_bytes(heads.iter().fold(hash, |hash, head| hash.bytes(head.as_bytes())).finish())
        }
    }
}
