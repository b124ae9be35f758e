//! Names and bounds of a capsule's files.

/// What it is.
pub const CAPSULE_JSON: &str = "capsule.json";
/// The scenario as it was given.
pub const SCENARIO_TOML: &str = "scenario.toml";
/// What the scenario and the seed gave.
pub const ORIGINAL_PLAN_JSON: &str = "original-plan.json";
/// What is left of it.
pub const PLAN_JSON: &str = "plan.json";
/// What happened, one event a line.
pub const EVENTS_JSONL: &str = "events.jsonl";
/// What was violated.
pub const VERDICT_JSON: &str = "verdict.json";
/// The regression test.
pub const REPRO_RS: &str = "repro.rs";
/// The commands that show the failure again.
pub const README_TXT: &str = "README.txt";

/// Longest file that is read, in bytes: a run of a hundred nodes has some millions of events.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 30;
