//! What is measured, in the order of the table.

use serde::Serialize;

/// One figure of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    FirstRate,
    FirstWire,
    FirstBare,
    NothingTime,
    NothingWire,
    NothingBare,
    TenTime,
    TenWire,
    TenBare,
    BulkRate,
    BulkWire,
    BulkBare,
    LiveP50,
    LiveP99,
    PeakA,
    PeakB,
    Disk,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "bytes")]
    Bytes,
}

/// A piece of work; its figures come together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    First,
    Nothing,
    Ten,
    Bulk,
    Live,
    Memory,
}

impl Row {
    pub(crate) const ALL: [Self; 6] = [Self::First, Self::Nothing, Self::Ten, Self::Bulk, Self::Live, Self::Memory];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::First => "first full sync",
            Self::Nothing => "reconnect, nothing new",
            Self::Ten => "reconnect, 10 changed",
            Self::Bulk => "catch-up after a partition",
            Self::Live => "live propagation",
            Self::Memory => "memory",
        }
    }

    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::First => &[Metric::FirstRate, Metric::FirstWire, Metric::FirstBare, Metric::Disk],
            Self::Nothing => &[Metric::NothingTime, Metric::NothingWire, Metric::NothingBare],
            Self::Ten => &[Metric::TenTime, Metric::TenWire, Metric::TenBare],
            Self::Bulk => &[Metric::BulkRate, Metric::BulkWire, Metric::BulkBare],
            Self::Live => &[Metric::LiveP50, Metric::LiveP99],
            Self::Memory => &[Metric::PeakA, Metric::PeakB],
        }
    }
}

impl Metric {
    pub(crate) const ALL: [Self; 17] = [
        Self::FirstRate,
        Self::FirstWire,
        Self::FirstBare,
        Self::NothingTime,
        Self::NothingWire,
        Self::NothingBare,
        Self::TenTime,
        Self::TenWire,
        Self::TenBare,
        Self::BulkRate,
        Self::BulkWire,
        Self::BulkBare,
        Self::LiveP50,
        Self::LiveP99,
        Self::PeakA,
        Self::PeakB,
        Self::Disk,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FirstRate => "first full sync, entities",
            Self::FirstWire => "… wire per entity",
            Self::FirstBare => "… without QUIC and TLS",
            Self::NothingTime => "reconnect, nothing new",
            Self::TenTime => "reconnect, 10 changed",
            Self::NothingWire | Self::TenWire => "… wire",
            Self::NothingBare | Self::TenBare | Self::BulkBare => "… without QUIC and TLS",
            Self::BulkRate => "catch-up after a partition, changes",
            Self::BulkWire => "… wire per change",
            Self::LiveP50 => "live propagation, p50",
            Self::LiveP99 => "live propagation, p99",
            Self::PeakA => "peak memory, a (sends)",
            Self::PeakB => "peak memory, b (receives)",
            Self::Disk => "disk per entity, b",
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::FirstRate | Self::BulkRate => Unit::PerSecond,
            Self::NothingTime | Self::TenTime | Self::LiveP50 | Self::LiveP99 => Unit::Millis,
            _ => Unit::Bytes,
        }
    }

    /// How many times better the first is. More than 1: it is ahead.
    pub(crate) fn ahead(self, ours: f64, theirs: f64) -> f64 {
        match self.unit() {
            Unit::PerSecond => ours / theirs,
            Unit::Millis | Unit::Bytes => theirs / ours,
        }
    }
}

impl Unit {
    /// A figure for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", thousands(value)),
            Self::Millis if value < 10.0 => format!("{value:.2} ms"),
            Self::Millis if value < 1_000.0 => format!("{value:.0} ms"),
            Self::Millis => format!("{:.1} s", value / 1e3),
            Self::Bytes if value < 10_000.0 => format!("{} B", thousands(value)),
            Self::Bytes if value < 1e6 => format!("{:.1} kB", value / 1e3),
            Self::Bytes => format!("{:.1} MB", value / 1e6),
        }
    }
}

/// With commas.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable_and_ahead_means_better() {
        assert_eq!(Unit::PerSecond.show(1_234_567.0), "1,234,567/s");
        assert_eq!((Unit::Millis.show(1.234), Unit::Millis.show(12_345.0)), ("1.23 ms".into(), "12.3 s".into()));
        assert_eq!((Unit::Bytes.show(9_999.0), Unit::Bytes.show(12_345.0)), ("9,999 B".into(), "12.3 kB".into()));
        assert!((Metric::FirstRate.ahead(100.0, 50.0) - 2.0).abs() < 1e-9);
        assert!((Metric::TenTime.ahead(100.0, 50.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn every_figure_belongs_to_one_row() {
        let mut of_rows: Vec<Metric> = Row::ALL.iter().flat_map(|row| row.metrics()).copied().collect();
        of_rows.sort_unstable();
        assert_eq!(of_rows, Metric::ALL);
    }
}
