//! Goal: every oracle notices what it is there for. Each deliberate defect of the product is caught in some scenario of
//! the library, by an oracle that is meant to catch it; the same plan without the defect holds. Method: the first lane,
//! seed after seed, until one speaks. `cargo test --release -p tombolo-sim --features defects --test canaries`

#![expect(clippy::panic, reason = "a canary that lives fails its test by panicking")]

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tombolo_crdt::defect::{Defect, Guard};
use tombolo_crdt::entity::Write;
use tombolo_crdt::json::Json;
use tombolo_sim::hand::World;
use tombolo_sim::outcome::{Oracle, RunOptions, Verdict, Violation};
use tombolo_sim::plan::{Action, Assertion, Edit, Fault, InitialEntity, Over, Plan, PlannedFault, Spread};
use tombolo_sim::scenario::Scenario;
use tombolo_sim::world;

/// A defect, and who must notice it where.
struct Canary {
    defect: Defect,
    /// Names of scenarios of the library, tried in turn for each seed.
    scenarios: &'static [&'static str],
    /// Any of these must speak first: they are what the defect breaks.
    oracles: &'static [Oracle],
    /// What is done to the plans first, where the library has no scenario that is hard enough.
    tweak: fn(&mut Plan),
}

fn as_it_is(_: &mut Plan) {}

/// Every write is an increment of one of four counters, and is asked again when it was not answered; disks are so slow
/// that a crash often comes between a commit and its reply.
fn counting(plan: &mut Plan) {
    plan.nodes.iter_mut().for_each(|node| node.commit = Spread::fixed(2_000_000));
    for write in &mut plan.writes {
        let id = (write.no % 4).to_string();
        let action = Action::Increment { path: "/n".to_owned(), by: i64::from(write.no) };
        write.edits = vec![Edit { collection: "counters".to_owned(), id, action }];
        write.retried = true;
    }
    let counter = |id: u32| InitialEntity {
        space: 0,
        collection: "counters".to_owned(),
        id: id.to_string(),
        value: json!({"kind": "counter"}),
    };
    plan.initial.extend((0..4).map(counter));
    plan.assertions.clear();
}

/// Every write puts 100 KB to an entity of its own.
fn large(plan: &mut Plan) {
    for write in &mut plan.writes {
        let (id, text) = (write.no.to_string(), "large ".repeat(16 << 10));
        write.edits = vec![Edit { collection: "large".to_owned(), id, action: Action::Put(json!({ "text": text })) }];
    }
    plan.assertions.clear();
}

/// Whoever is restored from a backup writes before it hears of anybody.
fn alone_after_restore(plan: &mut Plan) {
    let restored = plan.faults.iter().filter_map(|fault| match fault.fault {
        Fault::Restore { node, .. } => Some((node, fault.at, fault.until)),
        _ => None,
    });
    let restored: Vec<_> = restored.collect();
    let nodes: Vec<_> = (0..plan.nodes.len()).collect();
    for (index, (node, at, until)) in restored.into_iter().enumerate() {
        let others = nodes.iter().copied().filter(|other| *other != node).collect();
        let cut = Fault::Cut { from: vec![node], to: others, one_way: false };
        let until = (until + Duration::from_secs(4 * 3_600)).min(plan.duration);
        plan.faults.push(PlannedFault { no: 10_000 + index as u32, at, until, fault: cut });
    }
    plan.faults.sort_by_key(|fault| fault.at);
    plan.assertions.clear();
}

/// Seeds tried per canary, from 0.
const SEEDS: u64 = 12;

fn plan(scenario: &str, seed: u64) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{scenario}.toml"));
    let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
    scenario.plan(seed)
}

/// Carries a plan out on a thread of its own: what a lane prepares and keeps must not outlive the defect it was made
/// with.
fn run(plan: &Plan, defect: Option<Defect>) -> Verdict {
    let on_its_own = || {
        let _guard = defect.map(Guard::set);
        world::run(plan, RunOptions::default()).verdict
    };
    std::thread::scope(|scope| scope.spawn(on_its_own).join()).expect("a lane catches panics")
}

fn violation(plan: &Plan, defect: Option<Defect>) -> Option<Violation> {
    match run(plan, defect) {
        Verdict::Violated(violation) => Some(violation),
        Verdict::Held | Verdict::Inconclusive(_) => None,
    }
}

