//! A failing seed, kept: a directory with everything that is needed to see the failure again, here or elsewhere.
//!
//! ```text
//! capsule.json        version of the format and of the program, scenario, seed, lane
//! scenario.toml       the scenario as it was given (if it came from a file or the library)
//! original-plan.json  what the scenario and the seed gave
//! plan.json           what is left of it: everything that is decided, and that is replayed
//! events.jsonl        what happened when it was carried out, one event a line
//! verdict.json        what was violated
//! repro.rs            a regression test that is ready to be kept
//! README.txt          the commands
//! diagram.html, …     whatever else was given to [`Capsule::write`]
//! ```

mod again;
mod files;
pub mod minimise;
mod read;
mod replay;
mod repro;
#[cfg(test)]
mod tests;
mod write;

use serde::{Deserialize, Serialize};

use crate::outcome::Violation;
use crate::plan::Plan;
use crate::trace::Event;

pub use again::{Again, again};
pub use files::{
    CAPSULE_JSON, EVENTS_JSONL, ORIGINAL_PLAN_JSON, PLAN_JSON, README_TXT, REPRO_RS, SCENARIO_TOML, VERDICT_JSON,
};
pub use read::CapsuleError;
pub use replay::{Divergence, Replay, Sameness};
pub use repro::{PlanError, plan_of, run_again};
pub use write::WriteError;

/// Version of the format. It grows with every change of it or of [`Plan`], [`Event`] or [`Violation`] that an older
/// program would misread.
pub const FORMAT: u32 = 1;

/// Which lane a plan failed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneName {
    /// The model network.
    World,
    /// Real QUIC on simulated UDP.
    Quic,
}

impl LaneName {
    /// The lane's name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Quic => "quic",
        }
    }
}

/// A failing seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Capsule {
    /// What it is.
    pub header: Header,
    /// The scenario as it was given.
    pub scenario_toml: Option<String>,
    /// What the scenario and the seed gave.
    pub original: Plan,
    /// What is left of it.
    pub plan: Plan,
    /// What happened when [`Capsule::plan`] was carried out.
    pub events: Vec<Event>,
    /// What it violates.
    pub violation: Violation,
}

/// What a capsule is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// See [`FORMAT`].
    pub format: u32,
    /// Version of the program that wrote it, with its commit where the program knows that.
    pub tombolo: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Where it failed.
    pub lane: LaneName,
    /// How the scenario was named on the command line: a name of the library or the path of a file.
    pub source: String,
    /// Whether nothing more can be left out of the plan; else the time was up first, or it was not tried.
    pub minimal: bool,
}

impl Header {
    /// What to know before a capsule of another version of the program than `ours` is replayed: its format is the same,
    /// the product is not.
    #[must_use]
    pub fn other_version(&self, ours: &str) -> Option<String> {
        (self.tombolo != ours).then(|| {
            format!(
                "tombolo {} wrote this capsule, this is {ours}: its plan is replayed, but the run may be another one",
                self.tombolo
            )
        })
    }

    /// Of a failure that this program found; `minimal` is false at first.
    #[must_use]
    pub fn new(scenario: &str, seed: u64, lane: LaneName, source: &str) -> Self {
        Self {
            format: FORMAT,
            tombolo: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.to_owned(),
            seed,
            lane,
            source: source.to_owned(),
            minimal: false,
        }
    }
}
