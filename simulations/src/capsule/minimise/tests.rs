//! Minimising plans that "fail" when certain things are in them.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tombolo_crdt::rules::Role;

use super::*;
use crate::outcome::{Oracle, Outcome, Stats};
use crate::plan::{
    Action, Assertion, Attack, Edit, Fault, InitialEntity, LinkPlan, NodeNo, NodePlan, Over, PlannedFault,
    PlannedWrite, SpacePlan, Spread, Unsynced,
};
use crate::scenario::{Draft, Survivors};

const SECOND: Duration = Duration::from_secs(1);
const ANY: Spread = Spread { min_us: 1_000, p50_us: 10_000, p99_us: 50_000, max_us: 90_000 };

/// Six nodes, two spaces, 40 writes and 14 faults of seven kinds in an hour.
pub(crate) fn large() -> Plan {
    let nodes: Vec<NodePlan> = (0..6)
        .map(|no| NodePlan { name: format!("n{no}"), clock_offset_ms: 500 * no, clock_drift_ppm: 40, commit: ANY })
        .collect();
    let pairs = (0..6).flat_map(|from| (from + 1..6).map(move |to| (from, to)));
    let link = |(from, to)| LinkPlan {
        from,
        to,
        latency: ANY,
        bandwidth: 100_000,
        loss_ppm: 2_000,
        duplicate_ppm: 10,
        corrupt_ppm: 10,
    };
    let space = |name: &str, founder: NodeNo| SpacePlan {
        name: name.into(),
        members: (0..6).map(|no| ((no + founder) % 6, Role::Writer)).collect(),
    };
    let edit =
        |no: u32| Edit { collection: "c".into(), id: format!("e{}", no % 5), action: Action::Put(json!({"n": no})) };
    let write = |no: u32| PlannedWrite {
        no,
        at: SECOND * no * 80,
        node: no as usize % 6,
        space: no as usize % 2,
        edits: (0..1 + no % 3).map(|nth| edit(no + nth)).collect(),
        retried: true,
    };
    let initial = |no: usize| InitialEntity {
        space: no % 2,
        collection: "c".into(),
        id: format!("i{no}"),
        value: json!({ "no": no }),
    };
    let expression = || "true".to_owned();
    let assertion = |space| Assertion { name: "holds".into(), expression: expression(), over: Over::Node { space } };
    Plan {
        scenario: "large".into(),
        seed: 1,
        noise: 2,
        nodes,
        links: pairs.map(link).collect(),
        spaces: vec![space("one", 0), space("two", 1)],
        initial: (0..8).map(initial).collect(),
        writes: (1..=40).map(write).collect(),
        faults: (1..=14).map(fault).collect(),
        duration: SECOND * 3_600,
        patience: SECOND * 600,
        survivors: (0..6).collect(),
        assertions: vec![assertion(0), assertion(1)],
        left_out: 0,
    }
}

fn fault(no: u32) -> PlannedFault {
    let node = no as usize % 6;
    let (from, to) = (vec![node, (node + 1) % 6], vec![(node + 2) % 6, (node + 3) % 6]);
    let fault = match no % 7 {
        0 => Fault::Cut { from, to, one_way: false },
        1 => Fault::Lossy { from, to, loss_ppm: 9_000 },
        2 => Fault::Slow { from, to, factor: 3 },
        3 => Fault::Crash { node, unsynced: Unsynced::Torn, in_commit: Some(3), in_repair: Some(2) },
        4 => Fault::ClockJump { node, by_ms: 70_000 },
        5 => Fault::Restore { node, taken: SECOND * (no * 200 - 100) },
        _ => Fault::Pause { node },
    };
    PlannedFault { no, at: SECOND * no * 200, until: SECOND * (no * 200 + 60), fault }
}

