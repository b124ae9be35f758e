//! 4 depends: what a change was made on is applied in its entity.

use super::{Base, Known, Past, Stop, Verdict, Wait};
use crate::entity::{Change, Clock, Mark};
use crate::entry::EntityChange;

/// A change and where it was made: what the entity holds of its actor, and its past. `None`: somebody else looks.
pub(super) type Made = (Change, Option<(Mark, Clock)>);

/// Finds where each change was made. One that was made on a refused change is refused with its entry; one that was made
/// on a change that is not here waits for it.
///
/// Every entry of the past is settled here, so an honest author's changes never wait. Nor may they be refused: whoever
/// names a change that lies in no entry of its past may have it applied on one node and not yet on another.
pub(super) fn applied<P: Past>(
    changes: &[EntityChange],
    read: Vec<Change>,
    past: &mut P,
) -> Result<Vec<Made>, Stop<P::Fault>> {
    let (mut made, mut waits) = (Vec::with_capacity(read.len()), None);
    for (entity, change) in changes.iter().zip(read) {
        if let Some(wait) = past.turn(entity) {
            waits = Some(wait);
            continue;
        }
        match past.base(entity, &change)? {
            Known::Is(Base::At { here, past }) => made.push((change, Some((here, past)))),
            Known::Is(Base::Elsewhere) => made.push((change, None)),
            Known::Is(Base::Absent(hash)) => {
                for dep in change.deps() {
                    if let Known::Is(true) = past.refused(entity, *dep)? {
                        return Err(Stop::Refuse(Verdict::Depends));
                    }
                }
                waits = Some(Wait::Change(entity.collection.clone(), entity.id.clone(), hash));
            }
            Known::Wait(wait) => waits = Some(wait),
        }
    }
    waits.map_or(Ok(made), |wait| Err(Stop::Wait(wait)))
}
