//! The node's two clocks, read here and nowhere else.
//!
//! The monotonic one is tokio's, like all timers of the runtime: a simulation that stops tokio's clock has stopped it
//! all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::engine::Now;

/// Reads the monotonic clock since the start of the process, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that counts from now on.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The readings of both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall_millis: Self::wall_millis() }
    }

    /// Time since the start; never goes backwards.
    #[must_use]
    pub fn mono(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment at which [`Clock::mono`] shows `mono`.
    pub(super) fn instant(&self, mono: Duration) -> Instant {
        self.start + mono
    }

    /// Milliseconds since 1970; 0 on a clock set before that.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
    pub fn wall_millis() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
