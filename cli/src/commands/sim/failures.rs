//! What becomes of seeds that failed: minimised, kept as capsules, told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tombolo_sim::campaign::{Failure, Stopwatch, guarded, kinds};
use tombolo_sim::capsule::minimise::{CANDIDATES_MAX, Effort, Minimised, Size, Step, minimise};
use tombolo_sim::capsule::{Again, Capsule, Header, LaneName, again, run_again};
use tombolo_sim::outcome::{RunOptions, Verdict, Violation};
use tombolo_sim::plan::Plan;
use tombolo_sim::report::files::{DIAGRAM_HTML, SHIVIZ_LOG, capsule_dir, quoted};
use tombolo_sim::report::words::{moment, node_name};
use tombolo_sim::report::{diagram, shiviz};

use super::lane::lane;
use super::sources::Source;
use super::stop::Stop;
use crate::args::version;
use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// Kinds of failures that become capsules: with more, look at the first ones first.
pub(super) const CAPSULES_MAX: usize = 5;

/// How failures are kept.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    pub(super) sources: &'a [Source],
    pub(super) lane: LaneName,
    /// Capsules go below it.
    pub(super) out: &'a Path,
    /// For all of them together.
    pub(super) budget: Duration,
    pub(super) stop: &'a Stop,
}

/// A capsule that was written.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) scenario: String,
    pub(super) seed: u64,
    pub(super) path: PathBuf,
    /// Whether it failed again when its plan was carried out to be kept.
    pub(super) again: Again,
    source: String,
    lane: LaneName,
    /// Other seeds that failed alike.
    others: usize,
    minimal: bool,
    original: Size,
    plan: Plan,
    violation: Violation,
}

/// Minimises one failure of each kind and writes its capsule. The time that is left is shared by those that are left.
pub(super) fn keep(ui: &Ui, keeping: &Keeping<'_>, failures: &[Failure]) -> Result<Vec<Kept>, CliError> {
    let (watch, kinds) = (Stopwatch::start(), kinds(failures));
    let count = kinds.len().min(CAPSULES_MAX);
    let mut kept = Vec::new();
    for (nth, (failure, alike)) in kinds.into_iter().take(CAPSULES_MAX).enumerate() {
        let Some(source) = keeping.sources.iter().find(|source| source.scenario.name() == failure.scenario) else {
            continue;
        };
        assert!(alike > 0 && nth < count, "a kind of failure has a seed, and its share of the time");
        let left = keeping.budget.saturating_sub(watch.elapsed()) / u32::try_from(count - nth).unwrap_or(1);
        let (path, again, capsule) = keep_one(ui, keeping, source, failure, left)?;
        kept.push(Kept {
            scenario: failure.scenario.clone(),
            seed: failure.seed,
            path,
            again,
            source: source.named.clone(),
            lane: keeping.lane,
            others: alike - 1,
            minimal: capsule.header.minimal,
            original: Size::of(&capsule.original),
            plan: capsule.plan,
            violation: capsule.violation,
        });
    }
    assert!(kept.len() <= CAPSULES_MAX, "capsules of one campaign are bounded");
    Ok(kept)
}

