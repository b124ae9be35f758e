//! Hybrid logical clock: 48 bits of milliseconds since 1970, 16 bits of counter.
//!
//! It orders what people look at (`--at`, `latest`); it never decides whether an entry is applied.

use serde::{Deserialize, Serialize};

/// A reading of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hlc(u64);

impl Hlc {
    /// First millisecond of the year 10,000: readings at or beyond it are refused(structure).
    pub const END_MILLIS: u64 = 253_402_300_800_000;
    /// A reading further ahead of the wall clock than this (24 h, in ms) is shown and not followed.
    pub const AHEAD_MILLIS_MAX: u64 = 24 * 60 * 60 * 1000;

    /// Wraps a raw reading.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The first reading of a millisecond since 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis << 16)
    }

    /// The raw reading.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// Whether the reading lies before the year 10,000.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.millis() < Self::END_MILLIS
    }

    /// The reading an author takes: max(wall, its last, the greatest seen that is at most 24 h ahead) + 1.
    ///
    /// `seen` must already leave out readings that are too far ahead (see [`Hlc::may_follow`]).
    #[must_use]
    pub fn next(wall_millis: u64, last: Self, seen: Self) -> Self {
        let wall = Self::from_millis(wall_millis.min(Self::END_MILLIS - 1));
        let highest = Self::from_millis(Self::END_MILLIS).0 - 2;
        let next = Self(wall.max(last).max(seen).0.min(highest) + 1);
        debug_assert!(next.is_valid() && next > wall.min(Self(highest)), "a reading is above the wall clock's");
        next
    }

    /// Whether a received reading is near enough to the wall clock to be followed.
    #[must_use]
    pub const fn may_follow(self, wall_millis: u64) -> bool {
        self.millis() <= wall_millis.saturating_add(Self::AHEAD_MILLIS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_is_above_all_it_knows_and_stays_valid() {
        let wall = 1_800_000_000_000;
        let last = Hlc::from_millis(wall + 5);
        let seen = Hlc::from_millis(wall + 9);
        assert!(Hlc::next(wall, last, seen) > seen);
        assert!(Hlc::next(wall, Hlc::default(), Hlc::default()) > Hlc::from_millis(wall));
        let end = Hlc::next(u64::MAX >> 16, Hlc::from_raw(u64::MAX), Hlc::default());
        assert!(end.is_valid());
    }

    #[test]
    fn a_reading_a_year_ahead_is_not_followed() {
        let wall = 1_800_000_000_000;
        assert!(Hlc::from_millis(wall + Hlc::AHEAD_MILLIS_MAX).may_follow(wall));
        assert!(!Hlc::from_millis(wall + Hlc::AHEAD_MILLIS_MAX + 1).may_follow(wall));
    }
}
