//! Goal: whatever a loss of power leaves of what was not synced, at whichever operation of a commit or of a repair, the
//! node opens, holds what it acknowledged, nothing half, and goes on. And so it does when an operation fails or the disk is
//! full.
//! Method: every operation of a small workload; `CRASH_DRAWS=n` draws n images per random way of losing.

use tombolo_sim::crashes::{Report, Workload, Wrong, exhaust, exhaust_errors, exhaust_quotas};

/// Images per random way of losing.
fn draws(default: u64) -> u64 {
    std::env::var("CRASH_DRAWS").map_or(default, |draws| draws.parse().expect("a number"))
}

fn held(report: Result<Report, Wrong>) -> Report {
    let report = report.expect("the workload works without trouble");
    println!("{report}");
    assert_eq!(report.failed_points, 0, "{report}");
    report
}

#[test]
fn a_founder_survives_a_crash_at_any_operation() {
    let report = held(exhaust(&Workload::founder(1).thorough(draws(1), 16)));
    assert!(report.points > 100 && report.images > report.points, "{report}");
    assert!(report.landed > 0, "no crash fell between the sync and the answer: {report}");
    assert!(report.repair_images > 100, "{report}");
}

#[test]
fn a_member_survives_a_crash_at_any_operation() {
    let report = held(exhaust(&Workload::member(2).thorough(draws(1), 0)));
    assert!(report.points > 100 && report.images > report.points && report.landed > 0, "{report}");
}

#[test]
fn a_process_goes_on_when_any_operation_fails_once() {
    for workload in [Workload::founder(3), Workload::member(4)] {
        let report = held(exhaust_errors(&workload));
        assert!(report.failed > 100 && report.images > 100, "{report}");
    }
}

#[test]
fn a_process_goes_on_when_the_disk_was_full_at_any_block() {
    let report = held(exhaust_quotas(&Workload::founder(5)));
    assert!(report.failed > 10, "{report}");
}