#[test]
fn of_a_member_gone_bad_one_attack_is_kept() {
    let with = |wanted: &'static [Attack]| {
        let mut plan = large();
        let fault = Fault::GoneBad { node: 2, attacks: Attack::ALL.to_vec() };
        plan.faults.push(PlannedFault { no: 15, at: SECOND * 3_000, until: SECOND * 3_500, fault });
        let bad = |plan: &Plan| {
            plan.faults.iter().find_map(|planned| match &planned.fault {
                Fault::GoneBad { attacks, .. } => Some(attacks.clone()),
                _ => None,
            })
        };
        let fails =
            move |plan: &Plan| bad(plan).is_some_and(|attacks| wanted.iter().all(|attack| attacks.contains(attack)));
        bad(&minimised(&plan, &failing(fails)).plan)
    };
    assert_eq!(with(&[Attack::Lies]), Some(vec![Attack::Lies]));
    assert_eq!(with(&[Attack::Old, Attack::Rules]), Some(vec![Attack::Old, Attack::Rules]));
}

fn violation(at: Duration) -> Violation {
    Violation { oracle: Oracle::Values, place: "a value".into(), node: None, at, detail: "it is gone".into() }
}

fn outcome(violated: Option<Violation>) -> Outcome {
    let verdict = violated.map_or(Verdict::Held, Verdict::Violated);
    Outcome { verdict, hash: [0; 32], stats: Stats::default(), trace: None }
}

/// A lane in which a plan fails if this is so.
fn failing(fails: impl Fn(&Plan) -> bool + Sync) -> impl Fn(&Plan, RunOptions) -> Outcome + Sync {
    move |plan: &Plan, _| outcome(fails(plan).then(|| violation(plan.duration + SECOND)))
}

fn minimised(plan: &Plan, lane: Lane<'_>) -> Minimised {
    assert_eq!(plan.check(), Ok(()));
    let effort = Effort { candidates_max: CANDIDATES_MAX, time_left: &|| true };
    let first = match lane(plan, RunOptions::default()).verdict {
        Verdict::Violated(violation) => violation,
        verdict => panic!("it does not fail: {verdict:?}"),
    };
    let small = minimise(plan, &first, lane, &effort, &mut |_| {});
    assert!(small.complete);
    assert_eq!(small.plan.check(), Ok(()));
    assert!(small.violation.is_like(&first));
    assert_eq!(lane(&small.plan, RunOptions::default()).verdict, Verdict::Violated(small.violation.clone()));
    small
}

fn numbers(plan: &Plan) -> (Vec<u32>, Vec<u32>) {
    (plan.writes.iter().map(|write| write.no).collect(), plan.faults.iter().map(|fault| fault.no).collect())
}

fn has(plan: &Plan, write: u32, fault: u32) -> bool {
    let (writes, faults) = numbers(plan);
    writes.contains(&write) && faults.contains(&fault)
}

#[test]
fn a_write_and_a_fault_are_all_that_is_left() {
    let lane = failing(|plan| has(plan, 7, 3));
    let plan = minimised(&large(), &lane).plan;
    assert_eq!(numbers(&plan), (vec![7], vec![3]));
    assert!(plan.initial.is_empty() && plan.assertions.is_empty());
    assert_eq!(plan.spaces.len(), 1);
    // The founder of the write's space, who writes, and the node that crashes.
    let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n3"]);
    assert_eq!((plan.writes[0].node, plan.writes[0].edits.len(), plan.writes[0].retried), (0, 1, false));
    assert_eq!(
        plan.faults[0].fault,
        Fault::Crash { node: 1, unsynced: Unsynced::Kept, in_commit: None, in_repair: None }
    );
    assert!(plan.faults[0].until - plan.faults[0].at < Duration::from_millis(2));
    assert!(plan.duration <= SECOND * 4, "{:?}", plan.duration);
    assert_eq!(plan.patience, large().patience);
    assert!(plan.links.iter().all(|link| link.latency == Spread::fixed(10_000) && link.loss_ppm == 0));
    assert!(plan.nodes.iter().all(|node| node.clock_offset_ms == 0 && node.clock_drift_ppm == 0));
}

