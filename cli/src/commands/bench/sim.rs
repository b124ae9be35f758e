//! `bench sim`: how much the simulator gets through, beside a bare loop and redb in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use redb::backends::InMemoryBackend;
use redb::{Database, TableDefinition};
use tombolo_sim::campaign::{Campaign, Findings, KnownBad, Lane, Seeds, Shard, Subject};
use tombolo_sim::outcome::{RunOptions, Stats, Verdict};
use tombolo_sim::scenario::{Draft, Mix, Scenario, ScenarioError, Workload};
use tombolo_sim::{quic, world};

use super::report::{Figure, Report, Unit};
use super::rows::mix;
use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// Five nodes, thirty virtual minutes, a thousand writes, all kinds of faults.
const SCENARIO: &str = "swarm";
const MESH_NODES: usize = 100;
const MESH_WRITES: u32 = 10_000;
/// Writes that come together, as they do where somebody works.
const MESH_BURST: u32 = 20;
/// Events that wait at any time in the bare loop: as many as there are in the world.
const WAITING: u64 = 1_000;
const LOOP_EVENTS: u64 = 10_000_000;
const COMMITS: u64 = 5_000;
/// As many tables as the node writes to for one entry.
const TABLES: [&str; 6] = ["entities", "entries", "feeds", "journal", "heads", "state"];
const ROW_BYTES: usize = 200;

/// How much.
#[derive(clap::Args, Debug)]
pub(super) struct SimLoad {
    /// Time for each of the two lanes
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Leave out the mesh of a hundred nodes
    #[arg(long)]
    no_mesh: bool,
}

pub(super) fn run(ui: &Ui, load: &SimLoad) -> Result<Report, CliError> {
    let budget = Duration::from_secs(load.seconds);
    let scenario =
        scenario(Scenario::of_library(SCENARIO).ok_or_else(|| CliError::failed("the library has no swarm"))?)?;
    ui.note(format!("{SCENARIO}, model network, {} s …", load.seconds));
    let model = explore(ui, &scenario, &world::run, budget);
    // Before anything else needs memory.
    let memory = peak_memory();
    ui.note(format!("{SCENARIO}, real QUIC, {} s …", load.seconds));
    let real = explore(ui, &scenario, &quic::run, budget);
    ui.note("a bare loop, and redb in memory …");
    let (bare, commits) = (bare_loop(), commits()?);
    let mut figures = model.figures(bare, commits);
    figures.extend(memory.map(|bytes| Figure::bytes("peak memory, all cores", bytes).reach("≤ 200 MB")));
    figures.push(Figure::new("QUIC lane, all cores", real.per_minute(), Unit::PerMinute).reach("≥ 5 seeds/min"));
    if !load.no_mesh {
        ui.note(format!("{MESH_NODES} nodes, {} writes …", human::count(MESH_WRITES.into())));
        figures.push(mesh(ui)?);
    }
    Ok(Report::of("sim", figures))
}

/// What a lane got through.
struct Explored {
    findings: Findings,
    stats: Stats,
    /// Time of all runs together, each on a core of its own.
    busy: Duration,
}

fn explore(ui: &Ui, scenario: &Scenario, lane: Lane<'_>, budget: Duration) -> Explored {
    let (known_bad, interrupted) = (KnownBad::default(), AtomicBool::new(false));
    let subjects = [Subject::of(scenario)];
    let campaign = Campaign {
        subjects: &subjects,
        seeds: Seeds::from(0),
        shard: Shard::ALL,
        known_bad: &known_bad,
        time_budget: Some(budget),
        threads: crate::commands::sim::cores(),
        failures_max: usize::MAX,
        selftest_every: 0,
        interrupted: &interrupted,
    };
    let (mut stats, mut busy) = (Stats::default(), Duration::ZERO);
    let findings = campaign.run(lane, &mut |run, _| {
        let one = &run.outcome.stats;
        stats.frames += one.frames;
        stats.timers += one.timers;
        stats.inputs += one.inputs;
        stats.commits += one.commits;
        stats.entries += one.entries;
        busy += run.wall;
    });
    if let Some(failure) = findings.failures.first() {
        ui.warn(format!(
            "{} of {} seeds failed, the first: {} ({}); see `tombolo sim run {SCENARIO} --seeds {}`",
            findings.failures.len(),
            findings.progress.runs,
            failure.violation.oracle.name(),
            failure.violation.place,
            failure.seed
        ));
    }
    Explored { findings, stats, busy }
}

