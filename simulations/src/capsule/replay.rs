//! Carrying a capsule's plan out again.

use super::Capsule;
use crate::campaign::{Lane, guarded};
use crate::outcome::{Outcome, RunOptions, Verdict};
use crate::trace::Event;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The run, with its events.
    pub outcome: Outcome,
    /// Whether it fails as it did.
    pub sameness: Sameness,
    /// Where the events are others than those in the capsule: the code has changed since.
    pub divergence: Option<Divergence>,
    /// Whether a second run was equal to the first.
    pub deterministic: bool,
}

/// Whether a plan fails as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// The oracle of the capsule fails at the place of the capsule.
    FailsAlike,
    /// The run fails otherwise.
    FailsOtherwise,
    /// The run holds: the defect is not there (any more).
    Holds,
    /// Nothing can be said.
    Inconclusive,
}

/// Where two lists of events part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Line of `events.jsonl`, from 1; one after the last if the run went on.
    pub line: usize,
    /// What stands there.
    pub expected: Option<Event>,
    /// What happened instead.
    pub found: Option<Event>,
}

impl Capsule {
    /// Carries the plan out again, twice, and compares.
    pub fn replay(&self, lane: Lane<'_>) -> Replay {
        let outcome = guarded(lane, &self.plan, RunOptions { record: true });
        let second = guarded(lane, &self.plan, RunOptions::default());
        let sameness = match &outcome.verdict {
            Verdict::Violated(violation) if violation.is_like(&self.violation) => Sameness::FailsAlike,
            Verdict::Violated(_) => Sameness::FailsOtherwise,
            Verdict::Held => Sameness::Holds,
            Verdict::Inconclusive(_) => Sameness::Inconclusive,
        };
        let events = outcome.trace.as_ref().map(|trace| trace.events.as_slice()).unwrap_or_default();
        let divergence = Event::first_difference(&self.events, events).map(|at| Divergence {
            line: at + 1,
            expected: self.events.get(at).cloned(),
            found: events.get(at).cloned(),
        });
        let deterministic = outcome.hash == second.hash;
        Replay { outcome, sameness, divergence, deterministic }
    }
}
