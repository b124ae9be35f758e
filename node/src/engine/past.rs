//! The clock at given heads of an entity: remembered, or found by walking its chain back as far as it must be.

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::{Clock, EntityState};

use super::rows::{EntityOf, Pasts};
use crate::chain::{self, EntityKey, Entries};
use crate::store::{Snapshot, StoreError};

/// The clock at `heads`: what lies in their past, themselves included. `Err`: a head that is not applied here.
///
/// Costs nothing where `heads` are remembered; else what [`chain::clock_at`] says.
pub(super) fn clock_at(
    (batch, entries): (&Snapshot, &mut Entries),
    pasts: &mut Pasts,
    entity: EntityOf<'_>,
    state: &EntityState,
    heads: &[ChangeHash],
) -> Result<Result<Clock, ChangeHash>, StoreError> {
    let (space_no, collection, id) = entity;
    let key = EntityKey { space_no, collection, id };
    let known = |hash: ChangeHash| pasts.get(entity, hash);
    let clock = chain::clock_at((batch, entries), key, (state.clock(), state.journal()), heads, &known)?;
    if let (Ok(clock), [head]) = (&clock, heads) {
        pasts.insert(entity, *head, clock.clone());
    }
    Ok(clock)
}
