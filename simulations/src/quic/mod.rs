//! The second lane: the same engines over real quinn endpoints on simulated UDP, in virtual time.

use crate::outcome::{Outcome, RunOptions};
use crate::plan::Plan;

/// Carries a plan out.
#[must_use]
pub fn run(plan: &Plan, options: RunOptions) -> Outcome {
    let _ = (plan, options);
    unimplemented!("comes with a later commit")
}
