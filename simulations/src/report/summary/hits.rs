//! What was planned against what hit.

use std::collections::{BTreeMap, BTreeSet};

use super::{Count, ScenarioSummary, Summary};

/// Kinds of faults, and words that tell from what the world counted that one of the kind had an effect: not that it was
/// begun. A kind that is not here (`slow`) leaves no mark of its own: whatever it slows arrives all the same.
const MARKS: [(&str, &[&str]); 19] = [
    ("cut", &["closed way", "timed out", "datagram cut off"]),
    ("clog", &["a frame waited behind a clog", "datagram held back"]),
    ("lossy", &["lost packet", "datagram lost"]),
    ("reset", &["was reset", "broke with frames"]),
    ("half_open", &["forgot a connection"]),
    ("readdress", &["forgot a connection", "readdress", "to an address left"]),
    ("replay", &["replay", "came again"]),
    ("slow_reader", &["slow reader", "did not take"]),
    ("crash", &["crash"]),
    ("pause", &["pause"]),
    ("clock_jump", &["clock jump"]),
    ("disk_full", &["without room", "a disk that was full"]),
    ("disk_error", &["a disk error hit"]),
    ("disk_slow", &["slow disk"]),
    ("bit_flips", &["bit flips", "damaged store", "damaged node"]),
    ("row_flips", &["rows damaged", "damaged row", "rows built anew"]),
    ("restore", &["restored"]),
    ("clone", &["clone"]),
    ("gone_bad", &["a member gone bad"]),
];
/// What begins like this and goes on with a kind was planned and not carried out: the lane cannot do it.
const SKIPPED: &str = "skipped ";

/// The word for a kind of fault that scenarios and their documentation have: names in JSON stay as they are.
fn word(kind: &str) -> String {
    if kind == "clock_jump" { "clock".to_owned() } else { kind.replace('_', "-") }
}

/// A kind of fault over all scenarios or one: how often planned, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// As scenarios say it.
    pub(super) kind: String,
    pub(super) planned: Count,
    /// What the world counted that belongs to this kind.
    pub(super) hits: Vec<(String, Count)>,
    /// How often the lane could not do it: these are no hits.
    pub(super) skipped: Count,
    /// Whether the fault was planned, would have left a mark, and never did: such runs show nothing about it.
    pub(super) missed: bool,
}

/// Planned kinds with their hits, and the hits that belong to no planned kind.
pub(super) fn compare(scenario: &ScenarioSummary) -> (Vec<Line>, Vec<(String, Count)>) {
    let mut told = BTreeSet::new();
    let mut lines = Vec::new();
    for (kind, planned) in &scenario.planned {
        let marks = MARKS.iter().find(|(known, _)| known == kind).map(|(_, marks)| *marks);
        let of_kind =
            |what: &str| !what.starts_with(SKIPPED) && marks.unwrap_or_default().iter().any(|mark| what.contains(mark));
        let skipped = scenario.hits.get(&format!("{SKIPPED}{kind}")).copied().unwrap_or_default();
        let hits: Vec<_> = scenario.hits.iter().filter(|(what, _)| of_kind(what)).map(owned).collect();
        told.extend(hits.iter().map(|(what, _)| what.clone()));
        let missed = marks.is_some() && hits.is_empty() && skipped.times == 0;
        lines.push(Line { kind: word(kind), planned: *planned, hits, skipped, missed });
    }
    assert_eq!(lines.len(), scenario.planned.len(), "every planned kind has its line");
    let other = |what: &str| !told.contains(what) && !what.starts_with(SKIPPED);
    let others = scenario.hits.iter().filter(|(what, _)| other(what)).map(owned).collect();
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
