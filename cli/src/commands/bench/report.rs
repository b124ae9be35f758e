//! Figures, beside what they are measured against.

use std::time::Duration;

use serde::Serialize;

use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Something per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Something per minute.
    #[serde(rename = "1/min")]
    PerMinute,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Entries in one commit.
    #[serde(rename = "entries/commit")]
    Batch,
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Raw>,
    /// What is to be reached, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<&'static str>,
}

/// The limit a figure stands beside.
#[derive(Clone, Debug, Serialize)]
struct Raw {
    what: String,
    value: f64,
    ratio: f64,
}

/// All figures of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entities: Option<u64>,
    figures: Vec<Figure>,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { name: name.into(), value, unit, raw: None, reach: None }
    }

    pub(super) fn time(name: impl Into<String>, time: Duration) -> Self {
        Self::new(name, time.as_secs_f64() * 1e3, Unit::Millis)
    }

    pub(super) fn micros(name: impl Into<String>, time: Duration) -> Self {
        Self::new(name, time.as_secs_f64() * 1e6, Unit::Micros)
    }

    pub(super) fn bytes(name: impl Into<String>, bytes: u64) -> Self {
        Self::new(name, bytes as f64, Unit::Bytes)
    }

    pub(super) fn rate(name: impl Into<String>, count: u64, time: Duration) -> Self {
        Self::new(name, count as f64 / time.as_secs_f64().max(1e-9), Unit::PerSecond)
    }

    /// Puts the limit beside it, in the same unit.
    pub(super) fn beside(mut self, what: impl Into<String>, value: f64) -> Self {
        self.raw = Some(Raw { what: what.into(), value, ratio: self.value / value });
        self
    }

    pub(super) fn beside_time(self, what: impl Into<String>, time: Duration) -> Self {
        self.beside(what, time.as_secs_f64() * 1e3)
    }

    pub(super) fn beside_micros(self, what: impl Into<String>, time: Duration) -> Self {
        self.beside(what, time.as_secs_f64() * 1e6)
    }

    pub(super) fn reach(mut self, reach: &'static str) -> Self {
        self.reach = Some(reach);
        self
    }

    fn row(&self) -> Vec<String> {
        let raw = self.raw.as_ref();
        vec![
            self.name.clone(),
            show(self.value, self.unit),
            raw.map(|raw| format!("{} {}", raw.what, show(raw.value, self.unit))).unwrap_or_default(),
            raw.map(|raw| ratio(raw.ratio)).unwrap_or_default(),
            self.reach.map(|reach| format!("to reach: {reach}")).unwrap_or_default(),
        ]
    }
}

impl Report {
    pub(super) fn new(bench: &'static str, entities: u64, figures: Vec<Figure>) -> Self {
        Self { bench, entities: Some(entities), figures }
    }

    /// Of something that has no entities to be counted.
    pub(super) fn of(bench: &'static str, figures: Vec<Figure>) -> Self {
        Self { bench, entities: None, figures }
    }

    pub(super) fn show(&self, ui: &mut Ui) -> Result<(), CliError> {
        if ui.is_json() {
            return ui.json(self);
        }
        let entities = self.entities.map(|entities| format!(", {} entities", human::count(entities)));
        ui.line(format!("bench {}{}", self.bench, entities.unwrap_or_default()))?;
        ui.line(human::table("  ", &self.figures.iter().map(Figure::row).collect::<Vec<_>>()))
    }
}

fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Millis => human::duration(Duration::from_secs_f64(value / 1e3)),
        Unit::Micros if value >= 1e3 => human::duration(Duration::from_secs_f64(value / 1e6)),
        Unit::Micros => format!("{value:.2} µs"),
        Unit::PerSecond => format!("{}/s", human::count(value as u64)),
        Unit::PerMinute => format!("{value:.1}/min"),
        Unit::Bytes => human::bytes(value as u64),
        Unit::Batch => format!("{value:.2}"),
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 1_000.0 { format!("× {ratio:.2}") } else { format!("× {}", human::count(ratio as u64)) }
}

/// Many measured times.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that so many of a hundred do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    /// Half of the samples took at most so long.
    pub(super) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    pub(super) fn p99(&self) -> Duration {
        self.percentile(99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let mut times = Times::default();
        assert_eq!(times.p50(), Duration::ZERO);
        (1..=100).rev().for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!(times.p50(), Duration::from_millis(51));
        assert_eq!(times.p99(), Duration::from_millis(100));
    }

    #[test]
    fn a_figure_has_its_ratio() {
        let figure = Figure::time("write", Duration::from_millis(3)).beside_time("redb", Duration::from_millis(2));
        assert_eq!(figure.row()[1..4], ["3.00 ms", "redb 2.00 ms", "× 1.50"]);
    }
}
