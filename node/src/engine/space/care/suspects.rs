//! Entities in doubt, and where the newest change of each is.
//!
//! The journal is read backwards until every suspect's newest change is found: that is a look (`looks.rs`), off the
//! engine's thread. What is written meanwhile is read here: it is a suspect's newest change then.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::NodeId;

use crate::chain::{Search, Unread, names_at};
use crate::engine::space::care::Name;
use crate::store::{Reading, StoreError};

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
    /// It has been searched for: without a newest change nothing that can be read ever changed it.
    searched: bool,
    /// How often its changes were folded while it was written.
    pub(super) outgrown: u32,
    /// Its row has been looked at.
    looked: bool,
}

/// What has been read of the journal, for all suspects.
#[derive(Debug)]
struct Read {
    /// Everything from where the first of them was searched for up to here. It reaches the end before anything is
    /// built.
    top: u64,
    /// What of it, and of what the searches came over, cannot be read.
    unread: Option<Unread>,
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
        let suspect = Suspect { doubt, newest: None, searched: false, outgrown: 0, looked: false };
        self.all.insert(name.clone(), suspect);
        debug_assert!(self.all.len() <= SUSPECTS_MAX, "suspects are bounded");
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

    /// Reads what has been written to the journal of a space, which ends at `end`, since the last time. Whether that is
    /// all.
    pub(super) fn read_on(&mut self, reading: &Reading, space_no: u32, end: u64) -> Result<bool, StoreError> {
        let Self { all, read } = self;
        let read = read.get_or_insert(Read { top: end, unread: None });
        assert!(read.top <= end, "a journal only grows");
        let (last, mut bytes) = (end.min(read.top.saturating_add(SLICE_POSITIONS as u64)), 0);
        while read.top < last && bytes < SLICE_BYTES {
            read.top += 1;
            match names_at(reading, space_no, read.top) {
                Ok((names, length)) => {
                    bytes += length;
                    for name in names {
                        if let Some(suspect) = all.get_mut(&name) {
                            suspect.newest = suspect.newest.max(Some(read.top));
                        }
                    }
                }
                // Whether it changed one of them is told by other means, or cannot be known any more.
                Err(error @ StoreError::Corrupt { .. }) => Unread::note(&mut read.unread, read.top, error),
                Err(error) => return Err(error),
            }
        }
        Ok(read.top == end)
    }

    /// Those that have to be searched for, and from where.
    pub(super) fn to_search(&self) -> Option<(BTreeSet<Name>, u64)> {
        let names: BTreeSet<Name> =
            self.all.iter().filter(|(_, suspect)| !suspect.searched).map(|(name, _)| name.clone()).collect();
        let from = self.read.as_ref()?.top;
        (!names.is_empty()).then_some((names, from))
    }

    /// A search for some of them is over.
    pub(super) fn searched(&mut self, names: &BTreeSet<Name>, search: &Search) {
        for name in names {
            if let Some(suspect) = self.all.get_mut(name) {
                suspect.searched = true;
                suspect.newest = suspect.newest.max(search.found().get(name).copied());
            }
        }
        if let (Some(read), Some(unread)) = (&mut self.read, search.unread()) {
            Unread::note(&mut read.unread, unread.position, unread.error.clone());
        }
    }

    /// The changes of one were folded, and it has been written meanwhile. How often that was so.
    pub(super) fn outgrown(&mut self, name: &Name) -> u32 {
        self.all.get_mut(name).map_or(0, |suspect| {
            suspect.outgrown += 1;
            suspect.outgrown
        })
    }

    /// One that has been searched for.
    pub(super) fn ready(&self) -> Option<Name> {
        self.all.iter().find(|(_, suspect)| suspect.searched).map(|(name, _)| name.clone())
    }

    /// A position behind `newest` that cannot be read and may have changed anything.
    pub(super) fn unread_behind(&self, newest: Option<u64>) -> Option<&Unread> {
        self.read.as_ref()?.unread.as_ref().filter(|unread| Some(unread.position) > newest)
    }

    /// Those there are.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &Name> {
        self.all.keys()
    }
}
