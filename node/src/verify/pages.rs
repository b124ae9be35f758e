//! Pages of entries and of the journal; where something of one cannot be read, position by position.

use std::ops::RangeInclusive;

use tombolo_crdt::FeedId;

use super::{PAGE, PAGE_BYTES};
use crate::store::{EntryRow, JournalRow, Reading, StoreError};

/// Positions, each with its row or why that cannot be read.
pub(super) type Each<T> = Vec<(u64, Result<T, String>)>;

/// The entries of a feed from `next` up to `last`, as many as are read at a time. Empty: `next` is missing.
pub(super) fn entries(reading: &Reading, feed: FeedId, next: u64, last: u64) -> Result<Each<EntryRow>, StoreError> {
    let seqs = next..=last.min(next + PAGE as u64);
    match reading.entries(feed, seqs.clone(), PAGE_BYTES) {
        Err(StoreError::Corrupt { .. }) => each(seqs, |seq| reading.entry(feed, seq), |row| row.bytes.len()),
        page => Ok(sound(page?)),
    }
}

/// The rows of a journal from `next` up to `last`, as many as are read at a time. Empty: there is none any more.
pub(super) fn journal(reading: &Reading, space_no: u32, next: u64, last: u64) -> Result<Each<JournalRow>, StoreError> {
    match reading.journal_range(space_no, next, PAGE) {
        Err(StoreError::Corrupt { .. }) => {
            let positions = next..=last.min(next + PAGE as u64);
            each(positions, |position| reading.journal(space_no, position), |_| 0)
        }
        page => Ok(sound(page?)),
    }
}

fn sound<T>(page: Vec<(u64, T)>) -> Each<T> {
    page.into_iter().map(|(position, row)| (position, Ok(row))).collect()
}

fn each<T>(
    positions: RangeInclusive<u64>,
    read: impl Fn(u64) -> Result<Option<T>, StoreError>,
    size: fn(&T) -> usize,
) -> Result<Each<T>, StoreError> {
    let (mut out, mut bytes) = (Vec::new(), 0);
    for position in positions {
        let row = match read(position) {
            Ok(row) => row.ok_or_else(|| "is missing".to_owned()),
            Err(error @ StoreError::Corrupt { .. }) => Err(format!("cannot be read: {error}")),
            Err(error) => return Err(error),
        };
        bytes += row.as_ref().map_or(0, size);
        out.push((position, row));
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(out)
}
