//! What was planned against what hit.

use std::collections::{BTreeMap, BTreeSet};

use super::{Count, ScenarioSummary, Summary};

/// Kinds of faults, and words that tell from what the world counted that one of the kind had an effect. Kinds that are not
/// here (`slow`; `disk_error`, which an idle disk never shows) leave no mark of their own.
const MARKS: [(&str, &[&str]); 16] = [
    ("cut", &["closed way", "timed out", "cut"]),
    ("clog", &["closed way", "clog"]),
    ("lossy", &["lost packet", "datagram", "lossy"]),
    ("reset", &["was reset", "broke with frames"]),
    ("half_open", &["forgot a connection"]),
    ("readdress", &["forgot a connection", "address", "migrat"]),
    ("replay", &["replay", "came again"]),
    ("slow_reader", &["slow reader", "did not take"]),
    ("crash", &["crash"]),
    ("pause", &["pause"]),
    ("clock_jump", &["clock jump"]),
    ("disk_full", &["disk full", "full or failed"]),
    ("disk_slow", &["slow disk"]),
    ("bit_flips", &["bit flips", "damaged"]),
    ("restore", &["restored"]),
    ("clone", &["clone"]),
];

/// A kind of fault over all scenarios or one: how often planned, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: String,
    pub(super) planned: Count,
    /// What the world counted that belongs to this kind.
    pub(super) hits: Vec<(String, Count)>,
    /// It was planned, would have left a mark, and never did: such runs show nothing about this fault.
    pub(super) missed: bool,
}

/// Planned kinds with their hits, and the hits that belong to no planned kind.
pub(super) fn compare(scenario: &ScenarioSummary) -> (Vec<Line>, Vec<(String, Count)>) {
    let mut told = BTreeSet::new();
    let mut lines = Vec::new();
    for (kind, planned) in &scenario.planned {
        let marks = MARKS.iter().find(|(known, _)| known == kind).map(|(_, marks)| *marks);
        let of_kind = |what: &str| marks.unwrap_or_default().iter().any(|mark| what.contains(mark));
        let hits: Vec<_> = scenario.hits.iter().filter(|(what, _)| of_kind(what)).map(owned).collect();
        told.extend(hits.iter().map(|(what, _)| what.clone()));
        let missed = marks.is_some() && hits.is_empty();
        lines.push(Line { kind: kind.clone(), planned: *planned, hits, missed });
    }
    let others = scenario.hits.iter().filter(|(what, _)| !told.contains(*what)).map(owned).collect();
    (lines, others)
}

fn owned((what, count): (&String, &Count)) -> (String, Count) {
    (what.clone(), *count)
}

/// All scenarios as one, as far as faults go.
pub(super) fn together(summary: &Summary) -> ScenarioSummary {
    let mut all = ScenarioSummary::default();
    let add = |into: &mut BTreeMap<String, Count>, from: &BTreeMap<String, Count>| {
        for (what, count) in from {
            let known = into.entry(what.clone()).or_default();
            known.times += count.times;
            known.runs += count.runs;
        }
    };
    for scenario in summary.scenarios.values() {
        add(&mut all.planned, &scenario.planned);
        add(&mut all.hits, &scenario.hits);
    }
    all
}
