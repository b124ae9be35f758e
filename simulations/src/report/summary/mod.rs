//! What many runs of several scenarios gave, in numbers: plain data that is written as JSON, read back and added up.
//!
//! It is the same whatever the order of the runs was, except for times of the machine: two halves of a campaign, run on
//! two machines, merge into the report of the whole.

mod annotations;
mod charts;
mod histogram;
mod hits;
mod junit;
mod page;
mod text;
mod totals;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use annotations::annotations;
pub use histogram::Histogram;
pub use junit::{JunitError, junit};
pub use page::page;
pub use text::text;
pub use warnings::warnings;

use super::files;
use super::words::{clip, fault_kind, micros};
use crate::outcome::{Oracle, Outcome, Stats, Verdict};
use crate::plan::{NodeNo, Plan};

/// Version of the report's JSON. It grows when a field goes or changes its meaning, not when one is added.
pub const REPORT_VERSION: u32 = 1;

/// Most failing seeds that are kept of one scenario, and as many inconclusive ones; all are counted. The least are
/// kept: a campaign with more has one defect, not a thousand.
pub const SEEDS_KEPT_MAX: usize = 200;

/// Most characters kept of what an oracle said.
const DETAIL_CHARS_MAX: usize = 2_000;

/// The numbers of many runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// See [`REPORT_VERSION`].
    pub version: u32,
    /// Version of the program that ran them.
    pub tombolo: String,
    /// Time of the machine from beginning to end, in microseconds: set by who runs them. Runs at the same time count
    /// once.
    pub elapsed_us: u64,
    /// Runs that were meant to be made and were not, because the time was up: set by who runs them.
    #[serde(default)]
    pub unfinished: u64,
    /// The scenarios, by name.
    pub scenarios: BTreeMap<String, ScenarioSummary>,
}

/// The runs of a scenario. Times are microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioSummary {
    /// How it is named on a command line: a name of the library or the path of a file. Empty: as it is called.
    pub source: String,
    /// What else the command line takes to run it again, beginning with a blank: ` --lane quic`. Empty: nothing.
    pub options: String,
    /// Seeds that were run. `held`, `violated` and `inconclusive` add up to it.
    pub seeds: u64,
    /// Every oracle agreed.
    pub held: u64,
    /// One did not.
    pub violated: u64,
    /// A limit of the run came first.
    pub inconclusive: u64,
    /// The least seed.
    pub first_seed: Option<u64>,
    /// The greatest seed.
    pub last_seed: Option<u64>,
    /// Time of the machine, all runs added up.
    pub wall_us: u64,
    /// Sums over the runs; of `queue_peak` the greatest.
    pub totals: Stats,
    /// Planned faults, by kind.
    pub planned: BTreeMap<String, Count>,
    /// Random faults that were drawn and left out of their plans, which hold no more.
    pub left_out: u64,
    /// Runs of which it is known which writes were refused: those that came to their end.
    pub judged: u64,
    /// Writes that the scenario spells out and that were refused in each of these runs: `FILE:LINE`.
    pub always_refused: BTreeSet<String>,
    /// Assertions, by name, and how often each was evaluated. Those that no run came to are not here.
    pub assertions: BTreeMap<String, u64>,
    /// What really hit, by the world's own words; `skipped KIND`: what the lane cannot do.
    pub hits: BTreeMap<String, Count>,
    /// Virtual time from healing to equal and silent survivors, of the runs that held.
    pub convergence_us: Histogram,
    /// Bytes sent per hundred bytes that were missing somewhere, of the runs that held and missed any.
    pub traffic_percent: Histogram,
    /// Runs that ended with an entity in conflict.
    pub conflicted: u64,
    /// The seed that took longest to converge, and how long.
    pub slowest: Option<(u64, u64)>,
    /// Seeds run twice to see whether both runs are the same.
    pub selftests: u64,
    /// Seeds where they were not: the harness itself is at fault, and nothing else it says counts.
    pub unequal: Vec<u64>,
    /// Seeds that failed, ascending, at most [`SEEDS_KEPT_MAX`].
    pub failures: Vec<Failure>,
    /// Seeds that were inconclusive, ascending, at most [`SEEDS_KEPT_MAX`].
    pub undecided: Vec<Undecided>,
}

/// How often something happened, and in how many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How often.
    pub times: u64,
    /// In how many runs.
    pub runs: u64,
}

/// A seed that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// Who noticed.
    pub oracle: Oracle,
    /// Where, the same for runs that fail alike.
    pub place: String,
    /// At which node, if at one.
    pub node: Option<NodeNo>,
    /// When, in virtual time.
    pub at_us: u64,
    /// What, for people; long texts are cut.
    pub detail: String,
    /// Where its capsule lies: as the command would be given it. Set by who writes it.
    pub capsule: Option<String>,
}

