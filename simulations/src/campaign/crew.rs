//! Threads that take runs from one list and put results back in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{AHEAD_MAX, Campaign, Failure, Findings, Finished, Lane, Progress, Stop, Stopwatch, Subject, Unequal};
use super::{guarded, panicked, selftest};
use crate::outcome::{Outcome, RunOptions, Verdict};
use crate::panics;
use crate::plan::Plan;

/// Stack of a thread: that of a main thread; an engine's recursion over JSON is bounded, the default of 2 MiB is not
/// ours.
const STACK_BYTES: usize = 8 << 20;
/// Spreads the runs that are done twice over the seeds: Knuth's multiplicative hash.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A run to be done.
struct Job<'a> {
    number: u64,
    subject: &'a Subject<'a>,
    seed: u64,
    twice: bool,
}

/// What came of it.
struct Done<'a> {
    subject: &'a Subject<'a>,
    seed: u64,
    plan: Option<Plan>,
    outcome: Outcome,
    wall: Duration,
    twice: bool,
    unequal: Option<Unequal>,
}

/// The list of runs, and how far it is.
struct Desk<'a> {
    jobs: Box<dyn Iterator<Item = (&'a Subject<'a>, u64)> + Send + 'a>,
    selftest_every: u64,
    tested: BTreeSet<&'a str>,
    handed_out: u64,
    taken_in: u64,
    closed: Option<Stop>,
}

type Shared<'a> = (Mutex<Desk<'a>>, Condvar);

/// Runs a campaign.
pub(super) fn work(
    campaign: &Campaign<'_>,
    lane: Lane<'_>,
    watch: &Stopwatch,
    tell: &mut dyn FnMut(&Finished<'_>, &Progress),
) -> Findings {
    let desk = Desk {
        jobs: Box::new(jobs(campaign)),
        selftest_every: campaign.selftest_every,
        tested: BTreeSet::new(),
        handed_out: 0,
        taken_in: 0,
        closed: None,
    };
    let shared: Shared<'_> = (Mutex::new(desk), Condvar::new());
    let (results, from_workers) = channel();
    let mut findings = Findings::default();
    findings.progress.of = total(campaign);
    thread::scope(|scope| {
        let mut threads = 0;
        for number in 0..campaign.threads.max(1) {
            let (results, shared) = (results.clone(), &shared);
            let builder = thread::Builder::new().name(format!("run-{number}")).stack_size(STACK_BYTES);
            let spawned = builder.spawn_scoped(scope, move || worker(campaign, lane, watch, shared, &results));
            // Fewer threads give the same results.
            threads += usize::from(spawned.is_ok());
        }
        drop(results);
        if threads == 0 {
            findings.stopped = Some(Stop::NoThreads);
        }
        take_in(campaign, &shared, &from_workers, &mut findings, tell);
    });
    let closed = shared.0.into_inner().unwrap_or_else(PoisonError::into_inner).closed;
    findings.stopped = findings.stopped.or(closed);
    findings
}

/// All runs in order.
fn jobs<'a>(campaign: &'a Campaign<'_>) -> impl Iterator<Item = (&'a Subject<'a>, u64)> + Send + 'a {
    let known = known(campaign);
    let first: BTreeSet<(&str, u64)> = known.iter().map(|(subject, seed)| (subject.name(), *seed)).collect();
    let seeds = campaign.seeds.iter().filter(|seed| campaign.shard.has(*seed));
    let rest = seeds.flat_map(|seed| campaign.subjects.iter().map(move |subject| (subject, seed)));
    known.into_iter().chain(rest.filter(move |(subject, seed)| !first.contains(&(subject.name(), *seed))))
}

/// Known bad seeds of these scenarios and this shard.
fn known<'a>(campaign: &'a Campaign<'_>) -> Vec<(&'a Subject<'a>, u64)> {
    let here = campaign.known_bad.seeds.iter().filter(|known| campaign.shard.has(known.seed));
    let subject = |name: &str| campaign.subjects.iter().find(|subject| subject.name() == name);
    here.filter_map(|known| Some((subject(&known.scenario)?, known.seed))).collect()
}

fn total(campaign: &Campaign<'_>) -> Option<u64> {
    let seeds = campaign.shard.count(&campaign.seeds)?.saturating_mul(campaign.subjects.len() as u64);
    let outside = known(campaign).iter().filter(|(_, seed)| !campaign.seeds.has(*seed)).count();
    Some(seeds + outside as u64)
}

impl<'a> Desk<'a> {
    /// The next run, unless the campaign has ended.
    fn next(&mut self) -> Option<Job<'a>> {
        let (subject, seed) = self.jobs.next()?;
        let number = self.handed_out;
        self.handed_out += 1;
        let first = self.selftest_every > 0 && self.tested.insert(subject.name());
        let twice = first || (seed.wrapping_mul(SPREAD) >> 32).checked_rem(self.selftest_every) == Some(0);
        Some(Job { number, subject, seed, twice })
    }
}

