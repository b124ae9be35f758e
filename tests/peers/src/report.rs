//! The table, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::{Group, Outcome, Outcomes};
use crate::metric::{Metric, Unit, thousands};
use crate::system::Name;
use crate::versions::Versions;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) versions: Versions,
    pub(crate) rounds: usize,
    /// Of the machine, one minute's, before and after: others use it too.
    pub(crate) load: [String; 2],
    pub(crate) groups: Vec<Table>,
}

/// One size.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    entities: u64,
    changes: u64,
    systems: Vec<Name>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    metric: Metric,
    unit: Unit,
    cells: BTreeMap<Name, Cell>,
}

#[derive(Debug, Default, Serialize)]
struct Cell {
    /// By round.
    values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// How many times better Tombolo is, of the medians.
    #[serde(skip_serializing_if = "Option::is_none")]
    tombolo_ahead: Option<f64>,
}

impl Table {
    pub(crate) fn new(group: &Group, changes: u64, outcomes: &Outcomes) -> Self {
        let lines = Metric::ALL.into_iter().map(|metric| line(metric, group, outcomes)).collect();
        let changes = changes.min(group.entities);
        Self { entities: group.entities, changes, systems: group.systems.clone(), lines }
    }

    fn markdown(&self, versions: &Versions, out: &mut String) -> std::fmt::Result {
        let (entities, changes) = (thousands(self.entities as f64), thousands(self.changes as f64));
        write!(out, "\n{entities} entities of 8 fields; {changes} changes after the partition\n\n| |")?;
        for name in &self.systems {
            write!(out, " {} |", versions.of(*name))?;
            if *name != Name::Tombolo {
                write!(out, " Tombolo ahead |")?;
            }
        }
        write!(out, "\n|---|")?;
        let columns = self.systems.iter().map(|name| if *name == Name::Tombolo { 1 } else { 2 }).sum();
        (0..columns).try_for_each(|_: usize| write!(out, "---|"))?;
        for line in &self.lines {
            write!(out, "\n| {} |", line.metric.name())?;
            for name in &self.systems {
                let cell = &line.cells[name];
                write!(out, " {} |", cell.show(line.unit))?;
                if *name != Name::Tombolo {
                    let ahead =
                        cell.tombolo_ahead.map_or_else(|| "–".to_owned(), |ahead| format!("× {}", factor(ahead)));
                    write!(out, " {ahead} |")?;
                }
            }
        }
        writeln!(out)
    }
}

impl Report {
    /// Tables in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let [before, after] = &self.load;
        writeln!(out, "{}", self.versions.machine).ok();
        writeln!(out, "Medians of {} rounds. Load of the machine before and after: {before}, {after}.", self.rounds)
            .ok();
        for table in &self.groups {
            // Writing to a string does not fail.
            table.markdown(&self.versions, &mut out).ok();
        }
        out
    }
}

impl Cell {
    fn show(&self, unit: Unit) -> String {
        match (self.median, &self.failure) {
            (Some(median), None) => unit.show(median),
            (Some(median), Some(failure)) => format!("{} (a round: {failure})", unit.show(median)),
            (None, Some(failure)) => failure.clone(),
            (None, None) => "–".to_owned(),
        }
    }
}

fn line(metric: Metric, group: &Group, outcomes: &Outcomes) -> Line {
    let none = Outcome::default();
    let of = |name: &Name| outcomes.get(name).unwrap_or(&none);
    let ours = median(of(&Name::Tombolo).values.get(&metric));
    let cells = group.systems.iter().map(|name| {
        let values = of(name).values.get(&metric).cloned().unwrap_or_default();
        let median = median(Some(&values));
        let tombolo_ahead = match (ours, median) {
            (Some(ours), Some(theirs)) if *name != Name::Tombolo => Some(metric.ahead(ours, theirs)),
            _ => None,
        };
        (*name, Cell { values, median, failure: of(name).failures.get(&metric).cloned(), tombolo_ahead })
    });
    Line { metric, unit: metric.unit(), cells: cells.collect() }
}

fn median(values: Option<&Vec<f64>>) -> Option<f64> {
    let mut sorted = values?.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let (half, even) = (sorted.len() / 2, sorted.len().is_multiple_of(2));
    let upper = *sorted.get(half)?;
    Some(if even { f64::midpoint(sorted[half - 1], upper) } else { upper })
}

fn factor(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { thousands(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_ratios_and_reasons() {
        let outcome = |value: f64| Outcome {
            values: [(Metric::FirstRate, vec![value, value * 3.0, value * 2.0])].into(),
            failures: BTreeMap::new(),
        };
        let mut outcomes: Outcomes = [(Name::Tombolo, outcome(100.0)), (Name::Samod, outcome(10.0))].into();
        let failures = &mut outcomes.get_mut(&Name::Samod).expect("there").failures;
        failures.insert(Metric::TenTime, "> 120 s".to_owned());
        let group = Group { entities: 1_000, systems: vec![Name::Tombolo, Name::Samod] };
        let table = Table::new(&group, 10_000, &outcomes);
        let mut text = String::new();
        table.markdown(&Versions::default(), &mut text).expect("writes");
        assert!(text.contains("1,000 entities of 8 fields; 1,000 changes"), "{text}");
        assert!(text.contains("| first full sync, entities | 200/s | 20/s | × 10 |"), "{text}");
        assert!(text.contains("| reconnect, 10 changed | – | > 120 s | – |"), "{text}");
        assert_eq!(median(Some(&vec![4.0, 1.0])), Some(2.5));
        assert_eq!(median(Some(&Vec::new())), None);
    }
}
