//! Who must converge in the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::Dice;
use crate::plan::{Fault, NodeNo, PlannedFault, SpacePlan};
use crate::scenario::model::{Draft, Survivors};
use crate::scenario::names::Names;

/// Draws before a single node is taken.
const TRIES: usize = 32;

/// Who is linked with whom.
pub(in crate::scenario) struct Graph(BTreeMap<NodeNo, Vec<NodeNo>>);

impl Graph {
    /// Of pairs of nodes. O(pairs).
    pub(in crate::scenario) fn of(pairs: impl IntoIterator<Item = (NodeNo, NodeNo)>) -> Self {
        let mut near: BTreeMap<NodeNo, Vec<NodeNo>> = BTreeMap::new();
        for (a, b) in pairs {
            near.entry(a).or_default().push(b);
            near.entry(b).or_default().push(a);
        }
        Self(near)
    }

    fn near(&self, node: NodeNo) -> impl Iterator<Item = NodeNo> {
        self.0.get(&node).into_iter().flatten().copied()
    }

    /// Nodes of a set that links among the set join with one of them. O(links of the part).
    fn part(&self, of: NodeNo, set: &BTreeSet<NodeNo>) -> BTreeSet<NodeNo> {
        let (mut found, mut todo) = (BTreeSet::from([of]), vec![of]);
        while let Some(node) = todo.pop() {
            for other in self.near(node) {
                if set.contains(&other) && found.insert(other) {
                    todo.push(other);
                }
            }
        }
        debug_assert!(found.iter().all(|node| *node == of || set.contains(node)), "a part lies in its set");
        found
    }

    /// The largest part of a set.
    fn largest(&self, set: &BTreeSet<NodeNo>) -> BTreeSet<NodeNo> {
        let (mut left, mut largest) = (set.clone(), BTreeSet::new());
        while let Some(&first) = left.first() {
            let part = self.part(first, set);
            left.retain(|no| !part.contains(no));
            if part.len() > largest.len() {
                largest = part;
            }
        }
        largest
    }

    /// Whether links among the set join all of it. An empty set is connected.
    pub(in crate::scenario) fn joins(&self, set: &BTreeSet<NodeNo>) -> bool {
        set.first().is_none_or(|&first| self.part(first, set).len() == set.len())
    }

    /// Whether they can converge: joined among themselves, and the members of each space among themselves.
    fn fits(&self, set: &BTreeSet<NodeNo>, spaces: &[SpacePlan]) -> bool {
        let members =
            |space: &SpacePlan| space.members.iter().map(|(no, _)| *no).filter(|no| set.contains(no)).collect();
        self.joins(set) && spaces.iter().all(|space| self.joins(&members(space)))
    }
}

/// The survivors of a plan: connected, never a node whose file was damaged.
pub(super) fn survivors(
    draft: &Draft,
    names: &Names,
    graph: &Graph,
    spaces: &[SpacePlan],
    faults: &[PlannedFault],
    dice: &Dice,
) -> Vec<NodeNo> {
    let damaged = |no: &NodeNo| faults.iter().any(|f| matches!(f.fault, Fault::BitFlips { node, .. } if node == *no));
    match &draft.survivors {
        Survivors::All => (0..names.count()).collect(),
        Survivors::Named(these) => names.these(these),
        Survivors::Random => {
            let sound: BTreeSet<NodeNo> = (0..names.count()).filter(|no| !damaged(no)).collect();
            drawn(&sound, graph, spaces, dice.fork("survivors"))
        }
    }
}

/// A random connected part: half the time all that are connected, else at least two of them.
fn drawn(sound: &BTreeSet<NodeNo>, graph: &Graph, spaces: &[SpacePlan], mut dice: Dice) -> Vec<NodeNo> {
    let largest = graph.largest(sound);
    let candidates: Vec<NodeNo> = largest.iter().copied().collect();
    let everybody = dice.once_in(2);
    for attempt in 0..TRIES {
        let Some(&start) = dice.pick(&candidates) else { break };
        let size = 2 + dice.below(largest.len().saturating_sub(1));
        let set = match everybody && attempt == 0 {
            true => largest.clone(),
            false => grown(start, size, &largest, graph, &mut dice),
        };
        assert!(set.is_subset(sound), "who survives is sound");
        if graph.fits(&set, spaces) {
            return set.into_iter().collect();
        }
    }
    sound.first().copied().into_iter().collect()
}

/// A node, and neighbours of what there is, one by one. O(size · log nodes · links per node).
fn grown(start: NodeNo, size: usize, within: &BTreeSet<NodeNo>, graph: &Graph, dice: &mut Dice) -> BTreeSet<NodeNo> {
    let (mut set, mut near) = (BTreeSet::from([start]), Vec::new());
    let mut last = start;
    while set.len() < size {
        near.extend(graph.near(last).filter(|no| within.contains(no)));
        near.retain(|no| !set.contains(no));
        near.sort_unstable();
        near.dedup();
        let Some(&next) = dice.pick(&near) else { break };
        set.insert(next);
        last = next;
    }
    assert!(set.len() <= size.max(1), "no more nodes are taken than were asked for");
    set
}
