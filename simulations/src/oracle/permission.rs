//! Permission: nothing is applied whose author might not write it, or was not asked to.

use std::collections::BTreeMap;

use tombolo_crdt::NodeId;
use tombolo_crdt::rules::Role;
use tombolo_crdt::verdict::Verdict;

use super::fault::Fault;
use super::ledger::Ledger;
use super::writes::Asked;
use crate::outcome::Oracle;
use crate::plan::{NodeNo, Plan};

/// A member's role; the first founds the space and is its admin.
pub(crate) fn role(plan: &Plan, space: usize, node: NodeNo) -> Option<Role> {
    let members = &plan.spaces.get(space)?.members;
    let (at, (_, role)) = members.iter().enumerate().find(|(_, (member, _))| *member == node)?;
    Some(if at == 0 { Role::Admin } else { *role })
}

/// Every applied entry of a space. Roles stay as they are while a plan runs.
pub(super) fn check(
    plan: &Plan,
    space: usize,
    ledger: &Ledger,
    nodes: &BTreeMap<NodeId, NodeNo>,
    asked: &BTreeMap<u32, Asked>,
) -> Result<(), Fault> {
    for record in ledger.records.iter().filter(|record| record.verdict == Verdict::Applied) {
        let author = ledger.feeds.get(record.feed).map(|feed| feed.author);
        let node = author.and_then(|author| nodes.get(&author).copied());
        let may_write = node.and_then(|node| role(plan, space, node)).is_some_and(Role::may_write);
        if !may_write {
            let detail = format!("{} of {node:?}", ledger.name(record));
            return Err(Fault::new(Oracle::Permission, "applied without permission", detail));
        }
        let meant = record.write.and_then(|no| asked.get(&no)).map(|asked| (asked.node, asked.space));
        if meant.is_some_and(|meant| Some(meant) != node.map(|node| (node, space))) {
            let detail = format!("{} of {node:?} holds a write of {meant:?}", ledger.name(record));
            return Err(Fault::new(Oracle::Permission, "a write of somebody else", detail));
        }
    }
    Ok(())
}
