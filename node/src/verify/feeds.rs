//! Feeds: chains, seals, verdicts, and that each entry is where its journal position says.

use tombolo_crdt::digest::StateSums;
use tombolo_crdt::entry::{Body, Content};
use tombolo_crdt::feed::{Opening, chain as chain_hash, seal_message};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, FeedId};

use super::{Check, judged, pages};
use crate::store::{EntryRow, FeedRow, SpaceRow, StoreError};

pub(super) fn place(feed: FeedId, seq: u64) -> String {
    format!("entry {feed}-{seq}")
}

impl Check<'_, '_> {
    /// Chains, seals and verdicts of a feed. Returns how many changes its entries applied.
    pub(super) fn feed(
        &mut self,
        space: &SpaceRow,
        id: FeedId,
        row: &FeedRow,
        sums: &mut StateSums,
    ) -> Result<u64, StoreError> {
        let opening = match Opening::decode(&row.opening) {
            Ok(opening) if opening.feed() == id && opening.space == space.space => opening,
            _ => {
                self.finding(format!("feed {id}"), "its opening is not the one its id was made from");
                self.unread = true;
                return Ok(0);
            }
        };
        let mut author = judged::Author::default();
        // None: the entry before cannot be read.
        let mut last = Some(opening.chain());
        let (mut next, mut changes) = (1, 0);
        while next <= row.seq {
            (self.progress)("entries", self.report.entries, 0);
            let page = pages::entries(self.reading, id, next, row.seq)?;
            if page.first().is_none_or(|(seq, _)| *seq != next) {
                self.finding(place(id, next), "is missing");
                self.unread = true;
                return Ok(changes);
            }
            for (seq, entry) in page {
                next = seq + 1;
                match entry {
                    Ok(entry) => {
                        changes += self.entry(space, (&opening, id, seq), &entry, &mut last, sums)?;
                        self.judge(space, (&opening, seq), &entry, &mut author)?;
                    }
                    Err(detail) => {
                        author.lost();
                        self.finding(place(id, seq), detail);
                        self.unread = true;
                        last = None;
                    }
                }
            }
        }
        if last.is_some_and(|last| last != row.chain) {
            self.finding(format!("feed {id}"), "its chain does not end where the feed does");
        }
        self.seals(&opening, row)?;
        Ok(changes)
    }

    /// An entry that comes after the chain hash `last`. Returns how many changes it applied.
    fn entry(
        &mut self,
        space: &SpaceRow,
        (opening, id, seq): (&Opening, FeedId, u64),
        entry: &EntryRow,
        last: &mut Option<ChainHash>,
        sums: &mut StateSums,
    ) -> Result<u64, StoreError> {
        self.report.entries += 1;
        if last.is_some_and(|last| chain_hash(id, seq, last, &entry.bytes) != entry.chain) {
            self.finding(place(id, seq), "its bytes do not give the chain hash that is stored with it");
        }
        *last = Some(entry.chain);
        let mut changes = 0;
        match (Content::decode(&entry.bytes, opening.kind, seq), Verdict::from_code(entry.verdict)) {
            (Ok(Content::Known(content)), Some(verdict)) => {
                if let (Body::Data(of_entry), Verdict::Applied) = (&content.body, verdict) {
                    changes = of_entry.len() as u64;
                }
                if verdict != Verdict::Applied {
                    sums.refuse(id, seq, verdict);
                }
            }
            _ => {
                self.finding(place(id, seq), "it does not decode");
                self.unread = true;
            }
        }
        match self.reading.journal(space.space_no, entry.journal) {
            Ok(Some(at)) if at.feed == id && at.seq == seq => {}
            // That is a finding of its own.
            Err(StoreError::Corrupt { .. }) => {}
            at => {
                at?;
                self.finding(place(id, seq), format!("journal position {} is not its own", entry.journal));
            }
        }
        Ok(changes)
    }

    fn seals(&mut self, opening: &Opening, row: &FeedRow) -> Result<(), StoreError> {
        let id = opening.feed();
        let mut next = 1;
        let mut all = Vec::new();
        loop {
            match self.reading.seal_at_or_after(id, next) {
                Ok(Some((seq, seal))) => {
                    all.push((seq, seal));
                    next = seq + 1;
                }
                Ok(None) => break,
                Err(StoreError::Corrupt { key, detail, .. }) => {
                    let seq = key.strip_prefix(id.as_bytes()).and_then(|seq| seq.try_into().ok());
                    let Some(seq) = seq.map(u64::from_be_bytes).filter(|seq| *seq >= next) else {
                        self.finding(format!("feed {id}"), format!("its seals cannot all be read: {detail}"));
                        break;
                    };
                    self.finding(place(id, seq), format!("its seal cannot be read: {detail}"));
                    next = seq.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        all.extend(row.sealed);
        for (seq, seal) in all {
            let chain = match self.reading.entry_chain(id, seq) {
                // What it seals is a finding of its own.
                Err(StoreError::Corrupt { .. }) => continue,
                chain => chain?.unwrap_or(ChainHash::from_bytes([0; 32])),
            };
            self.report.seals += 1;
            if !seal.verify(opening.node.as_bytes(), &seal_message(id, seq, chain)) {
                self.finding(place(id, seq), "its seal is not its author's signature");
            }
        }
        Ok(())
    }
}
