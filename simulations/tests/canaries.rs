//! Goal: every oracle notices what it is there for. Each deliberate defect of the product is caught in some scenario of the
//! library, by an oracle that is meant to catch it; the same plan without the defect holds.
//! Method: the first lane, seed after seed, until one speaks.
//! `cargo test --release -p tombolo-sim --features defects --test canaries`

use std::path::Path;

use tombolo_crdt::defect::{Defect, Guard};
use tombolo_sim::outcome::{Oracle, RunOptions, Verdict, Violation};
use tombolo_sim::plan::{Assertion, Over, Plan};
use tombolo_sim::scenario::Scenario;
use tombolo_sim::world;

/// A defect, and who must notice it where.
struct Canary {
    defect: Defect,
    /// Names of scenarios of the library, tried in turn for each seed.
    scenarios: &'static [&'static str],
    /// Any of these must speak first: they are what the defect breaks.
    oracles: &'static [Oracle],
}

/// Seeds tried per canary, from 0.
const SEEDS: u64 = 12;

fn plan(scenario: &str, seed: u64) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{scenario}.toml"));
    let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
    scenario.plan(seed)
}

fn violation(plan: &Plan) -> Option<Violation> {
    match world::run(plan, RunOptions::default()).verdict {
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
                let plan = plan(scenario, seed);
                let guard = Guard::set(self.defect);
                let caught = violation(&plan);
                drop(guard);
                let Some(caught) = caught else { continue };
                if !self.oracles.contains(&caught.oracle) {
                    others.push(format!("{scenario}, seed {seed}: {caught:?}"));
                    continue;
                }
                let sound = world::run(&plan, RunOptions::default()).verdict;
                assert_eq!(sound, Verdict::Held, "{scenario}, seed {seed}: without {:?}", self.defect);
                return;
            }
        }
        let expected = self.oracles;
        panic!("{:?}: {SEEDS} seeds of {:?}, and none of {expected:?} spoke; others: {others:#?}", self.defect, self.scenarios);
    }
}

macro_rules! canaries {
    ($($name:ident: $defect:ident in [$($scenario:literal),*] by [$($oracle:ident),*];)*) => {
        const CANARIES: &[Canary] = &[$(Canary {
            defect: Defect::$defect,
            scenarios: &[$($scenario),*],
            oracles: &[$(Oracle::$oracle),*],
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
    a_reply_before_the_commit_is_durable: ReplyBeforeDurable in ["power-loss", "swarm"] by [Durability];
    a_feed_row_left_out: FeedRowLeftOut in ["power-loss", "swarm"] by [Durability, Frontier, Panic];
    held_entries_not_stored: HeldNotStored in ["swarm"] by [Frontier, Liveness, Durability, Bounds];
    held_entries_counted_into_the_frontier: HeldCounted in ["swarm", "satellite"] by [Frontier, Panic];
    an_epoch_used_again: EpochReused in ["restored-backup", "cloned-node"] by [Frontier, Durability, Liveness, Convergence];
    a_loser_dropped_on_arrival: LoserDropped in ["hot-document", "swarm"] by [Convergence, Values, Replay];
    roles_ignored: RolesIgnored in ["reader-only"] by [Permission];
    half_a_transaction: HalfTransaction in ["transfers", "swarm"] by [Atomicity];
    a_losing_map_copied_into_the_winner: LosingMapCopied in ["swarm", "hot-document"] by [Values, Resurrection];
    a_tombstone_by_live_operations: TombstoneByLive in ["delete-against-update", "swarm"] by [Values];
    a_deletion_that_forgets: DeletionForgets in ["delete-against-update", "swarm"] by [Resurrection, Convergence];
    an_increment_that_counts_twice: IncrementTwice in ["swarm", "hot-document"] by [Counters, Convergence];
    a_retry_carried_out_again: RetryRepeated in ["swarm", "power-loss"] by [Counters, Durability];
    acknowledgements_lost: AcknowledgementLost in ["swarm", "two-day-outage"] by [Liveness];
    a_range_off_by_one: RangeOffByOne in ["reader-only", "ferry"] by [Liveness, Traffic];
    a_position_off_by_one: PositionOffByOne in ["satellite", "roaming-phones"] by [Liveness, Silence];
    dependencies_ignored: DepsIgnored in ["swarm", "roaming-phones"] by [Causality, Frontier];
    never_silent: NeverSilent in ["two-shops", "ferry"] by [Liveness, Silence];
    a_frontier_unread: FrontierUnread in ["roaming-phones", "satellite"] by [Traffic];
    room_ignored: RoomIgnored in ["thin-link", "mass-reconnect"] by [Bounds];
    provenance_off: ProvenanceOff in ["hot-document", "swarm"] by [Replay, Convergence];
    a_journal_row_left_out: JournalRowLeftOut in ["two-shops", "swarm"] by [Stream];
    a_head_left_out: HeadLeftOut in ["two-day-outage", "swarm"] by [Causality];
    checksums_unchecked: SumUnchecked in ["swarm"] by [Damage];
    an_assertion_that_is_false_under_faults: PartingAsserted in ["swarm", "satellite"] by [Panic];
}

#[test]
fn every_defect_and_every_oracle_has_its_canary() {
    for defect in Defect::ALL {
        assert_eq!(CANARIES.iter().filter(|canary| canary.defect == defect).count(), 1, "{defect:?}");
    }
    for oracle in Oracle::ALL.into_iter().filter(|oracle| *oracle != Oracle::Assertion) {
        assert!(CANARIES.iter().any(|canary| canary.oracles.contains(&oracle)), "{oracle:?} has no canary");
    }
}

#[test]
fn an_assertion_of_the_scenario_that_is_false_is_told() {
    let mut plan = plan("two-shops", 0);
    assert_eq!(violation(&plan), None);
    let (name, over) = ("nothing was written".to_owned(), Over::Node { space: 0 });
    plan.assertions.push(Assertion { name, expression: "size(writes) == 0".to_owned(), over });
    assert_eq!(violation(&plan).map(|violation| violation.oracle), Some(Oracle::Assertion));
}

#[test]
fn a_defect_is_on_on_its_own_thread_alone() {
    let _on = Guard::set(Defect::HeadLeftOut);
    let elsewhere = std::thread::spawn(|| Defect::ALL.into_iter().any(tombolo_crdt::defect::is));
    assert!(!elsewhere.join().expect("it does not panic"));
}
