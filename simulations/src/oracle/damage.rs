//! Damage: what a node with flipped bits still shows is what somebody wrote, or an error.

use std::ops::ControlFlow;

use tombolo_crdt::entity::EntityState;
use tombolo_crdt::{ChainHash, ChangeHash, FeedId, SpaceId};
use tombolo_node::engine::Engine;

use super::fault::Fault;
use super::ledger::Ledger;
use super::replay;
use super::writes::Name;
use crate::outcome::Oracle;
use crate::plan::NodeNo;

/// Rows and entries that are remembered of one damaged store.
const ROWS_MAX: usize = 4_096;

/// What a damaged store showed, to be judged when its history is known.
#[derive(Debug)]
pub(super) struct Seen {
    node: NodeNo,
    space: SpaceId,
    rows: Vec<(Name, Vec<ChangeHash>, [u8; 32])>,
    entries: Vec<(FeedId, u64, ChainHash, blake3::Hash)>,
}

impl Seen {
    /// Reads what can be read. Errors are what damage should give.
    pub(super) fn of(node: NodeNo, space: SpaceId, engine: &Engine) -> Self {
        let mut seen = Self { node, space, rows: Vec::new(), entries: Vec::new() };
        let Ok(reading) = engine.reader().reading() else { return seen };
        let Ok(Some(row)) = reading.space(space) else { return seen };
        let rows = &mut seen.rows;
        // A scan that ends early has met an error: what came before it counts.
        let _ = reading.visit_rows(row.space_no, None, "", None, |collection, id, bytes| {
            if let Ok(state) = EntityState::decode(bytes) {
                let name = (collection.to_owned(), id.to_owned());
                rows.push((name, state.heads().to_vec(), state.contribution(collection, id)));
            }
            if rows.len() < ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for (feed, settled) in reading.feeds(row.space_no).unwrap_or_default() {
            for seq in 1..=settled.seq {
                if seen.entries.len() >= ROWS_MAX {
                    return seen;
                }
                if let Ok(Some(entry)) = reading.entry(feed, seq) {
                    seen.entries.push((feed, seq, entry.chain, blake3::hash(&entry.bytes)));
                }
            }
        }
        seen
    }

    /// As if other content had been read.
    #[cfg(test)]
    pub(super) fn falsify_row(&mut self) {
        self.rows.iter_mut().for_each(|(_, _, contribution)| contribution.reverse());
    }

    /// As if other bytes had been read.
    #[cfg(test)]
    pub(super) fn falsify_entry(&mut self) {
        self.entries.iter_mut().for_each(|(.., hash)| *hash = blake3::hash(b"flipped"));
    }

    /// Which space it is.
    pub(super) fn space(&self) -> SpaceId {
        self.space
    }

    /// Holds it against the history of the survivors. What they do not know is not judged.
    pub(super) fn check(&self, ledger: &Ledger) -> Result<(), Fault> {
        for (feed, seq, chain, hash) in &self.entries {
            let Some(known) = ledger.find(*feed, *seq) else { continue };
            if known.chain != *chain || blake3::hash(&known.entry.encode()) != *hash {
                let detail = format!("entry {feed}-{seq}");
                return Err(Fault::new(Oracle::Damage, "a damaged entry is served", detail).at(self.node));
            }
        }
        let histories = replay::links(ledger)?;
        for (name, heads, contribution) in &self.rows {
            let Some(links) = histories.get(name) else { continue };
            let Some(state) = replay::at(links, heads) else { continue };
            if state.contribution(&name.0, &name.1) != *contribution {
                let fault = Fault::new(Oracle::Damage, "a damaged row is served", "it is not what its heads say");
                return Err(fault.of(&name.0, &name.1).at(self.node));
            }
        }
        Ok(())
    }
}
