//! Whose clock is off, as far as the clocks of peers tell: each says in its Hello what time it thinks it is.

use std::collections::BTreeMap;

use crate::engine::peers::conn::Conns;

/// Clocks that differ by less are not spoken of (one minute, in ms): what people set by hand, and a Hello's way.
pub const CLOCK_OFF_MILLIS: u64 = 60_000;

/// By how many milliseconds this node's clock is ahead (behind: negative), if most of at least two peers agree that it
/// is off. One peer alone may be off itself. O(connections).
pub(in crate::engine) fn own_clock_off(conns: &Conns) -> Option<i64> {
    let told = conns.values().filter(|conn| conn.hello.is_some());
    let by_peer: BTreeMap<_, i64> = told.map(|conn| (conn.peer, conn.clock_skew)).collect();
    agreed(by_peer.into_values().collect()).map(i64::wrapping_neg)
}

/// What most of at least two clocks say beside this one's, if that is off.
fn agreed(mut skews: Vec<i64>) -> Option<i64> {
    skews.sort_unstable();
    let median = *skews.get(skews.len().checked_sub(1)? / 2)?;
    let near = skews.iter().filter(|skew| skew.abs_diff(median) <= CLOCK_OFF_MILLIS).count();
    let off = median.unsigned_abs() > CLOCK_OFF_MILLIS;
    (off && near >= 2 && 2 * near > skews.len()).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_two_or_more_peers_tell_that_this_clock_is_off() {
        let day = 86_400_000;
        assert_eq!(agreed(vec![]), None);
        assert_eq!(agreed(vec![day]), None, "one may be off itself");
        assert_eq!(agreed(vec![day, day + 5]), Some(day));
        assert_eq!(agreed(vec![day, 0]), None);
        assert_eq!(agreed(vec![0, day, 3]), None, "that one is off, not this");
        assert_eq!(agreed(vec![-day, 0, -day - 100]), Some(-day));
        assert_eq!(agreed(vec![1_000, 2_000, 59_000]), None);
        assert_eq!(agreed(vec![i64::MIN, i64::MAX]), None);
    }
}
