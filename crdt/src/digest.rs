//! The state digest: two sums that are kept incrementally and compare whole spaces with 32 bytes.
//!
//! Good against defects, not against chosen inputs; signatures are for those.

use serde::{Deserialize, Serialize};

use crate::hash::{Tagged, tag};
use crate::verdict::Verdict;
use crate::{Digest, FeedId};

/// A sum of hashes modulo 2²⁵⁶, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum([u8; 32]);

impl Sum {
    /// Adds a hash.
    pub fn add(&mut self, hash: &[u8; 32]) {
        let mut carry = 0u16;
        for (byte, other) in self.0.iter_mut().zip(hash) {
            let total = u16::from(*byte) + u16::from(*other) + carry;
            *byte = total.to_le_bytes()[0];
            carry = total >> 8;
        }
    }

    /// Takes a hash away again.
    pub fn remove(&mut self, hash: &[u8; 32]) {
        let mut borrow = 0i16;
        for (byte, other) in self.0.iter_mut().zip(hash) {
            let total = i16::from(*byte) - i16::from(*other) - borrow;
            *byte = total.to_le_bytes()[0];
            borrow = i16::from(total < 0);
        }
    }
}

/// Buckets in which the rows of two nodes are compared that differ: 64 KiB of sums, and some 250 rows each in a space
/// of a million.
pub const BUCKETS: usize = 4_096;

/// The bucket of an entity: the first 12 bits of a hash of its name.
#[must_use]
pub fn bucket(collection: &str, id: &str) -> u16 {
    let hash = Tagged::new(tag::BUCKET).sized(collection.as_bytes()).sized(id.as_bytes()).finish16();
    let [high, low, ..] = hash;
    let bucket = u16::from_be_bytes([high, low]) >> 4;
    debug_assert!(usize::from(bucket) < BUCKETS, "12 bits are a bucket");
    bucket
}

/// What a space's entities and refusals add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSums {
    /// Sum of the contributions of all rows.
    pub rows: Sum,
    /// Sum over everything not applied.
    pub refusals: Sum,
}

impl StateSums {
    /// Adds an entry that was not applied.
    pub fn refuse(&mut self, feed: FeedId, seq: u64, verdict: Verdict) {
        let hash = Tagged::new(tag::REFUSED).bytes(feed.as_bytes()).number(seq).bytes(&[verdict.code()]);
        self.refusals.add(&hash.finish());
    }

    /// blake3(sum 1 ‖ sum 2).
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(Tagged::new(tag::STATE).bytes(&self.rows.0).bytes(&self.refusals.0).finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_final_and_none_is_left_empty() {
        assert_eq!(
            [bucket("orders", "o-17"), bucket("", ""), bucket("a", "bc"), bucket("ab", "c")],
            [1682, 3261, 721, 3969]
        );
        let met: std::collections::BTreeSet<u16> = (0..100_000).map(|id| bucket("cities", &format!("c{id}"))).collect();
        assert_eq!((met.len(), met.last().copied().map(usize::from)), (BUCKETS, Some(BUCKETS - 1)));
    }

    #[test]
    fn sums_do_not_depend_on_order_and_removing_undoes_adding() {
        let hashes = [[0xff; 32], [0x01; 32], *blake3::hash(b"x").as_bytes()];
        let mut forward = Sum::default();
        hashes.iter().for_each(|hash| forward.add(hash));
        let mut backward = Sum::default();
        hashes.iter().rev().for_each(|hash| backward.add(hash));
        assert_eq!(forward, backward);
        assert_ne!(forward, Sum::default());
        hashes.iter().for_each(|hash| forward.remove(hash));
        assert_eq!(forward, Sum::default());
    }
}
