//! Work of a step, counted and not measured, so that every run ends a step at the same place. The prices are estimates
//! for one slow core; what holds them to the truth is the longest step that the attack driver measures.
//!
//! Inputs, what was held, and entries of others are worked on within it. What is left over is the next step's. Where
//! both commands and entries of others wait, each has half. A step may do one input or entry more than its work.

use tombolo_crdt::defect::{self, Defect};

use crate::engine::interface::{Input, StepCost};

/// Work of one step, in nanoseconds of one slow core in a release build: 30 ms, so that with the commit and what is
/// said afterwards nobody waits for 50 ms. (With 40 ms the longest step under attack took 51 ms.)
pub const STEP_WORK_MAX: u64 = 30_000_000;
/// An input, taken in: some 5 µs.
const INPUT: u64 = 5_000;
/// A feed, position or range that an input names: looked up and noted.
const NAMED: u64 = 1_000;
/// An entry, judged and stored: some 20 µs.
const ENTRY: u64 = 20_000;
/// A feed of which something moves in a step: its row, its heads, and who is told of it, some 40 µs.
const FEED: u64 = 40_000;
/// A byte of an entry: hashed, decoded and copied twice.
const BYTE: u64 = 10;
/// An operation, read, checked and applied.
const OPERATION: u64 = 500;
/// A byte of a row, decoded once and encoded once per step.
const ROW_BYTE: u64 = 10;
/// An entry of the history, read again and its change parsed: some 10 µs.
const READ: u64 = 10_000;
/// A dependency, looked up: some 5 µs if it is not its feed's last entry.
const DEPENDENCY: u64 = 5_000;
/// A rules entry of the space, gone over where rules heads are stated: their ancestry twice, and the roster once.
const RULES_ENTRY: u64 = 100;
/// A slice of care, some three milliseconds: at most 1,024 rows or 1 MiB of them.
const SLICE: u64 = 3_000_000;

/// What work was, for [`StepCost::what`], in the order of [`Kind`]; the last is what is said afterwards. Dashboards
/// know these words.
pub const STEP_KINDS: [&str; 7] = ["inputs", "entries", "operations", "rows", "history", "care", SAID];
/// What is said after the commit.
pub(super) const SAID: &str = "said";
/// A session that is visited, with what is said in it.
pub(super) const VISIT: u64 = 10_000;
/// A feed, row of the journal or position that is looked at to compare.
pub(super) const COMPARED: u64 = 4_000;
/// A space or member that the status tells of.
pub(super) const TOLD: u64 = 2_000;

/// What work is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Inputs,
    Entries,
    Operations,
    Rows,
    History,
    Care,
}

/// What a step has done so far.
#[derive(Debug)]
pub(super) struct Budget {
    max: u64,
    /// Entries of others wait as well: inputs have half.
    halved: bool,
    /// All that is being done is one piece.
    whole: bool,
    /// Work done, by kind.
    done: [u64; STEP_KINDS.len()],
    /// Work done when the piece began that is being done, and the largest piece so far.
    begun: u64,
    largest: u64,
    /// Operations of the piece that is being done, and of the largest.
    operations: u64,
    largest_operations: u64,
    /// What the step has read so far: bytes of rows, and entries of the history.
    read: (u64, u64),
}

impl Budget {
    /// Of a step that may do so much.
    pub(super) fn new(max: u64) -> Self {
        assert!(max > 0, "every step gets something done");
        Self {
            max,
            halved: false,
            whole: false,
            done: [0; STEP_KINDS.len()],
            begun: 0,
            largest: 0,
            operations: 0,
            largest_operations: 0,
            read: (0, 0),
        }
    }

    /// A piece of work begins that is done whole: an input, an entry, a slice.
    pub(super) fn begin(&mut self) {
        if !self.whole {
            self.begun = self.work();
            self.operations = 0;
        }
    }

    /// An input is taken in.
    pub(super) fn input(&mut self, input: &Input) {
        self.begin();
        self.take(Kind::Inputs, INPUT + input.names() as u64 * NAMED);
    }

    /// An entry was judged, with so many bytes and operations that were read.
    pub(super) fn entry(&mut self, bytes: usize, operations: usize) {
        self.take(Kind::Entries, ENTRY + bytes as u64 * BYTE);
        self.operations += operations as u64;
        self.take(Kind::Operations, operations as u64 * OPERATION);
    }

