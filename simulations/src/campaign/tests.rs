//! Campaigns over lanes that only pretend to run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::outcome::{Oracle, Stats};
use crate::trace::{Event, Trace, What};

fn plan(seed: u64) -> Plan {
    Plan {
        scenario: "made".into(),
        seed,
        noise: seed,
        nodes: Vec::new(),
        links: Vec::new(),
        spaces: Vec::new(),
        initial: Vec::new(),
        writes: Vec::new(),
        faults: Vec::new(),
        duration: Duration::ZERO,
        patience: Duration::ZERO,
        survivors: Vec::new(),
        assertions: Vec::new(),
        left_out: 0,
    }
}

fn outcome(verdict: Verdict, hash: u64) -> Outcome {
    let stats = Stats { inputs: 3, virtual_us: 1_000, ..Stats::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    Outcome { verdict, hash: bytes, stats, trace: None }
}

fn violation(place: &str) -> Verdict {
    let detail = "it went wrong".to_owned();
    Verdict::Violated(Violation { oracle: Oracle::Values, place: place.into(), node: None, at: Duration::ZERO, detail })
}

/// Seeds that end in 7 fail, those that end in 5 panic, those that end in 3 are inconclusive.
fn lane(plan: &Plan, _: RunOptions) -> Outcome {
    match plan.seed % 10 {
        7 => outcome(violation("seven"), plan.seed),
        5 => panic!("five"),
        3 => outcome(Verdict::Inconclusive("three".into()), plan.seed),
        _ => outcome(Verdict::Held, plan.seed),
    }
}

/// What a test says of a campaign.
#[derive(Debug)]
struct Wanted {
    seeds: &'static str,
    shard: &'static str,
    known_bad: KnownBad,
    time_budget: Option<Duration>,
    threads: usize,
    failures_max: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        let known_bad = KnownBad::default();
        Self { seeds: "0..40", shard: "1/1", known_bad, time_budget: None, threads: 3, failures_max: 1_000 }
    }
}

fn run_on(wanted: &Wanted, lane: Lane<'_>) -> (Findings, Vec<(String, u64, Option<bool>)>) {
    let subjects = [Subject::new("b", plan), Subject::new("a", plan)];
    let interrupted = AtomicBool::new(false);
    let campaign = Campaign {
        subjects: &subjects,
        seeds: wanted.seeds.parse().expect("seeds"),
        shard: wanted.shard.parse().expect("a shard"),
        known_bad: &wanted.known_bad,
        time_budget: wanted.time_budget,
        threads: wanted.threads,
        failures_max: wanted.failures_max,
        selftest_every: SELFTEST_EVERY,
        interrupted: &interrupted,
    };
    let mut told = Vec::new();
    let findings = campaign.run(lane, &mut |run, progress| {
        assert_eq!(progress.runs, told.len() as u64 + 1);
        told.push((run.scenario.to_owned(), run.seed, run.selftest));
    });
    (findings, told)
}

fn run(wanted: &Wanted) -> (Findings, Vec<(String, u64, Option<bool>)>) {
    run_on(wanted, &lane)
}

#[test]
fn everything_is_counted_and_panics_are_violations() {
    let (findings, told) = run(&Wanted::default());
    assert_eq!((told.len(), findings.progress.runs, findings.progress.of), (80, 80, Some(80)));
    assert_eq!((findings.progress.failures, findings.inconclusive.len(), findings.stopped), (16, 8, None));
    let seen = (findings.progress.events, findings.progress.virtual_time);
    assert_eq!(seen, (72 * 3, Duration::from_millis(72)), "runs that panicked count nothing");
    let panic = findings.failures.iter().find(|failure| failure.seed == 5).expect("panicked");
    assert_eq!(panic.violation.oracle, Oracle::Panic);
    assert!(panic.violation.place.contains("campaign/tests.rs:"), "{}", panic.violation.place);
    let order: Vec<_> = findings.failures.iter().map(|failure| (failure.scenario.as_str(), failure.seed)).collect();
    assert!(order.is_sorted() && order.first() == Some(&("a", 5)), "{order:?}");
    let kinds: Vec<_> = kinds(&findings.failures).into_iter().map(|(first, count)| (first.seed, count)).collect();
    assert_eq!(kinds, [(5, 4), (7, 4), (5, 4), (7, 4)]);
}

#[test]
fn threads_change_nothing() {
    let strip = |(mut findings, told): (Findings, Vec<_>)| {
        findings.elapsed = Duration::ZERO;
        (format!("{findings:?}"), told)
    };
    for failures_max in [1, 6, 1_000] {
        let of = |threads| strip(run(&Wanted { threads, failures_max, seeds: "0..400", ..Wanted::default() }));
        assert_eq!(of(1), of(4));
    }
    let (findings, told) = run(&Wanted { failures_max: 3, ..Wanted::default() });
    assert_eq!((findings.stopped, findings.failures.len()), (Some(Stop::Failures), 3));
    assert_eq!(told.last().map(|(name, seed, _)| (name.as_str(), *seed)), Some(("b", 7)));
}

