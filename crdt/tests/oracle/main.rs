//! The live state against Automerge 0.12, over generated histories of several nodes that each keep both: transactions
//! of Automerge and JSON writes of ours, merged in any causal order, in part, and twice.
//!
//! A long run, in release mode:
//! `TOMBOLO_ORACLE_OPERATIONS=10000000 cargo test --release -p tombolo-crdt --test oracle -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a failing seed and a skipped test are told")]

mod choices;
mod compare;
mod edits;
mod history;
mod javascript;
mod trace;
mod tree;
mod typing;
mod view;
mod writes;

use choices::Choices;
use history::Tally;

impl Tally {
    fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.changes += other.changes;
        self.operations += other.operations;
        self.conflicts += other.conflicts;
        self.unanswered += other.unanswered;
    }
}

/// Histories among which one such panic is taken for bad luck.
const AUTOMERGES_OWN_ONE_IN: u64 = 1000;

/// Histories from consecutive seeds until so many operations are made. A failing seed is printed first.
fn histories(first: u64, operations: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in first.. {
        match std::panic::catch_unwind(|| compare::run(&mut Choices::Seed(seed))) {
            Ok(one) => tally.add(one),
            Err(panic) if compare::is_automerges_own(&*panic) => tally.unanswered += 1,
            Err(panic) => {
                eprintln!("seed {seed} after {tally:?}");
                std::panic::resume_unwind(panic)
            }
        }
        if tally.operations >= operations {
            break;
        }
    }
    assert!(tally.unanswered <= 1 + tally.histories / AUTOMERGES_OWN_ONE_IN, "{tally:?}");
    tally
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

#[test]
fn the_live_state_is_what_automerge_shows() {
    let tally = histories(setting("TOMBOLO_ORACLE_SEED", 0), 8_000);
    assert!(tally.conflicts > tally.histories, "concurrent writes meet: {tally:?}");
}

#[test]
#[ignore = "as long as TOMBOLO_ORACLE_OPERATIONS says"]
fn the_live_state_is_what_automerge_shows_for_long() {
    let tally = histories(setting("TOMBOLO_ORACLE_SEED", 1 << 32), setting("TOMBOLO_ORACLE_OPERATIONS", 1_000_000));
    println!("{tally:?}");
    assert!(tally.conflicts > tally.histories, "concurrent writes meet: {tally:?}");
}

/// As the coverage-guided target makes them (`crdt/fuzz`).
#[test]
fn bytes_make_histories_too() {
    let mut tally = Tally::default();
    for seed in 0..40 {
        let mut choices = Choices::Seed(seed);
        let bytes: Vec<u8> = (0..300).map(|_| choices.below(256) as u8).collect();
        tally.add(compare::run(&mut Choices::Bytes(&bytes)));
    }
    assert!(tally.operations > 500, "{tally:?}");
}

/// The oracle notices what is wrong on purpose.
#[cfg(feature = "defects")]
#[test]
fn deliberate_defects_are_caught() {
    use tombolo_crdt::defect::{Defect, Guard};
    for defect in [
        Defect::LoserDropped,
        Defect::IncrementTwice,
        Defect::IncrementMiscounted,
        Defect::TombstoneByLive,
        Defect::DeletionForgets,
        Defect::ProvenanceByArrival,
    ] {
        let guard = Guard::set(defect);
        let caught = std::panic::catch_unwind(|| histories(0, 8_000));
        drop(guard);
        assert!(caught.is_err(), "{defect:?}");
    }
}
