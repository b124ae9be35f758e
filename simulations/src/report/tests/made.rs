//! Runs made by hand or by dice, as a lane would have recorded them.

use std::time::Duration;

use serde_json::json;
use tombolo_crdt::rules::Role;

use crate::Dice;
use crate::outcome::{Oracle, Outcome, Stats, Verdict, Violation};
use crate::plan::{Action, Edit, Fault, NodePlan, Plan, PlannedFault, PlannedWrite, SpacePlan, Spread, Unsynced};
use crate::trace::{Event, Trace, What};

pub(super) fn plan(names: &[&str]) -> Plan {
    let node = |name: &&str| NodePlan {
        name: (*name).to_owned(),
        clock_offset_ms: 0,
        clock_drift_ppm: 0,
        commit: Spread::fixed(500),
    };
    Plan {
        scenario: "by hand".to_owned(),
        seed: 7,
        noise: 7,
        nodes: names.iter().map(node).collect(),
        links: Vec::new(),
        spaces: vec![SpacePlan {
            name: "shop".to_owned(),
            members: (0..names.len()).map(|node| (node, Role::Writer)).collect(),
        }],
        initial: Vec::new(),
        writes: Vec::new(),
        faults: Vec::new(),
        duration: Duration::from_secs(1_800),
        patience: Duration::from_secs(600),
        survivors: (0..names.len()).collect(),
        assertions: Vec::new(),
        left_out: 0,
    }
}

pub(super) fn write(no: u32, node: usize, action: Action) -> PlannedWrite {
    let edits = vec![Edit { collection: "stock".to_owned(), id: format!("item-{}", no % 20), action }];
    PlannedWrite { no, at: Duration::ZERO, node, space: 0, edits, retried: false }
}

pub(super) fn fault(no: u32, from_s: u64, until_s: u64, fault: Fault) -> PlannedFault {
    PlannedFault { no, at: Duration::from_secs(from_s), until: Duration::from_secs(until_s), fault }
}

pub(super) fn at(us: u64, node: usize, what: What) -> Event {
    Event { at: Duration::from_micros(us), node: Some(node), what }
}

pub(super) fn world(us: u64, what: What) -> Event {
    Event { at: Duration::from_micros(us), node: None, what }
}

pub(super) fn sent(message: u64, to: usize, frame: &'static str) -> What {
    What::Sent { message, to, frame: frame.into(), bytes: 100 }
}

pub(super) fn outcome(verdict: Verdict, events: Vec<Event>) -> Outcome {
    Outcome { verdict, hash: [0; 32], stats: Stats::default(), trace: Some(Trace { events }) }
}

pub(super) fn violation(at_us: u64, detail: &str) -> Violation {
    Violation {
        oracle: Oracle::Convergence,
        place: "views differ".to_owned(),
        node: Some(0),
        at: Duration::from_micros(at_us),
        detail: detail.to_owned(),
    }
}

/// Five nodes, 30 minutes, 3,000 messages, some faults, one violation at the end.
pub(super) fn long_run() -> (Plan, Outcome) {
    let mut plan = plan(&["berlin", "lisbon", "oslo", "quito", "ferry"]);
    plan.scenario = "two-day region outage".to_owned();
    plan.faults = vec![
        fault(1, 300, 700, Fault::Cut { from: vec![0], to: vec![1, 2, 3, 4], one_way: false }),
        fault(2, 500, 560, Fault::Crash { node: 2, unsynced: Unsynced::Torn, in_commit: Some(3), in_repair: None }),
        fault(3, 900, 1_100, Fault::SlowReader { node: 4, bytes_per_second: 2_000 }),
        fault(4, 1_000, 1_300, Fault::DiskSlow { node: 3, factor: 20 }),
        fault(5, 1_200, 1_200, Fault::ClockJump { node: 1, by_ms: 31_536_000_000 }),
        fault(6, 1_400, 1_500, Fault::Clog { from: vec![1, 2], to: vec![3, 4] }),
    ];
    let mut run = Made { dice: Dice::new(5), events: Vec::new(), writes: Vec::new(), messages: 0 };
    for burst in 0..200 {
        run.burst(burst);
    }
    run.faults(&plan.faults);
    let end = 1_850_000_000;
    run.events.push(world(1_800_000_000, What::Healed));
    run.events.sort_by_key(|event| event.at);
    let detail = "entity shop/stock/item-7 has view {\"n\":4} at berlin and {\"n\":5} at lisbon under one frontier";
    run.events.push(at(end, 0, What::Violated { oracle: "convergence".to_owned(), detail: detail.to_owned() }));
    plan.writes = run.writes;
    (plan, outcome(Verdict::Violated(violation(end, detail)), run.events))
}

