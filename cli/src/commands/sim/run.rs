//! `sim run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use tombolo_sim::campaign::{self, Campaign, Findings, Finished, Progress, SELFTEST_EVERY, Seeds, Shard, Subject};
use tombolo_sim::capsule::{Again, LaneName};
use tombolo_sim::outcome::Verdict;
use tombolo_sim::report::Summary;
use tombolo_sim::report::files::write_report;
use tombolo_sim::report::summary::{Worst, annotations, junit, text, warnings};
use tombolo_sim::report::words::span;

use super::failures::{Keeping, Kept, keep};
use super::lane::{LaneArg, lane};
use super::sources::{self, Source};
use super::stop::Stop;
use super::writable;
use crate::args::version;
use crate::duration;
use crate::error::{CliError, Kind};
use crate::human;
use crate::ui::Ui;

/// Where capsules go if no report is asked for.
const CAPSULES_DIR: &str = "tombolo-sim";
/// How often a word is said where there is no terminal to draw a bar on.
const WORD_EVERY: Duration = Duration::from_secs(15);

const EXAMPLES: &str = "\
Examples:
  tombolo sim run                                       the whole library, seeds 0 to 99
  tombolo sim run two-shops --seeds 17                  one seed again
  tombolo sim run mine.toml --seeds 0.. --time-budget 5m --report out
  tombolo sim run --seeds 0..2000 --shard 3/8 --junit out.xml --known-bad bad-seeds.txt
  tombolo sim run --lane quic --seeds 0..3

Columns: seeds = held + violated + unsure (inconclusive). events: frames, timers and other inputs. virtual, wall: time in
the simulated world and of this machine. converged ½, 99 %, most: time from the end of the faults until all survivors were
equal; half of the runs that held took at most so long, 99 of 100, all. sent/missing: bytes sent for each byte of entries
that was missing. batch: entries per commit. conflicts: entities in conflict at the end.

Exit codes: 0 everything held, 1 something was violated, 2 inconclusive,
3 the simulator itself was not deterministic, 64 wrong usage, scenario or capsule,
74 it could not do its work, 130 interrupted.

A file of known bad seeds has a line `SCENARIO SEED [world|quic] # NOTE` for each; they run before all others, on the lane
that is named, else on every one.";

/// Run scenarios over many seeds; what fails is minimised and kept as a capsule
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Names of the library or files ending in .toml [default: the whole library]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Seeds: 17, 0..2000 (the last one left out), 500.. (until the time is up), 3,10..20
    #[arg(long, value_name = "SEEDS", default_value = "0..100")]
    seeds: Seeds,
    /// No run begins after this time, as in 5m; says how many seeds there were until then. Seeds without an end (0..)
    /// that it cuts are fine; a range with an end that was not run to it is inconclusive
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    time_budget: Option<Duration>,
    /// The Kth of N parts of the seeds: those with seed % N = K - 1
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    shard: Shard,
    /// Where plans are carried out
    #[arg(long, value_enum, default_value = "world")]
    lane: LaneArg,
    /// Runs at the same time [default: one per core]; results are the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Seeds that failed before: they run first
    #[arg(long, value_name = "FILE")]
    known_bad: Option<PathBuf>,
    /// End after this many failures
    #[arg(long, value_name = "N", default_value_t = campaign::FAILURES_MAX as u64, value_parser = clap::value_parser!(u64).range(1..))]
    failures: u64,
    /// Time for making failing plans smaller, all together; 0s: not at all
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    minimise_budget: Duration,
    /// Write the results for CI, as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report (text, JSON, HTML, JUnit) and the capsules there [default: capsules only, to ./tombolo-sim]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

