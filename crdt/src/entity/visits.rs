//! How much of an entity was looked at: what planning is bounded by, and what tests count.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count of the operations, keys and pieces of text that were looked at, each some tens of nanoseconds.
///
/// Atomic only because an entity may be read by several threads: whoever takes a bound from the count owns the entity.
#[derive(Debug, Default)]
pub(super) struct Visits(AtomicU64);

/// Bytes of text that count as one visit.
pub(super) const BYTES_PER_VISIT: usize = 64;
/// Elements, or blocks of them, that are passed over in the time of one visit.
pub(super) const ELEMS_PER_VISIT: usize = 16;

impl Visits {
    /// So many more. A load and a store: no other thread counts here while it matters.
    pub(super) fn add(&self, visits: usize) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(visits as u64), Ordering::Relaxed);
    }

    /// How many there were since the entity was made, read or copied.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A copy has been looked at by nobody.
impl Clone for Visits {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Looking changes nothing.
impl PartialEq for Visits {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