impl Canary {
    /// Runs the scenarios until an oracle that is meant to speaks.
    fn dies(&self) {
        let mut others = Vec::new();
        for seed in 0..SEEDS {
            for scenario in self.scenarios {
                let mut plan = plan(scenario, seed);
                (self.tweak)(&mut plan);
                let Some(caught) = violation(&plan, Some(self.defect)) else { continue };
                if !self.oracles.contains(&caught.oracle) {
                    others.push(format!("{scenario}, seed {seed}: {caught:?}"));
                    continue;
                }
                assert_eq!(run(&plan, None), Verdict::Held, "{scenario}, seed {seed}: without {:?}", self.defect);
                return;
            }
        }
        let expected = self.oracles;
        panic!(
            "{:?}: {SEEDS} seeds of {:?}, and none of {expected:?} spoke; others: {others:#?}",
            self.defect, self.scenarios
        );
    }
}

macro_rules! tweak {
    () => {
        as_it_is
    };
    ($tweak:ident) => {
        $tweak
    };
}

macro_rules! canaries {
    ($($name:ident: $defect:ident in [$($scenario:literal),*] by [$($oracle:ident),*] $(after $tweak:ident)?;)*) => {
        const CANARIES: &[Canary] = &[$(Canary {
            defect: Defect::$defect,
            scenarios: &[$($scenario),*],
            oracles: &[$(Oracle::$oracle),*],
            tweak: tweak!($($tweak)?),
        }),*];

        $(
            #[test]
            fn $name() {
                let canary = CANARIES.iter().find(|canary| canary.defect == Defect::$defect);
                canary.expect("it is in the table").dies();
            }
        )*
    };
}

canaries! {
    a_reply_before_the_commit_is_durable: ReplyBeforeDurable in ["power-loss"] by [Durability];
    a_feed_row_left_out: FeedRowLeftOut in ["power-loss"] by [Durability, Frontier, Stream, Convergence, Panic];
    a_frontier_that_is_short: FrontierShort in ["power-loss", "rolling-upgrade"] by [Frontier];
    held_entries_not_stored: HeldNotStored in ["satellite", "swarm"] by [Panic];
    held_entries_counted_into_the_frontier: HeldCounted in ["satellite", "swarm"] by [Frontier, Panic];
    an_epoch_used_again: EpochReused in ["restored-backup"] by [Frontier, Durability, Liveness, Convergence] after alone_after_restore;
    a_loser_dropped_on_arrival: LoserDropped in ["hot-document"] by [Convergence];
    roles_ignored: RolesIgnored in ["reader-only"] by [Permission];
    half_a_transaction: HalfTransaction in ["transfers", "swarm"] by [Atomicity];
    a_losing_map_copied_into_the_winner: LosingMapCopied in ["swarm", "hot-document"] by [Resurrection];
    a_tombstone_by_live_operations: TombstoneByLive in ["delete-against-update"] by [Values];
    a_deletion_that_forgets: DeletionForgets in ["swarm", "hot-document"] by [Resurrection, Convergence];
    an_increment_that_counts_twice: IncrementTwice in ["two-day-outage", "hot-document"] by [Counters, Convergence] after counting;
    an_increment_miscounted: IncrementMiscounted in ["two-day-outage", "hot-document"] by [Counters] after counting;
    a_retry_carried_out_again: RetryRepeated in ["power-loss"] by [Counters, Durability] after counting;
    acknowledgements_lost: AcknowledgementLost in ["hot-document", "swarm"] by [Liveness];
    a_range_off_by_one: RangeOffByOne in ["reader-only", "ferry"] by [Liveness, Traffic];
    a_position_off_by_one: PositionOffByOne in ["satellite"] by [Liveness, Silence];
    dependencies_ignored: DepsIgnored in ["hot-document", "satellite", "swarm"] by [Causality, Frontier];
    never_silent: NeverSilent in ["hot-document", "satellite"] by [Liveness, Silence];
    an_equal_peer_unknown: EqualUnknown in ["two-shops", "hot-document"] by [Silence];
    a_frontier_unread: FrontierUnread in ["satellite", "roaming-phones"] by [Traffic];
    room_ignored: RoomIgnored in ["two-day-outage"] by [Bounds] after large;
    provenance_off: ProvenanceOff in ["hot-document"] by [Atomicity, Replay, Convergence];
    provenance_by_arrival: ProvenanceByArrival in ["hot-document", "two-day-outage"] by [Replay];
    a_journal_row_left_out: JournalRowLeftOut in ["two-shops"] by [Stream];
    a_head_left_out: HeadLeftOut in ["hot-document", "two-day-outage"] by [Causality];
    checksums_unchecked: SumUnchecked in ["swarm"] by [Damage];
    damage_that_is_left: DamageLeft in ["rotten-row"] by [Liveness];
    a_row_built_anew_without_its_newest_change: RebuiltShort in ["rotten-row"] by [Convergence, Replay, Values];
    an_assertion_that_is_false_under_faults: PartingAsserted in ["satellite"] by [Panic];
    steps_without_end: WorkUnbounded in ["two-day-outage"] by [Work];
}

