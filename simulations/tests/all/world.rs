//! Goal: the first lane carries plans out as they say, and the same every time.
//! Method: plans made by hand, from calm to rough.

use std::time::Duration;

use crate::support::{fault, mesh, write_everywhere};
use tombolo_sim::outcome::{RunOptions, Verdict};
use tombolo_sim::plan::{Fault, Plan, Unsynced};
use tombolo_sim::trace::What;
use tombolo_sim::world;

fn held(plan: &Plan) -> tombolo_sim::outcome::Outcome {
    let outcome = world::run(plan, RunOptions::default());
    assert_eq!(outcome.verdict, Verdict::Held, "{:?}", outcome.stats);
    outcome
}

#[test]
fn a_calm_mesh_converges_and_falls_silent() {
    let mut plan = mesh(1, 4);
    write_everywhere(&mut plan, 100);
    let outcome = held(&plan);
    assert_eq!(outcome.stats.acknowledged, 100, "{:?}", outcome.stats);
    assert!(outcome.stats.convergence_us < 5_000_000, "{:?}", outcome.stats);
}

/// How many frames of entries were sent, per entry that a node took from another.
fn sendings(plan: &Plan) -> f64 {
    let outcome = world::run(plan, RunOptions { record: true });
    assert_eq!(outcome.verdict, Verdict::Held);
    let events = outcome.trace.expect("asked for").events;
    let ranges = events.iter().filter(|event| matches!(&event.what, What::Sent { frame, .. } if frame == "ranges"));
    ranges.count() as f64 / (outcome.stats.entries - outcome.stats.acknowledged) as f64
}

#[test]
fn who_gets_entries_from_their_author_is_not_sent_them_by_others_too() {
    let mut plan = mesh(3, 5);
    write_everywhere(&mut plan, 100);
    let each = sendings(&plan);
    assert!(each < 1.3, "every entry was sent {each} times to every node of a mesh");

    // Where there is but one way, that way is taken.
    plan.links.retain(|link| link.to == link.from + 1);
    let each = sendings(&plan);
    assert!(each < 1.1, "every entry was sent {each} times to every node of a line");
}

#[test]
fn the_same_plan_gives_the_same_events() {
    let mut plan = mesh(2, 3);
    write_everywhere(&mut plan, 50);
    fault(&mut plan, 10, 20, Fault::Cut { from: vec![0], to: vec![1, 2], one_way: false });
    let options = RunOptions { record: true };
    let (a, b) = (world::run(&plan, options), world::run(&plan, options));
    assert_eq!(a.trace, b.trace);
    assert_eq!((a.hash, a.verdict, a.stats), (b.hash, b.verdict, b.stats));
}

#[test]
fn a_rough_half_hour_converges() {
    for seed in 0..4 {
        let mut plan = mesh(seed, 5);
        plan.duration = Duration::from_secs(1_800);
        plan.links.iter_mut().for_each(|link| link.loss_ppm = 10_000);
        write_everywhere(&mut plan, 300);
        fault(&mut plan, 100, 400, Fault::Cut { from: vec![0, 1], to: vec![2, 3, 4], one_way: false });
        fault(&mut plan, 450, 500, Fault::Cut { from: vec![3], to: vec![0, 1, 2, 4], one_way: true });
        let crash = |unsynced, in_commit, in_repair| Fault::Crash { node: 2, unsynced, in_commit, in_repair };
        fault(&mut plan, 600, 660, crash(Unsynced::Torn, None, None));
        fault(&mut plan, 700, 760, crash(Unsynced::Subset, Some(3), Some(2)));
        fault(&mut plan, 800, 830, Fault::Pause { node: 1 });
        fault(&mut plan, 900, 950, Fault::Clog { from: vec![4], to: vec![0, 1] });
        fault(&mut plan, 1_000, 1_000, Fault::Reset { from: vec![0, 1, 2, 3, 4], to: vec![0, 1, 2, 3, 4] });
        fault(&mut plan, 1_001, 1_001, Fault::Replay { from: vec![0, 1], to: vec![2, 3] });
        fault(&mut plan, 1_050, 1_050, Fault::HalfOpen { node: 0 });
        fault(&mut plan, 1_100, 1_200, Fault::SlowReader { node: 4, bytes_per_second: 500 });
        fault(&mut plan, 1_250, 1_300, Fault::Restore { node: 0, taken: Duration::from_secs(900) });
        fault(&mut plan, 1_350, 1_400, Fault::DiskFull { node: 3 });
        fault(&mut plan, 1_450, 1_450, Fault::DiskError { node: 2, after: 4 });
        fault(&mut plan, 1_500, 1_600, Fault::Clone { node: 1 });
        fault(&mut plan, 1_600, 1_700, Fault::ClockJump { node: 4, by_ms: 86_400_000 });
        held(&plan);
    }
}