#[test]
fn the_tail_goes_first_and_a_late_violation_is_bisected() {
    // It is seen at the moment of write 9, and what comes later is never reached.
    let first = Cell::new(None);
    let at = SECOND * 720;
    let run = |plan: &Plan, _: RunOptions| outcome(numbers(plan).0.contains(&9).then(|| violation(at)));
    let effort = Effort { candidates_max: 1, time_left: &|| true };
    let plan = Plan { assertions: Vec::new(), ..large() };
    let small = minimise(&plan, &violation(at), &run, &effort, &mut |step| {
        first.set(first.get().or(Some(*step)));
    });
    assert!(!small.complete);
    assert_eq!(numbers(&small.plan).0, (1..=9).collect::<Vec<_>>());
    assert_eq!(numbers(&small.plan).1, [1, 2, 3]);
    assert_eq!(small.plan.duration, at);
    let step = first.get().expect("told");
    assert_eq!((step.stage, step.candidates, step.kept), (Stage::Tail, 1, 1));
    assert_eq!(step.size, Size { nodes: 6, faults: 3, writes: 9 });

    // Seen after healing only: the end is looked for.
    let late = failing(|plan| numbers(plan).0.contains(&9));
    let effort = Effort { candidates_max: 16, time_left: &|| true };
    let small = minimise(&large(), &violation(SECOND * 4_000), &late, &effort, &mut |_| {});
    assert!((at..at + SECOND * 2).contains(&small.plan.duration), "{:?}", small.plan.duration);
}

#[test]
fn nodes_and_spaces_are_renumbered_together() {
    let plan = large();
    let without = retain::nodes(&plan, &[true, true, false, true, false, true]);
    assert_eq!(without.check(), Ok(()));
    let names: Vec<_> = without.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n0", "n1", "n3", "n5"]);
    assert_eq!(without.links.len(), 6);
    assert_eq!(without.survivors, [0, 1, 2, 3]);
    let members: Vec<_> = without.spaces[1].members.iter().map(|(node, _)| *node).collect();
    assert_eq!(members, [1, 2, 3, 0]);
    assert!(plan.writes.iter().filter(|write| ![2, 4].contains(&write.node)).count() == without.writes.len());
    for write in &without.writes {
        let before = plan.writes.iter().find(|before| before.no == write.no).expect("the same write");
        assert_eq!(plan.nodes[before.node].name, without.nodes[write.node].name);
    }
    // Fault 7, a cut of n1 and n2 from n3 and n4, now cuts n1 from n3; of fault 10, a crash of n4, nothing is left.
    let cut = without.faults.iter().find(|fault| fault.no == 7).expect("still there");
    assert_eq!(cut.fault, Fault::Cut { from: vec![1], to: vec![2], one_way: false });
    assert!(without.faults.iter().all(|fault| fault.no != 10));

    let one = retain::spaces(&plan, &[false, true]);
    assert_eq!(one.check(), Ok(()));
    assert_eq!((one.spaces.len(), one.writes.len(), one.initial.len(), one.assertions.len()), (1, 20, 4, 1));
    assert!(one.writes.iter().all(|write| write.space == 0 && write.no % 2 == 1));
}

#[test]
fn survivors_stay_connected_and_founders_stay() {
    // A line: only the ends can go, one after the other, up to the founder.
    let mut line = retain::spaces(&large(), &[true, false]);
    line.links.retain(|link| link.to == link.from + 1);
    line.spaces[0].members.rotate_left(2);
    let lane = failing(|plan| plan.nodes.iter().any(|node| node.name == "n4"));
    let names: Vec<_> = minimised(&line, &lane).plan.nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["n2", "n3", "n4"]);
}

#[test]
fn what_matters_of_a_fault_stays() {
    let torn = |plan: &Plan| {
        let crash = |fault: &PlannedFault| {
            matches!(fault.fault, Fault::Crash { unsynced: Unsynced::Torn, in_commit: Some(3), .. })
        };
        plan.faults.iter().any(crash)
    };
    let plan = minimised(&large(), &failing(torn)).plan;
    let [PlannedFault { fault: Fault::Crash { unsynced, in_commit, in_repair, .. }, .. }] = plan.faults.as_slice()
    else {
        panic!("{:?}", plan.faults)
    };
    assert_eq!((*unsynced, *in_commit), (Unsynced::Torn, Some(3)));
    // Both are taken out together or one at a time.
    assert_eq!(*in_repair, None);

    let slow = failing(|plan| plan.links.iter().any(|link| link.latency.max_us == 90_000) && plan.nodes.len() > 1);
    let plan = minimised(&large(), &slow).plan;
    assert_eq!((plan.links.len(), plan.nodes.len(), plan.links[0].latency), (1, 2, ANY));

    let edits =
        failing(|plan| plan.writes.iter().any(|write| write.no == 8 && write.edits.iter().any(|e| e.id == "e0")));
    let plan = minimised(&large(), &edits).plan;
    assert_eq!(plan.writes[0].edits.iter().map(|edit| edit.id.as_str()).collect::<Vec<_>>(), ["e0"]);
}

