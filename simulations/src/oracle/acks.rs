//! Durability: what was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{FeedId, Receipt, SpaceId};
use tombolo_node::engine::{Engine, Output, Outputs, Reply, WriteOutcome};

use super::fault::Fault;
use super::ledger::Ledger;
use super::writes::Asked;
use crate::outcome::Oracle;
use crate::plan::NodeNo;

/// An acknowledged write.
#[derive(Clone, Debug)]
pub(super) struct Ack {
    pub(super) node: NodeNo,
    pub(super) space: usize,
    /// The entry; `None`: it was answered that nothing changed.
    pub(super) receipt: Option<Receipt>,
    /// Whether the node has lost its memory since: what nobody else has is gone.
    excused: bool,
}

/// Everything that was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Acks {
    pub(super) writes: BTreeMap<u32, Ack>,
    /// Writes that were answered with a refusal and nothing else.
    pub(super) refused: BTreeSet<u32>,
    /// Per process and space the last acknowledged position of each feed.
    last: BTreeMap<(NodeNo, usize), BTreeMap<FeedId, u64>>,
    /// Nodes that lost their memory once: they may do a write twice.
    forgetful: BTreeSet<NodeNo>,
}

/// What an outcome says was written: one entry, or nothing.
fn receipt_of(outcome: &WriteOutcome) -> Result<Option<Receipt>, Fault> {
    let written = outcome.writes.iter().filter_map(|write| write.as_ref().ok());
    let mut receipts: Vec<Option<Receipt>> = written.filter(|write| write.changed).map(|write| write.receipt).collect();
    receipts.dedup();
    match receipts.as_slice() {
        [] => Ok(None),
        [Some(receipt)] => Ok(Some(*receipt)),
        _ => {
            let detail = format!("one write was answered with the receipts {receipts:?}");
            Err(Fault::new(Oracle::Atomicity, "one write in several entries", detail))
        }
    }
}

impl Acks {
    /// An answer to a planned write.
    pub(super) fn answered(&mut self, no: u32, node: NodeNo, space: usize, reply: &Reply) -> Result<(), Fault> {
        let outcome = match reply {
            Reply::Written(Ok(outcome)) if outcome.writes.iter().all(Result::is_ok) => outcome,
            _ => {
                if !self.writes.contains_key(&no) {
                    self.refused.insert(no);
                }
                return Ok(());
            }
        };
        self.refused.remove(&no);
        let receipt = receipt_of(outcome)?;
        if let Some(receipt) = receipt {
            let last = self.last.entry((node, space)).or_default().entry(receipt.feed).or_default();
            *last = receipt.seq.max(*last);
        }
        self.writes.insert(no, Ack { node, space, receipt, excused: false });
        debug_assert!(!self.refused.contains(&no), "what was acknowledged counts as refused no more");
        Ok(())
    }

    /// What a step acknowledges is in the store by then.
    pub(super) fn stepped(engine: &Engine, outputs: &Outputs) -> Result<(), Fault> {
        let mut reading = None;
        for output in &outputs.list {
            let Output::Reply(_, Reply::Written(Ok(outcome))) = output else { continue };
            let Some(receipt) = receipt_of(outcome)? else { continue };
            if reading.is_none() {
                reading = engine.reader().reading().ok();
            }
            let stored = reading.as_ref().map(|reading| reading.entry_journal(receipt.feed, receipt.seq));
            if let Some(Ok(None)) = stored {
                let detail = format!("entry {receipt} was acknowledged and is not in the store");
                return Err(Fault::new(Oracle::Durability, "acknowledged before it was stored", detail));
            }
        }
        Ok(())
    }

