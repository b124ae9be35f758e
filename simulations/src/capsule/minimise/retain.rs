//! Plans with fewer nodes or spaces: what speaks of those that go goes too, the others get their new numbers.

use crate::plan::{Fault, NodeNo, Over, Plan, PlannedFault};

/// New numbers of what is kept.
struct Numbers(Vec<Option<usize>>);

impl Numbers {
    fn of(keep: &[bool]) -> Self {
        let mut next = 0;
        let number = |kept: &bool| {
            kept.then(|| {
                next += 1;
                next - 1
            })
        };
        Self(keep.iter().map(number).collect())
    }

    fn get(&self, old: usize) -> Option<usize> {
        self.0.get(old).copied().flatten()
    }

    fn some(&self, old: &mut Vec<NodeNo>) -> bool {
        *old = old.iter().filter_map(|no| self.get(*no)).collect();
        !old.is_empty()
    }

    fn one(&self, old: &mut NodeNo) -> bool {
        self.get(*old).map(|new| *old = new).is_some()
    }
}

/// The plan with only the marked nodes. What was written at the others is not written. The result may be impossible;
/// then [`Plan::check`] says so.
pub(super) fn nodes(plan: &Plan, keep: &[bool]) -> Plan {
    let numbers = Numbers::of(keep);
    let mut plan = plan.clone();
    assert_eq!(plan.nodes.len(), keep.len(), "every node is marked or not");
    plan.nodes = super::ddmin::only(&plan.nodes, keep);
    plan.links.retain_mut(|link| numbers.one(&mut link.from) && numbers.one(&mut link.to));
    for space in &mut plan.spaces {
        space.members.retain_mut(|(node, _)| numbers.one(node));
    }
    plan.writes.retain_mut(|write| numbers.one(&mut write.node));
    plan.faults.retain_mut(|planned| fault(planned, &numbers));
    plan.survivors.retain_mut(|node| numbers.one(node));
    plan
}

/// Whether the fault still concerns anybody.
fn fault(planned: &mut PlannedFault, numbers: &Numbers) -> bool {
    match &mut planned.fault {
        Fault::Cut { from, to, .. }
        | Fault::Clog { from, to }
        | Fault::Slow { from, to, .. }
        | Fault::Lossy { from, to, .. }
        | Fault::Reset { from, to }
        | Fault::Replay { from, to } => {
            let (senders, receivers) = (numbers.some(from), numbers.some(to));
            senders && receivers
        }
        Fault::HalfOpen { node }
        | Fault::Readdress { node }
        | Fault::SlowReader { node, .. }
        | Fault::Crash { node, .. }
        | Fault::Pause { node }
        | Fault::ClockJump { node, .. }
        | Fault::DiskFull { node }
        | Fault::DiskError { node, .. }
        | Fault::DiskSlow { node, .. }
        | Fault::BitFlips { node, .. }
        | Fault::RowFlips { node, .. }
        | Fault::Restore { node, .. }
        | Fault::Clone { node }
        | Fault::GoneBad { node, .. } => numbers.one(node),
    }
}

/// The plan with only the marked spaces.
pub(super) fn spaces(plan: &Plan, keep: &[bool]) -> Plan {
    let numbers = Numbers::of(keep);
    let mut plan = plan.clone();
    assert_eq!(plan.spaces.len(), keep.len(), "every space is marked or not");
    plan.spaces = super::ddmin::only(&plan.spaces, keep);
    plan.initial.retain_mut(|initial| numbers.one(&mut initial.space));
    plan.writes.retain_mut(|write| numbers.one(&mut write.space));
    plan.assertions.retain_mut(|assertion| match &mut assertion.over {
        Over::Entity { space, .. } | Over::Node { space } => numbers.one(space),
    });
    plan
}