    /// A feed is taken up.
    pub(super) fn feed(&mut self) {
        self.take(Kind::Entries, FEED);
    }

    /// An entry is kept until what it waits for has come.
    pub(super) fn held(&mut self, bytes: usize) {
        self.take(Kind::Entries, ENTRY + bytes as u64 * BYTE);
    }

    /// A page of rules entries that are offered was judged.
    pub(super) fn offered(&mut self, entries: usize, bytes: usize, rules: usize) {
        self.take(Kind::Entries, entries as u64 * ENTRY + bytes as u64 * BYTE);
        self.take(Kind::History, entries as u64 * rules as u64 * RULES_ENTRY);
    }

    /// So many members were told of.
    pub(super) fn told(&mut self, members: usize) {
        self.take(Kind::Inputs, members as u64 * TOLD);
    }

    /// So many dependencies were looked up, and rules entries gone over.
    pub(super) fn named(&mut self, dependencies: usize, rules: usize) {
        self.take(Kind::History, dependencies as u64 * DEPENDENCY + rules as u64 * RULES_ENTRY);
    }

    /// So many bytes of rows, and entries of the history, have been read since the step began. What is new counts.
    pub(super) fn has_read(&mut self, row_bytes: u64, entries: u64) {
        let (rows_before, entries_before) = std::mem::replace(&mut self.read, (row_bytes, entries));
        assert!(rows_before <= row_bytes && entries_before <= entries, "what was read stays read");
        self.take(Kind::Rows, (row_bytes - rows_before) * ROW_BYTE);
        self.take(Kind::History, (entries - entries_before) * READ);
    }

    /// A slice of care was done.
    pub(super) fn slice(&mut self) {
        self.begin();
        self.take(Kind::Care, SLICE);
    }

    /// From here on all is one piece that is done whole, or is so no more.
    pub(super) fn whole(&mut self, whole: bool) {
        self.begin();
        self.whole = whole;
    }

    fn take(&mut self, kind: Kind, work: u64) {
        if let Some(done) = self.done.get_mut(kind as usize) {
            *done = done.saturating_add(work);
        }
        let piece = self.work() - self.begun;
        if piece > self.largest {
            (self.largest, self.largest_operations) = (piece, self.operations);
        }
    }

    fn work(&self) -> u64 {
        self.done.iter().fold(0, |sum, done| sum.saturating_add(*done))
    }

    /// Whether the step does no more.
    pub(super) fn is_spent(&self) -> bool {
        let max = if self.halved { self.max.div_ceil(2) } else { self.max };
        self.work() >= max && !self.whole && !defect::is(Defect::WorkUnbounded)
    }

    /// Whether only half of the work is given away for now.
    pub(super) fn halve(&mut self, halved: bool) {
        self.halved = halved;
    }

    /// All of it, and what most of it was.
    pub(super) fn cost(&self) -> StepCost {
        let what = self.done.iter().zip(STEP_KINDS).rev().max_by_key(|(work, _)| **work).map_or("", |(_, what)| what);
        let (largest, operations) = (self.largest, self.largest_operations);
        StepCost { work: self.work(), largest, operations, said: 0, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_what_is_done_and_tells_what_that_was() {
        let mut budget = Budget::new(STEP_WORK_MAX);
        assert_eq!((budget.is_spent(), budget.cost().work), (false, 0));
        budget.input(&Input::Timer);
        let cost = |work, largest, operations, what| StepCost { work, largest, operations, said: 0, what };
        assert_eq!(budget.cost(), cost(INPUT, INPUT, 0, "inputs"));
        budget.begin();
        budget.entry(100, 10);
        let entry = ENTRY + 100 * BYTE + 10 * OPERATION;
        assert_eq!(budget.cost(), cost(INPUT + entry, entry, 10, "entries"));
        budget.has_read(100, 2_000);
        assert_eq!((budget.is_spent(), budget.cost().what), (false, "history"));
        budget.halve(true);
        assert!(budget.is_spent());
        budget.halve(false);
        budget.entry(64, 65_536);
        assert_eq!((budget.is_spent(), budget.cost().what), (true, "operations"));
        budget.whole(true);
        budget.entry(1, 1);
        budget.entry(1, 1);
        assert!(!budget.is_spent());
        budget.whole(false);
        let cost = budget.cost();
        assert!(budget.is_spent() && cost.largest > 65_536 * OPERATION && cost.work < 2 * cost.largest + STEP_WORK_MAX);
    }
}
