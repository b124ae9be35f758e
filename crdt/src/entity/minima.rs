//! The least of each of many, in a tree: where is the next one that is less? In logarithmic time.

use super::id::OpId;

/// Least ids by place.
#[derive(Debug, Clone)]
pub(super) struct Minima {
    /// Node 1 is the root, 2n and 2n + 1 are below node n, and hold the least of what is below them; the last `leaves`
    /// nodes are the places. `None`: nothing there.
    nodes: Vec<Option<OpId>>,
    leaves: usize,
}

impl Minima {
    /// In linear time.
    pub(super) fn new(ids: impl ExactSizeIterator<Item = OpId>) -> Self {
        let leaves = ids.len().next_power_of_two();
        let mut nodes = vec![None; leaves];
        nodes.extend(ids.map(Some));
        nodes.resize(2 * leaves, None);
        let mut tree = Self { nodes, leaves };
        for node in (1..leaves).rev() {
            let least = lesser(tree.node(2 * node), tree.node(2 * node + 1));
            tree.set(node, least);
        }
        tree
    }

    /// `id` is at `place` now, too.
    pub(super) fn add(&mut self, place: usize, id: OpId) {
        debug_assert!(place < self.leaves, "a place is one of those there were");
        let mut node = self.leaves + place;
        while node > 0 {
            self.set(node, lesser(self.node(node), Some(id)));
            node /= 2;
        }
    }

    /// The first place from `from` on that has something less than `id`.
    pub(super) fn first_below(&self, from: usize, id: OpId) -> Option<usize> {
        let below = |node: usize| self.node(node).is_some_and(|least| least < id);
        let mut node = self.leaves + from;
        if from >= self.leaves {
            return None;
        }
        while !below(node) {
            // Up from what ends here, and to what begins behind it.
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node = if below(2 * node) { 2 * node } else { 2 * node + 1 };
        }
        Some(node - self.leaves)
    }

    fn node(&self, node: usize) -> Option<OpId> {
        self.nodes.get(node).copied().flatten()
    }

    fn set(&mut self, node: usize, id: Option<OpId>) {
        if let Some(place) = self.nodes.get_mut(node) {
            *place = id;
        }
    }
}

/// The lesser of those that are there.
fn lesser(one: Option<OpId>, other: Option<OpId>) -> Option<OpId> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FeedId;

    fn id(counter: u64) -> OpId {
        OpId::new(counter, FeedId::from_bytes([1; 16])).unwrap()
    }

    proptest! {
        #[test]
        fn it_finds_what_looking_at_all_finds(
            ids in prop::collection::vec(1..500_u64, 0..40),
            added in prop::collection::vec((any::<prop::sample::Index>(), 1..500_u64), 0..10),
            asked in prop::collection::vec((0..50_usize, 1..500_u64), 1..20),
        ) {
            let mut plain: Vec<OpId> = ids.iter().map(|counter| id(*counter)).collect();
            let mut minima = Minima::new(plain.iter().copied());
            for (place, counter) in added.iter().filter(|_| !ids.is_empty()) {
                let place = place.index(plain.len());
                plain[place] = plain[place].min(id(*counter));
                minima.add(place, id(*counter));
            }
            for (from, counter) in asked {
                let expected = plain.iter().enumerate().skip(from).find(|(_, there)| **there < id(counter));
                prop_assert_eq!(minima.first_below(from, id(counter)), expected.map(|(place, _)| place));
            }
        }
    }
}
