//! Two nodes dialled each other at once: which connection stays.
//!
//! Both ends judge by the same facts and keep the same one. The facts come with each side's first frame, so the rule is
//! applied when those of both connections have been exchanged.

use std::cmp::Ordering;

use tombolo_crdt::NodeId;

/// What decides about one connection. Process and counter are the *dialler's*: a process id drawn at its start, and the
/// number of the dial within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether this node dialled it.
    pub dialled_by_us: bool,
    /// The dialling process.
    pub process: [u8; 16],
    /// The dial's number in that process.
    pub counter: u64,
}

/// Which of two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that was there.
    First,
    /// The one that came later.
    Second,
}

/// Which of two connections between the same two nodes is kept. `first` was there when `second` arrived.
///
/// Dialled by the same node: the newer one, since a node that dials again has given up the older. Another process id
/// means the dialler has restarted, and the arrival is newer. Dialled by different nodes: the smaller id's.
#[must_use]
pub fn keep(ours: NodeId, theirs: NodeId, first: &Link, second: &Link) -> Which {
    if first.dialled_by_us != second.dialled_by_us {
        let ours_stays = ours < theirs;
        return if first.dialled_by_us == ours_stays { Which::First } else { Which::Second };
    }
    if first.process != second.process {
        return Which::Second;
    }
    match first.counter.cmp(&second.counter) {
        Ordering::Greater => Which::First,
        Ordering::Less | Ordering::Equal => Which::Second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: NodeId = NodeId::from_bytes([1; 32]);
    const GREAT: NodeId = NodeId::from_bytes([2; 32]);

    fn link(dialled_by_us: bool, process: u8, counter: u64) -> Link {
        Link { dialled_by_us, process: [process; 16], counter }
    }

    #[test]
    fn both_ends_keep_the_same_connection() {
        // (dialled by the small node, process, counter) twice, and which stays.
        let table = [
            ((true, 1, 1), (true, 1, 2), Which::Second),
            ((true, 1, 2), (true, 1, 1), Which::First),
            ((true, 1, 2), (true, 1, 2), Which::Second),
            ((true, 1, 9), (true, 7, 1), Which::Second),
            ((false, 1, 1), (false, 1, 2), Which::Second),
            ((false, 1, 2), (false, 1, 1), Which::First),
            ((false, 9, 2), (false, 1, 1), Which::Second),
            ((true, 1, 1), (false, 2, 9), Which::First),
            ((false, 2, 9), (true, 1, 1), Which::Second),
        ];
        for (a, b, expected) in table {
            let as_small = |(by_small, process, counter)| link(by_small, process, counter);
            let as_great = |(by_small, process, counter): (bool, u8, u64)| link(!by_small, process, counter);
            assert_eq!(keep(SMALL, GREAT, &as_small(a), &as_small(b)), expected, "{a:?} {b:?} at the small node");
            assert_eq!(keep(GREAT, SMALL, &as_great(a), &as_great(b)), expected, "{a:?} {b:?} at the great node");
        }
    }

    #[test]
    fn with_different_diallers_the_order_of_arrival_does_not_matter() {
        let (small, great) = (link(true, 1, 5), link(false, 2, 6));
        assert_eq!(keep(SMALL, GREAT, &small, &great), Which::First);
        assert_eq!(keep(SMALL, GREAT, &great, &small), Which::Second);
    }
}
