//! The QUIC lane: whole nodes but for their sockets, disks and clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{fault, mesh, write_everywhere};
use tombolo_sim::outcome::{Oracle, Outcome, RunOptions, Verdict};
use tombolo_sim::plan::{Fault, Plan, Unsynced};
use tombolo_sim::quic;
use tombolo_sim::trace::What;

/// Connections of two nodes when everybody reconnects in the end.
const LAST: u64 = 1;

fn held(plan: &Plan) -> Outcome {
    let outcome = quic::run(plan, RunOptions::default());
    assert_eq!(outcome.verdict, Verdict::Held, "{:#?}", outcome.stats);
    outcome
}

#[test]
fn two_nodes_converge() {
    let mut plan = mesh(1, 2);
    write_everywhere(&mut plan, 40);
    let stats = held(&plan).stats;
    assert_eq!((stats.acknowledged, stats.connections), (40, 1 + LAST));
    assert!(stats.bytes_transferred > 0 && stats.frames > 40, "{stats:?}");
}

#[test]
fn loss_doubles_disorder_and_damage_do_not_matter() {
    let mut plan = mesh(2, 3);
    for link in &mut plan.links {
        (link.loss_ppm, link.duplicate_ppm, link.corrupt_ppm) = (100_000, 50_000, 20_000);
        link.bandwidth = 100_000;
    }
    write_everywhere(&mut plan, 60);
    let stats = held(&plan).stats;
    for what in ["datagram lost", "datagram doubled", "datagram damaged"] {
        assert!(stats.hits.get(what).is_some_and(|count| *count > 10), "{what}: {:?}", stats.hits);
    }
    assert_eq!(stats.acknowledged, 60);
}

#[test]
fn a_partition_of_ten_minutes_heals() {
    let mut plan = mesh(3, 3);
    plan.duration = Duration::from_secs(900);
    write_everywhere(&mut plan, 60);
    fault(&mut plan, 60, 660, Fault::Cut { from: vec![0], to: vec![1, 2], one_way: false });
    let stats = held(&plan).stats;
    assert!(stats.connections > 6, "connections are made anew: {stats:?}");
    assert_eq!(stats.acknowledged, 60);
}

#[test]
fn a_crashed_node_comes_back() {
    let mut plan = mesh(4, 3);
    plan.duration = Duration::from_secs(120);
    write_everywhere(&mut plan, 120);
    for (node, at) in [(0, 20), (1, 50), (2, 51)] {
        fault(
            &mut plan,
            at,
            at + 15,
            Fault::Crash { node, unsynced: Unsynced::Kept, in_commit: None, in_repair: None },
        );
    }
    let stats = held(&plan).stats;
    assert_eq!(stats.hits.get("crash"), Some(&3), "{stats:?}");
    assert!(stats.connections > 6, "{stats:?}");
    assert_eq!(stats.acknowledged + stats.unanswered, 120);
}

#[test]
fn connections_move_with_a_dialler_and_are_dialled_anew_to_whom_was_dialled() {
    let mut plan = mesh(5, 2);
    write_everywhere(&mut plan, 60);
    fault(&mut plan, 20, 20, Fault::Readdress { node: 0 });
    let stats = held(&plan).stats;
    assert_eq!((stats.acknowledged, stats.connections), (60, 1 + LAST), "{stats:?}");

    let mut plan = mesh(5, 2);
    plan.duration = Duration::from_secs(180);
    write_everywhere(&mut plan, 60);
    fault(&mut plan, 20, 20, Fault::Readdress { node: 1 });
    let stats = held(&plan).stats;
    assert_eq!((stats.acknowledged, stats.connections), (60, 2 + LAST), "{stats:?}");
}

#[test]
fn resets_half_open_ends_pauses_slow_readers_and_clogs_pass() {
    let mut plan = mesh(6, 3);
    plan.duration = Duration::from_secs(400);
    write_everywhere(&mut plan, 100);
    fault(&mut plan, 20, 20, Fault::Reset { from: vec![0], to: vec![1, 2] });
    fault(&mut plan, 50, 50, Fault::HalfOpen { node: 1 });
    fault(&mut plan, 80, 140, Fault::Pause { node: 2 });
    fault(&mut plan, 150, 200, Fault::SlowReader { node: 0, bytes_per_second: 0 });
    fault(&mut plan, 210, 240, Fault::SlowReader { node: 1, bytes_per_second: 2_000 });
    fault(&mut plan, 250, 262, Fault::Clog { from: vec![0], to: vec![1] });
    fault(&mut plan, 270, 300, Fault::Slow { from: vec![0], to: vec![1, 2], factor: 20 });
    fault(&mut plan, 310, 330, Fault::Lossy { from: vec![0], to: vec![1, 2], loss_ppm: 400_000 });
    fault(&mut plan, 335, 390, Fault::Cut { from: vec![0], to: vec![1], one_way: true });
    let stats = held(&plan).stats;
    for what in ["a connection was reset", "an end forgot a connection", "datagram held back", "datagram cut off"] {
        assert!(stats.hits.contains_key(what), "{what}: {:?}", stats.hits);
    }
    assert_eq!(stats.acknowledged + stats.unanswered, 100);
}

