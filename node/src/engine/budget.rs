//! Work of a step, counted and not measured, so that every run ends a step at the same place.
//!
//! Inputs, what was held, and entries of others are worked on within it. What is left over is the next step's. Where both
//! commands and entries of others wait, each has half. A step may do one input or entry more than its work.

use super::io::{Input, StepCost};

/// Work of one step, in nanoseconds of one slow core in a release build: 40 ms, so that with the commit and what is said
/// afterwards nobody waits for 50 ms.
pub const STEP_WORK_MAX: u64 = 40_000_000;
/// An input, taken in: some 5 µs.
const INPUT: u64 = 5_000;
/// A feed, position or range that an input names: looked up and noted.
const NAMED: u64 = 1_000;
/// An entry, judged and stored: some 20 µs.
const ENTRY: u64 = 20_000;
/// A byte of an entry: hashed, decoded and copied twice.
const BYTE: u64 = 10;
/// An operation, read, checked and applied.
const OPERATION: u64 = 500;
/// A byte of a row, decoded once and encoded once per step.
const ROW_BYTE: u64 = 10;
/// An entry of the history, read again and its change parsed: some 10 µs.
const READ: u64 = 10_000;
/// A slice of care, some three milliseconds: at most 1,024 rows or 1 MiB of them.
const SLICE: u64 = 3_000_000;

/// What work was, for [`StepCost::what`].
const KINDS: [&str; 6] = ["inputs", "entries", "operations", "rows", "history", "care"];

/// What a step has done so far.
#[derive(Debug)]
pub(super) struct Budget {
    max: u64,
    /// Work done, by kind.
    done: [u64; KINDS.len()],
    /// Entries that were judged.
    pub(super) judged: u64,
}

impl Budget {
    /// Of a step that may do so much.
    pub(super) fn new(max: u64) -> Self {
        assert!(max > 0, "every step gets something done");
        Self { max, done: [0; KINDS.len()], judged: 0 }
    }

    /// An input is taken in.
    pub(super) fn input(&mut self, input: &Input) {
        self.take(0, INPUT + input.names() as u64 * NAMED);
    }

    /// An entry was judged, with so many bytes and operations that were read.
    pub(super) fn entry(&mut self, bytes: usize, operations: usize) {
        self.judged += 1;
        self.take(1, ENTRY + bytes as u64 * BYTE);
        self.take(2, operations as u64 * OPERATION);
    }

    /// So many bytes of rows, and entries of the history, were read.
    pub(super) fn looked(&mut self, row_bytes: u64, reads: u64) {
        self.take(3, row_bytes * ROW_BYTE);
        self.take(4, reads * READ);
    }

    /// A slice of care was done.
    pub(super) fn slice(&mut self) {
        self.take(5, SLICE);
    }

    /// For what must be done whole: as much again.
    pub(super) fn renew(&mut self) {
        self.max = self.max.max(self.work().saturating_add(STEP_WORK_MAX));
    }

    fn take(&mut self, kind: usize, work: u64) {
        if let Some(done) = self.done.get_mut(kind) {
            *done = done.saturating_add(work);
        }
    }

    fn work(&self) -> u64 {
        self.done.iter().fold(0, |sum, done| sum.saturating_add(*done))
    }

    /// Whether the step does no more.
    pub(super) fn is_spent(&self) -> bool {
        self.work() >= self.max
    }

    /// Whether inputs that entries of others wait beside have had their half.
    pub(super) fn is_half_spent(&self) -> bool {
        self.work() >= self.max.div_ceil(2)
    }

    /// All of it, and what most of it was.
    pub(super) fn cost(&self) -> StepCost {
        let what = self.done.iter().zip(KINDS).max_by_key(|(work, _)| **work).map_or("", |(_, what)| what);
        StepCost { work: self.work(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_what_is_done_and_tells_what_that_was() {
        let mut budget = Budget::new(STEP_WORK_MAX);
        assert_eq!((budget.is_half_spent(), budget.cost().work), (false, 0));
        budget.input(&Input::Timer);
        assert_eq!(budget.cost(), StepCost { work: INPUT, what: "inputs" });
        budget.entry(100, 10);
        assert_eq!(budget.cost(), StepCost { work: INPUT + ENTRY + 100 * BYTE + 10 * OPERATION, what: "entries" });
        budget.looked(100, 2_000);
        assert_eq!((budget.is_spent(), budget.is_half_spent(), budget.cost().what), (false, true, "history"));
        budget.entry(64, 65_536);
        assert_eq!((budget.is_spent(), budget.cost().what, budget.judged), (true, "operations", 2));
        budget.renew();
        assert!(!budget.is_spent());
    }
}
