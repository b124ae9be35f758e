//! The part of the gate that needs the entity: the causal-past rule of `docs/formats.md`.

use super::doc::Key;
use super::id::{Clock, Mark, OpId};
use super::{Change, EntityState};

/// Why a change may not be applied. Its author's fault; nothing changed; refused(structure) everywhere alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Not the next of its actor's changes to this entity.
    #[error("change {seq} of its actor, expected {expected}")]
    Sequence {
        /// The change's number.
        seq: u64,
        /// The only number that may follow here.
        expected: u64,
    },
    /// It was not made on its actor's change before it. Else each of many could be a head beside the others.
    #[error("its actor's change {before} is not in its past")]
    Aside {
        /// Number of the change before it.
        before: u64,
    },
    /// Its operations do not begin between the actor's last one and the one after the greatest in its past. Counters
    /// end somewhere: whoever could leave some out could use them up, and nobody could write the entity any more.
    #[error("first operation {start} is not above {last}, the actor's last, or beyond {next}, the next of all")]
    StartOp {
        /// Counter of the change's first operation.
        start: u64,
        /// Counter of the actor's last operation here.
        last: u64,
        /// One more than the greatest counter in its past.
        next: u64,
    },
    /// It names an operation that is not in its causal past, or not below its own.
    #[error("operation {op} names {named}, which is not in its past")]
    NotInPast {
        /// The operation.
        op: OpId,
        /// What it names.
        named: OpId,
    },
}

impl EntityState {
    /// Checks that everything a change names lies in its past. `past` is the clock at the change's dependencies.
    pub fn gate(&self, change: &Change, past: &Clock) -> Result<(), GateError> {
        gate(self.clock.get(&change.actor()), change, past)
    }
}

/// Checks a change of an actor of whom the entity holds `here` against `past`, the clock at the change's dependencies.
pub(crate) fn gate(here: Mark, change: &Change, past: &Clock) -> Result<(), GateError> {
    if change.seq() != here.seq + 1 {
        return Err(GateError::Sequence { seq: change.seq(), expected: here.seq + 1 });
    }
    if past.get(&change.actor()).seq != here.seq {
        return Err(GateError::Aside { before: here.seq });
    }
    let next = past.counter_max() + 1;
    if change.start_op() <= here.counter || change.start_op() > next {
        return Err(GateError::StartOp { start: change.start_op(), last: here.counter, next });
    }
    for (op, operation) in change.ops() {
        let known = |named: OpId| {
            let own = named.actor() == change.actor() && named.counter() >= change.start_op();
            let earlier = if own { named < op } else { named.counter() < change.start_op() && past.covers(&named) };
            if named == OpId::ROOT || earlier { Ok(()) } else { Err(GateError::NotInPast { op, named }) }
        };
        known(operation.obj)?;
        if let Key::Elem(elem) = operation.key {
            known(elem)?;
        }
        operation.pred.iter().try_for_each(|pred| known(*pred))?;
    }
    Ok(())
}
