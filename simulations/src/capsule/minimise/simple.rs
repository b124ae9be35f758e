//! Makes what is left simple: fixed delays, no loss, right clocks, short faults, no gaps.

use std::time::Duration;

use super::Search;
use crate::plan::{Attack, Fault, LinkPlan, NodeNo, NodePlan, Plan, Spread, Unsynced};

/// Faults are not made shorter than this.
const SHORTEST: Duration = Duration::from_millis(1);
/// What stays of a time in which nothing is planned.
const GAP: Duration = Duration::from_secs(1);

impl Search<'_> {
    pub(super) fn simplify(&mut self) {
        self.simplify_links();
        self.simplify_nodes();
        self.change_writes();
        for at in 0..self.plan.faults.len() {
            self.simplify_fault(at);
        }
        self.close_gaps();
    }

    /// Every property at all links at once, else link by link.
    fn simplify_links(&mut self) {
        let changes: [fn(&mut LinkPlan); 4] = [
            |link| link.latency = Spread::fixed(link.latency.p50_us),
            |link| link.bandwidth = 0,
            |link| link.loss_ppm = 0,
            |link| (link.duplicate_ppm, link.corrupt_ppm) = (0, 0),
        ];
        for change in changes {
            if self.change(|plan| plan.links.iter_mut().for_each(change)) {
                continue;
            }
            for at in 0..self.plan.links.len() {
                self.change(|plan| plan.links.get_mut(at).into_iter().for_each(change));
            }
        }
    }

    fn simplify_nodes(&mut self) {
        let changes: [fn(&mut NodePlan); 3] = [
            |node| node.clock_offset_ms = 0,
            |node| node.clock_drift_ppm = 0,
            |node| node.commit = Spread::fixed(node.commit.p50_us),
        ];
        for change in changes {
            if self.change(|plan| plan.nodes.iter_mut().for_each(change)) {
                continue;
            }
            for at in 0..self.plan.nodes.len() {
                self.change(|plan| plan.nodes.get_mut(at).into_iter().for_each(change));
            }
        }
    }

    fn change_writes(&mut self) {
        if !self.change(|plan| plan.writes.iter_mut().for_each(|write| write.retried = false)) {
            for at in 0..self.plan.writes.len() {
                self.change(|plan| plan.writes.get_mut(at).into_iter().for_each(|write| write.retried = false));
            }
        }
    }

    fn simplify_fault(&mut self, at: usize) {
        self.change(|plan| {
            if let Some(Fault::Crash { in_commit, in_repair, unsynced, .. }) = fault(plan, at) {
                (*in_commit, *in_repair, *unsynced) = (None, None, Unsynced::Kept);
            }
        });
        self.change(|plan| {
            if let Some(Fault::Crash { in_repair, .. }) = fault(plan, at) {
                *in_repair = None;
            }
        });
        self.change(|plan| {
            if let Some(Fault::Crash { unsynced, .. }) = fault(plan, at) {
                *unsynced = Unsynced::Kept;
            }
        });
        for from in [true, false] {
            self.narrow(at, from);
        }
        self.fewer_attacks(at);
        while !self.exhausted {
            let shorter = self.change(|plan| {
                if let Some(planned) = plan.faults.get_mut(at) {
                    let half = (planned.until - planned.at) / 2;
                    if half >= SHORTEST {
                        planned.until = planned.at + half;
                    }
                }
            });
            if !shorter {
                break;
            }
        }
    }

    /// Leaves out what a member gone bad does: all but one thing, else one after the other.
    fn fewer_attacks(&mut self, at: usize) {
        let all = attacks(&mut self.plan, at).map(|attacks| attacks.clone()).unwrap_or_default();
        if all.len() < 2 {
            return;
        }
        for one in &all {
            let only = |plan: &mut Plan| attacks(plan, at).into_iter().for_each(|kept| *kept = vec![*one]);
            if self.change(only) {
                return;
            }
        }
        for one in &all {
            self.change(|plan| attacks(plan, at).into_iter().for_each(|kept| kept.retain(|attack| attack != one)));
        }
    }

    /// Leaves out nodes of one side of a fault.
    fn narrow(&mut self, at: usize, from: bool) {
        let mut nth = 0;
        while let Some(side) = side(&mut self.plan, at, from) {
            if side.len() < 2 || nth >= side.len() {
                break;
            }
            let narrower = self.change(|plan| {
                if let Some(side) = self::side(plan, at, from) {
                    side.remove(nth);
                }
            });
            if !narrower {
                nth += 1;
            }
        }
    }

    /// Closes gaps of more than a second between what is planned, all at once, else one by one.
    fn close_gaps(&mut self) {
        let all = gaps(&self.plan);
        if self.change(|plan| all.iter().rev().for_each(|(begin, by)| earlier(plan, *begin, *by))) {
            return;
        }
        for (begin, by) in all.into_iter().rev() {
            self.change(|plan| earlier(plan, begin, by));
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut candidate = self.plan.clone();
        change(&mut candidate);
        self.attempt(candidate)
    }
}

fn fault(plan: &mut Plan, at: usize) -> Option<&mut Fault> {
    plan.faults.get_mut(at).map(|planned| &mut planned.fault)
}

fn attacks(plan: &mut Plan, at: usize) -> Option<&mut Vec<Attack>> {
    match fault(plan, at)? {
        Fault::GoneBad { attacks, .. } => Some(attacks),
        _ => None,
    }
}

fn side(plan: &mut Plan, at: usize, first: bool) -> Option<&mut Vec<NodeNo>> {
    match fault(plan, at)? {
        Fault::Cut { from, to, .. }
        | Fault::Clog { from, to }
        | Fault::Slow { from, to, .. }
        | Fault::Lossy { from, to, .. }
        | Fault::Reset { from, to }
        | Fault::Replay { from, to } => Some(if first { from } else { to }),
        _ => None,
    }
}

/// Times in which nothing is planned: where they begin, and by how much they are longer than [`GAP`].
fn gaps(plan: &Plan) -> Vec<(Duration, Duration)> {
    let mut moments: Vec<Duration> = plan.writes.iter().map(|write| write.at).collect();
    for planned in &plan.faults {
        moments.extend([planned.at, planned.until]);
        if let Fault::Restore { taken, .. } = planned.fault {
            moments.push(taken);
        }
    }
    moments.extend([Duration::ZERO, plan.duration]);
    moments.sort_unstable();
    assert!(moments.len() >= 2, "a plan begins and ends");
    let pairs = moments.windows(2).filter_map(|pair| match pair {
        [one, next] if *next - *one > GAP => Some((*one, *next - *one - GAP)),
        _ => None,
    });
    pairs.collect()
}

/// Everything after `begin` happens so much earlier.
fn earlier(plan: &mut Plan, begin: Duration, by: Duration) {
    let moved = |at: &mut Duration| {
        if *at > begin {
            *at = at.saturating_sub(by);
        }
    };
    plan.writes.iter_mut().for_each(|write| moved(&mut write.at));
    for planned in &mut plan.faults {
        moved(&mut planned.at);
        moved(&mut planned.until);
        if let Fault::Restore { taken, .. } = &mut planned.fault {
            moved(taken);
        }
    }
    moved(&mut plan.duration);
}
