//! 1 structure: what a change names lies in its past.

use super::depends::Made;
use super::{Past, Ready, Stop, Verdict};
use crate::entity::{Change, Clock, Mark, gate};
use crate::entry::EntityChange;

/// Whether a change is the next of its actor's in the entity, of which `here` is there, and names nothing that is not
/// in its past. The last check of [`super::judge`]; for whoever folds an entity and has the clocks at hand.
#[must_use]
pub fn lies_in_past(here: Mark, change: &Change, past: &Clock) -> bool {
    gate(here, change, past).is_ok()
}

pub(super) fn all<P: Past>(
    changes: &[EntityChange],
    made: Vec<Made>,
    past: &mut P,
) -> Result<Vec<Ready>, Stop<P::Fault>> {
    assert_eq!(changes.len(), made.len(), "every change has been found");
    let mut ready = Vec::with_capacity(made.len());
    for (entity, (change, at)) in changes.iter().zip(made) {
        if let Some(wait) = past.turn(entity) {
            return Err(Stop::Wait(wait));
        }
        let Some((here, past)) = at else { continue };
        if !lies_in_past(here, &change, &past) {
            return Err(Stop::Refuse(Verdict::Structure));
        }
        ready.push(Ready { change, past });
    }
    Ok(ready)
}
