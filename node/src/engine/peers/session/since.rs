//! Which feeds moved since a moment that is remembered by its journal position.

use std::collections::BTreeMap;

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};

use crate::engine::peers::transfer::seq_at;
use crate::engine::space::Space;
use crate::store::{JournalKind, Reading, StoreError};

/// Rows of the journal that are read rather than to look at one feed: to look at one takes a search in the feed, of
/// some twenty reads that do not lie side by side.
const ROWS_PER_FEED: u64 = 32;
/// Rows of the journal read at once.
const ROWS_AT_ONCE: usize = 1024;

/// Feeds that moved after the journal position `journal`, and how far each was then. Costs the lesser of what was
/// settled since and what there is; `looked` counts the rows and feeds looked at.
///
/// # Errors
/// The store's, but for what is damaged: then a feed is said to have been less far, and is sent twice.
pub(in crate::engine) fn moved_since(
    reading: &Reading,
    space: &Space,
    journal: u64,
    looked: &mut u64,
) -> Result<BTreeMap<FeedId, u64>, StoreError> {
    let rows = space.row.journal.saturating_sub(journal);
    if rows <= (space.frontier.len() as u64).saturating_mul(ROWS_PER_FEED) {
        match by_journal(reading, space, journal, looked) {
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::error!(space = %space.id, %detail, "the journal is damaged: all feeds are looked at");
            }
            moved => {
                let moved = moved?;
                if let Some(moved) = moved {
                    return Ok(moved);
                }
            }
        }
    }
    by_feeds(reading, space, journal, looked)
}

/// By the rows of the journal; `None`: some are not there.
fn by_journal(
    reading: &Reading,
    space: &Space,
    journal: u64,
    looked: &mut u64,
) -> Result<Option<BTreeMap<FeedId, u64>>, StoreError> {
    let mut moved = BTreeMap::new();
    let mut last = journal;
    while last < space.row.journal {
        let rows = reading.journal_range(space.row.space_no, last + 1, ROWS_AT_ONCE)?;
        *looked += rows.len() as u64;
        for (position, row) in &rows {
            if *position != last + 1 {
                return Ok(None);
            }
            last = *position;
            if matches!(row.kind, JournalKind::Applied | JournalKind::Refused | JournalKind::Rules) {
                let before = row.seq.saturating_sub(1);
                let off = u64::from(before > 0 && defect::is(Defect::PositionOffByOne));
                moved.entry(row.feed).or_insert(before + off);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
    }
    debug_assert!(moved.keys().all(|feed| space.feeds.contains_key(feed)), "what is in the journal is known");
    Ok(Some(moved))
}

/// By looking at every feed. One of which nothing can be read is said to have moved: it costs some bytes, no more.
fn by_feeds(
    reading: &Reading,
    space: &Space,
    journal: u64,
    looked: &mut u64,
) -> Result<BTreeMap<FeedId, u64>, StoreError> {
    let mut moved = BTreeMap::new();
    for position in space.frontier.positions() {
        *looked += 1;
        let at = match reading.entry_journal(position.feed, position.seq) {
            Err(StoreError::Corrupt { .. }) => Some(u64::MAX),
            at => at?,
        };
        if at.is_some_and(|at| at > journal) {
            moved.insert(position.feed, seq_at(reading, position, journal)?);
        }
    }
    Ok(moved)
}