#[test]
fn known_bad_seeds_run_first_and_once_in_their_shard() {
    let text = "a 12\nb 1004\nelsewhere 3\na 13";
    let known_bad = KnownBad::parse("bad", text, &["a", "b", "elsewhere"].into()).expect("parses");
    let (findings, told) = run(&Wanted { known_bad, shard: "1/4", threads: 1, ..Wanted::default() });
    let seeds: Vec<_> = told.iter().map(|(name, seed, _)| (name.as_str(), *seed)).collect();
    assert_eq!(seeds[..4], [("a", 12), ("b", 1_004), ("b", 0), ("a", 0)]);
    assert_eq!(seeds.iter().filter(|run| **run == ("a", 12)).count(), 1);
    assert_eq!((seeds.len() as u64, Some(seeds.len() as u64)), (findings.progress.runs, findings.progress.of));
    assert!(seeds.iter().all(|(_, seed)| seed % 4 == 0));
}

#[test]
fn a_time_budget_and_a_stop_from_outside_end_between_runs() {
    let (findings, told) = run(&Wanted { time_budget: Some(Duration::ZERO), ..Wanted::default() });
    assert_eq!((told.len(), findings.stopped), (0, Some(Stop::TimeBudget)));
    let runs = AtomicU64::new(0);
    let interrupted = AtomicBool::new(false);
    let counting = |plan: &Plan, _: RunOptions| {
        if runs.fetch_add(1, Ordering::SeqCst) == 20 {
            interrupted.store(true, Ordering::SeqCst);
        }
        outcome(Verdict::Held, plan.seed)
    };
    let subjects = [Subject::new("a", plan)];
    let campaign = Campaign {
        subjects: &subjects,
        seeds: "0..".parse().expect("seeds"),
        shard: Shard::ALL,
        known_bad: &KnownBad::default(),
        time_budget: None,
        threads: 2,
        failures_max: 1,
        selftest_every: 0,
        interrupted: &interrupted,
    };
    let findings = campaign.run(&counting, &mut |_, _| {});
    assert_eq!(findings.stopped, Some(Stop::Interrupted));
    assert!((21..40).contains(&findings.progress.runs), "{}", findings.progress.runs);
    assert_eq!((findings.progress.of, findings.selftests), (None, 0));
}

#[test]
fn a_share_of_the_runs_is_done_twice_and_a_difference_ends_all() {
    let (_, told) = run(&Wanted { seeds: "0..1000", failures_max: 10_000, ..Wanted::default() });
    let tested: Vec<_> = told.iter().filter(|(_, _, twice)| twice.is_some()).collect();
    assert!((20..80).contains(&tested.len()), "{}", tested.len());
    assert!(["a", "b"].iter().all(|name| tested.iter().any(|(scenario, seed, _)| scenario == name && *seed == 0)));

    // The third event of a run depends on how many runs there were before.
    let runs = Mutex::new(0);
    let moody = |plan: &Plan, options: RunOptions| {
        let mut runs = runs.lock().expect("locks");
        *runs += 1;
        let woke = |at| Event { at: Duration::from_secs(at), node: Some(0), what: What::Woke };
        let trace = options.record.then(|| Trace { events: vec![woke(1), woke(2), woke(*runs + 2)] });
        Outcome { trace, ..outcome(Verdict::Held, plan.seed + *runs) }
    };
    let (findings, told) = run_on(&Wanted { threads: 1, ..Wanted::default() }, &moody);
    assert_eq!((findings.stopped, told.len()), (Some(Stop::NotDeterministic), 1));
    let unequal = findings.unequal.expect("they differ");
    assert_eq!((unequal.scenario.as_str(), unequal.seed), ("b", 0));
    let (equal, one, other) = unequal.parting.clone().expect("events differ");
    assert_eq!(equal, 2);
    assert!(one.is_some() && other.is_some() && one != other);
    assert!(unequal.to_string().contains("after 2 equal events"), "{unequal}");
}

#[test]
fn two_assertions_that_fail_are_two_kinds_of_failures() {
    let text = "name = \"two\"\ntitle = \"t\"\nabout = \"a\"\nduration = \"1m\"\nsurvivors = \"all\"\n\
                [nodes]\nnames = [\"a\", \"b\"]\n\
                [[write]]\nat = \"1s\"\nnode = \"any\"\ncollection = \"x\"\nid = \"1\"\nput = { v = 1 }\n\
                [[assert]]\nname = \"not a\"\nthat = \"writes.all(w, w.node != 'a')\"\n\
                [[assert]]\nname = \"not b\"\nthat = \"writes.all(w, w.node != 'b')\"\n";
    let scenario = Scenario::parse("two.toml", text, &|_| Err("no files".into())).expect("fine");
    let (subjects, interrupted, known_bad) = ([Subject::of(&scenario)], AtomicBool::new(false), KnownBad::default());
    let campaign = Campaign {
        subjects: &subjects,
        seeds: "0..8".parse().expect("seeds"),
        shard: "1/1".parse().expect("a shard"),
        known_bad: &known_bad,
        time_budget: None,
        threads: 1,
        failures_max: FAILURES_MAX,
        selftest_every: 0,
        interrupted: &interrupted,
    };
    let findings = campaign.run(&crate::world::run, &mut |_, _| {});
    let kinds = kinds(&findings.failures);
    let mut places: Vec<&str> = kinds.iter().map(|(failure, _)| failure.violation.place.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["`not a` is false", "`not b` is false"]);
    assert_eq!(kinds.iter().map(|(_, alike)| alike).sum::<usize>(), 8);
    let told = &kinds[0].0.violation.detail;
    assert!(told.contains("; writes = [{") && told.contains("\"node\":"), "{told}");
}
