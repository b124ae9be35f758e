//! Causality: what an entry says its author had seen, against what the author's node held around the step.

use std::collections::BTreeMap;

use tombolo_crdt::frontier::Frontier;
use tombolo_node::engine::Engine;

use super::fault::Fault;
use super::ledger::{Ledger, Record};
use super::model::Cut;
use crate::outcome::Oracle;
use crate::plan::NodeNo;

/// Positions of frontiers that are kept, all together (about 60 bytes each); later writes are not checked.
const POSITIONS_MAX: usize = 400_000;

/// What a node held around the step that carried out a write.
#[derive(Clone, Debug)]
pub(super) struct Around {
    node: NodeNo,
    space: usize,
    before: Frontier,
    /// `None`: the node died in between, so far as is known.
    after: Option<Frontier>,
}

/// By write.
#[derive(Debug, Default)]
pub(super) struct Causality {
    around: BTreeMap<u32, Around>,
    /// Writes whose step is not over, per process.
    open: BTreeMap<NodeNo, Vec<u32>>,
    positions: usize,
}

impl Causality {
    /// A write is given to a node that holds `before`.
    pub(super) fn asked(&mut self, write: u32, node: NodeNo, space: usize, before: &Frontier) {
        if self.positions > POSITIONS_MAX {
            return;
        }
        self.positions += before.len();
        let around = Around { node, space, before: before.clone(), after: None };
        // Asked again after a crash: what it held the first time is in its past all the same.
        self.around.entry(write).or_insert(around);
        self.open.entry(node).or_default().push(write);
    }

    /// A step is over that has taken in all that was given.
    pub(super) fn stepped(&mut self, node: NodeNo, engine: &Engine, spaces: &[tombolo_crdt::SpaceId]) {
        for write in self.open.remove(&node).unwrap_or_default() {
            let Some(around) = self.around.get_mut(&write) else { continue };
            let after = spaces.get(around.space).and_then(|space| engine.frontier(*space));
            self.positions += after.map_or(0, Frontier::len);
            around.after = after.cloned();
        }
    }

    /// The process is gone with whatever it was doing.
    pub(super) fn died(&mut self, node: NodeNo) {
        self.open.remove(&node);
    }

    /// The node has an older store: nothing is known of the writes it was asked for.
    pub(super) fn forgot(&mut self, node: NodeNo) {
        self.died(node);
        self.around.retain(|_, around| around.node != node);
    }

    /// What a write saw if it saw exactly what its node held before and after.
    pub(super) fn exact(&self, write: u32, ledger: &Ledger) -> Option<Cut> {
        let around = self.around.get(&write)?;
        let before = ledger.cut(&around.before);
        (ledger.cut(around.after.as_ref()?) == before).then_some(before)
    }

    /// Checks every entry whose step was seen. O(entries × feeds).
    pub(super) fn check(&self, ledger: &Ledger) -> Result<u64, Fault> {
        let mut checked = 0;
        for record in &ledger.records {
            let around = record.write.and_then(|write| self.around.get(&write));
            if let Some(around) = around {
                let before = ledger.cut(&around.before);
                let after = around.after.as_ref().map(|after| ledger.cut(after));
                check(ledger, record, &before, after.as_deref()).map_err(|fault| fault.at(around.node))?;
                checked += 1;
            }
        }
        assert!(checked <= ledger.records.len() as u64, "an entry is checked once");
        Ok(checked)
    }
}

fn check(ledger: &Ledger, record: &Record, before: &[u64], after: Option<&[u64]>) -> Result<(), Fault> {
    let before = ledger.applied(before);
    for (number, feed) in ledger.feeds.iter().enumerate() {
        let seen = |cut: &[u64]| cut.get(number).copied().unwrap_or(0);
        let past = seen(&record.past);
        let name = || format!("{} (write {})", ledger.name(record), record.write.unwrap_or(0));
        if past < seen(&before) {
            let detail = format!("{}: its node held {}-{}, its past ends at {past}", name(), feed.id, seen(&before));
            return Err(Fault::new(Oracle::Causality, "an entry names less than was seen", detail));
        }
        if after.is_some_and(|after| past > seen(after)) {
            let detail = format!("{}: its past holds {}-{past}, which its node did not", name(), feed.id);
            return Err(Fault::new(Oracle::Causality, "an entry names more than was seen", detail));
        }
    }
    Ok(())
}