pub(super) fn run(ui: &mut Ui, args: &RunArgs) -> Result<(), CliError> {
    let sources = sources::load(ui, &args.scenarios, args.lane)?;
    let known_bad = sources::known_bad(args.known_bad.as_deref(), &sources, args.lane)?;
    if args.seeds.count().is_none() && args.time_budget.is_none() {
        return Err(CliError::usage("seeds without an end take for ever").hint("add --time-budget 5m"));
    }
    args.report.as_deref().map_or(Ok(()), writable::report)?;
    args.junit.as_deref().map_or(Ok(()), writable::file)?;
    let stop = Stop::listen()?;
    let subjects: Vec<_> = sources.iter().map(|source| Subject::of(&source.scenario)).collect();
    let campaign = Campaign {
        subjects: &subjects,
        seeds: args.seeds.clone(),
        shard: args.shard,
        known_bad: &known_bad,
        time_budget: args.time_budget,
        threads: args.threads.map_or_else(cores, usize::from),
        failures_max: usize::try_from(args.failures).unwrap_or(usize::MAX),
        selftest_every: SELFTEST_EVERY,
        interrupted: stop.flag(),
    };
    let (mut summary, mut findings) = explore(ui, &campaign, args.lane.name(), &sources);
    let out = args.report.as_deref().unwrap_or(Path::new(CAPSULES_DIR));
    let keeping = Keeping { sources: &sources, lane: args.lane.name(), out, budget: args.minimise_budget, stop: &stop };
    let kept = keep(ui, &keeping, &findings.failures)?;
    for kept in &kept {
        summary.capsule(&kept.scenario, kept.seed, &kept.path.display().to_string());
        doubt(kept, &mut summary, &mut findings);
    }
    // Seeds with an end are all meant to be run; without, the time decides.
    if findings.stopped == Some(campaign::Stop::TimeBudget)
        && let Some(of) = findings.progress.of
    {
        summary.unfinished = of.saturating_sub(findings.progress.runs);
    }
    write_files(args, &summary)?;
    tell(ui, &summary, &findings, &kept)?;
    verdict(&summary, &findings)
}

/// A failure that was not there again says something of the simulator, and nothing of the product.
fn doubt(kept: &Kept, summary: &mut Summary, findings: &mut Findings) {
    match kept.again {
        Again::Alike => {}
        Again::Unequal => summary.selftest(&kept.scenario, kept.seed, false),
        Again::Unsure => {
            let reason = "it failed once, and not when it was run again".to_owned();
            summary.doubt(&kept.scenario, kept.seed, &reason);
            findings.failures.retain(|failure| (&failure.scenario, failure.seed) != (&kept.scenario, kept.seed));
            findings.inconclusive.push((kept.scenario.clone(), kept.seed, reason));
        }
    }
}

/// As many as the machine has.
pub(in crate::commands) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn explore(ui: &Ui, campaign: &Campaign<'_>, name: LaneName, sources: &[Source]) -> (Summary, Findings) {
    let mut summary = Summary { tombolo: version().to_owned(), ..Summary::default() };
    for source in sources {
        summary.source(source.scenario.name(), &source.named);
        if name == LaneName::Quic {
            summary.options(source.scenario.name(), " --lane quic");
        }
    }
    let mut line = Line::new(ui);
    let (mut ran, mut failed) = (BTreeSet::new(), BTreeSet::new());
    let findings = campaign.run(lane(name), &mut |run, progress| {
        if campaign.known_bad.has(run.scenario, run.seed) {
            ran.insert((run.scenario.to_owned(), run.seed));
            if run.outcome.verdict != Verdict::Held {
                failed.insert((run.scenario.to_owned(), run.seed));
            }
        }
        take_in(&mut summary, run, sources);
        line.show(progress);
    });
    line.bar.iter().for_each(ProgressBar::finish_and_clear);
    assert!(failed.is_subset(&ran), "what failed was run");
    if !campaign.known_bad.seeds.is_empty() {
        ui.note(sources::told_of_known_bad(campaign.known_bad, &ran, &failed));
    }
    summary.elapsed_us = u64::try_from(findings.elapsed.as_micros()).unwrap_or(u64::MAX);
    (summary, findings)
}

fn take_in(summary: &mut Summary, run: &Finished<'_>, sources: &[Source]) {
    let scenario = sources.iter().map(|source| &source.scenario).find(|scenario| scenario.name() == run.scenario);
    if let (Some(scenario), Some(refused)) = (scenario, &run.outcome.stats.refused_writes) {
        summary.judged(run.scenario, || scenario.refused_lines(run.seed, refused));
    }
    summary.add(run.scenario, run.seed, run.outcome, run.wall);
    if let Some(plan) = run.plan {
        summary.planned(plan);
    }
    if let Some(equal) = run.selftest {
        summary.selftest(run.scenario, run.seed, equal);
    }
}

/// The line that says how far it is.
struct Line<'a> {
    ui: &'a Ui,
    bar: Option<ProgressBar>,
    watch: campaign::Stopwatch,
    words: u32,
}

impl<'a> Line<'a> {
    fn new(ui: &'a Ui) -> Self {
        Self { ui, bar: None, watch: campaign::Stopwatch::start(), words: 0 }
    }

