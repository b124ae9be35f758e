//! How long the engine's steps take by the clock, for the metrics. The engine itself counts work and reads no clock.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Seconds of steps, with their commits, since the node started. Clones share them.
#[derive(Clone, Debug)]
pub struct StepTimes {
    all: Histogram,
    /// By what most of their work was.
    longest: Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>>,
}

impl Default for StepTimes {
    fn default() -> Self {
        // 0.1 ms to 1.6 s in steps of two.
        Self { all: Histogram::new(exponential_buckets(0.000_1, 2.0, 15)), longest: Family::default() }
    }
}

impl StepTimes {
    /// Takes note of a step, and of what most of it was. Only the engine's loop does.
    pub(super) fn note(&self, took: Duration, what: &'static str) {
        let seconds = took.as_secs_f64();
        self.all.observe(seconds);
        let kind = if what.is_empty() { "failed" } else { what };
        let longest = self.longest.get_or_create(&[("kind", kind)]);
        if seconds > longest.get() {
            longest.set(seconds);
        }
    }

    /// All steps.
    pub(crate) fn all(&self) -> Histogram {
        self.all.clone()
    }

    /// The longest of them, in seconds, by kind of work.
    pub(crate) fn longest(&self) -> Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>> {
        self.longest.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_step_is_kept() {
        let times = StepTimes::default();
        for (millis, what) in [(3, "rows"), (40, "rows"), (7, "rows"), (5, "care")] {
            times.note(Duration::from_millis(millis), what);
        }
        let longest = |what| times.longest().get_or_create(&[("kind", what)]).get();
        assert!((longest("rows") - 0.04).abs() < 1e-9 && (longest("care") - 0.005).abs() < 1e-9);
    }
}
