//! How long the engine's steps take by the clock, for the metrics. The engine itself counts work and reads no clock.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Seconds of steps, with their commits, since the node started. Clones share them.
#[derive(Clone, Debug)]
pub struct StepTimes {
    all: Histogram,
    longest: Gauge<f64, AtomicU64>,
}

impl Default for StepTimes {
    fn default() -> Self {
        // 0.1 ms to 1.6 s in steps of two.
        Self { all: Histogram::new(exponential_buckets(0.000_1, 2.0, 15)), longest: Gauge::default() }
    }
}

impl StepTimes {
    /// Takes note of a step. Only the engine's loop does.
    pub(super) fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.all.observe(seconds);
        if seconds > self.longest.get() {
            self.longest.set(seconds);
        }
    }

    /// All steps.
    pub(crate) fn all(&self) -> Histogram {
        self.all.clone()
    }

    /// The longest of them, in seconds.
    pub(crate) fn longest(&self) -> Gauge<f64, AtomicU64> {
        self.longest.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_step_is_kept() {
        let times = StepTimes::default();
        for millis in [3, 40, 7] {
            times.note(Duration::from_millis(millis));
        }
        assert!((times.longest().get() - 0.04).abs() < 1e-9);
    }
}