    /// A process was started on what its disk kept: everything it had acknowledged is there. O(feeds it wrote).
    pub(super) fn crashed(&self, node: NodeNo, engine: &Engine, spaces: &[SpaceId]) -> Result<(), Fault> {
        let reading = engine.reader().reading().map_err(|error| Fault::unreadable(&error).at(node))?;
        for ((_, space), feeds) in self.last.range((node, 0)..=(node, usize::MAX)) {
            let frontier = spaces.get(*space).and_then(|space| engine.frontier(*space));
            for (feed, seq) in feeds {
                let settled = frontier.map_or(0, |frontier| frontier.seq(*feed));
                let stored = reading.entry_journal(*feed, *seq).map_err(|error| Fault::unreadable(&error).at(node))?;
                if settled < *seq || stored.is_none() {
                    let detail = format!("entry {feed}-{seq} was acknowledged; the feed ends at {settled}");
                    return Err(Fault::new(Oracle::Durability, "lost in a crash", detail).at(node));
                }
            }
        }
        Ok(())
    }

    /// A process was started on a damaged disk: it may lack anything.
    pub(super) fn forgot(&mut self, node: NodeNo) {
        self.forgetful.insert(node);
        for ack in self.writes.values_mut().filter(|ack| ack.node == node) {
            ack.excused = true;
        }
        self.last.retain(|(at, _), _| *at != node);
    }

    /// A process was started on an older disk: it may lack what is not on that, unless somebody else has it, whose
    /// frontier must not shrink. O(writes it acknowledged).
    pub(super) fn restored(&mut self, node: NodeNo, engine: &Engine) -> Result<(), Fault> {
        self.forgetful.insert(node);
        let reading = engine.reader().reading().map_err(|error| Fault::unreadable(&error).at(node))?;
        self.last.retain(|(at, _), _| *at != node);
        for ack in self.writes.values_mut().filter(|ack| ack.node == node) {
            let Some(receipt) = ack.receipt else { continue };
            let stored = reading.entry_journal(receipt.feed, receipt.seq);
            if stored.map_err(|error| Fault::unreadable(&error).at(node))?.is_none() {
                ack.excused = true;
                continue;
            }
            let last = self.last.entry((node, ack.space)).or_default().entry(receipt.feed).or_default();
            *last = receipt.seq.max(*last);
        }
        Ok(())
    }

    /// In the end: what a survivor acknowledged is in every store, applied, and comes from one entry.
    pub(super) fn quiet(&self, space: usize, survivors: &[NodeNo], ledger: &Ledger) -> Result<(), Fault> {
        let acks = self.writes.iter().filter(|(_, ack)| ack.space == space);
        for (no, ack) in acks.filter(|(_, ack)| survivors.contains(&ack.node)) {
            let Some(receipt) = ack.receipt else { continue };
            let lost = |place, detail: String| Err(Fault::new(Oracle::Durability, place, detail).at(ack.node));
            match ledger.find(receipt.feed, receipt.seq) {
                None if ack.excused => {}
                None => return lost("an acknowledged write is lost", format!("write {no}, entry {receipt}")),
                Some(record) if record.write != Some(*no) => {
                    return lost("a receipt names another write", format!("write {no}, entry {receipt}"));
                }
                Some(record) if record.verdict != Verdict::Applied => {
                    // No rule changes while a plan runs: what its author accepted, everybody has to.
                    let detail = format!("write {no}, entry {receipt}: {}", record.verdict.name());
                    return lost("an acknowledged write is refused", detail);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// No write is in two entries, unless its node forgot that it had done it.
    pub(super) fn once(&self, ledger: &Ledger, asked: &BTreeMap<u32, Asked>) -> Result<(), Fault> {
        let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
        for (at, record) in ledger.records.iter().enumerate() {
            let Some(no) = record.write else { continue };
            let Some(first) = seen.insert(no, at).and_then(|first| ledger.records.get(first)) else { continue };
            if asked.get(&no).is_some_and(|asked| self.forgetful.contains(&asked.node)) {
                continue;
            }
            let detail = format!("write {no} is in {} and in {}", ledger.name(first), ledger.name(record));
            let apart = !first.entities().any(|entity| record.entities().any(|other| other == entity));
            let (oracle, place) = match apart {
                true => (Oracle::Atomicity, "one write in several entries"),
                false => (Oracle::Durability, "a write was done twice"),
            };
            return Err(Fault::new(oracle, place, detail));
        }
        Ok(())
    }
}
