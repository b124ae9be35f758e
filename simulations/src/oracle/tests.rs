//! The oracles against a few real engines: silent where all is well, loud where the observation was falsified.

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
        let outputs = Outputs { list: vec![Output::Journal(self.space, 0)], wake: None };
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

#[test]
fn other_values_than_were_asked_for_are_noticed() {
    let told = [write(1, 1, vec![edit("a", put(json!({"price": 1})))])];
    let done = [write(1, 1, vec![edit("a", put(json!({"price": 2})))])];
    noticed(&told, &done, Oracle::Values);
    let done = [write(1, 1, vec![edit("a", Action::Patch(json!({"price": 1})))])];
    let violation = noticed(&told, &done, Oracle::Resurrection);
    assert_eq!(violation.place, "an overwritten value is back");
    let told = [
        write(1, 1, vec![edit("a", Action::Patch(json!({"price": 1})))]),
        write(2, 1, vec![edit("a", Action::Delete)]),
    ];
    let done = [told[0].clone(), write(2, 1, vec![edit("a", Action::Patch(json!({"x": 1})))])];
    let violation = noticed(&told, &done, Oracle::Resurrection);
    assert_eq!(violation.place, "an entity is back");
    let violation = noticed(&done, &told, Oracle::Values);
    assert_eq!(violation.place, "an entity is gone");
}

#[test]
fn sums_that_differ_are_noticed() {
    let first = write(1, 1, vec![edit("a", increment(5))]);
    let told = [first.clone(), write(2, 1, vec![edit("a", increment(3))])];
    let done = [first, write(2, 1, vec![edit("a", increment(2))])];
    noticed(&told, &done, Oracle::Counters);
}

#[test]
fn acknowledged_writes_that_were_not_made_are_noticed() {
    let told = [write(1, 1, vec![edit("a", Action::Patch(json!({"price": 1})))])];
    let done = [write(1, 1, vec![edit("a", Action::Patch(json!({"name": "a"})))])];
    let violation = noticed(&told, &done, Oracle::Values);
    assert_eq!(violation.place, "a write was acknowledged and not made");
}

#[test]
fn a_transaction_in_parts_is_noticed() {
    let both = write(1, 1, vec![edit("a", put(json!({"x": 1}))), edit("b", put(json!({"x": 1})))]);
    let half = write(1, 1, vec![edit("a", put(json!({"x": 1})))]);
    noticed(std::slice::from_ref(&both), &[half], Oracle::Atomicity);

    let mut plan = plan();
    plan.writes = vec![both.clone()];
    let mut run = Run::new(&plan);
    run.command(1, Some(1), &both.edits, false);
    run.meet();
    assert_eq!(run.quiet().unwrap_err().place, "one write in several entries");
}

#[test]
fn what_nobody_asked_for_is_noticed() {
    let mut run = Run::new(&plan());
    run.command(1, None, &[edit("a", put(json!({"x": 1})))], true);
    run.meet();
    let violation = run.quiet().unwrap_err();
    assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Resurrection, "an entry nobody asked for"));

    let told = [write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    let elsewhere = [write(1, 2, told[0].edits.clone())];
    noticed(&told, &elsewhere, Oracle::Permission);
}

#[test]
fn an_author_without_a_role_is_noticed() {
    let mut plan = plan();
    plan.writes = vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    plan.spaces[0].members[1].1 = Role::Reader;
    let mut run = Run::new(&plan);
    run.write(&plan.writes[0]);
    run.meet();
    assert_eq!(run.quiet().unwrap_err().oracle, Oracle::Permission);
}

#[test]
fn a_store_that_went_back_is_noticed() {
    let mut plan = plan();
    plan.writes = vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    let mut run = Run::new(&plan);
    let image = run.world.image(1);
    run.write(&plan.writes[0]);
    run.world.restore(1, image);
    let violation = run.oracles.started(AT, 1, Start::Crash, run.world.engine(1)).unwrap_err();
    assert_eq!((violation.oracle, violation.node), (Oracle::Durability, Some(1)));
    // Said to be a restore, it is excused; and so is the loss in the end.
    run.oracles.started(AT, 1, Start::Restored, run.world.engine(1)).unwrap();
    run.meet();
    assert_eq!(run.quiet(), Ok(()));
}

#[test]
fn survivors_that_differ_are_noticed() {
    let mut plan = plan();
    plan.writes = vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))])];
    let mut run = Run::new(&plan);
    run.write(&plan.writes[0]);
    assert_eq!(run.quiet().unwrap_err().oracle, Oracle::Convergence);
    // Those that cannot reach each other need not agree.
    run.oracles.plan.links.clear();
    assert_eq!(run.quiet(), Ok(()));
}

#[test]
fn entries_that_name_more_or_less_than_was_seen_are_noticed() {
    let mut plan = plan();
    plan.writes =
        vec![write(1, 1, vec![edit("a", put(json!({"x": 1})))]), write(2, 2, vec![edit("b", put(json!({"x": 2})))])];
    for (swap, place) in [(false, "an entry names less than was seen"), (true, "an entry names more than was seen")] {
        let mut run = Run::new(&plan);
        let early = run.world.engine(2).frontier(run.space).unwrap().clone();
        run.write(&plan.writes[0]);
        if swap {
            // It claims a past that its node did not have.
            run.oracles.asked(2, 2, &early);
            run.stepped(2);
            run.meet();
        } else {
            // Its node is said to have had what it did not name.
            let ahead = run.world.engine(1).frontier(run.space).unwrap().clone();
            run.oracles.asked(2, 2, &ahead);
        }
        run.command(2, Some(2), &plan.writes[1].edits, true);
        run.meet();
        let violation = run.quiet().unwrap_err();
        assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Causality, place));
    }
}