/// A seed of which nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// Which.
    pub seed: u64,
    /// Why.
    pub reason: String,
}

/// What a campaign comes to: the worst of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worst {
    /// Everything held.
    Held,
    /// Of some runs nothing can be said, or there were none.
    Inconclusive,
    /// An oracle spoke.
    Violated,
    /// One seed gave two different runs.
    NotDeterministic,
}

impl Default for Summary {
    fn default() -> Self {
        let tombolo = env!("CARGO_PKG_VERSION").to_owned();
        Self { version: REPORT_VERSION, tombolo, elapsed_us: 0, unfinished: 0, scenarios: BTreeMap::new() }
    }
}

impl Summary {
    /// Takes a run in. `wall`: time of the machine that it took.
    pub fn add(&mut self, scenario: &str, seed: u64, outcome: &Outcome, wall: Duration) {
        self.scenario(scenario).add(seed, outcome, micros(wall));
    }

    /// Takes in what a run was meant to go through. Once for each run, so that what was planned can be held against
    /// what hit.
    pub fn planned(&mut self, plan: &Plan) {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for planned in &plan.faults {
            *kinds.entry(fault_kind(&planned.fault).0).or_default() += 1;
        }
        let scenario = self.scenario(&plan.scenario);
        scenario.left_out += plan.left_out;
        for (kind, times) in kinds {
            count(&mut scenario.planned, kind, times);
        }
    }

    /// Takes in which spelled out writes a run refused that came to its end. `refused` is asked only if it can matter.
    pub fn judged(&mut self, scenario: &str, refused: impl FnOnce() -> BTreeSet<String>) {
        let scenario = self.scenario(scenario);
        if scenario.judged == 0 {
            scenario.always_refused = refused();
        } else if !scenario.always_refused.is_empty() {
            let refused = refused();
            scenario.always_refused.retain(|line| refused.contains(line));
        }
        scenario.judged += 1;
    }

    /// Says what else the command line takes.
    pub fn options(&mut self, scenario: &str, options: &str) {
        options.clone_into(&mut self.scenario(scenario).options);
    }

    /// Says how a scenario is named on a command line.
    pub fn source(&mut self, scenario: &str, source: &str) {
        source.clone_into(&mut self.scenario(scenario).source);
    }

    /// Takes in that a seed was run twice.
    pub fn selftest(&mut self, scenario: &str, seed: u64, equal: bool) {
        let scenario = self.scenario(scenario);
        scenario.selftests += 1;
        if !equal {
            keep(&mut scenario.unequal, seed, |seed| *seed);
        }
    }

    /// Takes a failure back of which it turned out that nothing can be said.
    pub fn doubt(&mut self, scenario: &str, seed: u64, reason: &str) {
        let scenario = self.scenario(scenario);
        let before = scenario.failures.len();
        scenario.failures.retain(|failure| failure.seed != seed);
        if scenario.failures.len() < before {
            scenario.violated -= 1;
            scenario.inconclusive += 1;
            keep(&mut scenario.undecided, Undecided { seed, reason: reason.to_owned() }, |undecided| undecided.seed);
        }
    }

    /// Says where the capsule of a failing seed lies.
    pub fn capsule(&mut self, scenario: &str, seed: u64, path: &str) {
        let failures = self.scenario(scenario).failures.iter_mut();
        failures.filter(|failure| failure.seed == seed).for_each(|failure| failure.capsule = Some(path.to_owned()));
    }

    /// Takes in the runs of another campaign; they must be others.
    pub fn merge(&mut self, other: &Self) {
        self.elapsed_us = self.elapsed_us.max(other.elapsed_us);
        self.unfinished += other.unfinished;
        for (name, scenario) in &other.scenarios {
            self.scenario(name).merge(scenario);
        }
    }

    /// The worst of all runs.
    #[must_use]
    pub fn result(&self) -> Worst {
        let worst = self.scenarios.values().map(ScenarioSummary::result).max().unwrap_or(Worst::Inconclusive);
        if self.unfinished > 0 { worst.max(Worst::Inconclusive) } else { worst }
    }

    fn scenario(&mut self, name: &str) -> &mut ScenarioSummary {
        self.scenarios.entry(name.to_owned()).or_default()
    }
}

impl ScenarioSummary {
    /// The worst of its runs.
    #[must_use]
    pub fn result(&self) -> Worst {
        match self {
            _ if !self.unequal.is_empty() => Worst::NotDeterministic,
            _ if self.violated > 0 => Worst::Violated,
            _ if self.inconclusive > 0 || self.seeds == 0 => Worst::Inconclusive,
            _ => Worst::Held,
        }
    }

