//! Failures as lines that a hosted CI shows beside the change.

use super::text::some;
use super::{Summary, Worst, repro, warnings};

/// Most annotations: CI services show ten of a kind for one step and drop the others.
const ANNOTATIONS_MAX: usize = 10;

/// One `::error` line for each failing seed, in GitHub's form for workflow commands, at most ten of them, and a
/// `::warning` line for each scenario that was inconclusive. Nothing if everything held.
#[must_use]
pub fn annotations(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, scenario) in &summary.scenarios {
        for seed in &scenario.unequal {
            let title = format!("{name}: seed {seed} is not deterministic");
            let again = repro(name, scenario, *seed);
            lines.push(command("error", &title, &format!("two runs of this seed differ; again with: {again}")));
        }
        for failure in &scenario.failures {
            let title = format!("{name}: seed {} violated {}", failure.seed, failure.oracle.name());
            let again = repro(name, scenario, failure.seed);
            lines.push(command(
                "error",
                &title,
                &format!("{}: {}\nagain with: {again}", failure.place, failure.detail),
            ));
        }
    }
    lines.truncate(ANNOTATIONS_MAX);
    for (name, scenario) in &summary.scenarios {
        if scenario.result() == Worst::Inconclusive {
            let why = scenario.undecided.first().map_or("no seed was run", |undecided| &undecided.reason);
            let title = format!("{name}: {} of {} inconclusive", scenario.inconclusive, some(scenario.seeds, "seed"));
            lines.push(command("warning", &title, why));
        }
    }
    lines.extend(warnings(summary).iter().map(|told| command("warning", "this run shows less than it seems", told)));
    lines
}

/// In a value, the characters that end it or the line are written in hexadecimal.
fn command(kind: &str, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{kind} title={property}::{}", data(message))
}
