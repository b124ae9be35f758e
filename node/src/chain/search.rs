//! The search for the newest changes of entities of which no row can be believed: a journal is read backwards.
//!
//! It costs a read of every entry it comes over, and whatever was never written is looked for to the journal's
//! beginning. So it is made off the engine's thread, in pieces, and once for all entities in doubt.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entry::{Body, Entry};

use crate::store::{JournalKind, Reading, StoreError};

/// Collection and id.
pub type Name = (String, String);

/// Journal positions read in one piece: some three milliseconds.
const PIECE_POSITIONS: usize = 1_024;
/// Bytes of entries after which a piece ends before that: as many as so many positions have where each is one change.
const PIECE_BYTES: usize = 512 << 10;

/// Positions of a journal that cannot be read, and may have changed anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub count: u64,
    /// The highest of them.
    pub position: u64,
    /// Why that cannot be read.
    pub error: StoreError,
}

impl Unread {
    /// Takes note of one more.
    pub fn note(unread: &mut Option<Self>, position: u64, error: StoreError) {
        match unread {
            Some(known) if known.position > position => known.count += 1,
            Some(known) => *known = Self { count: known.count + 1, position, error },
            None => *unread = Some(Self { count: 1, position, error }),
        }
    }
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    space_no: u32,
    /// Positions above it have been read, down to where it ends.
    below: u64,
    end: u64,
    missing: BTreeSet<Name>,
    found: BTreeMap<Name, u64>,
    unread: Option<Unread>,
}

impl Search {
    /// For the newest changes of some entities, from a journal position backwards to the one behind `end`.
    #[must_use]
    pub const fn new(space_no: u32, names: BTreeSet<Name>, from: u64, end: u64) -> Self {
        Self { space_no, below: from, end, missing: names, found: BTreeMap::new(), unread: None }
    }

    /// Reads a piece. Whether the search is over: all are found, or the journal is at its end.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot be read. A damaged position is none: see [`Search::unread`].
    pub fn step(&mut self, reading: &Reading) -> Result<bool, StoreError> {
        let mut bytes = 0;
        for _ in 0..PIECE_POSITIONS {
            if self.is_over() || bytes >= PIECE_BYTES {
                break;
            }
            match names_at(reading, self.space_no, self.below) {
                Ok((names, length)) => {
                    bytes += length;
                    for name in names {
                        if self.missing.remove(&name) {
                            self.found.insert(name, self.below);
                        }
                    }
                }
                Err(error @ StoreError::Corrupt { .. }) => Unread::note(&mut self.unread, self.below, error),
                Err(error) => return Err(error),
            }
            debug_assert!(self.below > self.end, "the search is not over");
            self.below -= 1;
        }
        debug_assert!(self.found.keys().all(|name| !self.missing.contains(name)), "what is found is not looked for");
        Ok(self.is_over())
    }

    fn is_over(&self) -> bool {
        self.missing.is_empty() || self.below <= self.end
    }

    /// Positions read next lie at or below it.
    #[must_use]
    pub const fn below(&self) -> u64 {
        self.below
    }

    /// Journal positions of newest changes, as far as they are found.
    #[must_use]
    pub const fn found(&self) -> &BTreeMap<Name, u64> {
        &self.found
    }

    /// Positions that it came over and could not read.
    #[must_use]
    pub const fn unread(&self) -> Option<&Unread> {
        self.unread.as_ref()
    }
}

/// The entities that the entry at a journal position has changed, and the entry's bytes.
///
/// # Errors
/// [`StoreError::Corrupt`]: that cannot be told; any other: the store cannot be read.
pub fn names_at(reading: &Reading, space_no: u32, position: u64) -> Result<(Vec<Name>, usize), StoreError> {
    let lost = || StoreError::corrupt("journal", format!("position {position} is missing"));
    let at = reading.journal(space_no, position)?.ok_or_else(lost)?;
    if at.kind != JournalKind::Applied {
        return Ok((Vec::new(), 0));
    }
    let row = reading.entry(at.feed, at.seq)?.ok_or_else(lost)?;
    let entry = Entry::decode(&row.bytes).map_err(|error| StoreError::corrupt("entries", error.to_string()))?;
    let Body::Data(changes) = entry.body else { return Ok((Vec::new(), row.bytes.len())) };
    Ok((changes.into_iter().map(|change| (change.collection, change.id)).collect(), row.bytes.len()))
}
