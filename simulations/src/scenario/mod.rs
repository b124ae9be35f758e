//! Scenarios: what a user writes, in TOML or in Rust. With a seed, a scenario becomes a [plan](crate::plan).
//!
//! ```text
//! TOML ── read ──> Draft <── Rust (Draft::new(…).nodes(…)…)
//!                    │ check: all problems at once, with file, line and column
//!                    v
//!                 Scenario ── plan(seed) ──> Plan
//! ```
//! `docs/scenarios.md` is the reference of the format.

mod build;
mod check;
mod expand;
mod expression;
mod kinds;
mod language;
mod library;
mod load;
mod model;
mod names;
mod nearest;
mod place;
mod random;
mod read;
mod units;
mod valid;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::plan::Plan;

pub use language::{End, Statement, What};
pub use library::{Entry, files_of, find, library};
pub use model::{
    Amount, Assert, ContentShape, Draft, Initial, LinkChange, LinkClass, Mix, Name, Node, Pick, Random, RandomKind,
    Shape, Space, Survivors, Topology, Who, Workload, Write,
};
pub use nearest::did_you_mean;
pub use place::{Place, Problem, ScenarioError};
pub use random::Kind;
pub use read::Files;
pub use units::{Rate, When};
pub use valid::InvalidPlan;

/// Most nodes of a scenario: a mesh of them has 130,000 links.
pub const NODES_MAX: usize = 512;
/// Most writes of a scenario: they are all in memory before a run begins.
pub const WRITES_MAX: u64 = 1_000_000;
/// Longest scenario, in bytes.
pub const SCENARIO_BYTES_MAX: u64 = 1 << 20;
/// Longest file of initial data or writes, in bytes.
pub const DATA_BYTES_MAX: u64 = 64 << 20;

/// A scenario that can be: every seed gives a plan.
#[derive(Clone, Debug)]
pub struct Scenario(Draft);

impl Draft {
    /// Checks that it can be.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(self) -> Result<Scenario, ScenarioError> {
        match check::check(&self) {
            problems if problems.is_empty() => Ok(Scenario(self)),
            problems => Err(ScenarioError::of(problems)),
        }
    }
}

impl Scenario {
    /// Reads the TOML form; `file` is its name in messages, `files` gives the files it names.
    ///
    /// # Errors
    /// Everything that is wrong: what cannot be read, else what cannot be.
    pub fn parse(file: &str, text: &str, files: Files<'_>) -> Result<Self, ScenarioError> {
        read::read(file, text, files)?.check().map_err(|error| error.in_file(file))
    }

    /// Reads a file; files it names are looked for beside it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); also a file that cannot be read: that problem has line 0.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Ok(Self::load_with_files(path)?.0)
    }

    /// Reads a file as [`load`](Self::load) does, and answers its text as well, and name and text of each file it
    /// names.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_files(path: &Path) -> Result<(Self, String, BTreeMap<String, String>), ScenarioError> {
        let file = path.display().to_string();
        let text = read_bounded(path, SCENARIO_BYTES_MAX).map_err(|reason| ScenarioError::unread(&file, reason))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = RefCell::new(BTreeMap::new());
        let read = |name: &str| {
            let text = read_bounded(&folder.join(name), DATA_BYTES_MAX)?;
            files.borrow_mut().insert(name.to_owned(), text.clone());
            Ok(text)
        };
        let scenario = Self::parse(&file, &text, &read)?;
        Ok((scenario, text, files.into_inner()))
    }

    /// The plan of a seed: the same for the same scenario and seed, everywhere. O(nodes² + writes + faults²).
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        expand::plan(&self.0, seed)
    }

    /// Where the writes stand that it spells out and that a run refused: `FILE:LINE`. `refused` are the numbers of
    /// writes in the plan of this seed, ascending; of a write that several nodes ask, all have to be among them.
    /// O(writes).
    #[must_use]
    pub fn refused_lines(&self, seed: u64, refused: &[u32]) -> BTreeSet<String> {
        if refused.is_empty() || self.0.writes.is_empty() {
            return BTreeSet::new();
        }
        let all_refused = |numbers: &BTreeSet<u32>| numbers.iter().all(|no| refused.binary_search(no).is_ok());
        let numbers = expand::numbers(&self.0, seed);
        let lines = numbers.into_iter().filter(|(_, numbers)| all_refused(numbers));
        lines.filter_map(|(index, _)| Some(self.0.writes.get(index)?.place.file_and_line())).collect()
    }

    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The scenario's story in one line.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.0.title
    }

    /// What a user recognises, and what to look for.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.0.about
    }

    /// Whether it may run over the model network.
    #[must_use]
    pub const fn world(&self) -> bool {
        self.0.world
    }

    /// Whether it may run over real QUIC.
    #[must_use]
    pub const fn quic(&self) -> bool {
        self.0.quic
    }

    /// Faults that it spells out and that the `quic` lane cannot carry out: it has no frames to keep, and one socket
    /// for a node.
    #[must_use]
    pub fn not_on_quic(&self) -> Vec<&'static str> {
        let said = |is: fn(&What) -> bool| self.0.faults.iter().any(|statement| is(&statement.what));
        let replay = said(|what| matches!(what, What::Replay { .. })).then_some("replay");
        let clone = said(|what| matches!(what, What::Clone(_))).then_some("clone");
        let bad = said(|what| matches!(what, What::GoneBad(_))).then_some("gone-bad");
        replay.into_iter().chain(clone).chain(bad).collect()
    }

    /// What was said.
    #[must_use]
    pub const fn draft(&self) -> &Draft {
        &self.0
    }
}

fn read_bounded(path: &Path, limit: u64) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > limit {
        return Err(format!("it has {length} bytes; at most {limit} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