#[test]
fn disks_and_clocks_may_fail() {
    let mut plan = mesh(7, 3);
    plan.duration = Duration::from_secs(200);
    plan.nodes[1].clock_offset_ms = 86_400_000;
    plan.nodes[2].clock_drift_ppm = 500;
    write_everywhere(&mut plan, 100);
    fault(&mut plan, 20, 40, Fault::DiskFull { node: 0 });
    fault(&mut plan, 50, 50, Fault::DiskError { node: 1, after: 3 });
    fault(&mut plan, 60, 90, Fault::DiskSlow { node: 2, factor: 50 });
    fault(&mut plan, 100, 130, Fault::ClockJump { node: 0, by_ms: -3_600_000 });
    fault(&mut plan, 140, 160, Fault::Restore { node: 1, taken: Duration::from_secs(120) });
    let stats = held(&plan).stats;
    assert_eq!(stats.hits.get("a backup was restored"), Some(&1), "{stats:?}");
}

#[test]
fn equal_plans_end_alike() {
    let mut plan = mesh(8, 4);
    for link in &mut plan.links {
        (link.loss_ppm, link.duplicate_ppm, link.corrupt_ppm, link.bandwidth) = (50_000, 20_000, 10_000, 200_000);
    }
    plan.duration = Duration::from_secs(180);
    write_everywhere(&mut plan, 150);
    fault(&mut plan, 20, 80, Fault::Cut { from: vec![0], to: vec![1, 2, 3], one_way: false });
    fault(&mut plan, 90, 100, Fault::Crash { node: 2, unsynced: Unsynced::Kept, in_commit: None, in_repair: None });
    fault(&mut plan, 120, 120, Fault::Readdress { node: 0 });
    let (first, second) = (held(&plan), held(&plan));
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.stats.steps, second.stats.steps);
    plan.noise += 1;
    assert_ne!(held(&plan).hash, first.hash, "another noise, another end");
}

#[test]
fn who_is_cut_off_for_good_is_no_survivor() {
    let mut plan = mesh(9, 3);
    plan.survivors = vec![0, 2];
    write_everywhere(&mut plan, 30);
    fault(&mut plan, 10, 60, Fault::Cut { from: vec![1], to: vec![0, 2], one_way: false });
    held(&plan);
}

#[test]
fn survivors_that_get_no_time_violate_liveness() {
    let mut plan = mesh(10, 2);
    write_everywhere(&mut plan, 10);
    plan.patience = Duration::from_millis(500);
    fault(&mut plan, 5, 60, Fault::Cut { from: vec![0], to: vec![1], one_way: false });
    let Verdict::Violated(violation) = quic::run(&plan, RunOptions::default()).verdict else { panic!("it held") };
    assert_eq!((violation.oracle, violation.place.as_str()), (Oracle::Liveness, "did not converge"));
}

#[test]
fn every_frame_that_arrives_on_record_was_sent_there() {
    let mut plan = mesh(11, 3);
    write_everywhere(&mut plan, 30);
    fault(&mut plan, 30, 35, Fault::Crash { node: 1, unsynced: Unsynced::Kept, in_commit: None, in_repair: None });
    let outcome = quic::run(&plan, RunOptions { record: true });
    let (mut sent, mut arrived) = (BTreeMap::new(), 0);
    for event in outcome.trace.expect("recorded").events {
        match event.what {
            What::Sent { message, to, .. } => drop(sent.insert(message, (event.node, to))),
            What::Received { message, from } => {
                let (sender, to) = sent.remove(&message).expect("sent before, and received once");
                assert_eq!((sender, Some(to)), (Some(from), event.node));
                arrived += 1;
            }
            What::Lost { message } => assert!(sent.remove(&message).is_some(), "lost once"),
            _ => {}
        }
    }
    assert!(arrived > 100, "{arrived}");
    assert_eq!(sent.len(), 0, "all arrived or were lost: {sent:?}");
}
