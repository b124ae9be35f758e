//! What a member gone bad leaves behind: within bounds, and without effect on others.

use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{FeedId, SpaceId};
use tombolo_node::store::Reading;

use super::fault::Fault;
use super::ledger::Ledger;
use super::survivors::Survivor;
use crate::outcome::{Oracle, Stats};
use crate::plan::{self, Plan};
use crate::world::EPOCH_MILLIS;

/// How far a write may be from the clock it was made by: retries of clients, and readings that follow one another.
const SLACK_MILLIS: u64 = 60_000;

/// A store keeps no feed of which it holds nothing: such feeds cost nothing to make.
pub(super) fn feeds((node, engine): Survivor<'_>, store: &Reading, space: SpaceId) -> Result<(), Fault> {
    let unreadable = |error| Fault::unreadable(&error);
    let Some(row) = store.space(space).map_err(unreadable)? else { return Ok(()) };
    let held = engine.held_by_feed(space);
    let holds = |id: FeedId| held.iter().any(|held| held.feed == id.to_string());
    for (id, feed) in store.feeds(row.space_no).map_err(unreadable)? {
        if feed.seq == 0 && !holds(id) {
            let fault = Fault::new(Oracle::Bounds, "a feed of which nothing is held", id.to_string());
            return Err(fault.at(node));
        }
    }
    Ok(())
}

/// Refused entries move no clock: no write of the plan says a later time than its nodes' clocks did.
pub(super) fn clocks(plan: &Plan, ledger: &Ledger) -> Result<(), Fault> {
    let is_bad = |fault: &plan::PlannedFault| matches!(fault.fault, plan::Fault::GoneBad { .. });
    if !plan.faults.iter().any(is_bad) {
        return Ok(());
    }
    let latest = latest_millis(plan);
    for record in ledger.records.iter().filter(|record| record.write.is_some()) {
        let millis = record.entry.hlc.millis();
        if record.verdict == Verdict::Applied && millis > latest {
            let detail = format!("{} says {millis}, no clock said more than {latest}", ledger.name(record));
            return Err(Fault::new(Oracle::Permission, "a clock was moved by who may not", detail));
        }
    }
    Ok(())
}

/// What the clock says that is furthest ahead, when a run is over.
fn latest_millis(plan: &Plan) -> u64 {
    let length = u64::try_from((plan.duration + plan.patience).as_millis()).unwrap_or(u64::MAX);
    let drifted = |ppm: i32| length / 1_000 * u64::from(ppm.unsigned_abs()) / 1_000;
    let ahead = plan.nodes.iter().map(|node| node.clock_offset_ms.unsigned_abs() + drifted(node.clock_drift_ppm));
    let jumps = plan.faults.iter().map(|fault| match fault.fault {
        plan::Fault::ClockJump { by_ms, .. } => by_ms.unsigned_abs(),
        _ => 0,
    });
    let off = ahead.max().unwrap_or(0).saturating_add(jumps.fold(0, u64::saturating_add));
    (EPOCH_MILLIS + SLACK_MILLIS).saturating_add(length).saturating_add(off)
}

/// Counts what was refused, and what is held in the end.
pub(super) fn count(group: &[Survivor<'_>], space: SpaceId, ledger: &Ledger, stats: &mut Stats) {
    let refused = ledger.records.iter().filter(|record| record.verdict != Verdict::Applied).count();
    stats.count("oracle: entries refused", refused as u64);
    let held = group.iter().filter_map(|(_, engine)| engine.held(space)).map(|(entries, _)| entries as u64);
    stats.count("oracle: entries held in the end", held.sum());
}
