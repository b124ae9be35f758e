//! Many seeds of several scenarios: known bad ones first, on all cores, within a time budget.
//!
//! Runs are numbered in one order: known bad seeds, then seed by seed all scenarios. They are handed out and taken in
//! in this order, and what ends a campaign ends it at a number: results do not depend on how many threads there are.
//! Only a time budget or an interruption makes a campaign shorter, never different.
//!
//! Here, and nowhere else in this crate, is a clock read: for time budgets and for figures.

mod clock;
mod crew;
mod known;
mod seeds;
mod selftest;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::outcome::{Outcome, RunOptions, Verdict, Violation};
use crate::panics;
use crate::plan::Plan;
use crate::scenario::Scenario;

pub use clock::Stopwatch;
pub use known::{KnownBad, KnownBadError, KnownSeed};
pub use seeds::{Seeds, SeedsError, Shard, ShardError};
pub use selftest::Unequal;

/// What carries a plan out: [`world::run`](crate::world::run), [`quic::run`](crate::quic::run), or a stand-in.
pub type Lane<'a> = &'a (dyn Fn(&Plan, RunOptions) -> Outcome + Sync);

/// Failures that are kept of a campaign, unless said otherwise: with more, one defect is found a hundred times.
pub const FAILURES_MAX: usize = 100;
/// One of so many runs is done twice, unless said otherwise.
pub const SELFTEST_EVERY: u64 = 50;
/// Runs that may be ahead of the slowest one: their results wait in memory, some kilobytes each.
const AHEAD_MAX: u64 = 512;

const _: () = assert!(AHEAD_MAX > 0 && SELFTEST_EVERY > 0 && FAILURES_MAX > 0, "a campaign gets somewhere");

/// A scenario to run: its name, and how a seed becomes a plan.
pub struct Subject<'a> {
    name: String,
    plan: Box<dyn Fn(u64) -> Plan + Sync + 'a>,
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Subject<'a> {
    /// Anything that makes plans of seeds; it must make equal plans of equal seeds.
    pub fn new(name: impl Into<String>, plan: impl Fn(u64) -> Plan + Sync + 'a) -> Self {
        Self { name: name.into(), plan: Box::new(plan) }
    }

    /// The runs of one scenario.
    #[must_use]
    pub fn of(scenario: &'a Scenario) -> Self {
        Self::new(scenario.name(), |seed| scenario.plan(seed))
    }

    /// The name of the scenario.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plan of a seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        (self.plan)(seed)
    }
}

/// What is to be run, and how long.
#[derive(Debug)]
pub struct Campaign<'a> {
    /// The scenarios.
    pub subjects: &'a [Subject<'a>],
    /// The seeds of each.
    pub seeds: Seeds,
    /// Which part of the seeds.
    pub shard: Shard,
    /// Seeds that failed before: they run first, in the shard they belong to.
    pub known_bad: &'a KnownBad,
    /// No run is begun after this time.
    pub time_budget: Option<Duration>,
    /// Threads; a run takes one. At least 1.
    pub threads: usize,
    /// The campaign ends with this many failures.
    pub failures_max: usize,
    /// One of so many runs, and the first of each scenario, is done twice; 0: none.
    pub selftest_every: u64,
    /// Set from outside: no run is begun any more.
    pub interrupted: &'a AtomicBool,
}

/// A run that has ended, as it is told to whoever asked for the campaign, in order.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The scenario.
    pub scenario: &'a str,
    /// The seed.
    pub seed: u64,
    /// The plan without its writes and initial data, which are not worth the memory. None if making it panicked.
    pub plan: Option<&'a Plan>,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Time of the machine; of the first run, if it was done twice.
    pub wall: Duration,
    /// Whether both runs were equal, if it was done twice.
    pub selftest: Option<bool>,
}

/// How far a campaign is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Runs that have ended.
    pub runs: u64,
    /// Runs in all; none if the seeds have no end.
    pub of: Option<u64>,
    /// Frames, timers and inputs.
    pub events: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Runs with a violation.
    pub failures: u64,
}

/// A run with a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// What was violated.
    pub violation: Violation,
}

/// Why a campaign ended before all its seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time was up.
    TimeBudget,
    /// There were [`Campaign::failures_max`] failures.
    Failures,
    /// One plan gave two different runs: nothing else that the campaign says counts.
    NotDeterministic,
    /// From outside.
    Interrupted,
    /// The system gives no thread to run in.
    NoThreads,
}

/// What came of a campaign; lists by scenario and seed.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// How far it came.
    pub progress: Progress,
    /// Runs that were done twice.
    pub selftests: u64,
    /// Violations.
    pub failures: Vec<Failure>,
    /// Runs of which nothing can be said, and why.
    pub inconclusive: Vec<(String, u64, String)>,
    /// Two different runs of one plan.
    pub unequal: Option<Unequal>,
    /// Why it ended early.
    pub stopped: Option<Stop>,
    /// Time of the machine.
    pub elapsed: Duration,
}

impl Campaign<'_> {
    /// Runs it. `tell` hears of every run, in order, on this thread.
    ///
    /// A run that panics is a violation, also where the lane does not catch it. Cost: that of the runs; memory: that of
    /// one run per thread and the results of [`AHEAD_MAX`] more.
    pub fn run(&self, lane: Lane<'_>, tell: &mut dyn FnMut(&Finished<'_>, &Progress)) -> Findings {
        let watch = Stopwatch::start();
        let mut findings = crew::work(self, lane, &watch, tell);
        findings.failures.sort_by(|a, b| (&a.scenario, a.seed).cmp(&(&b.scenario, b.seed)));
        findings.inconclusive.sort();
        findings.elapsed = watch.elapsed();
        findings
    }
}

/// Runs a plan; a panic that the lane did not catch becomes a violation.
#[must_use]
pub fn guarded(lane: Lane<'_>, plan: &Plan, options: RunOptions) -> Outcome {
    match panics::catch(|| lane(plan, options)) {
        Ok(outcome) => outcome,
        Err(caught) => panicked(caught.into()),
    }
}

fn panicked(violation: Violation) -> Outcome {
    Outcome {
        verdict: Verdict::Violated(violation),
        hash: [0; 32],
        stats: crate::outcome::Stats::default(),
        trace: None,
    }
}

/// The failures with one representative of each kind (same scenario, oracle and place), the least seed, in the order of
/// the list; with each, how many there are of its kind.
#[must_use]
pub fn kinds(failures: &[Failure]) -> Vec<(&Failure, usize)> {
    let mut first: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut kinds: Vec<(&Failure, usize)> = Vec::new();
    for failure in failures {
        let key = (failure.scenario.as_str(), failure.violation.oracle.name(), failure.violation.place.as_str());
        match first.get(&key).and_then(|at| kinds.get_mut(*at)) {
            Some((_, count)) => *count += 1,
            None => {
                first.insert(key, kinds.len());
                kinds.push((failure, 1));
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests;
