//! The clock of the machine.

use std::time::{Duration, Instant};

/// Time of the machine since a moment.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "time budgets and figures are about the machine; no run sees it")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the clock was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
