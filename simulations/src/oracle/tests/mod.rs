//! The oracles against a few real engines: silent where all is well, loud where the observation was falsified.

mod wrong;

use std::time::Duration;

use serde_json::{Value, json};
use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::{TypedOp, Write};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::Role;
use tombolo_node::engine::{Command, EntityWrite, Expect, Output, Outputs, Reply, WriteCommand};

use super::*;
use crate::hand::World;
use crate::outcome::Oracle;
use crate::plan::{Action, Assertion, Edit, InitialEntity, LinkPlan, NodePlan, Over, PlannedWrite, SpacePlan, Spread};

const NODES: usize = 3;
const AT: Duration = Duration::from_secs(1);

fn plan() -> Plan {
    let node = |no: usize| NodePlan {
        name: format!("n{no}"),
        clock_offset_ms: 0,
        clock_drift_ppm: 0,
        commit: Spread::fixed(0),
    };
    let link = |from, to| LinkPlan {
        from,
        to,
        latency: Spread::fixed(1_000),
        bandwidth: 0,
        loss_ppm: 0,
        duplicate_ppm: 0,
        corrupt_ppm: 0,
    };
    Plan {
        scenario: "test".to_owned(),
        seed: 1,
        noise: 2,
        nodes: (0..NODES).map(node).collect(),
        links: vec![link(0, 1), link(1, 2)],
        spaces: vec![SpacePlan { name: "s".to_owned(), members: (0..NODES).map(|no| (no, Role::Writer)).collect() }],
        initial: vec![InitialEntity {
            space: 0,
            collection: "goods".to_owned(),
            id: "a".to_owned(),
            value: json!({"name": "a"}),
        }],
        writes: Vec::new(),
        faults: Vec::new(),
        duration: AT,
        patience: AT,
        survivors: (0..NODES).collect(),
        assertions: Vec::new(),
        left_out: 0,
    }
}

fn edit(id: &str, action: Action) -> Edit {
    Edit { collection: "goods".to_owned(), id: id.to_owned(), action }
}

fn write(no: u32, node: NodeNo, edits: Vec<Edit>) -> PlannedWrite {
    PlannedWrite { no, at: AT, node, space: 0, edits, retried: false }
}

fn put(value: Value) -> Action {
    Action::Put(value)
}

fn increment(by: i64) -> Action {
    Action::Increment { path: "/stock".to_owned(), by }
}

/// A world by hand, with the oracles beside it.
struct Run {
    world: World,
    oracles: Oracles,
    space: SpaceId,
}

fn entity_write(edit: &Edit) -> EntityWrite {
    let json = |value: &Value| Json::parse(value.to_string().as_bytes()).unwrap();
    let write = match &edit.action {
        Action::Put(value) => Write::Put { value: json(value), base: None },
        Action::Patch(patch) => Write::MergePatch(json(patch)),
        Action::Increment { path, by } => Write::Ops(vec![TypedOp::Increment { path: path.clone(), by: *by }]),
        Action::Delete => Write::Delete,
    };
    EntityWrite { collection: edit.collection.clone(), id: edit.id.clone(), expect: Expect::Any, write }
}

impl Run {
    /// Three nodes with the initial entities everywhere.
    fn new(plan: &Plan) -> Self {
        let mut world = World::new(7, NODES);
        let space = world.found_space("s");
        let mut run = Self { world, oracles: Oracles::new(plan, &[space]), space };
        for node in 0..NODES {
            run.oracles.started(AT, node, Start::Fresh, run.world.engine(node)).unwrap();
        }
        for (no, initial) in (INITIAL_FROM..).zip(&plan.initial) {
            let edit = edit(&initial.id, Action::Put(initial.value.clone()));
            run.command(0, Some(no), std::slice::from_ref(&edit), true);
        }
        run.meet();
        run
    }

    fn command(&mut self, node: NodeNo, no: Option<u32>, edits: &[Edit], atomic: bool) -> Reply {
        let writes = edits.iter().map(entity_write).collect();
        let command = WriteCommand { space: self.space, writes, atomic, idempotency: None, trace: no.map(trace_of) };
        self.world.command(node, Command::Write(command))
    }

    fn stepped(&mut self, node: NodeNo) {
        let outputs = Outputs { list: vec![Output::Journal(self.space, 0)], ..Outputs::default() };
        self.oracles.stepped(AT, node, self.world.engine(node), &outputs).unwrap();
    }

    /// Carries out a write of the plan.
    fn write(&mut self, write: &PlannedWrite) {
        let before = self.world.engine(write.node).frontier(self.space).unwrap().clone();
        self.oracles.asked(write.no, write.node, &before);
        let reply = self.command(write.node, Some(write.no), &write.edits, true);
        self.stepped(write.node);
        self.oracles.answered(AT, write.no, write.node, &reply).unwrap();
    }

