//! The measurement: rounds, and in a round every piece of work by one system after the other.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::metric::{Metric, Row};
use crate::system::{Goal, Name, Programs, System};
use crate::work::Work;

/// Setting up may take so many times longer than what is measured.
const SET_UP: u32 = 10;
/// Live writes that do not count.
const WARM_UP: u64 = 10;
const FEW: u64 = 10;

/// How much of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) programs: Programs,
    pub(crate) rounds: usize,
    /// Changes after a partition; at most one per entity.
    pub(crate) changes: u64,
    /// Live writes.
    pub(crate) writes: u64,
    /// What is measured once may take so long.
    pub(crate) limit: Duration,
}

/// Systems that are compared at one size. The first is Tombolo.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) entities: u64,
    pub(crate) systems: Vec<Name>,
}

/// What came out for one system at one size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// One value per round.
    pub(crate) values: BTreeMap<Metric, Vec<f64>>,
    /// Why there are fewer.
    pub(crate) failures: BTreeMap<Metric, String>,
}

/// By system.
pub(crate) type Outcomes = BTreeMap<Name, Outcome>;

struct Lane {
    name: Name,
    /// Gone after a failure.
    system: Option<System>,
    work: Work,
}

type Figures = Vec<(Metric, f64)>;

/// All rounds of a group.
pub(crate) async fn group(plan: &Plan, group: &Group, dir: &Path) -> Result<Outcomes> {
    let mut outcomes: Outcomes = group.systems.iter().map(|name| (*name, Outcome::default())).collect();
    for round in 0..plan.rounds {
        let dir = dir.join(format!("{}-{round}", group.entities));
        let mut lanes = Vec::new();
        for name in &group.systems {
            let system = System::start(*name, &plan.programs, &dir.join(format!("{name:?}"))).await?;
            lanes.push(Lane { name: *name, system: Some(system), work: Work::new(group.entities) });
        }
        for row in Row::ALL {
            // Nobody is always the first.
            lanes.rotate_left(1);
            for lane in &mut lanes {
                let outcome = outcomes.entry(lane.name).or_default();
                note(&format!("{}/{} · {} · {:?} · {}", round + 1, plan.rounds, group.entities, lane.name, row.name()));
                match lane.row(plan, row).await {
                    Ok(Some(figures)) => {
                        figures
                            .into_iter()
                            .for_each(|(metric, value)| outcome.values.entry(metric).or_default().push(value));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        note(&format!("{:?}, {}: {error:#}", lane.name, row.name()));
                        lane.system = None;
                        for metric in row.metrics() {
                            outcome.failures.insert(*metric, short(&error));
                        }
                    }
                }
            }
        }
        drop(lanes);
        std::fs::remove_dir_all(&dir).context("a temporary directory")?;
    }
    Ok(outcomes)
}

impl Lane {
    /// One piece of work; nothing if the system failed before.
    async fn row(&mut self, plan: &Plan, row: Row) -> Result<Option<Figures>> {
        let Some(system) = &mut self.system else { return Ok(None) };
        let limit = plan.limit * SET_UP;
        let figures = async {
            match row {
                Row::First => first(plan, system, &self.work).await,
                Row::Nothing => nothing(plan, system, &self.work).await,
                Row::Ten => changed(plan, system, &mut self.work, row).await,
                Row::Bulk => changed(plan, system, &mut self.work, row).await,
                Row::Live => live(plan, system, &mut self.work).await,
                Row::Memory => {
                    let (a, b) = system.peaks()?;
                    Ok(vec![(Metric::PeakA, a as f64), (Metric::PeakB, b as f64)])
                }
            }
        };
        tokio::time::timeout(limit, figures).await.map_err(|_| TooLong(limit))?.map(Some)
    }
}

async fn first(plan: &Plan, system: &mut System, work: &Work) -> Result<Figures> {
    system.put(work.items()).await?;
    let taken = within(plan.limit, system.first_sync(work.entities())).await?;
    let wire = system.wire().await?;
    check(system, work).await?;
    system.stop_b().await?;
    let entities = work.entities() as f64;
    let mut figures = vec![
        (Metric::FirstRate, entities / taken.as_secs_f64()),
        (Metric::FirstWire, wire.all as f64 / entities),
        (Metric::Disk, system.disk_b()? as f64 / entities),
    ];
    figures.extend(wire.bare.map(|bare| (Metric::FirstBare, bare as f64 / entities)));
    Ok(figures)
}

async fn nothing(plan: &Plan, system: &mut System, work: &Work) -> Result<Figures> {
    system.start_b().await?;
    let taken = within(plan.limit, system.reconnect(&Goal::Settled)).await?;
    let wire = system.wire().await?;
    check(system, work).await?;
    system.stop_b().await?;
    let mut figures = vec![(Metric::NothingTime, millis(taken)), (Metric::NothingWire, wire.all as f64)];
    figures.extend(wire.bare.map(|bare| (Metric::NothingBare, bare as f64)));
    Ok(figures)
}

/// A few or many changes while b is away.
async fn changed(plan: &Plan, system: &mut System, work: &mut Work, row: Row) -> Result<Figures> {
    let items = work.change(if row == Row::Ten { FEW } else { plan.changes });
    system.put(&items).await?;
    system.start_b().await?;
    let count = items.len() as f64;
    let taken = within(plan.limit, system.reconnect(&Goal::Shown(items))).await?;
    let wire = system.wire().await?;
    check(system, work).await?;
    if row == Row::Ten {
        system.stop_b().await?;
        let mut figures = vec![(Metric::TenTime, millis(taken)), (Metric::TenWire, wire.all as f64)];
        figures.extend(wire.bare.map(|bare| (Metric::TenBare, bare as f64)));
        return Ok(figures);
    }
    let mut figures =
        vec![(Metric::BulkRate, count / taken.as_secs_f64()), (Metric::BulkWire, wire.all as f64 / count)];
    figures.extend(wire.bare.map(|bare| (Metric::BulkBare, bare as f64 / count)));
    Ok(figures)
}

async fn live(plan: &Plan, system: &mut System, work: &mut Work) -> Result<Figures> {
    let mut times = Vec::new();
    let begin = Instant::now();
    for number in 0..WARM_UP + plan.writes {
        // A prime step: the writes are spread over the entities.
        let items = work.touch(number * 7_919);
        let taken = within(plan.limit.saturating_sub(begin.elapsed()), system.live(&items)).await;
        let taken = taken.map_err(|error| if error.is::<TooLong>() { TooLong(plan.limit).into() } else { error })?;
        if number >= WARM_UP {
            times.push(taken);
        }
    }
    check(system, work).await?;
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().map(millis).context("no live writes");
    Ok(vec![(Metric::LiveP50, at(50)?), (Metric::LiveP99, at(99)?)])
}

/// b shows what was written, all of it, in every field.
async fn check(system: &mut System, work: &Work) -> Result<()> {
    let (shown, wanted) = (system.shown().await?, work.shown());
    if shown == wanted { Ok(()) } else { bail!("b shows {shown:?}, not {wanted:?}") }
}

/// More time than a cell of the table gets.
#[derive(Debug)]
struct TooLong(Duration);

impl std::fmt::Display for TooLong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "> {} s", self.0.as_secs())
    }
}

impl std::error::Error for TooLong {}

async fn within<T>(limit: Duration, measured: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, measured).await.map_err(|_| anyhow!(TooLong(limit)))?
}

fn short(error: &anyhow::Error) -> String {
    error.downcast_ref::<TooLong>().map_or_else(|| "failed".to_owned(), ToString::to_string)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Progress is for people; that it cannot be written is no reason to stop.
fn note(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}