    fn add(&mut self, seed: u64, outcome: &Outcome, wall_us: u64) {
        self.seeds += 1;
        self.first_seed = Some(self.first_seed.map_or(seed, |first| first.min(seed)));
        self.last_seed = Some(self.last_seed.map_or(seed, |last| last.max(seed)));
        self.wall_us += wall_us;
        totals::accumulate(&mut self.totals, &outcome.stats);
        for (what, times) in &outcome.stats.hits {
            count(&mut self.hits, what, *times);
        }
        for (name, times) in &outcome.stats.assertions {
            *self.assertions.entry(name.clone()).or_default() += times;
        }
        match &outcome.verdict {
            Verdict::Held => self.held(seed, &outcome.stats),
            Verdict::Violated(violation) => {
                self.violated += 1;
                let failure = Failure {
                    seed,
                    oracle: violation.oracle,
                    place: violation.place.clone(),
                    node: violation.node,
                    at_us: micros(violation.at),
                    detail: clip(violation.detail.clone(), DETAIL_CHARS_MAX),
                    capsule: None,
                };
                keep(&mut self.failures, failure, |failure| failure.seed);
            }
            Verdict::Inconclusive(reason) => {
                self.inconclusive += 1;
                let reason = clip(reason.clone(), DETAIL_CHARS_MAX);
                keep(&mut self.undecided, Undecided { seed, reason }, |undecided| undecided.seed);
            }
        }
    }

    fn held(&mut self, seed: u64, stats: &Stats) {
        self.held += 1;
        self.convergence_us.add(stats.convergence_us);
        self.slower((seed, stats.convergence_us));
        self.conflicted += u64::from(stats.conflicts > 0);
        if let Some(percent) = stats.bytes_sent.saturating_mul(100).checked_div(stats.bytes_missing) {
            self.traffic_percent.add(percent);
        }
    }

    /// Of two that took equally long the lesser seed.
    fn slower(&mut self, (seed, us): (u64, u64)) {
        if self.slowest.is_none_or(|(known, slowest)| us > slowest || (us == slowest && seed < known)) {
            self.slowest = Some((seed, us));
        }
    }

    fn merge(&mut self, other: &Self) {
        if self.source.is_empty() {
            self.source.clone_from(&other.source);
            self.options.clone_from(&other.options);
        }
        self.seeds += other.seeds;
        self.held += other.held;
        self.violated += other.violated;
        self.inconclusive += other.inconclusive;
        self.first_seed = [self.first_seed, other.first_seed].into_iter().flatten().min();
        self.last_seed = self.last_seed.max(other.last_seed);
        self.wall_us += other.wall_us;
        self.left_out += other.left_out;
        totals::accumulate(&mut self.totals, &other.totals);
        for (into, from) in [(&mut self.planned, &other.planned), (&mut self.hits, &other.hits)] {
            for (what, counted) in from {
                let known = into.entry(what.clone()).or_default();
                known.times += counted.times;
                known.runs += counted.runs;
            }
        }
        for (name, times) in &other.assertions {
            *self.assertions.entry(name.clone()).or_default() += times;
        }
        match (self.judged, other.judged) {
            (_, 0) => {}
            (0, _) => self.always_refused.clone_from(&other.always_refused),
            _ => self.always_refused.retain(|line| other.always_refused.contains(line)),
        }
        self.judged += other.judged;
        self.convergence_us.merge(&other.convergence_us);
        self.traffic_percent.merge(&other.traffic_percent);
        self.conflicted += other.conflicted;
        if let Some(slowest) = other.slowest {
            self.slower(slowest);
        }
        self.selftests += other.selftests;
        other.unequal.iter().for_each(|seed| keep(&mut self.unequal, *seed, |seed| *seed));
        other.failures.iter().for_each(|failure| keep(&mut self.failures, failure.clone(), |failure| failure.seed));
        other.undecided.iter().for_each(|other| keep(&mut self.undecided, other.clone(), |undecided| undecided.seed));
    }
}

fn count(counts: &mut BTreeMap<String, Count>, what: &str, times: u64) {
    let known = counts.entry(what.to_owned()).or_default();
    known.times += times;
    known.runs += 1;
}

/// Puts one in by its seed; of too many, the greatest seed goes.
fn keep<T>(kept: &mut Vec<T>, new: T, seed: impl Fn(&T) -> u64) {
    let place = kept.partition_point(|known| seed(known) <= seed(&new));
    kept.insert(place, new);
    kept.truncate(SEEDS_KEPT_MAX);
}

/// The command that runs one seed of a scenario again, from a clean checkout.
#[must_use]
pub fn repro(scenario: &str, summary: &ScenarioSummary, seed: u64) -> String {
    let source = if summary.source.is_empty() { scenario } else { &summary.source };
    format!("tombolo sim run {} --seeds {seed}{}", files::quoted(source), summary.options)
}
