//! The journal: its running hash, and that it leads to every settled entry.

use std::collections::BTreeMap;

use tombolo_crdt::FeedId;
use tombolo_crdt::frontier::Frontier;

use super::{Check, pages};
use crate::store::{JournalRow, SpaceRow, StoreError};

impl Check<'_, '_> {
    /// The running hash of the journal, and that it leads to every settled entry.
    pub(super) fn journal(&mut self, space: &SpaceRow, frontier: &Frontier) -> Result<(), StoreError> {
        // None: the row before cannot be read.
        let mut running = Some([0; 16]);
        let mut reached: BTreeMap<FeedId, u64> = BTreeMap::new();
        let (mut next, mut unread) = (1, false);
        let place = |position: u64| format!("journal position {position} of {}", space.name);
        while next <= space.journal {
            (self.progress)("journal", next, space.journal);
            let page = pages::journal(self.reading, space.space_no, next, space.journal)?;
            if page.first().is_none_or(|(position, _)| *position != next) {
                self.finding(place(next), "is missing");
                return Ok(());
            }
            for (position, row) in page {
                next = position + 1;
                let row = match row {
                    Ok(row) => row,
                    Err(detail) => {
                        self.finding(place(position), detail);
                        (running, unread) = (None, true);
                        continue;
                    }
                };
                self.report.journal += 1;
                let differs = |running: [u8; 16]| {
                    let names = row.entities.clone();
                    JournalRow::next(&running, position, row.kind, row.feed, row.seq, names).running != row.running
                };
                if running.is_some_and(differs) {
                    self.finding(place(position), "its running hash differs");
                }
                running = Some(row.running);
                *reached.entry(row.feed).or_default() += 1;
            }
        }
        if running.is_some_and(|running| running != space.running) {
            self.finding(format!("journal of {}", space.name), "it does not end where the space says");
        }
        for position in frontier.positions().filter(|_| !unread) {
            if reached.get(&position.feed) != Some(&position.seq) {
                self.finding(
                    format!("feed {}", position.feed),
                    "the journal does not lead to each of its entries once",
                );
            }
        }
        Ok(())
    }
}
