//! Work of a step is bounded, whatever is handed in.

use tombolo_node::engine::{Engine, Outputs};

use super::fault::Fault;
use crate::outcome::Oracle;

/// Work of the largest piece that is done whole, in nanoseconds: 50 ms, and what the operations of one lawful entry
/// cost.
const PIECE_MAX: u64 = 50_000_000;
/// Of each operation of that piece, in nanoseconds.
const OPERATION: u64 = 500;
const _: () = assert!(PIECE_MAX > tombolo_node::engine::STEP_WORK_MAX, "a piece is no less than a step");

/// A process has made a step.
pub(super) fn stepped(engine: &Engine, outputs: &Outputs) -> Result<(), Fault> {
    let (cost, most) = (outputs.cost, engine.step_work());
    if cost.work >= most.saturating_add(cost.largest.max(1)) {
        let detail = format!("{} ns of work, mostly {}; the step had {most}", cost.work, cost.what);
        return Err(Fault::new(Oracle::Work, "a step without end", detail));
    }
    if cost.largest > PIECE_MAX + cost.operations * OPERATION {
        let detail = format!("{} ns of work in one piece, mostly {}", cost.largest, cost.what);
        return Err(Fault::new(Oracle::Work, "a piece of work without bound", detail));
    }
    Ok(())
}