    /// Connects everybody until nothing more is said.
    fn meet(&mut self) {
        self.world.connect(0, 1);
        self.world.connect(1, 2);
        self.world.settle();
        (0..NODES).for_each(|node| self.stepped(node));
        self.world.disconnect(0, 1);
        self.world.disconnect(1, 2);
    }

    fn quiet_with(&mut self, traffic: Traffic, stats: &mut Stats) -> Result<(), Violation> {
        let survivors: Vec<_> = (0..NODES).map(|node| (node, self.world.engine(node))).collect();
        self.oracles.quiet(AT, &survivors, traffic, stats)
    }

    fn quiet(&mut self) -> Result<(), Violation> {
        self.quiet_with(Traffic::default(), &mut Stats::default())
    }
}

/// Runs `told`'s writes as `done` says, and expects the oracle to notice.
fn noticed(told: &[PlannedWrite], done: &[PlannedWrite], oracle: Oracle) -> Violation {
    let mut plan = plan();
    plan.writes = told.to_vec();
    let mut run = Run::new(&plan);
    done.iter().for_each(|write| run.write(write));
    run.meet();
    let violation = run.quiet().expect_err("falsified");
    assert_eq!(violation.oracle, oracle, "{violation:?}");
    violation
}

/// Writes of every kind, at random nodes.
fn writes(seed: u64, count: u32) -> Vec<PlannedWrite> {
    let mut dice = Dice::new(seed);
    let mut action = || match dice.below(10) {
        0 => Action::Delete,
        1..4 => increment(i64::try_from(dice.below(9)).unwrap() - 4),
        4..7 => {
            let (a, b) = (dice.below(5), dice.below(3));
            Action::Patch(json!({"price": a, "of": {"size": b, "colour": null}}))
        }
        _ => {
            let (a, b) = (dice.below(5), dice.below(3));
            put(json!({"price": a, "of": {"colour": b, "list": [a, b]}}))
        }
    };
    let mut all: Vec<Vec<Action>> = (0..count).map(|_| vec![action(), action()]).collect();
    let mut dice = Dice::new(seed + 1);
    let mut made = Vec::new();
    for no in 1..=count {
        let node = dice.below(NODES);
        let mut actions = all.pop().unwrap();
        let ids = ["a", "b", "c"];
        let first = dice.below(3);
        let mut edits = vec![edit(ids[first], actions.pop().unwrap())];
        if dice.once_in(4) {
            edits.push(edit(ids[(first + 1) % 3], actions.pop().unwrap()));
        }
        made.push(write(no, node, edits));
    }
    made
}

#[test]
fn nothing_is_said_where_all_is_well() {
    for seed in 0..12 {
        let mut plan = plan();
        plan.writes = writes(seed, 60);
        plan.assertions.push(Assertion {
            name: "prices are small".to_owned(),
            expression: "!present || !has(entity.price) || entity.price < 5".to_owned(),
            over: Over::Entity { space: 0, collection: "goods".to_owned() },
        });
        plan.assertions.push(Assertion {
            name: "something was written".to_owned(),
            expression: "size(writes) > 10 && (size(views) == 0 || 'goods' in views) && spaces == ['s']".to_owned(),
            over: Over::Node { space: 0 },
        });
        let mut dice = Dice::new(seed + 100);
        let mut run = Run::new(&plan);
        for write in &plan.writes {
            run.write(write);
            if dice.once_in(5) {
                run.meet();
            }
            if dice.once_in(10) {
                let node = dice.below(NODES);
                run.world.restart(node);
                run.oracles.started(AT, node, Start::Crash, run.world.engine(node)).unwrap();
            }
        }
        run.meet();
        let mut stats = Stats::default();
        let quiet = run.quiet_with(Traffic::default(), &mut stats);
        assert_eq!(quiet, Ok(()), "seed {seed}");
        assert!(stats.hits["oracle: values demanded"] > 3, "{:?}", stats.hits);
        assert!(stats.hits["oracle: entries held against what their node had"] > 20, "{:?}", stats.hits);
    }
}

/// Histories fold whatever their shape: here a change on one of two heads follows the change it was made on.
#[test]
fn a_history_with_two_heads_verifies() {
    let mut plan = plan();
    let patch = |value| vec![edit("a", Action::Patch(value))];
    plan.writes = vec![
        write(1, 0, patch(json!({"x": 1}))),
        write(2, 1, patch(json!({"x": 2}))),
        write(3, 1, patch(json!({"x": 3}))),
    ];
    let mut run = Run::new(&plan);
    plan.writes.iter().for_each(|write| run.write(write));
    run.meet();
    assert_eq!(run.quiet(), Ok(()));
}