struct Made {
    dice: Dice,
    events: Vec<Event>,
    writes: Vec<PlannedWrite>,
    messages: u64,
}

impl Made {
    /// A write somewhere, and what it makes the nodes say.
    fn burst(&mut self, burst: u32) {
        let start = u64::from(burst) * 9_000_000 + self.dice.below(5_000_000) as u64;
        let (node, no) = (self.dice.below(5), burst + 1);
        let cut = |a: usize, b: usize| (300_000_000..700_000_000).contains(&start) && (a == 0 || b == 0);
        let down = |node: usize| (500_000_000..560_000_000).contains(&start) && node == 2;
        if down(node) {
            return;
        }
        self.writes.push(write(no, node, Action::Patch(json!({"n": no, "note": "blue \"paint\" <5 l>"}))));
        let took = Duration::from_micros(500);
        self.events.push(at(start, node, What::Asked { write: no }));
        self.events.push(at(start + 100, node, What::Stepped { inputs: 1, entries: 1, committed: true, took }));
        let refused = burst.is_multiple_of(17).then(|| "not a writer".to_owned());
        self.events.push(at(start + 600, node, What::Answered { write: no, refused }));
        for hop in 0..15 {
            let (from, to) = (if hop < 4 { node } else { self.dice.below(5) }, self.dice.below(5));
            if from == to || down(from) {
                continue;
            }
            self.messages += 1;
            let frame = ["summary", "ranges", "have", "frontier", "probe"][self.dice.below(5)];
            let leaves = start + 700 + hop * 40_000 + self.dice.below(20_000) as u64;
            let arrives = leaves + 5_000 + self.dice.below(120_000) as u64;
            self.events.push(at(leaves, from, sent(self.messages, to, frame)));
            if cut(from, to) || down(to) {
                self.events.push(world(leaves + 30_000_000, What::Lost { message: self.messages }));
            } else {
                self.events.push(at(arrives, to, What::Received { message: self.messages, from }));
                let step = What::Stepped { inputs: 1, entries: 1, committed: hop.is_multiple_of(3), took };
                self.events.push(at(arrives + 50, to, step));
            }
        }
        self.events.push(at(start + 1_000_000, node, What::Woke));
    }

    fn faults(&mut self, faults: &[PlannedFault]) {
        for planned in faults {
            let us = |time: Duration| u64::try_from(time.as_micros()).expect("short");
            self.events.push(world(us(planned.at), What::FaultBegan { fault: planned.no }));
            if planned.until > planned.at {
                self.events.push(world(us(planned.until), What::FaultEnded { fault: planned.no }));
            }
            if let Fault::Crash { node, .. } = planned.fault {
                let state = "5e1f".repeat(16);
                self.events.push(at(us(planned.at) + 20, node, What::Died));
                self.events.push(at(us(planned.until) + 20, node, What::Started { state }));
                self.events.push(at(
                    us(planned.at) + 90_000,
                    1,
                    What::Closed { peer: 2, reason: "idle timeout".into() },
                ));
                self.events.push(at(us(planned.until) + 90_000, 1, What::Connected { peer: 2 }));
            }
        }
    }
}
