//! Exponential backoff with full jitter.

use std::time::Duration;

/// The longest wait after the first failure.
pub const BACKOFF_BASE: Duration = Duration::from_millis(200);

/// The longest wait ever: how late a returned link may be noticed.
pub const BACKOFF_CAP: Duration = Duration::from_secs(60);

/// A connection that stood this long was a good one: the next failure counts as the first.
pub const LASTING: Duration = Duration::from_secs(10);

const _: () = assert!(BACKOFF_BASE.as_millis() < BACKOFF_CAP.as_millis(), "waits grow");

/// How long to wait before the next attempt: a random time below a ceiling that doubles with every failure. The full
/// jitter keeps a thousand nodes that lost the same peer from dialling it in step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A backoff without failures so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// An attempt failed: how long to wait. `random`: 64 fresh random bits.
    pub fn failed(&mut self, random: u64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        // (random / 2^64) × ceiling, in integers; the ceiling's nanoseconds fit u64 (60 s: 36 bits).
        let nanos = (u128::from(random) * ceiling.as_nanos()) >> u64::BITS;
        let wait = Duration::from_nanos(nanos as u64);
        assert!(wait < ceiling, "no wait reaches its ceiling");
        wait
    }

    /// A connection ended after this time: how long to wait.
    pub fn ended(&mut self, lasted: Duration, random: u64) -> Duration {
        if lasted >= LASTING {
            self.failures = 0;
        }
        self.failed(random)
    }

    /// No wait reaches this.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        BACKOFF_BASE.saturating_mul(factor).min(BACKOFF_CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new();
        for millis in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000] {
            assert_eq!(backoff.ceiling(), Duration::from_millis(millis));
            backoff.failed(0);
        }
        for _ in 0..100 {
            backoff.failed(0);
        }
        assert_eq!(backoff.ceiling(), BACKOFF_CAP);
    }

    #[test]
    fn the_jitter_is_full() {
        let table = [(0, 0), (u64::MAX / 4, 49), (u64::MAX / 2, 99), (u64::MAX, 199)];
        for (random, millis) in table {
            assert_eq!(Backoff::new().failed(random).as_millis(), millis, "{random}");
        }
        assert!(Backoff::new().failed(u64::MAX) < BACKOFF_BASE);
    }

    #[test]
    fn only_a_lasting_connection_resets() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.failed(0);
        }
        backoff.ended(LASTING - Duration::from_nanos(1), 0);
        assert_eq!(backoff.ceiling(), BACKOFF_BASE * 64);
        backoff.ended(LASTING, 0);
        assert_eq!(backoff.ceiling(), BACKOFF_BASE * 2);
    }
}