impl Explored {
    fn per_minute(&self) -> f64 {
        self.findings.progress.runs as f64 * 60.0 / self.findings.elapsed.as_secs_f64().max(1e-9)
    }

    /// `bare`: events per second of a loop that does nothing; `commits`: per second of redb alone.
    fn figures(&self, bare: f64, commits: f64) -> Vec<Figure> {
        let batch = self.stats.entries as f64 / (self.stats.commits as f64).max(1.0);
        vec![
            Figure::new("seeds, all cores", self.per_minute(), Unit::PerMinute).reach("≥ 120 seeds/min on 2 cores"),
            Figure::rate("events per core", self.stats.events(), self.busy)
                .beside("a bare loop", bare)
                .reach("≥ 100,000/s"),
            Figure::rate("commits per core", self.stats.commits, self.busy).beside("redb in memory, 6 tables", commits),
            Figure::new("mean batch", batch, Unit::Batch),
        ]
    }
}

/// A full mesh with writes everywhere, in ten virtual minutes.
fn mesh(ui: &Ui) -> Result<Figure, CliError> {
    let names: Vec<String> = (0..MESH_NODES).map(|no| format!("n{no}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mix = Mix { put: 1, patch: 2, increment: 1, delete: 0, transaction: 0 };
    let load = Workload { mix, ids: 1_000, burst: MESH_BURST, ..Workload::new("docs", MESH_WRITES) };
    let title = "a hundred nodes, each connected with each";
    let draft = Draft::new("mesh", title, Duration::from_secs(600)).nodes(&names).workload(load);
    let plan = scenario(draft.check())?.plan(1);
    let begin = Instant::now();
    let outcome = world::run(&plan, RunOptions::default());
    let taken = begin.elapsed();
    if outcome.verdict != Verdict::Held {
        ui.warn(format!("the mesh of {MESH_NODES} nodes did not hold: {:?}", outcome.verdict));
    }
    let name = format!("mesh of {MESH_NODES} nodes, {} writes", human::count(MESH_WRITES.into()));
    Ok(Figure::time(name, taken).reach("< 2 min"))
}

fn scenario(checked: Result<Scenario, ScenarioError>) -> Result<Scenario, CliError> {
    checked.map_err(|error| CliError::failed("a scenario of the bench is wrong").cause(error))
}

/// Events per second of a loop that takes the next one from a heap and schedules another.
fn bare_loop() -> f64 {
    let mut queue: BinaryHeap<Reverse<(u64, u64)>> = (0..WAITING).map(|no| Reverse((mix(no) % WAITING, no))).collect();
    let (begin, mut now) = (Instant::now(), 0);
    for no in WAITING..WAITING + LOOP_EVENTS {
        if let Some(Reverse((at, _))) = queue.pop() {
            now = at;
        }
        queue.push(Reverse((now + mix(no) % WAITING, no)));
    }
    let taken = begin.elapsed();
    // What is computed is used: the loop cannot be left out.
    if now == 0 { 0.0 } else { LOOP_EVENTS as f64 / taken.as_secs_f64() }
}

/// Commits per second of redb in memory with as many tables as the node's store, a row in each.
fn commits() -> Result<f64, CliError> {
    commits_of().map_err(|error| CliError::failed("redb alone failed").cause(error))
}

fn commits_of() -> Result<f64, redb::Error> {
    let database = Database::builder().create_with_backend(InMemoryBackend::new())?;
    let begin = Instant::now();
    for commit in 0..COMMITS {
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        for name in TABLES {
            let mut table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(name))?;
            table.insert(mix(commit).to_be_bytes().as_slice(), [1; ROW_BYTES].as_slice())?;
        }
        transaction.commit()?;
    }
    Ok(COMMITS as f64 / begin.elapsed().as_secs_f64())
}

/// The most memory this process ever had, where the system says it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_measured() {
        assert!(commits().expect("redb works") > 0.0);
        assert!(bare_loop() > 0.0);
        assert!(peak_memory().is_none_or(|bytes| bytes > 1 << 20));
    }
}
