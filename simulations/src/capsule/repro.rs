//! What a capsule says to people and to `cargo test`.

use super::{Capsule, LaneName};
use crate::plan::Plan;
use crate::report::files::quoted;
use crate::scenario::InvalidPlan;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The text is not the JSON of a plan; with line and column.
    #[error("not a plan of this version: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is a plan that cannot be carried out.
    #[error(transparent)]
    Invalid(#[from] InvalidPlan),
}

/// Reads a plan from JSON: what regression tests do that come with capsules.
///
/// # Errors
/// What is wrong with it.
pub fn plan_of(json: &str) -> Result<Plan, PlanError> {
    let plan: Plan = serde_json::from_str(json)?;
    plan.check()?;
    Ok(plan)
}

/// The regression test: a file for the `tests` directory of any crate that has `tombolo-sim` among its dependencies.
pub(super) fn test(capsule: &Capsule) -> Result<String, serde_json::Error> {
    let plan = serde_json::to_string_pretty(&capsule.plan)?;
    let fence = fence(&plan);
    let (header, violation) = (&capsule.header, &capsule.violation);
    let lane = header.lane.name();
    let name = identifier(&header.scenario);
    Ok(format!(
        "//! Scenario `{}`, seed {}: {}, {}. Found by tombolo {}.\n\n\
         use tombolo_sim::capsule::plan_of;\n\
         use tombolo_sim::outcome::{{RunOptions, Verdict}};\n\
         use tombolo_sim::{lane};\n\n\
         /// Everything that is decided before the run.\n\
         const PLAN: &str = r{fence}\"{plan}\"{fence};\n\n\
         #[test]\n\
         fn {name}_{}() {{\n    \
             let plan = plan_of(PLAN).expect(\"a plan of this version\");\n    \
             assert_eq!({lane}::run(&plan, RunOptions::default()).verdict, Verdict::Held);\n\
         }}\n",
        one_line(&header.scenario),
        header.seed,
        violation.oracle.name(),
        one_line(&violation.place),
        one_line(&header.tombolo),
        header.seed,
    ))
}

/// As many `#` as it takes for the text not to end its own literal.
fn fence(text: &str) -> String {
    let hashes = |rest: &str| rest.bytes().take_while(|byte| *byte == b'#').count();
    let longest = text.split('"').skip(1).map(hashes).max().unwrap_or(0);
    "#".repeat(longest + 1)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name for a function.
fn identifier(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    format!("scenario_{}", text.chars().map(plain).collect::<String>())
}

/// The commands.
pub(super) fn readme(capsule: &Capsule) -> String {
    let (header, violation) = (&capsule.header, &capsule.violation);
    let original = &capsule.original;
    let size =
        |plan: &Plan| format!("{} nodes, {} writes, {} faults", plan.nodes.len(), plan.writes.len(), plan.faults.len());
    let minimal = if header.minimal { "nothing more can be left out" } else { "it may be possible to leave out more" };
    format!(
        "Scenario {}, seed {}, lane {}, tombolo {}\n\n\
         Violated: {} ({})\n\
         {}\n\n\
         Left of the plan: {} (of {}); {minimal}.\n\n\
         Again, from this directory:\n\n    tombolo sim replay .\n\n\
         Again, from the scenario:\n\n    {}\n\n\
         As a test, for faults of tombolo itself: copy repro.rs into the tests directory of a crate that depends on tombolo-sim.\n\
         For faults of your own data, keep the scenario and a line `{} {}` in a file of known bad seeds.\n\
         To look at: diagram.html in any browser.\n",
        header.scenario,
        header.seed,
        header.lane.name(),
        header.tombolo,
        violation.oracle.name(),
        violation.place,
        violation.detail,
        size(&capsule.plan),
        size(original),
        run_again(&header.source, header.seed, header.lane),
        header.scenario,
        header.seed,
    )
}

/// The command that runs one seed of a scenario again; `source` is how the scenario is named.
#[must_use]
pub fn run_again(source: &str, seed: u64, lane: LaneName) -> String {
    let lane = match lane {
        LaneName::World => "",
        LaneName::Quic => " --lane quic",
    };
    format!("tombolo sim run {} --seeds {seed}{lane}", quoted(source))
}