/// What a member gone bad is there for: each is caught in a seed at least, by the oracle that is meant to.
#[test]
fn a_member_gone_bad_brings_defects_to_light() {
    for (defect, oracle) in [
        (Defect::HeldNotStored, Oracle::Panic),
        (Defect::WorkUnbounded, Oracle::Work),
        (Defect::RolesIgnored, Oracle::Permission),
    ] {
        let caught = (0..SEEDS).filter_map(|seed| violation(&plan("member-gone-bad", seed), Some(defect)));
        let caught: Vec<Oracle> = caught.map(|violation| violation.oracle).take(1).collect();
        assert_eq!(caught, [oracle], "{defect:?}");
    }
}

#[test]
fn every_defect_and_every_oracle_has_its_canary() {
    for defect in Defect::ALL {
        assert_eq!(CANARIES.iter().filter(|canary| canary.defect == defect).count(), 1, "{defect:?}");
    }
    for oracle in Oracle::ALL.into_iter().filter(|oracle| *oracle != Oracle::Assertion) {
        assert!(CANARIES.iter().any(|canary| canary.oracles == [oracle]), "no canary is for {oracle:?} alone");
    }
}

#[test]
fn an_assertion_of_the_scenario_that_is_false_is_told() {
    let mut plan = plan("two-shops", 0);
    assert_eq!(violation(&plan, None), None);
    let (name, over) = ("nothing was written".to_owned(), Over::Node { space: 0 });
    plan.assertions.push(Assertion { name, expression: "size(writes) == 0".to_owned(), over });
    assert_eq!(violation(&plan, None).map(|violation| violation.oracle), Some(Oracle::Assertion));
}

/// Each row is what the entries give on its own node, and they are not the same: nobody can say who is right.
#[test]
fn two_rows_that_are_both_what_their_entries_give_are_kept_and_told() {
    let on = Guard::set(Defect::LoserDropped);
    let mut world = World::new(91, 2);
    let space = world.found_space("disputed");
    let put = |text: &str| [Write::Put { value: Json::parse(text.as_bytes()).expect("JSON"), base: None }];
    world.connect(0, 1);
    for id in ["a", "b", "c"] {
        world.write(0, space, "x", id, put(r#"{"n":0}"#)).expect("written");
    }
    world.settle();
    world.disconnect(0, 1);
    for node in [0, 1] {
        world.write(node, space, "x", "b", put(&format!(r#"{{"n":{}}}"#, node + 1))).expect("written");
    }
    world.connect(0, 1);
    // They go on comparing, ever more seldom.
    world.pass(Duration::from_secs(600));
    let (a, b) = (world.space(0, space), world.space(1, space));
    assert_eq!(a.frontier, b.frontier);
    assert_ne!(a.state, b.state);
    for (node, status) in [&a, &b].into_iter().enumerate() {
        let peer = world.engine(1 - node).node();
        assert_eq!(status.disputed, [("x".to_owned(), "b".to_owned(), peer)], "node {node}");
        assert_eq!((status.care.repaired, status.frozen.len()), (0, 0), "node {node}");
    }
    // Without the defect one of them finds that its row is not what its entries give.
    drop(on);
    world.restart(0);
    world.restart(1);
    world.connect(0, 1);
    world.settle();
    let (a, b) = (world.space(0, space), world.space(1, space));
    assert_eq!((a.frontier, a.state), (b.frontier, b.state));
    assert_eq!((a.care.repaired + b.care.repaired, a.disputed.len(), b.disputed.len()), (1, 0, 0));
}

#[test]
fn a_defect_is_on_on_its_own_thread_alone() {
    let _on = Guard::set(Defect::HeadLeftOut);
    let elsewhere = std::thread::spawn(|| Defect::ALL.into_iter().any(tombolo_crdt::defect::is));
    assert!(!elsewhere.join().expect("it does not panic"));
}
