//! What a run gives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::{NodeNo, micros};
use crate::trace::Trace;

/// How a lane is to carry out a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Keep the events, for diagrams and comparison. Costs memory; the hash is made either way.
    pub record: bool,
}

/// Result of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether everything held.
    pub verdict: Verdict,
    /// Over all events in order: equal runs have equal hashes. On the QUIC lane over the final states alone.
    pub hash: [u8; 32],
    /// What happened, in numbers.
    pub stats: Stats,
    /// The events, if asked for.
    pub trace: Option<Trace>,
}

/// Whether everything held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held.
    Held,
    /// Something was violated.
    Violated(Violation),
    /// Nothing can be said, and why: a limit of the run was reached first.
    Inconclusive(String),
}

/// Something that must never be, and was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Who noticed.
    pub oracle: Oracle,
    /// Where, without what differs from run to run: the check's own name, a source line of a panic. Together with the
    /// oracle it says whether two runs fail alike.
    pub place: String,
    /// At which node, if at one.
    pub node: Option<NodeNo>,
    /// When, in virtual time.
    #[serde(with = "micros")]
    pub at: Duration,
    /// What, for people.
    pub detail: String,
}

impl Violation {
    /// Whether two violations are the same failure.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.oracle == other.oracle && self.place == other.place
    }
}

/// What watches over a run. Each has one canary: a deliberate defect that it must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oracle {
    /// Invariant 1: every acknowledged write is in the store that acknowledged it, after any crash, and at every
    /// survivor in the end: applied, or refused everywhere alike.
    Durability,
    /// Invariant 2: frontiers only grow; feeds are gap-free, chained and sealed.
    Frontier,
    /// Invariant 3: equal frontiers, equal verdicts, heads, views, conflict lists, digests.
    Convergence,
    /// Invariant 4: nothing is applied whose author might not write it.
    Permission,
    /// Invariant 5: a transaction is visible whole or not at all.
    Atomicity,
    /// Invariant 6: every acknowledged value is shown, in conflict, or overwritten by an entry that had seen it.
    Values,
    /// Invariant 6: counters are the sum of the increments that were not overwritten.
    Counters,
    /// Invariant 6: nothing that was deleted comes back by itself; nothing is shown that nobody wrote.
    Resurrection,
    /// Invariant 7: survivors converge in time.
    Liveness,
    /// Invariant 7: who has nothing to say falls silent, and a reconnect with nothing new costs a constant.
    Silence,
    /// Bytes sent stay within a multiple of the bytes that were missing.
    Traffic,
    /// Invariant 8: queues and memory are bounded.
    Bounds,
    /// Invariant 8: a step does what it may and one piece more at most, and no piece is larger than a lawful entry.
    Work,
    /// Invariant 9: folding the feeds in another causal order gives the same rows; rows survive their encoding.
    Replay,
    /// A change stream has no gap and no double and folds to the views.
    Stream,
    /// Dependencies name what the author had seen: no less, no more.
    Causality,
    /// What damaged bytes are served as: an error, never as content.
    Damage,
    /// A panic, or an assertion of the engine.
    Panic,
    /// An assertion of the scenario.
    Assertion,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Durability,
        Self::Frontier,
        Self::Convergence,
        Self::Permission,
        Self::Atomicity,
        Self::Values,
        Self::Counters,
        Self::Resurrection,
        Self::Liveness,
        Self::Silence,
        Self::Traffic,
        Self::Bounds,
        Self::Work,
        Self::Replay,
        Self::Stream,
        Self::Causality,
        Self::Damage,
        Self::Panic,
        Self::Assertion,
    ];

    /// The oracle's name in files and on the screen: as serde writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Durability => "durability",
            Self::Frontier => "frontier",
            Self::Convergence => "convergence",
            Self::Permission => "permission",
            Self::Atomicity => "atomicity",
            Self::Values => "values",
            Self::Counters => "counters",
            Self::Resurrection => "resurrection",
            Self::Liveness => "liveness",
            Self::Silence => "silence",
            Self::Traffic => "traffic",
            Self::Bounds => "bounds",
            Self::Work => "work",
            Self::Replay => "replay",
            Self::Stream => "stream",
            Self::Causality => "causality",
            Self::Damage => "damage",
            Self::Panic => "panic",
            Self::Assertion => "assertion",
        }
    }
}

/// What happened in a run, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Frames delivered.
    pub frames: u64,
    /// Timers that fired.
    pub timers: u64,
    /// Inputs given to engines: frames, commands, room, connections.
    pub inputs: u64,
    /// Steps of engines.
    pub steps: u64,
    /// Steps that committed.
    pub commits: u64,
    /// Entries settled by these commits.
    pub entries: u64,
    /// Writes asked for, acknowledged, refused, and lost with their node before an answer.
    pub writes: u64,
    /// See `writes`.
    pub acknowledged: u64,
    /// See `writes`.
    pub refused: u64,
    /// See `writes`.
    pub unanswered: u64,
    /// Bytes of frames that left a node.
    pub bytes_sent: u64,
    /// The part of it that was entries on transfer streams.
    pub bytes_transferred: u64,
    /// Bytes of entries that a node took in and did not have.
    pub bytes_missing: u64,
    /// Connections made.
    pub connections: u64,
    /// Entities in conflict at the end, at one survivor.
    pub conflicts: u64,
    /// Present entities at the end, at one survivor.
    pub entities: u64,
    /// Most bytes that waited on one connection.
    pub queue_peak: u64,
    /// Virtual time at the end.
    pub virtual_us: u64,
    /// Virtual time from the healing until the survivors were equal and silent.
    pub convergence_us: u64,
    /// What really hit, by name: `crash in a commit`, `cut during a transfer`, … and how often.
    pub hits: BTreeMap<String, u64>,
    /// Assertions of the scenario, by name, and how often each was evaluated in the end. Those that were not come to
    /// are not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assertions: BTreeMap<String, u64>,
    /// Numbers of the writes that were refused and never acknowledged; none: the run ended before its oracles looked at
    /// that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_writes: Option<Vec<u32>>,
}

impl Stats {
    /// Frames, timers and other inputs of engines, each counted once.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.inputs
    }

    /// Counts something that really happened.
    pub fn hit(&mut self, what: &str) {
        self.count(what, 1);
    }

    /// Counts something that really happened so many times; never is no mark.
    pub fn count(&mut self, what: &str, times: u64) {
        match self.hits.get_mut(what) {
            Some(count) => *count += times,
            None if times > 0 => drop(self.hits.insert(what.to_owned(), times)),
            None => {}
        }
    }
}