    fn show(&mut self, progress: &Progress) {
        let bar = self.bar.get_or_insert_with(|| self.ui.open_bar(progress.of, "seeds"));
        let (events, time) = (human::count(progress.events), span(progress.virtual_time));
        let message = format!("{events} events, {time} virtual, {} failed", human::count(progress.failures));
        bar.set_position(progress.runs);
        if bar.is_hidden() && self.watch.elapsed() > WORD_EVERY * (self.words + 1) {
            self.words += 1;
            self.ui.note(format!("{}: {message}", human::some(progress.runs, "seed")));
        }
        bar.set_message(message);
    }
}

fn write_files(args: &RunArgs, summary: &Summary) -> Result<(), CliError> {
    if let Some(out) = &args.report {
        write_report(out, summary).map_err(|error| CliError::failed("the report could not be written").cause(error))?;
    }
    if let Some(path) = &args.junit {
        let failed =
            |error: &dyn ToString| CliError::failed("the JUnit file could not be written").cause(error.to_string());
        let xml = junit(summary).map_err(|error| failed(&error))?;
        std::fs::write(path, xml).map_err(|error| CliError::file("writing", path, &error))?;
    }
    Ok(())
}

fn tell(ui: &mut Ui, summary: &Summary, findings: &Findings, kept: &[Kept]) -> Result<(), CliError> {
    if ui.is_json() {
        ui.json(summary)?;
    } else {
        ui.line(text(summary).trim_end())?;
        for kept in kept {
            ui.line(format!("\n{}", kept.text()))?;
        }
        if std::env::var_os("GITHUB_ACTIONS").is_some() {
            for annotation in annotations(summary) {
                ui.line(annotation)?;
            }
        }
    }
    warnings(summary).iter().for_each(|warning| ui.warn(warning));
    let runs = match findings.progress.of {
        Some(of) => format!("{} of {}", human::count(findings.progress.runs), human::some(of, "run")),
        None => human::some(findings.progress.runs, "run"),
    };
    let why = match findings.stopped {
        None | Some(campaign::Stop::NotDeterministic) => return Ok(()),
        Some(campaign::Stop::TimeBudget) => "the time was up",
        Some(campaign::Stop::Failures) => "enough failures (--failures)",
        Some(campaign::Stop::Interrupted) => "interrupted",
        Some(campaign::Stop::NoThreads) => "the system gives no thread",
    };
    ui.note(format!("{why} after {runs}"));
    Ok(())
}

/// The worst of it as an exit code.
fn verdict(summary: &Summary, findings: &Findings) -> Result<(), CliError> {
    let failures = findings.failures.len();
    let error = |kind, text: String| Err(CliError::new(kind, text));
    if let Some(unequal) = &findings.unequal {
        return Err(CliError::new(Kind::NotDeterministic, "the simulator itself is at fault").cause(unequal));
    }
    match (summary.result(), findings.stopped) {
        (Worst::Violated, _) => {
            error(Kind::Violated, format!("{failures} of {} failed", human::some(findings.progress.runs, "run")))
        }
        (_, Some(campaign::Stop::Interrupted)) => error(Kind::Interrupted, "interrupted".into()),
        (_, Some(campaign::Stop::NoThreads)) => error(Kind::Failed, "the system gives no thread to run in".into()),
        (Worst::NotDeterministic, _) => error(Kind::NotDeterministic, "the simulator itself is at fault".into()),
        (Worst::Inconclusive, _) if findings.inconclusive.is_empty() && summary.unfinished > 0 => {
            let left = human::some(summary.unfinished, "run");
            Err(CliError::new(Kind::Inconclusive, format!("the time was up before all seeds were run: {left} left"))
                .hint("give more time (--time-budget) or fewer seeds; `--seeds 0..`, without an end, runs as many as the time allows"))
        }
        (Worst::Inconclusive, _) => {
            let unknown = human::some(findings.inconclusive.len() as u64, "run");
            Err(CliError::new(Kind::Inconclusive, "nothing can be said of some scenarios")
                .cause(format!("{unknown} met a limit, or no seed of a scenario was run"))
                .hint("give more time (--time-budget) or more seeds, or make the scenario smaller"))
        }
        (Worst::Held, _) => {
            assert_eq!(failures, 0, "a campaign with a failure is not told as held");
            Ok(())
        }
    }
}