#[test]
fn another_failure_is_not_taken_for_this_one() {
    // Without write 2 it fails elsewhere; without write 5 it is not known.
    let lane = |plan: &Plan, _: RunOptions| {
        let (writes, _) = numbers(plan);
        match (writes.contains(&2), writes.contains(&5)) {
            (true, true) => outcome(Some(violation(plan.duration))),
            (false, _) => outcome(Some(Violation { place: "elsewhere".into(), ..violation(plan.duration) })),
            _ => Outcome { verdict: Verdict::Inconclusive("who knows".into()), ..outcome(None) },
        }
    };
    assert_eq!(numbers(&minimised(&large(), &lane).plan).0, [2, 5]);
}

#[test]
fn a_false_assertion_does_not_become_one_without_its_data() {
    let number = |n| Action::Put(json!({ "n": n }));
    let assert = |name: &str, that: &str| crate::scenario::Assert::node(name, that);
    let draft = Draft::new("made", "a title", SECOND * 30).nodes(&["north", "south"]).survivors(Survivors::All);
    let draft = draft.write(SECOND, "south", "stock", "lamp", number(7)).write(
        SECOND * 2,
        "north",
        "other",
        "thing",
        number(1),
    );
    let draft = draft.assert(assert("few lamps", "views.stock.lamp.n <= 6"));
    let draft = draft.assert(assert("no things", "size(views.other) == 0"));
    let small = minimised(&draft.check().expect("it can be").plan(1), &crate::world::run);
    assert_eq!((small.violation.oracle, small.violation.place.as_str()), (Oracle::Assertion, "`few lamps` is false"));
    assert_eq!(numbers(&small.plan).0, [1]);
    assert_eq!(small.plan.assertions.len(), 1);
}

#[test]
fn a_lane_that_panics_and_an_end_of_time_are_survived() {
    let lane = |plan: &Plan, _: RunOptions| {
        assert!(plan.writes.len() > 3, "too few");
        outcome(Some(violation(plan.duration)))
    };
    assert_eq!(minimised(&large(), &lane).plan.writes.len(), 4);

    let asked = Cell::new(0);
    let time_left = || {
        asked.set(asked.get() + 1);
        asked.get() <= 5
    };
    let lane = failing(|plan| has(plan, 7, 3));
    let effort = Effort { candidates_max: CANDIDATES_MAX, time_left: &time_left };
    let small = minimise(&large(), &violation(SECOND), &lane, &effort, &mut |_| {});
    assert_eq!((small.candidates, small.complete), (5, false));
    assert!(has(&small.plan, 7, 3) && small.plan.check().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever sets of writes and faults it takes, exactly these are left, and the same ones again.
    #[test]
    fn what_is_left_fails_and_is_minimal(
        writes in proptest::collection::btree_set(1_u32..=40, 0..5),
        faults in proptest::collection::btree_set(1_u32..=14, 0..4),
        either in (1_u32..=40, 1_u32..=40),
    ) {
        let lane = failing(|plan| {
            let (w, f) = numbers(plan);
            writes.iter().all(|no| w.contains(no)) && faults.iter().all(|no| f.contains(no)) && (w.contains(&either.0) || w.contains(&either.1))
        });
        let small = minimised(&large(), &lane);
        let (w, f) = numbers(&small.plan);
        prop_assert_eq!(f, faults.iter().copied().collect::<Vec<_>>());
        let extra = w.iter().filter(|no| !writes.contains(no)).count();
        let needed = usize::from(!writes.contains(&either.0) && !writes.contains(&either.1));
        prop_assert_eq!((w.len(), extra), (writes.len() + needed, needed));
        prop_assert_eq!(minimised(&large(), &lane).plan, small.plan);
    }
}