fn worker<'a>(
    campaign: &Campaign<'_>,
    lane: Lane<'_>,
    watch: &Stopwatch,
    shared: &Shared<'a>,
    results: &Sender<(u64, Done<'a>)>,
) {
    while let Some(job) = next(campaign, watch, shared) {
        // The receiver lives until all workers have ended.
        results.send((job.number, run(&job, lane))).ok();
    }
}

/// Waits until a run may begin.
fn next<'a>(campaign: &Campaign<'_>, watch: &Stopwatch, (desk, moved): &Shared<'a>) -> Option<Job<'a>> {
    let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
    while desk.closed.is_none() && desk.handed_out >= desk.taken_in + AHEAD_MAX {
        desk = moved.wait(desk).unwrap_or_else(PoisonError::into_inner);
    }
    let late = campaign.time_budget.is_some_and(|budget| watch.elapsed() >= budget);
    let reason = match () {
        () if desk.closed.is_some() => return None,
        () if campaign.interrupted.load(Ordering::Relaxed) => Stop::Interrupted,
        () if late => Stop::TimeBudget,
        () => return desk.next(),
    };
    // A list that is at its end is not cut short.
    if desk.next().is_some() {
        desk.closed = Some(reason);
        moved.notify_all();
    }
    None
}

fn run<'a>(job: &Job<'a>, lane: Lane<'_>) -> Done<'a> {
    let watch = Stopwatch::start();
    let (subject, seed) = (job.subject, job.seed);
    let planned = panics::catch(|| subject.plan(seed));
    let (plan, outcome) = match planned {
        Ok(plan) => {
            let outcome = guarded(lane, &plan, RunOptions::default());
            (Some(plan), outcome)
        }
        Err(caught) => (None, panicked(caught.into())),
    };
    let wall = watch.elapsed();
    let plan_again = plan.as_ref().filter(|_| job.twice);
    let unequal = plan_again.and_then(|plan| selftest::again(lane, plan, &outcome, subject.name(), seed));
    let plan = plan.map(|plan| Plan { writes: Vec::new(), initial: Vec::new(), ..plan });
    Done { subject, seed, twice: job.twice && plan.is_some(), plan, outcome, wall, unequal }
}

/// Takes results in, in the order of the list, until one of them ends the campaign.
fn take_in(
    campaign: &Campaign<'_>,
    (desk, moved): &Shared<'_>,
    results: &Receiver<(u64, Done<'_>)>,
    findings: &mut Findings,
    tell: &mut dyn FnMut(&Finished<'_>, &Progress),
) {
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    for (number, done) in results {
        let before = waiting.insert(number, done);
        assert!(before.is_none() && number >= next, "every run is done once");
        while let Some(done) = waiting.remove(&next) {
            next += 1;
            if findings.stopped.is_none() {
                findings.stopped = take(campaign, &done, findings, tell);
            }
        }
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(next <= desk.handed_out, "what is taken in was handed out");
        desk.taken_in = next;
        if findings.stopped.is_some() {
            desk.closed = desk.closed.or(findings.stopped);
        }
        moved.notify_all();
    }
}

fn take(
    campaign: &Campaign<'_>,
    done: &Done<'_>,
    findings: &mut Findings,
    tell: &mut dyn FnMut(&Finished<'_>, &Progress),
) -> Option<Stop> {
    let (scenario, seed) = (done.subject.name(), done.seed);
    let progress = &mut findings.progress;
    progress.runs += 1;
    progress.events += done.outcome.stats.events();
    progress.virtual_time += Duration::from_micros(done.outcome.stats.virtual_us);
    findings.selftests += u64::from(done.twice);
    match &done.outcome.verdict {
        Verdict::Held => {}
        Verdict::Violated(violation) => {
            progress.failures += 1;
            let failure = Failure { scenario: scenario.to_owned(), seed, violation: violation.clone() };
            findings.failures.push(failure);
        }
        Verdict::Inconclusive(why) => findings.inconclusive.push((scenario.to_owned(), seed, why.clone())),
    }
    assert_eq!(progress.failures, findings.failures.len() as u64, "every failure is kept and counted");
    let finished = Finished {
        scenario,
        seed,
        plan: done.plan.as_ref(),
        outcome: &done.outcome,
        wall: done.wall,
        selftest: done.twice.then_some(done.unequal.is_none()),
    };
    tell(&finished, &findings.progress);
    if let Some(unequal) = &done.unequal {
        findings.unequal = Some(unequal.clone());
        return Some(Stop::NotDeterministic);
    }
    (findings.failures.len() >= campaign.failures_max).then_some(Stop::Failures)
}
