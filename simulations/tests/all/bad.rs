//! Goal: a member gone bad harms nobody: the others converge, go on and fall silent within the bounds of all oracles.
//! Method: the scenario of the library over some seeds, and each attack alone, by a reader, a writer and an admin.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{fault, mesh, write_everywhere};
use tombolo_crdt::rules::Role;
use tombolo_sim::outcome::{Outcome, RunOptions, Verdict};
use tombolo_sim::plan::{Attack, Fault, Plan};
use tombolo_sim::scenario::Scenario;
use tombolo_sim::world;

/// Seeds of the scenario.
const SEEDS: u64 = 6;

fn held(plan: &Plan) -> Outcome {
    let outcome = world::run(plan, RunOptions::default());
    let bad = plan.faults.iter().map(|fault| &fault.fault).collect::<Vec<_>>();
    assert_eq!(outcome.verdict, Verdict::Held, "seed {}: {bad:?}: {:?}", plan.seed, outcome.stats.hits);
    outcome
}

#[test]
fn the_scenario_holds_and_every_attack_is_carried_out_in_every_seed() {
    let scenario = Scenario::of_library("member-gone-bad").expect("known").expect("fine");
    for seed in 0..SEEDS {
        let hits = held(&scenario.plan(seed)).stats.hits;
        for attack in Attack::ALL {
            assert!(hits.contains_key(attack.hit()), "seed {seed}: {attack:?}: {hits:?}");
        }
    }
}

/// Three nodes, of which the last one is bad for half of the time.
fn with(seed: u64, bad: usize, role: Role, attacks: &[Attack]) -> Plan {
    let mut plan = mesh(seed, 3);
    plan.duration = Duration::from_secs(600);
    plan.spaces[0].members = vec![(0, Role::Admin), (1, Role::Writer), (2, role)];
    write_everywhere(&mut plan, 60);
    plan.writes.retain(|write| write.node != 2 || role != Role::Reader);
    fault(&mut plan, 60, 300, Fault::GoneBad { node: bad, attacks: attacks.to_vec() });
    plan
}

#[test]
fn each_attack_alone_harms_nobody_whatever_the_role() {
    for (bad, role) in [(2, Role::Reader), (2, Role::Writer), (0, Role::Writer)] {
        for attack in Attack::ALL {
            let hits = held(&with(attack as u64, bad, role, &[attack])).stats.hits;
            assert_eq!(hits.get(attack.hit()), Some(&1), "{role:?} {attack:?}: {hits:?}");
        }
    }
}

#[test]
fn what_an_attack_is_does_not_depend_on_the_others() {
    let moments = |attacks: &[Attack]| {
        let outcome = world::run(&with(1, 2, Role::Writer, attacks), RunOptions::default());
        outcome
            .stats
            .hits
            .into_iter()
            .filter(|(hit, _)| hit.starts_with("a member gone bad"))
            .collect::<BTreeMap<_, _>>()
    };
    let both = moments(&[Attack::Dense, Attack::Rules]);
    assert_eq!(both.len(), 2);
    assert_eq!(moments(&[Attack::Rules]).get(Attack::Rules.hit()), both.get(Attack::Rules.hit()));
}
