//! The first lane: engines over a model network, a model disk and model clocks, in virtual time.

use crate::outcome::{Outcome, RunOptions};
use crate::plan::Plan;

/// Carries a plan out.
#[must_use]
pub fn run(plan: &Plan, options: RunOptions) -> Outcome {
    let _ = (plan, options);
    unimplemented!("comes with the next commit")
}
