//! The clock at given heads of an entity: from the row where they are its heads, else by walking its chain backwards.

use std::collections::BTreeSet;

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::{Change, Clock, EntityState};
use tombolo_crdt::entry::{Body, Entry};

use super::rows::Pasts;
use crate::store::{Batch, StoreError};

/// The clock at `heads`: what lies in their past, themselves included. `Err`: a head that is not applied here.
///
/// Costs nothing where `heads` are remembered; else a walk over the entity's chain, whole in the worst case.
pub(super) fn clock_at(
    batch: &mut Batch<'_>,
    pasts: &mut Pasts,
    space: u32,
    collection: &str,
    id: &str,
    state: &EntityState,
    heads: &[ChangeHash],
) -> Result<Result<Clock, ChangeHash>, StoreError> {
    let mut clock = Clock::default();
    let mut wanted: BTreeSet<ChangeHash> = BTreeSet::new();
    for head in heads {
        match pasts.get(head) {
            Some(known) => clock.join(known),
            None => {
                wanted.insert(*head);
            }
        }
    }
    // A named change is found, or proven absent, by walking back; its ancestors follow it in the walk.
    let mut named: BTreeSet<ChangeHash> = wanted.clone();
    let mut journal = state.journal();
    while journal != 0 && !wanted.is_empty() {
        let Some((change, previous)) = change_at(batch, space, collection, id, journal)? else { break };
        if wanted.remove(&change.hash()) {
            named.remove(&change.hash());
            match pasts.get(&change.hash()) {
                Some(known) => clock.join(known),
                None => {
                    clock.add(&change);
                    wanted.extend(change.deps().iter().copied());
                }
            }
        }
        journal = previous;
    }
    if let Some(missing) = named.first() {
        return Ok(Err(*missing));
    }
    if let [head] = heads {
        pasts.insert(*head, clock.clone());
    }
    Ok(Ok(clock))
}

/// The change of an entity at a journal position, and the position of the one before it.
fn change_at(
    batch: &mut Batch<'_>,
    space: u32,
    collection: &str,
    id: &str,
    journal: u64,
) -> Result<Option<(Change, u64)>, StoreError> {
    let missing = || StoreError::corrupt("journal", "the chain of an entity leads nowhere");
    let at = batch.journal(space, journal)?.ok_or_else(missing)?;
    let row = batch.entry(at.feed, at.seq)?.ok_or_else(missing)?;
    let entry = Entry::decode(&row.bytes).map_err(|_| missing())?;
    let Body::Data(changes) = entry.body else { return Ok(None) };
    let found = changes.iter().zip(&row.changes).find(|(change, _)| change.collection == collection && change.id == id);
    let Some((change, link)) = found else { return Err(missing()) };
    let change = Change::parse(&change.change, at.feed).map_err(|_| missing())?;
    Ok(Some((change, link.previous)))
}
