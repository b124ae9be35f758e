//! Cuts what comes after the violation.

use std::time::Duration;

use super::Search;
use crate::plan::Plan;

/// Halvings when looking for the earliest end: a 2^12th of the duration is near enough.
const HALVINGS_MAX: u32 = 12;

impl Search<'_> {
    /// Ends the plan at the violation if it still happens then, else as early as it does. How long survivors may take
    /// to converge is left alone: with less patience another failure could look like this one.
    pub(super) fn cut_tail(&mut self) {
        let at = self.violation.at;
        if at < self.plan.duration {
            // The run ends with the violation, so what comes later has no part in it; but an end that comes at the same
            // moment may come first.
            let _ = self.attempt(until(&self.plan, at))
                || self.attempt(until(&self.plan, at + Duration::from_millis(1)))
                || self.attempt(later_than(&self.plan, at));
        }
        let last = last_moment(&self.plan);
        self.attempt(until(&self.plan, last));
        let (mut short, mut long) = (Duration::ZERO, self.plan.duration);
        for _ in 0..HALVINGS_MAX {
            assert!(short <= long, "what is too short lies before what is long enough");
            let middle = short + (long - short) / 2;
            if self.exhausted || middle == short {
                break;
            }
            if self.attempt(until(&self.plan, middle)) {
                long = self.plan.duration;
            } else {
                short = middle;
            }
        }
    }
}

/// The last moment at which something is planned.
fn last_moment(plan: &Plan) -> Duration {
    let writes = plan.writes.iter().map(|write| write.at);
    writes.chain(plan.faults.iter().map(|fault| fault.until)).max().unwrap_or_default()
}

/// The plan as far as a moment.
fn until(plan: &Plan, end: Duration) -> Plan {
    let mut plan = later_than(plan, end);
    plan.duration = plan.duration.min(end);
    for fault in &mut plan.faults {
        fault.until = fault.until.min(plan.duration);
    }
    debug_assert!(plan.writes.iter().all(|write| write.at <= end), "nothing is written after the end");
    plan
}

/// The plan without what begins after a moment.
fn later_than(plan: &Plan, end: Duration) -> Plan {
    let mut plan = plan.clone();
    plan.writes.retain(|write| write.at <= end);
    plan.faults.retain(|fault| fault.at <= end);
    plan
}