#[test]
fn an_assertion_that_fails_is_noticed() {
    let mut plan = plan();
    let over = Over::Entity { space: 0, collection: "goods".to_owned() };
    plan.assertions = vec![Assertion { name: "sold".to_owned(), expression: "entity.name == 'b'".to_owned(), over }];
    let violation = Run::new(&plan).quiet().unwrap_err();
    assert_eq!(violation.oracle, Oracle::Assertion);
    assert!(violation.detail.contains("`sold` for goods/a"), "{violation:?}");
}

#[test]
fn traffic_beyond_measure_is_noticed() {
    let mut run = Run::new(&plan());
    let transferred = Traffic { bytes: 1 << 20, transferred: 1 << 20, connections: 2, wasted: 0 };
    assert_eq!(run.quiet_with(transferred, &mut Stats::default()).unwrap_err().oracle, Oracle::Traffic);
    let mut missing = Stats { bytes_missing: 1 << 18, ..Stats::default() };
    assert_eq!(run.quiet_with(transferred, &mut missing), Ok(()));
    let chatter = Traffic { bytes: 1 << 20, transferred: 0, connections: 2, wasted: 0 };
    assert_eq!(run.quiet_with(chatter, &mut Stats::default()).unwrap_err().oracle, Oracle::Silence);
    let mut queue = Stats { queue_peak: QUEUE_BYTES_MAX + 1, ..Stats::default() };
    assert_eq!(run.quiet_with(Traffic::default(), &mut queue).unwrap_err().oracle, Oracle::Bounds);
    let equals = Traffic { bytes: 900, transferred: 1, connections: 2, wasted: 0 };
    assert_eq!(run.oracles.reconnected(AT, equals).unwrap_err().oracle, Oracle::Silence);
    let dear = Traffic { bytes: 1 << 20, transferred: 0, connections: 2, wasted: 0 };
    assert_eq!(run.oracles.reconnected(AT, dear).unwrap_err().oracle, Oracle::Silence);
    let cheap = Traffic { bytes: 900, transferred: 0, connections: 2, wasted: 0 };
    assert_eq!(run.oracles.reconnected(AT, cheap), Ok(()));
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

#[test]
fn damage_that_is_served_is_noticed() {
    let mut plan = plan();
    plan.writes = writes(5, 20);
    let mut run = Run::new(&plan);
    plan.writes.iter().for_each(|write| run.write(write));
    run.meet();
    // A sound store may call itself damaged: everything it shows is so.
    run.oracles.started(AT, 2, Start::Damaged, run.world.engine(2)).unwrap();
    assert_eq!(run.quiet(), Ok(()));
    run.oracles.damage.iter_mut().for_each(damage::Seen::falsify_row);
    assert_eq!(run.quiet().unwrap_err().place, "a damaged row is served");
    run.oracles.damage.clear();
    run.oracles.started(AT, 2, Start::Damaged, run.world.engine(2)).unwrap();
    run.oracles.damage.iter_mut().for_each(damage::Seen::falsify_entry);
    let violation = run.quiet().unwrap_err();
    assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Damage, "a damaged entry is served"));
}

#[test]
fn rows_that_differ_from_their_history_or_from_each_other_are_noticed() {
    let mut plan = plan();
    plan.writes = writes(6, 20);
    let mut run = Run::new(&plan);
    plan.writes.iter().for_each(|write| run.write(write));
    run.meet();
    let store = run.world.engine(0).reader().snapshot().unwrap();
    let ledger = ledger::Ledger::read(&store, run.space).unwrap();
    let rows = survivors::rows(&store, run.space).unwrap();
    assert_eq!(replay::check(&ledger, &rows, 3), Ok(()));
    let mut other = rows.clone();
    let names: Vec<_> = rows.keys().cloned().collect();
    other.insert(names[0].clone(), rows[&names[1]].clone());
    assert_eq!(replay::check(&ledger, &other, 3).unwrap_err().place, "another order gives another row");
    assert_eq!(survivors::equal(0, &rows, &rows), Ok(()));
    assert_eq!(survivors::equal(0, &rows, &other).unwrap_err().oracle, Oracle::Convergence);
    other.remove(&names[0]);
    assert_eq!(replay::check(&ledger, &other, 3).unwrap_err().place, "entries without a row");
    assert_eq!(survivors::equal(0, &rows, &other).unwrap_err().oracle, Oracle::Convergence);
}

#[test]
fn a_row_without_its_part_of_a_transaction_is_noticed() {
    let mut run = Run::new(&plan());
    run.command(0, Some(1), &[edit("a", put(json!({"x": 1}))), edit("b", put(json!({"x": 1})))], true);
    let store = run.world.engine(0).reader().snapshot().unwrap();
    let no = store.space(run.space).unwrap().unwrap().no;
    assert_eq!(atomicity::check(&store, run.space), Ok(()));
    let entry = store.journal_range(no, 1, 100).unwrap().pop().unwrap().1;
    let read = |id: &str| {
        let row = store.row(no, "goods", id).unwrap();
        (id != "b").then(|| tombolo_crdt::entity::EntityState::decode(&row.unwrap()).unwrap())
    };
    let fault = atomicity::whole(&store, no, (entry.feed, entry.seq), &|_, id| read(id)).unwrap_err();
    assert_eq!((fault.oracle, fault.place), (Oracle::Atomicity, "a transaction is in only partly"));
}
