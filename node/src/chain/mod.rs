//! The history of an entity: its changes, walked backwards from the newest, and folded forward again.
//!
//! Every settled entry keeps, per change, the journal position of the entity's previous change. So an entity's history
//! is a chain through the journal that costs no row of its own. Order along it is the order of this node's journal,
//! in which every change comes after those it depends on.
//!
//! One walk reads a chain ([`walk`], with a [`Budget`]), and one fold makes a state of what it read ([`Past`] over
//! [`Fold`]). Views of the past, history, blame, rebuilding and verification are made of these two.

pub(crate) mod clock;
mod entries;
mod fold;
mod index;
mod look;
mod past;
mod search;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

use tombolo_crdt::entity::Change;
use tombolo_crdt::hash::{Tagged, tag};
use tombolo_crdt::{FeedId, Hlc, Receipt, Revision};

pub use clock::{ClockAt, clock_at};
pub use entries::Entries;
pub(crate) use entries::has_chain;
pub use fold::{Fold, Needs};
pub use index::{Caught, INDEX_CHANGES_MAX, Index};
pub(crate) use look::{Clocks, Found, What, indexed};
pub use look::{Look, Looked};
pub use past::{FOLD_BYTES_MAX, FOLD_CHANGES_MAX, Past, PastError, STEP_CHANGES, Until};
pub use search::{Name, Search, Unread, names_at};
pub use walk::{Budget, Walk, walk};

use crate::store::{Reading, StoreError};
use entries::Whole;

/// Changes that are walked back to find a revision: what a client may be behind. Final with the format.
pub const BASE_STEPS_MAX: usize = 4_096;

/// Which entity: its space, collection and id.
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
    /// The entry that made the change.
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

/// The revision of an entity whose heads have this hash: see `docs/formats.md`, Digests. Without contracts their
/// version is zeros.
#[must_use]
pub fn revision_of(heads_hash: &[u8; 16]) -> Revision {
    Revision::from_bytes(Tagged::new(tag::REVISION).bytes(heads_hash).bytes(&[0; 32]).finish16())
}

/// The change that an applied entry made to an entity; `None`: it is not here, was refused, or changes others.
///
/// # Errors
/// [`StoreError`]: the store cannot be read, or the entry is damaged.
pub fn link_of(reading: &Reading, key: EntityKey<'_>, receipt: Receipt) -> Result<Option<Link>, StoreError> {
    let Some(link) = in_entry(reading, key, receipt.feed, receipt.seq)? else { return Ok(None) };
    // Another space may have an entity of that name.
    let at = reading.journal(key.space_no, link.journal)?;
    Ok(at.filter(|at| (at.feed, at.seq) == (receipt.feed, receipt.seq)).map(|_| link))
}

fn in_entry(reading: &Reading, key: EntityKey<'_>, feed: FeedId, seq: u64) -> Result<Option<Link>, StoreError> {
    Ok(Whole::read(reading, feed, seq)?.and_then(|whole| whole.into_link(key)))
}
