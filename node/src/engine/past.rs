//! The clock at given heads of an entity: from the row where they are its heads, else by walking its chain backwards.

use std::collections::BTreeSet;

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::{Change, Clock, EntityState};

use super::rows::{EntityOf, Pasts};
use crate::chain::{EntityKey, chain};
use crate::store::{Snapshot, StoreError};

/// The clock at `heads`: what lies in their past, themselves included. `Err`: a head that is not applied here.
///
/// Costs nothing where `heads` are remembered; else a walk over the entity's chain, whole in the worst case.
pub(super) fn clock_at(
    batch: &Snapshot,
    pasts: &mut Pasts,
    entity: EntityOf<'_>,
    state: &EntityState,
    heads: &[ChangeHash],
) -> Result<Result<Clock, ChangeHash>, StoreError> {
    let (space_no, collection, id) = entity;
    let mut clock = Clock::default();
    let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
    for head in heads {
        match pasts.get(entity, *head) {
            Some(known) => clock.join(known),
            None => {
                wanted.insert(*head);
            }
        }
    }
    // A named change is found, or proven absent, by walking back; its ancestors follow it in the walk.
    let mut named: BTreeSet<ChangeHash> = wanted.clone();
    for link in chain(batch, EntityKey { space_no, collection, id }, state.journal()) {
        if wanted.is_empty() {
            break;
        }
        let link = link?;
        let change = Change::parse(&link.change, link.feed)
            .map_err(|_| StoreError::corrupt("entries", "an applied change does not decode"))?;
        if wanted.remove(&change.hash()) {
            named.remove(&change.hash());
            match pasts.get(entity, change.hash()) {
                Some(known) => clock.join(known),
                None => {
                    clock.take(&change);
                    wanted.extend(change.deps().iter().copied());
                }
            }
        }
    }
    if let Some(missing) = named.first() {
        return Ok(Err(*missing));
    }
    if let [head] = heads {
        pasts.insert(entity, *head, clock.clone());
    }
    Ok(Ok(clock))
}
