//! Plans made by hand.
#![allow(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use serde_json::json;
use tombolo_crdt::rules::Role;
use tombolo_sim::plan::{
    Action, Edit, InitialEntity, LinkPlan, NodePlan, Plan, PlannedFault, PlannedWrite, SpacePlan, Spread,
};

/// `count` nodes, all linked, one space, nothing happening for a minute.
pub(crate) fn mesh(seed: u64, count: usize) -> Plan {
    let node = |no| NodePlan {
        name: format!("n{no}"),
        clock_offset_ms: 0,
        clock_drift_ppm: 0,
        commit: Spread { min_us: 200, p50_us: 500, p99_us: 5_000, max_us: 20_000 },
    };
    let pairs = (0..count).flat_map(|from| (from + 1..count).map(move |to| (from, to)));
    let link = |(from, to)| LinkPlan {
        from,
        to,
        latency: Spread { min_us: 5_000, p50_us: 10_000, p99_us: 50_000, max_us: 200_000 },
        bandwidth: 0,
        loss_ppm: 0,
        duplicate_ppm: 0,
        corrupt_ppm: 0,
    };
    let item = |no: u32| InitialEntity {
        space: 0,
        collection: "items".to_owned(),
        id: no.to_string(),
        value: json!({"stock": no}),
    };
    Plan {
        scenario: "by hand".to_owned(),
        seed,
        noise: seed,
        nodes: (0..count).map(node).collect(),
        links: pairs.map(link).collect(),
        spaces: vec![SpacePlan {
            name: "shop".to_owned(),
            members: (0..count).map(|node| (node, Role::Writer)).collect(),
        }],
        initial: (0..50).map(item).collect(),
        writes: Vec::new(),
        faults: Vec::new(),
        duration: Duration::from_secs(60),
        patience: Duration::from_secs(600),
        survivors: (0..count).collect(),
        assertions: Vec::new(),
        left_out: 0,
    }
}

/// `count` puts spread over the plan's time and nodes, over 50 entities.
pub(crate) fn write_everywhere(plan: &mut Plan, count: u32) {
    let nodes = plan.nodes.len();
    for no in 1..=count {
        let at = plan.duration * no / (count + 1);
        let node = (no as usize * 7 + plan.seed as usize) % nodes;
        let id = ((u64::from(no) * 13 + plan.seed) % 50).to_string();
        let value = match no % 3 {
            0 => Action::Put(json!({"name": format!("w{no}"), "by": node})),
            _ => Action::Patch(json!({(format!("f{}", no % 5)): format!("w{no}")})),
        };
        let edits = vec![Edit { collection: "items".to_owned(), id, action: value }];
        plan.writes.push(PlannedWrite { no, at, node, space: 0, edits, retried: no % 2 == 0 });
    }
}

/// A fault with the next number.
pub(crate) fn fault(plan: &mut Plan, at: u64, until: u64, fault: tombolo_sim::plan::Fault) {
    let no = plan.faults.len() as u32 + 1;
    let (at, until) = (Duration::from_secs(at), Duration::from_secs(until));
    plan.faults.push(PlannedFault { no, at, until, fault });
}
