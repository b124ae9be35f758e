//! A distribution in bounded memory: buckets that grow with the value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets in each doubling: a value is known to one part in 16.
const PER_DOUBLING: u64 = 16;

/// Buckets at most: 16 values of their own, and 16 in each further doubling.
const BUCKETS_MAX: usize = 16 + 60 * 16;

/// How often which values came. Exact below 16 and at both ends; otherwise to one part in 16. At most 976 buckets,
/// whatever comes. Two of them add up to what one of all would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Number of values.
    pub count: u64,
    /// Their sum; at most what fits.
    pub sum: u64,
    /// The least, if there is one.
    pub min: u64,
    /// The greatest, if there is one.
    pub max: u64,
    /// Least value of a bucket, and how many fell into it.
    pub buckets: BTreeMap<u64, u64>,
}

/// Least value of the bucket of a value.
const fn floor(value: u64) -> u64 {
    if value < PER_DOUBLING {
        return value;
    }
    let unit = 1 << (value.ilog2() - PER_DOUBLING.ilog2());
    let floor = value / unit * unit;
    assert!(floor <= value && value - floor < unit, "a value lies in its bucket");
    floor
}

impl Histogram {
    /// Takes a value in. O(log buckets).
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        *self.buckets.entry(floor(value)).or_default() += 1;
        assert!(self.buckets.len() <= BUCKETS_MAX, "a distribution takes bounded memory");
        assert!(self.min <= self.max, "the least is not above the greatest");
    }

    /// Takes another one in.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        debug_assert_eq!(self.buckets.values().sum::<u64>(), self.count, "every value is in a bucket");
    }

    /// The value that so many of a hundred do not exceed, low by one part in 16 at most; 0 if there is none.
    #[must_use]
    pub fn quantile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return if percent >= 100 { self.max } else { (*bucket).clamp(self.min, self.max) };
            }
        }
        self.max
    }

    /// The mean; 0 if there is none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}
