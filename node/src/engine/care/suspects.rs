//! Entities in doubt, and the search for the newest change of each.
//!
//! The journal is read backwards until every suspect's newest change is found, and forwards as it grows: what is written
//! while a suspect waits for its turn is its newest change then.

use std::collections::BTreeMap;

use tombolo_crdt::NodeId;
use tombolo_crdt::entry::{Body, Entry};

use super::Name;
use crate::store::{JournalKind, Snapshot, StoreError};

/// Entities in doubt at a time; more wait for the next scrub or audit.
const SUSPECTS_MAX: usize = 1_024;
/// Journal positions looked at per slice: some three milliseconds.
const SLICE_POSITIONS: usize = 1_024;
/// Bytes of entries after which a slice ends before that: as many as so many positions have where each is one change.
const SLICE_BYTES: usize = 512 << 10;

/// Why an entity is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Its row's hash does not fit.
    Damaged,
    /// This peer has the same frontier and another row.
    Differs(NodeId),
}

/// An entity in doubt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    pub(super) doubt: Doubt,
    /// Journal position of its newest change, as far as the journal has been read.
    pub(super) newest: Option<u64>,
    /// Its row has been looked at.
    looked: bool,
}

/// What has been read of the journal, for all suspects.
#[derive(Debug)]
struct Read {
    /// Everything above `below` up to here. It reaches the end before anything is built.
    top: u64,
    below: u64,
    /// The highest position that could not be read, and why.
    unread: Option<(u64, String)>,
}

/// The entities in doubt.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    all: BTreeMap<Name, Suspect>,
    read: Option<Read>,
}

impl Suspects {
    /// Takes one in, unless there are too many. Whether it is new.
    pub(super) fn insert(&mut self, name: &Name, doubt: Doubt) -> bool {
        if let Some(suspect) = self.all.get_mut(name) {
            if doubt == Doubt::Damaged {
                suspect.doubt = doubt;
            }
            return false;
        }
        if self.all.len() >= SUSPECTS_MAX {
            return false;
        }
        self.all.insert(name.clone(), Suspect { doubt, newest: None, looked: false });
        if let Some(read) = &mut self.read {
            // For the new one the journal has to be read again.
            read.below = read.top;
        }
        true
    }

    pub(super) fn remove(&mut self, name: &Name) {
        self.all.remove(name);
        if self.all.is_empty() {
            self.read = None;
        }
    }

    pub(super) fn get(&self, name: &Name) -> Option<Suspect> {
        self.all.get(name).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that are asked for the first time.
    pub(super) fn not_looked_at(&mut self) -> Vec<Name> {
        let look = |(name, suspect): (&Name, &mut Suspect)| {
            let looked = std::mem::replace(&mut suspect.looked, true);
            (!looked).then(|| name.clone())
        };
        self.all.iter_mut().filter_map(look).collect()
    }

    /// Reads on in the journal of a space, which ends at `end`. Whether it has been read up to there.
    pub(super) fn search(&mut self, snapshot: &Snapshot, space_no: u32, end: u64) -> Result<bool, StoreError> {
        let Self { all, read } = self;
        let read = read.get_or_insert(Read { top: end, below: end, unread: None });
        let mut bytes = 0;
        for _ in 0..SLICE_POSITIONS {
            if bytes >= SLICE_BYTES {
                break;
            }
            // What has been written since comes first.
            let position = if read.top < end {
                read.top += 1;
                read.top
            } else if read.below > 0 && all.values().any(|suspect| suspect.newest.is_none()) {
                read.below -= 1;
                read.below + 1
            } else {
                break;
            };
            match names_at(snapshot, space_no, position) {
                Ok((names, length)) => {
                    bytes += length;
                    for name in names {
                        if let Some(suspect) = all.get_mut(&name) {
                            suspect.newest = suspect.newest.max(Some(position));
                        }
                    }
                }
                // Whether it changed one of them is told by other means, or cannot be known any more.
                Err(StoreError::Corrupt { detail, .. }) => {
                    if read.unread.as_ref().is_none_or(|(highest, _)| *highest < position) {
                        read.unread = Some((position, detail));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(read.top == end)
    }

    /// One whose newest change is known, or of which it is known that nothing readable ever changed it.
    pub(super) fn ready(&self) -> Option<Name> {
        let all = self.read.as_ref().is_some_and(|read| read.below == 0);
        self.all.iter().find(|(_, suspect)| suspect.newest.is_some() || all).map(|(name, _)| name.clone())
    }

    /// A position behind `newest` that cannot be read and may have changed anything, and why it cannot.
    pub(super) fn unread_behind(&self, newest: Option<u64>) -> Option<&(u64, String)> {
        self.read.as_ref()?.unread.as_ref().filter(|(position, _)| Some(*position) > newest)
    }

    /// Those there are.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &Name> {
        self.all.keys()
    }
}

/// The entities that the entry at a journal position has changed, and the entry's bytes.
fn names_at(snapshot: &Snapshot, space_no: u32, position: u64) -> Result<(Vec<Name>, usize), StoreError> {
    let lost = || StoreError::corrupt("journal", "it is not there");
    let at = snapshot.journal(space_no, position)?.ok_or_else(lost)?;
    if at.kind != JournalKind::Applied {
        return Ok((Vec::new(), 0));
    }
    let row = snapshot.entry(at.feed, at.seq)?.ok_or_else(lost)?;
    let entry = Entry::decode(&row.bytes).map_err(|error| StoreError::corrupt("entries", error.to_string()))?;
    let Body::Data(changes) = entry.body else { return Ok((Vec::new(), row.bytes.len())) };
    Ok((changes.into_iter().map(|change| (change.collection, change.id)).collect(), row.bytes.len()))
}
