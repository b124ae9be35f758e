//! What was done to a file since the last sync, so that it can be said what a loss of power would leave of it.
//!
//! The file itself holds the new bytes; the log holds the old ones. Undone backwards, every change finds its new bytes
//! in the file again, so no byte is kept twice.

use std::collections::BTreeMap;
use std::ops::Range;

use super::content::{BLOCK, Content};
use crate::Dice;
use crate::plan::Unsynced;

/// Bytes that reach the disk whole or not at all.
pub(super) const SECTOR: usize = 512;

const _: () = assert!(BLOCK.is_multiple_of(SECTOR), "a block is whole sectors");

/// A change, with where its old bytes lie in [`Log::old`].
#[derive(Clone, Debug)]
enum Change {
    Write {
        offset: usize,
        old: Range<usize>,
    },
    /// `old` is what was cut off.
    Length {
        before: usize,
        old: Range<usize>,
    },
}

/// A change as it was made, where [`Change`] has what was there before it.
enum Redo {
    Write { offset: usize, new: Vec<u8> },
    Length(usize),
}

/// Changes that no sync has made durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    changes: Vec<Change>,
    old: Vec<u8>,
    /// Sectors whose new bytes a failed sync has dropped without a word, with the bytes that are on the disk. Reads see
    /// the new bytes; no later sync brings them to the disk, until they are written again.
    dropped: BTreeMap<usize, [u8; SECTOR]>,
}

fn sectors(offset: usize, length: usize) -> Range<usize> {
    offset / SECTOR..(offset + length).div_ceil(SECTOR)
}

impl Log {
    /// Whether a loss of power would change nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.dropped.is_empty()
    }

    fn keep(&mut self, content: &Content, range: Range<usize>) -> Range<usize> {
        let from = self.old.len();
        let length = range.len();
        content.append_to(range, &mut self.old);
        assert_eq!(self.old.len() - from, length, "all that is written over is kept");
        from..self.old.len()
    }

    /// `range` is about to be written over.
    pub(super) fn write(&mut self, content: &Content, mut range: Range<usize>) {
        if !self.dropped.is_empty() {
            // A sector goes to the disk as reads see it, with what was dropped of it.
            range = range.start / SECTOR * SECTOR..range.end.next_multiple_of(SECTOR).min(content.len());
        }
        let old = self.keep(content, range.clone());
        self.changes.push(Change::Write { offset: range.start, old });
    }

    /// The length is about to be changed.
    pub(super) fn length(&mut self, content: &Content, len: usize) {
        let before = content.len();
        let old = self.keep(content, len.min(before)..before);
        self.changes.push(Change::Length { before, old });
    }

    /// Everything is durable but what was dropped and not written again.
    pub(super) fn synced(&mut self) {
        if !self.dropped.is_empty() {
            for change in &self.changes {
                if let Change::Write { offset, old } = change {
                    for sector in sectors(*offset, old.len()) {
                        self.dropped.remove(&sector);
                    }
                }
            }
        }
        self.changes.clear();
        self.old.clear();
    }

    /// A sync has failed: what was written is dropped, as Linux does it. Lengths are the file system's own affair: they
    /// wait for the next sync.
    pub(super) fn sync_failed(&mut self, content: &Content) {
        let mut base = content.clone();
        self.undo(&mut base);
        for change in &self.changes {
            let Change::Write { offset, old } = change else { continue };
            for sector in sectors(*offset, old.len()) {
                let (base, dropped) = (&base, &mut self.dropped);
                dropped.entry(sector).or_insert_with(|| {
                    let mut bytes = [0; SECTOR];
                    base.read(sector * SECTOR, &mut bytes);
                    bytes
                });
            }
        }
        self.changes.retain(|change| matches!(change, Change::Length { .. }));
    }

    fn undo(&self, content: &mut Content) -> Vec<Redo> {
        let mut redo = Vec::with_capacity(self.changes.len());
        for change in self.changes.iter().rev() {
            redo.push(match change {
                Change::Write { offset, old } => {
                    let mut new = vec![0; old.len()];
                    content.read(*offset, &mut new);
                    content.write(*offset, &self.old[old.clone()]);
                    Redo::Write { offset: *offset, new }
                }
                Change::Length { before, old } => {
                    let len = content.len();
                    content.set_len(*before);
                    content.write(before - old.len(), &self.old[old.clone()]);
                    Redo::Length(len)
                }
            });
        }
        assert_eq!(redo.len(), self.changes.len(), "whatever is undone can be done again");
        redo.reverse();
        redo
    }

    /// What a loss of power would leave of `content`. O(what was written since the last sync).
    pub(super) fn left(&self, content: &Content, unsynced: Unsynced, dice: &mut Dice) -> Content {
        let mut left = content.clone();
        if unsynced == Unsynced::Kept || self.is_empty() {
            return left;
        }
        let some = matches!(unsynced, Unsynced::Subset | Unsynced::Torn);
        let redo = self.undo(&mut left);
        for (sector, bytes) in &self.dropped {
            // The end of the file may lie within the sector, or before it.
            let offset = sector * SECTOR;
            let length = left.len().saturating_sub(offset).min(SECTOR);
            if length > 0 && !(some && dice.once_in(2)) {
                left.write(offset, &bytes[..length]);
            }
        }
        if !some {
            return left;
        }
        for change in redo {
            match change {
                Redo::Length(len) if dice.once_in(2) => left.set_len(len),
                Redo::Length(_) => {}
                Redo::Write { offset, new } if unsynced == Unsynced::Torn => tear(&mut left, offset, &new, dice),
                Redo::Write { offset, new } if dice.once_in(2) => left.write(offset, &new),
                Redo::Write { .. } => {}
            }
        }
        left
    }
}

/// Writes any sectors of `data`.
fn tear(left: &mut Content, offset: usize, data: &[u8], dice: &mut Dice) {
    let end = offset + data.len();
    for sector in sectors(offset, data.len()) {
        let (from, until) = (offset.max(sector * SECTOR), end.min((sector + 1) * SECTOR));
        assert!(from < until, "a sector that is written has a part of the data");
        if dice.once_in(2) {
            left.write(from, &data[from - offset..until - offset]);
        }
    }
}
