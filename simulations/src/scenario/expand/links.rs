//! Who is linked with whom, and how.

use std::collections::{BTreeMap, BTreeSet};

use crate::Dice;
use crate::plan::{LinkPlan, NodeNo};
use crate::scenario::model::{Draft, LinkClass, Shape};
use crate::scenario::names::Names;

type Pair = (NodeNo, NodeNo);

const fn sorted(a: NodeNo, b: NodeNo) -> Pair {
    if a < b { (a, b) } else { (b, a) }
}

/// Pairs of linked nodes, smaller number first. Only a random shape draws.
pub(in crate::scenario) fn pairs(draft: &Draft, names: &Names, dice: &Dice) -> BTreeSet<Pair> {
    let count = names.count();
    let mut pairs: BTreeSet<Pair> = match &draft.topology.shape {
        Shape::Mesh => (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect(),
        Shape::Line => (1..count).map(|b| (b - 1, b)).collect(),
        Shape::Ring if count > 2 => (0..count).map(|a| sorted(a, (a + 1) % count)).collect(),
        Shape::Ring => (1..count).map(|b| (b - 1, b)).collect(),
        Shape::Star(hub) => {
            let hub = hub.as_ref().and_then(|name| names.node(name)).unwrap_or(0);
            (0..count).filter(|&no| no != hub).map(|no| sorted(no, hub)).collect()
        }
        Shape::Random(degree) => random(count, *degree, dice.fork("shape")),
        Shape::Links => BTreeSet::new(),
    };
    for link in &draft.topology.links {
        if let (Some(a), Some(b)) = (names.node(&link.a), names.node(&link.b)) {
            pairs.insert(sorted(a, b));
        }
    }
    pairs
}

/// A random tree, and random links until there are enough for the degree.
fn random(count: usize, degree: usize, mut dice: Dice) -> BTreeSet<Pair> {
    let mut order: Vec<NodeNo> = (0..count).collect();
    dice.shuffle(&mut order);
    let mut pairs = BTreeSet::new();
    for (index, &node) in order.iter().enumerate().skip(1) {
        let (before, _) = order.split_at(index);
        pairs.extend(dice.pick(before).map(|&other| sorted(node, other)));
    }
    let mut others: Vec<Pair> = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect();
    others.retain(|pair| !pairs.contains(pair));
    dice.shuffle(&mut others);
    assert_eq!(pairs.len(), count.saturating_sub(1), "a tree joins all nodes, and has no link too many");
    let wanted = (count * degree / 2).saturating_sub(pairs.len());
    pairs.extend(others.into_iter().take(wanted));
    pairs
}

/// The links of a plan. Who dials is drawn, except for links by name: `a` dials.
pub(super) fn links(draft: &Draft, names: &Names, dice: &Dice) -> Vec<LinkPlan> {
    let mut classes: BTreeMap<Pair, (bool, LinkClass)> = BTreeMap::new();
    for (a, b) in pairs(draft, names, dice) {
        assert!(a < b, "a link joins two nodes, and is there once");
        let mut coin = dice.fork(&format!("dials/{a}/{b}"));
        classes.insert((a, b), (coin.once_in(2), draft.topology.class.clone()));
    }
    for change in &draft.topology.between {
        let (side_a, side_b) = (names.some(&change.a).unwrap_or_default(), names.some(&change.b).unwrap_or_default());
        for (pair, (_, class)) in &mut classes {
            let (a, b) = pair;
            let hit = side_a.contains(a) && side_b.contains(b) || side_a.contains(b) && side_b.contains(a);
            if hit {
                change.apply(class);
            }
        }
    }
    for change in &draft.topology.links {
        if let (Some(a), Some(b)) = (names.node(&change.a), names.node(&change.b))
            && let Some((turned, class)) = classes.get_mut(&sorted(a, b))
        {
            *turned = a > b;
            change.apply(class);
        }
    }
    let link = |((a, b), (turned, class)): (Pair, (bool, LinkClass))| LinkPlan {
        from: if turned { b } else { a },
        to: if turned { a } else { b },
        latency: class.latency,
        bandwidth: class.bandwidth,
        loss_ppm: class.loss_ppm,
        duplicate_ppm: class.duplicate_ppm,
        corrupt_ppm: class.corrupt_ppm,
    };
    classes.into_iter().map(link).collect()
}