fn keep_one(
    ui: &Ui,
    keeping: &Keeping<'_>,
    source: &Source,
    failure: &Failure,
    budget: Duration,
) -> Result<(PathBuf, Again, Capsule), CliError> {
    let original = source.scenario.plan(failure.seed);
    let small = smaller(ui, keeping, &original, failure, budget);
    let outcome = guarded(lane(keeping.lane), &small.plan, RunOptions { record: true });
    let again = again(keeping.lane, lane(keeping.lane), &small.plan, &small.violation, &outcome);
    if again != Again::Alike {
        ui.warn(format!("{} seed {}: it did not fail alike when it was run again", failure.scenario, failure.seed));
    }
    let violation = match (&outcome.verdict, again) {
        (Verdict::Violated(violation), Again::Alike) => violation.clone(),
        _ => small.violation,
    };
    let mut header = Header::new(&failure.scenario, failure.seed, keeping.lane, &source.named);
    header.minimal = small.complete;
    version().clone_into(&mut header.tombolo);
    let drawings = [(DIAGRAM_HTML, diagram(&small.plan, &outcome)), (SHIVIZ_LOG, shiviz(&small.plan, &outcome))];
    let drawings = drawings.into_iter().filter_map(|(name, content)| Some((name, content?)));
    // The scenario of the capsule is to run from there. Those of other folders cannot lie beside it.
    let beside = source.files.iter().filter(|(name, _)| !name.contains(['/', '\\']));
    let more: Vec<_> = beside.map(|(name, text)| (name.as_str(), text.clone())).chain(drawings).collect();
    let capsule = Capsule {
        header,
        scenario_toml: Some(source.toml.clone()),
        original,
        plan: small.plan,
        events: outcome.trace.map(|trace| trace.events).unwrap_or_default(),
        violation,
    };
    let wanted = capsule_dir(keeping.out, &failure.scenario, failure.seed);
    let path = capsule.write(&wanted, &more).map_err(|error| {
        CliError::failed("the capsule could not be written")
            .cause(error)
            .hint("name a directory with room: --report DIR")
    })?;
    Ok((path, again, capsule))
}

fn smaller(ui: &Ui, keeping: &Keeping<'_>, plan: &Plan, failure: &Failure, budget: Duration) -> Minimised {
    let untouched = |plan: &Plan| {
        let (plan, violation) = (plan.clone(), failure.violation.clone());
        Minimised { plan, violation, candidates: 0, complete: false }
    };
    if budget.is_zero() {
        return untouched(plan);
    }
    let bar = ui.open_bar(None, "plans tried");
    let watch = Stopwatch::start();
    let time_left = || watch.elapsed() < budget && !keeping.stop.is_set();
    let effort = Effort { candidates_max: CANDIDATES_MAX, time_left: &time_left };
    let mut tell = |step: &Step| {
        bar.set_position(step.candidates);
        bar.set_message(format!("{} seed {}: {}", failure.scenario, failure.seed, size(step.size)));
    };
    let small = minimise(plan, &failure.violation, lane(keeping.lane), &effort, &mut tell);
    bar.finish_and_clear();
    small
}

/// `2 nodes, 1 write, 3 faults`.
pub(super) fn size(size: Size) -> String {
    let some = |count: usize, what: &str| human::some(count as u64, what);
    format!("{}, {}, {}", some(size.nodes, "node"), some(size.writes, "write"), some(size.faults, "fault"))
}

impl Kept {
    /// For people: what failed, where, and how to see it again.
    pub(super) fn text(&self) -> String {
        let (violation, path) = (&self.violation, self.path.display().to_string());
        let at = moment(violation.at);
        let place = match violation.node {
            Some(node) => format!("node {}, {at}", node_name(&self.plan, node)),
            None => at,
        };
        let others = match self.others {
            0 => String::new(),
            others => format!(" (and {} like it)", human::some(others as u64, "seed")),
        };
        let minimal = if self.minimal { "; nothing more can be left out" } else { "" };
        let now = Size::of(&self.plan);
        let word = match self.again {
            Again::Alike => "VIOLATED",
            Again::Unequal => "NOT DETERMINISTIC, violated once and not again:",
            Again::Unsure => "inconclusive, violated once and not again:",
        };
        format!(
            "{word} scenario {}, seed {}{others}\n  oracle   {}: {}\n  what     {}\n  where    {place}\n  \
             capsule  {path}\n           {} (of {}){minimal}\n  again    {}\n           tombolo sim replay {}",
            self.scenario,
            self.seed,
            violation.oracle.name(),
            violation.place,
            violation.detail.replace('\n', "\n           "),
            size(now),
            size(self.original),
            run_again(&self.source, self.seed, self.lane),
            quoted(&path),
        )
    }
}
