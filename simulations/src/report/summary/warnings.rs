//! What makes a green run worth less than it looks.

use super::{ScenarioSummary, Summary};

/// Most refused lines that are named of one scenario.
const LINES_MAX: usize = 10;

/// A line for each assertion that was never evaluated, and for each write of a scenario that no run took.
#[must_use]
pub fn warnings(summary: &Summary) -> Vec<String> {
    summary.scenarios.iter().flat_map(|(name, scenario)| of_scenario(name, scenario)).collect()
}

pub(super) fn of_scenario(name: &str, scenario: &ScenarioSummary) -> Vec<String> {
    let never = scenario.assertions.iter().filter(|(_, times)| **times == 0);
    let mut told: Vec<String> = never
        .map(|(assertion, _)| {
            format!(
                "{name}: the assertion `{assertion}` was never evaluated: no run ended with anything that it is about"
            )
        })
        .collect();
    let runs = if scenario.judged == 1 { "the run".to_owned() } else { format!("all {} runs", scenario.judged) };
    let lines = scenario.always_refused.iter();
    told.extend(lines.take(LINES_MAX).map(|line| format!("{name}: the write at {line} was refused in {runs}")));
    let more = scenario.always_refused.len().saturating_sub(LINES_MAX);
    if more > 0 {
        told.push(format!("{name}: {more} more writes were refused in {runs}"));
    }
    told
}

/// `name` 180 times; none if the scenario has no assertions that a run came to.
pub(super) fn assertions(scenario: &ScenarioSummary) -> Option<String> {
    let told = scenario.assertions.iter().map(|(name, times)| match times {
        0 => format!("`{name}` never"),
        1 => format!("`{name}` once"),
        _ => format!("`{name}` {} times", super::text::number(*times)),
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}
