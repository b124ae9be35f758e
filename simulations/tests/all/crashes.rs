//! Goal: whatever a loss of power leaves of what was not synced, at whichever operation of a commit or of a repair, the
//! node opens, holds what it acknowledged, nothing half, and goes on. And so it does when an operation fails or the
//! disk is full; and what a damaged file shows was written. Method: every operation of a small workload, a part of
//! those of others; with `CRASH_DRAWS=n` all of them, and n images per random way of losing; with `CRASH_ROT=n` n
//! damaged files of each kind.

use tombolo_sim::crashes::{Report, Workload, Wrong, exhaust, exhaust_errors, exhaust_quotas, exhaust_rot};
use tombolo_sim::plan::Unsynced;

/// The workload, more or less thoroughly.
fn thorough(workload: Workload, every: u64, repairs_every: u64) -> Workload {
    match std::env::var("CRASH_DRAWS") {
        Ok(draws) => Workload { draws: draws.parse().expect("a number"), every: 1, repairs_every: 4, ..workload },
        Err(_) => Workload { every, repairs_every, ..workload },
    }
}

#[expect(clippy::print_stdout, reason = "numbers for who looks")]
fn held(report: Result<Report, Wrong>) -> Report {
    let report = report.expect("the workload works without trouble");
    println!("{report}");
    assert_eq!(report.failed_points, 0, "{report}");
    report
}

#[test]
fn a_founder_survives_a_crash_at_any_operation() {
    let report = held(exhaust(&thorough(Workload::founder(1), 1, 24)));
    assert!(report.points > 100 && report.images > report.points, "{report}");
    assert!(report.landed > 0, "no crash fell between the sync and the answer: {report}");
    assert!(report.repair_images > 50, "{report}");
}

#[test]
fn a_member_survives_a_crash_at_any_operation() {
    let report = held(exhaust(&thorough(Workload::member(2), 3, 0)));
    assert!(report.points > 50 && report.images > report.points && report.landed > 0, "{report}");
}

#[test]
fn a_file_that_grows_survives_a_crash() {
    let report = held(exhaust(&thorough(Workload::growing(3), 7, 0)));
    assert!(report.grown > 1 && report.images > report.points, "{report}");
}

#[test]
fn a_process_goes_on_when_any_operation_fails_once() {
    for (workload, every) in [(Workload::founder(4), 2), (Workload::member(5), 3)] {
        let report = held(exhaust_errors(&thorough(workload, every, 0)));
        assert!(report.failed > 50 && report.images > 100, "{report}");
    }
}

#[test]
fn a_process_goes_on_when_the_disk_was_full_at_any_block() {
    let report = held(exhaust_quotas(&thorough(Workload::founder(6), 3, 0)));
    assert!(report.failed > 10, "{report}");
}

#[test]
fn a_disk_that_does_not_sync_is_noticed() {
    let workload = Workload { every: 11, lying: true, ..Workload::founder(7) };
    let report = exhaust(&workload).expect("the workload works without trouble");
    let places: Vec<&str> = report.failures.iter().map(|(_, wrong)| wrong.place).collect();
    assert!(places.contains(&"it is neither what it was before the step nor after it"), "{report}");
    let lost = report.failures.iter().filter(|(point, _)| point.unsynced == Some((Unsynced::Lost, 0))).count();
    assert!(
        lost > 0 && report.failures.iter().all(|(point, _)| point.unsynced != Some((Unsynced::Kept, 0))),
        "{report}"
    );
}

#[test]
fn what_a_damaged_file_shows_was_written() {
    let seeds = std::env::var("CRASH_ROT").map_or(10, |seeds| seeds.parse().expect("a number"));
    let report = exhaust_rot(&Workload::founder(8), seeds).expect("the workload works without damage");
    println!("{report}");
    assert_eq!(report.failures, Vec::new(), "{report}");
    assert!(report.refused > 0 && report.told > 0 && report.unharmed > 0, "{report}");
}
