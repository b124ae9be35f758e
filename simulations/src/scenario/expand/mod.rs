//! From a scenario and a seed to a plan. Each part is drawn from choices of its own: another workload does not change
//! the faults, another fault does not change the writes.

mod faults;
mod links;
mod survivors;
mod values;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::model::Draft;
use super::names::{MAIN_SPACE, Names};
use crate::Dice;
use crate::plan::{Assertion, InitialEntity, NodeNo, NodePlan, Over, Plan, SpacePlan};
use faults::Stage;

pub(super) use faults::{DRAWN_MAX, FAULTS_MAX};
pub(super) use links::pairs;
pub(super) use survivors::Graph;
pub(super) use writes::amount;

/// Makes a plan of a draft that was checked. O(nodes² + writes + faults).
pub(super) fn plan(draft: &Draft, seed: u64) -> Plan {
    let dice = Dice::new(seed);
    let names = Names::of(draft);
    let links = links::links(draft, &names, &dice);
    let spaces = spaces(draft, &names, &dice);
    let initial = initial(draft);
    let (faults, left_out) = Stage::of(draft, &names, &dice).faults(&dice);
    let graph = Graph::of(links.iter().map(|link| (link.from, link.to)));
    let survivors = survivors::survivors(draft, &names, &graph, &spaces, &faults, &dice);
    let plan = Plan {
        scenario: draft.name.clone(),
        seed,
        noise: dice.fork("noise").number(),
        nodes: nodes(draft, &dice),
        links,
        writes: writes::writes(draft, &names, &spaces, &initial, &dice),
        initial,
        spaces,
        faults,
        duration: draft.duration,
        patience: draft.patience,
        survivors,
        assertions: assertions(draft),
        left_out,
    };
    debug_assert_eq!(plan.check(), Ok(()), "a scenario that was checked has a plan for every seed");
    plan
}

/// The writes that the scenario spells out, by index, with their numbers in the plan of a seed. O(writes).
pub(super) fn numbers(draft: &Draft, seed: u64) -> BTreeMap<usize, BTreeSet<u32>> {
    let (dice, names) = (Dice::new(seed), Names::of(draft));
    writes::numbers(draft, &names, &spaces(draft, &names, &dice), &dice)
}

fn nodes(draft: &Draft, dice: &Dice) -> Vec<NodePlan> {
    let mut dice = dice.fork("nodes");
    let mut between = |(low, high): (i64, i64)| {
        // Offsets and drifts are far from the ends of i64 (see `units` and `values`).
        low.saturating_add_unsigned(dice.range(0, high.abs_diff(low)))
    };
    let node = |node: &super::model::Node| NodePlan {
        name: node.name.text.clone(),
        clock_offset_ms: between(node.clock_offset_ms),
        clock_drift_ppm: {
            let (low, high) = node.clock_drift_ppm;
            i32::try_from(between((low.into(), high.into()))).unwrap_or(low)
        },
        commit: node.commit,
    };
    draft.nodes.iter().map(node).collect()
}

fn spaces(draft: &Draft, names: &Names, dice: &Dice) -> Vec<SpacePlan> {
    let mut dice = dice.fork("spaces");
    let mut space = |said: Option<&super::model::Space>| {
        let members = names.members(said);
        let may_found: Vec<NodeNo> = members.iter().filter(|(_, role)| role.may_write()).map(|(no, _)| *no).collect();
        let drawn = dice.pick(&may_found).copied();
        let founder = said.and_then(|space| space.founder.as_ref()).and_then(|name| names.node(name)).or(drawn);
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by_key(|(no, _)| (Some(*no) != founder, *no));
        let name = said.map_or(MAIN_SPACE, |space| &space.name.text);
        SpacePlan { name: name.to_owned(), members }
    };
    match draft.spaces.as_slice() {
        [] => vec![space(None)],
        spaces => spaces.iter().map(|said| space(Some(said))).collect(),
    }
}

fn initial(draft: &Draft) -> Vec<InitialEntity> {
    let entity = |initial: &super::model::Initial| InitialEntity {
        space: draft.space_no(initial.space.as_ref()).unwrap_or(0),
        collection: initial.collection.clone(),
        id: initial.id.clone(),
        value: initial.value.clone(),
    };
    let mut all: Vec<InitialEntity> = draft.initial.iter().map(entity).collect();
    let mut there: BTreeSet<_> = all.iter().map(|e| (e.space, e.collection.clone(), e.id.clone())).collect();
    for load in draft.workloads.iter().filter(|load| load.existing) {
        let space = draft.space_no(load.space.as_ref()).unwrap_or(0);
        for no in 0..load.ids {
            let (collection, id) = (load.collection.clone(), format!("{}{no}", load.prefix));
            if there.insert((space, collection.clone(), id.clone())) {
                let value = json!({ "title": format!("i{no}") });
                all.push(InitialEntity { space, collection, id, value });
            }
        }
    }
    all
}

fn assertions(draft: &Draft) -> Vec<Assertion> {
    let assertion = |assert: &super::model::Assert| {
        let space = draft.space_no(assert.space.as_ref()).unwrap_or(0);
        let over = match assert.collection.clone() {
            Some(collection) => Over::Entity { space, collection },
            None => Over::Node { space },
        };
        Assertion { name: assert.name.clone(), expression: assert.that.clone(), over }
    };
    draft.assertions.iter().map(assertion).collect()
}
