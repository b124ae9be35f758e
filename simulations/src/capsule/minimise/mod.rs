//! Makes a failing plan smaller while it fails alike.
//!
//! In this order, and again until a whole round changes nothing: leave out assertions that have no part in it; cut what
//! comes after the violation; leave out spaces and nodes; kinds of faults; single faults; writes, initial entities,
//! edits, links; make what is left simple (delays, clocks, lengths, gaps). A candidate is kept only if it can be
//! carried out ([`Plan::check`]) and violates the same oracle at the same place. The result is 1-minimal in writes and
//! faults: without any single one of them it does not fail.

mod ddmin;
mod retain;
mod simple;
mod stages;
mod tail;

use std::collections::BTreeSet;

use crate::campaign::{Lane, guarded};
use crate::outcome::{RunOptions, Verdict, Violation};
use crate::plan::Plan;

/// Candidates that are run at most, unless said otherwise.
pub const CANDIDATES_MAX: u64 = 20_000;

/// How long to go on. With enough of everything the result depends on the plan and the lane alone.
pub struct Effort<'a> {
    /// Candidates that are run at most.
    pub candidates_max: u64,
    /// Asked before every candidate: whether there is time for it.
    pub time_left: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Effort<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Effort").field("candidates_max", &self.candidates_max).finish_non_exhaustive()
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is being left out.
    pub stage: Stage,
    /// Candidates that were run.
    pub candidates: u64,
    /// Those that failed alike and were kept.
    pub kept: u64,
    /// How large the plan is now.
    pub size: Size,
}

/// The parts of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Assertions.
    Assertions,
    /// What comes after the violation.
    Tail,
    /// Spaces.
    Spaces,
    /// Nodes.
    Nodes,
    /// Kinds of faults.
    Kinds,
    /// Single faults.
    Faults,
    /// Writes.
    Writes,
    /// Entities that are there at the beginning.
    Initial,
    /// Edits within transactions.
    Edits,
    /// Links.
    Links,
    /// Delays, clocks, lengths.
    Simple,
}

/// How large a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Faults.
    pub faults: usize,
    /// Writes.
    pub writes: usize,
}

impl Size {
    /// Of a plan.
    #[must_use]
    pub const fn of(plan: &Plan) -> Self {
        Self { nodes: plan.nodes.len(), faults: plan.faults.len(), writes: plan.writes.len() }
    }
}

/// What is left.
#[derive(Clone, Debug)]
pub struct Minimised {
    /// The plan: it passes [`Plan::check`] if the one before did, and fails alike.
    pub plan: Plan,
    /// What it violates.
    pub violation: Violation,
    /// Candidates that were run.
    pub candidates: u64,
    /// Whether a whole round changed nothing: else the effort was at its end first.
    pub complete: bool,
}

/// Makes a plan smaller that is known to violate this. Cost: a run per candidate, about (log n) of them for each thing
/// that can be left out and n for those that stay.
pub fn minimise(
    plan: &Plan,
    violation: &Violation,
    lane: Lane<'_>,
    effort: &Effort<'_>,
    tell: &mut dyn FnMut(&Step),
) -> Minimised {
    let mut search = Search {
        plan: plan.clone(),
        violation: violation.clone(),
        lane,
        effort,
        tell,
        stage: Stage::Assertions,
        tried: BTreeSet::new(),
        kept: 0,
        exhausted: false,
    };
    loop {
        let before = search.kept;
        search.round();
        if search.exhausted || search.kept == before {
            break;
        }
    }
    let Search { plan, violation: now, tried, exhausted, .. } = search;
    assert!(now.is_like(violation), "a smaller plan fails alike");
    let violation = now;
    Minimised { plan, violation, candidates: tried.len() as u64, complete: !exhausted }
}

/// The smallest plan so far, and what was tried.
struct Search<'a> {
    plan: Plan,
    violation: Violation,
    lane: Lane<'a>,
    effort: &'a Effort<'a>,
    tell: &'a mut dyn FnMut(&Step),
    stage: Stage,
    /// Hashes of the candidates that were run; bounded by [`Effort::candidates_max`].
    tried: BTreeSet<[u8; 32]>,
    kept: u64,
    /// No more effort is to be made.
    exhausted: bool,
}

impl Search<'_> {
    fn round(&mut self) {
        self.stage(Stage::Assertions, Self::drop_assertions);
        self.stage(Stage::Tail, Self::cut_tail);
        self.stage(Stage::Spaces, Self::drop_spaces);
        self.stage(Stage::Nodes, Self::drop_nodes);
        self.stage(Stage::Kinds, Self::drop_kinds);
        self.stage(Stage::Faults, Self::drop_faults);
        self.stage(Stage::Writes, Self::drop_writes);
        self.stage(Stage::Initial, Self::drop_initial);
        self.stage(Stage::Edits, Self::drop_edits);
        self.stage(Stage::Links, Self::drop_links);
        self.stage(Stage::Simple, Self::simplify);
    }

    fn stage(&mut self, stage: Stage, run: impl FnOnce(&mut Self)) {
        if !self.exhausted {
            self.stage = stage;
            run(self);
        }
    }

    /// Keeps a candidate if it fails alike.
    fn attempt(&mut self, candidate: Plan) -> bool {
        if self.exhausted || candidate == self.plan || candidate.check().is_err() {
            return false;
        }
        if self.tried.len() as u64 >= self.effort.candidates_max || !(self.effort.time_left)() {
            self.exhausted = true;
            return false;
        }
        // A plan that was kept once is never met again: all that follow are smaller.
        if !self.tried.insert(fingerprint(&candidate)) {
            return false;
        }
        let outcome = guarded(self.lane, &candidate, RunOptions::default());
        let alike = match outcome.verdict {
            Verdict::Violated(violation) if violation.is_like(&self.violation) => {
                (self.plan, self.violation) = (candidate, violation);
                self.kept += 1;
                true
            }
            _ => false,
        };
        let (candidates, kept) = (self.tried.len() as u64, self.kept);
        assert!(kept <= candidates && candidates <= self.effort.candidates_max, "no more is tried than was asked for");
        (self.tell)(&Step { stage: self.stage, candidates, kept, size: Size::of(&self.plan) });
        alike
    }
}

fn fingerprint(plan: &Plan) -> [u8; 32] {
    // Writing a plan into memory as JSON does not fail: its keys are texts and its numbers finite.
    *blake3::hash(&serde_json::to_vec(plan).unwrap_or_default()).as_bytes()
}

#[cfg(test)]
pub(super) mod tests;
