//! The report as JUnit XML: one test case for each scenario.
//!
//! * A violation is a `failure`: its message counts the seeds, its text has one paragraph for each seed, with the
//!   command that runs it again and the path of its capsule.
//! * A run that could not be judged is an `error`, not a skip: a green build would say what nobody knows. So is a seed
//!   that was not deterministic.
//! * A scenario without any run (the time was up before it) is skipped, and says so.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use thiserror::Error;

use super::text::{converged, some};
use super::{Failure, ScenarioSummary, Summary, Worst, repro};
use crate::report::words::{moment, span};

/// Most seeds whose text is in the file, for each scenario.
const SEEDS_TOLD_MAX: usize = 20;

/// Why there is no XML.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct JunitError(#[from] quick_junit::SerializeError);

/// The XML. Characters that XML cannot hold are left out.
///
/// # Errors
/// None that a caller could cause.
pub fn junit(summary: &Summary) -> Result<String, JunitError> {
    let mut report = Report::new("tombolo sim");
    report.set_time(Duration::from_micros(summary.elapsed_us));
    let mut suite = TestSuite::new("tombolo sim");
    suite.set_time(Duration::from_micros(summary.elapsed_us));
    for (name, scenario) in &summary.scenarios {
        let mut case = TestCase::new(name.as_str(), status(name, scenario));
        case.set_classname("tombolo.sim").set_time(Duration::from_micros(scenario.wall_us));
        case.set_system_out(numbers(scenario));
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn status(name: &str, scenario: &ScenarioSummary) -> TestCaseStatus {
    let mut status = match scenario.result() {
        Worst::Held => return TestCaseStatus::success(),
        Worst::Inconclusive if scenario.seeds == 0 => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("no seed was run: the time was up before");
            return status;
        }
        Worst::Violated => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Worst::Inconclusive | Worst::NotDeterministic => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let (kind, message, text) = match scenario.result() {
        Worst::NotDeterministic => not_deterministic(name, scenario),
        Worst::Violated => violated(name, scenario),
        _ => undecided(name, scenario),
    };
    status.set_type(kind).set_message(message).set_description(text);
    status
}

fn violated(name: &str, scenario: &ScenarioSummary) -> (String, String, String) {
    let mut oracles: Vec<&str> = scenario.failures.iter().map(|failure| failure.oracle.name()).collect();
    oracles.sort_unstable();
    oracles.dedup();
    let text = |failure: &Failure| {
        let capsule = failure.capsule.as_ref().map_or(String::new(), |path| format!("\n  capsule: {path}"));
        format!(
            "seed {}: {} at {}: {}\n  {}\n  again:   {}{capsule}\n",
            failure.seed,
            failure.oracle.name(),
            moment(Duration::from_micros(failure.at_us)),
            failure.place,
            failure.detail,
            repro(name, scenario, failure.seed),
        )
    };
    let told = scenario.failures.iter().take(SEEDS_TOLD_MAX).map(text).collect();
    let message = format!("{} of {} violated: {}", scenario.violated, some(scenario.seeds, "seed"), oracles.join(", "));
    (oracles.first().map_or_else(String::new, ToString::to_string), message, more(told, scenario.violated))
}

fn undecided(name: &str, scenario: &ScenarioSummary) -> (String, String, String) {
    let told = scenario.undecided.iter().take(SEEDS_TOLD_MAX).map(|undecided| {
        let again = repro(name, scenario, undecided.seed);
        format!("seed {}: {}\n  again:   {again}\n", undecided.seed, undecided.reason)
    });
    let message = format!("{} of {} inconclusive", scenario.inconclusive, some(scenario.seeds, "seed"));
    ("inconclusive".to_owned(), message, more(told.collect(), scenario.inconclusive))
}

fn not_deterministic(name: &str, scenario: &ScenarioSummary) -> (String, String, String) {
    let told = scenario.unequal.iter().take(SEEDS_TOLD_MAX).map(|seed| {
        let again = repro(name, scenario, *seed);
        format!("seed {seed}: two runs differ\n  again:   {again}\n")
    });
    let count = scenario.unequal.len() as u64;
    let message = format!("not deterministic: {count} of {} run twice", some(scenario.selftests, "seed"));
    ("not deterministic".to_owned(), message, more(told.collect(), count))
}

fn more(told: Vec<String>, count: u64) -> String {
    let left = count.saturating_sub(told.len() as u64);
    let end = if left == 0 { String::new() } else { format!("and {left} more\n") };
    told.join("\n") + &end
}

fn numbers(scenario: &ScenarioSummary) -> String {
    let convergence = &scenario.convergence_us;
    let time = |percent| converged(scenario, convergence.quantile(percent));
    format!(
        "{}: {} held, {} violated, {} inconclusive; {}, {} of virtual time; converged in {} (half), {} (99 of 100)\n",
        some(scenario.seeds, "seed"),
        scenario.held,
        scenario.violated,
        scenario.inconclusive,
        some(scenario.totals.events(), "event"),
        span(Duration::from_micros(scenario.totals.virtual_us)),
        time(50),
        time(99),
    )
}
