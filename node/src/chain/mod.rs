//! The history of an entity: its changes, walked backwards from the newest, and folded forward again.
//!
//! Every settled entry keeps, per change, the journal position of the entity's previous change. So an entity's history
//! is a chain through the journal that costs no row of its own. Order along it is the order of this node's journal,
//! in which every change comes after those it depends on.

pub(crate) mod clock;
mod entries;
mod fold;
mod past;
#[cfg(test)]
pub(crate) mod tests;

use tombolo_crdt::entity::Change;
use tombolo_crdt::hash::{Tagged, tag};
use tombolo_crdt::{FeedId, Hlc, Receipt, Revision};

pub use clock::clock_at;
pub use entries::Entries;
pub use fold::{Fold, Needs, fold};
pub use past::{FOLD_BYTES_MAX, FOLD_CHANGES_MAX, Past, PastError, STEP_CHANGES, Until};

use crate::store::{Snapshot, StoreError};
use entries::Whole;

/// Changes that are walked back to find a revision: what a client may be behind. Final with the format.
pub const BASE_STEPS_MAX: usize = 4_096;

/// An entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityKey<'a> {
    /// Local number of its space.
    pub space_no: u32,
    /// Its collection.
    pub collection: &'a str,
    /// Its id.
    pub id: &'a str,
}

/// A change of an entity, as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Journal position of its entry.
    pub journal: u64,
    /// Feed of its entry.
    pub feed: FeedId,
    /// Position of its entry in it.
    pub seq: u64,
    /// Clock of its entry.
    pub hlc: Hlc,
    /// The change.
    pub change: Vec<u8>,
    /// Journal position of the entity's change before it; 0: there is none.
    pub previous: u64,
    /// Hash of the entity's heads after it.
    pub after: [u8; 16],
    /// Entities that its entry changes, this one included.
    pub entities: usize,
}

impl Link {
    /// Its entry.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt { feed: self.feed, seq: self.seq }
    }

    /// Its change, decoded.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: it does not decode, although it was applied.
    pub fn parse(&self) -> Result<Change, StoreError> {
        Change::parse(&self.change, self.feed)
            .map_err(|error| StoreError::corrupt("entries", format!("a change in {}: {error}", self.receipt())))
    }
}

/// The revision of an entity whose heads have this hash: see FORMATS, Digests. Without contracts their version is zeros.
#[must_use]
pub fn revision_of(heads_hash: &[u8; 16]) -> Revision {
    Revision::from_bytes(Tagged::new(tag::REVISION).bytes(heads_hash).bytes(&[0; 32]).finish16())
}

/// Walks an entity's changes backwards.
#[derive(Debug)]
pub struct Chain<'a> {
    snapshot: &'a Snapshot,
    entries: &'a mut Entries,
    key: EntityKey<'a>,
    next: u64,
}

/// The changes of an entity from the one at journal position `newest` backwards. Each costs what [`Entries::link`] says.
#[must_use]
pub fn chain<'a>(snapshot: &'a Snapshot, entries: &'a mut Entries, key: EntityKey<'a>, newest: u64) -> Chain<'a> {
    Chain { snapshot, entries, key, next: newest }
}

/// The change of an entity at a journal position. Two reads of the store, about 5 µs and 0.3 µs per change of the entry.
///
/// # Errors
/// [`StoreError::Corrupt`]: there is none; any other: the store cannot be read.
pub fn link(snapshot: &Snapshot, key: EntityKey<'_>, journal: u64) -> Result<Link, StoreError> {
    Entries::passing().link(snapshot, key, journal)
}

/// The change that an applied entry made to an entity; `None`: it is not here, was refused, or changes others.
///
/// # Errors
/// [`StoreError`]: the store cannot be read, or the entry is damaged.
pub fn link_of(snapshot: &Snapshot, key: EntityKey<'_>, receipt: Receipt) -> Result<Option<Link>, StoreError> {
    let Some(link) = in_entry(snapshot, key, receipt.feed, receipt.seq)? else { return Ok(None) };
    // Another space may have an entity of that name.
    let at = snapshot.journal(key.space_no, link.journal)?;
    Ok(at.filter(|at| (at.feed, at.seq) == (receipt.feed, receipt.seq)).map(|_| link))
}

fn in_entry(snapshot: &Snapshot, key: EntityKey<'_>, feed: FeedId, seq: u64) -> Result<Option<Link>, StoreError> {
    Ok(Whole::read(snapshot, feed, seq)?.and_then(|whole| whole.into_link(key)))
}

impl Iterator for Chain<'_> {
    type Item = Result<Link, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let link = self.entries.link(self.snapshot, self.key, self.next);
        self.next = link.as_ref().map_or(0, |link| link.previous);
        Some(link)
    }
}
