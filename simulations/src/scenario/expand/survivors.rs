//! Who must converge in the end.

use std::collections::BTreeSet;

use crate::Dice;
use crate::plan::{Fault, NodeNo, PlannedFault, SpacePlan};
use crate::scenario::model::{Draft, Survivors};
use crate::scenario::names::Names;

/// Draws before a single node is taken.
const TRIES: usize = 32;

type Pairs<'p> = &'p [(NodeNo, NodeNo)];

/// Nodes of a set that links among the set join with one of them.
fn part(of: NodeNo, set: &BTreeSet<NodeNo>, pairs: Pairs<'_>) -> BTreeSet<NodeNo> {
    let (mut found, mut todo) = (BTreeSet::from([of]), vec![of]);
    while let Some(node) = todo.pop() {
        for &(a, b) in pairs {
            let other = if a == node { b } else { a };
            if (a == node || b == node) && set.contains(&other) && found.insert(other) {
                todo.push(other);
            }
        }
    }
    found
}

/// Whether links among the set join all of it. An empty set is connected.
pub(in crate::scenario) fn connected(set: &BTreeSet<NodeNo>, pairs: Pairs<'_>) -> bool {
    set.first().is_none_or(|&first| part(first, set, pairs).len() == set.len())
}

/// Whether they can converge: joined among themselves, and the members of each space among themselves.
fn fit(set: &BTreeSet<NodeNo>, pairs: Pairs<'_>, spaces: &[SpacePlan]) -> bool {
    let members = |space: &SpacePlan| space.members.iter().map(|(no, _)| *no).filter(|no| set.contains(no)).collect();
    connected(set, pairs) && spaces.iter().all(|space| connected(&members(space), pairs))
}

/// The survivors of a plan: connected, never a node whose file was damaged.
pub(super) fn survivors(
    draft: &Draft,
    names: &Names,
    pairs: Pairs<'_>,
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
            drawn(&sound, pairs, spaces, dice.fork("survivors"))
        }
    }
}

/// A random connected part: half the time all that are connected, else at least two of them.
fn drawn(sound: &BTreeSet<NodeNo>, pairs: Pairs<'_>, spaces: &[SpacePlan], mut dice: Dice) -> Vec<NodeNo> {
    let all: Vec<NodeNo> = sound.iter().copied().collect();
    let parts = all.iter().map(|&no| part(no, sound, pairs));
    let largest = parts.max_by_key(BTreeSet::len).unwrap_or_default();
    let largest_list: Vec<NodeNo> = largest.iter().copied().collect();
    let everybody = dice.once_in(2);
    for attempt in 0..TRIES {
        let Some(&start) = dice.pick(&largest_list) else { break };
        let least = 2.min(largest.len()) as u64;
        let size = dice.range(least, largest.len() as u64);
        let mut set = BTreeSet::from([start]);
        while set.len() as u64 <= size - 1 {
            let near: Vec<NodeNo> = neighbours(&set, &largest, pairs);
            let Some(&next) = dice.pick(&near) else { break };
            set.insert(next);
        }
        let set = if everybody && attempt == 0 { largest.clone() } else { set };
        if fit(&set, pairs, spaces) {
            return set.into_iter().collect();
        }
    }
    all.first().copied().into_iter().collect()
}

fn neighbours(set: &BTreeSet<NodeNo>, within: &BTreeSet<NodeNo>, pairs: Pairs<'_>) -> Vec<NodeNo> {
    let outside = |from: &NodeNo, to: NodeNo| (set.contains(from) && !set.contains(&to)).then_some(to);
    let near = pairs.iter().filter_map(|(a, b)| outside(a, *b).or_else(|| outside(b, *a)));
    near.filter(|no| within.contains(no)).collect::<BTreeSet<_>>().into_iter().collect()
}
