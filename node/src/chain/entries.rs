//! Entries that many entities share, kept while a step or a verification goes over the chains of these.
//!
//! An entry is read, hashed and decoded as a whole, however little of it is wanted. The chain of an entity wants one
//! change of it, and the chain of the next entity the next one: without this, what a transaction of n entities costs
//! would grow as n². Settled entries never change, and a damaged one is never kept. What is kept must not outlive the
//! batch it was read through, because a batch that fails takes its entries along.

use std::collections::BTreeMap;

use tombolo_crdt::entry::{Body, Entry};
use tombolo_crdt::feed::chain;
use tombolo_crdt::{ChainHash, FeedId, Hlc};

use super::{EntityKey, Link};
use crate::store::{ChangeLink, Reading, StoreError};

/// Bytes that the kept entries may have in memory (32 MiB): some eighty transactions of 2,000 small changes each.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Entries kept at most, so that finding one costs little (each takes some 150 bytes beside what is counted above).
const KEPT_MAX: usize = 4_096;
/// Changes below which an entry is not kept: copying it would cost more than reading it again.
const SHARED_CHANGES_MIN: usize = 8;
/// How often each change of an entry is read, by a walk back and a fold: an entry that has been read so often makes
/// room.
const READS_PER_CHANGE: usize = 2;

/// Applied entries that are at hand.
///
/// Where there is no room for one it is read whenever it is wanted. None is sent away for another one: chains of
/// entities lead through the same entries by turns, and each would be gone when it is wanted next.
#[derive(Debug)]
pub struct Entries {
    /// By space and journal position.
    kept: BTreeMap<(u32, u64), Kept>,
    bytes: usize,
    room: usize,
    /// Entries read from the store so far.
    reads: u64,
    /// Bytes that these had.
    read_bytes: usize,
}

/// An entry, its names and changes one behind the other.
#[derive(Debug)]
struct Kept {
    feed: FeedId,
    seq: u64,
    hlc: Hlc,
    text: Vec<u8>,
    /// Ascending by collection and id, or the entry would not have been applied.
    parts: Vec<Part>,
    /// How often it may be read before it goes.
    left: usize,
}

/// A change in the text of its entry: where its collection begins, its id, the change itself, and where it ends.
#[derive(Debug)]
struct Part {
    collection: u32,
    id: u32,
    change: u32,
    end: u32,
    link: ChangeLink,
}

impl Entries {
    /// For chains of many entities: none at first. Takes at most 33 MB.
    #[must_use]
    pub const fn shared() -> Self {
        Self::with_room(KEPT_BYTES_MAX)
    }

    /// Keeps none: for the chain of one entity.
    #[must_use]
    pub const fn passing() -> Self {
        Self::with_room(0)
    }

    pub(crate) const fn with_room(room: usize) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, room, reads: 0, read_bytes: 0 }
    }

    /// Entries that were read from the store so far.
    #[must_use]
    pub const fn reads(&self) -> u64 {
        self.reads
    }

    /// Bytes of the entries that were read from the store so far.
    pub(super) const fn read_bytes(&self) -> usize {
        self.read_bytes
    }

    /// Bytes that what is kept takes.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The change of an entity at a journal position. Two reads of the store, about 5 µs and 0.3 µs per change of the
    /// entry; less than 1 µs where the entry is kept.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: there is none; any other: the store cannot be read.
    pub fn link(&mut self, reading: &Reading, key: EntityKey<'_>, journal: u64) -> Result<Link, StoreError> {
        let broken = |what: &str| {
            let EntityKey { collection, id, .. } = key;
            let chain = format!("the chain of {collection}/{id} breaks at position {journal}: {what}");
            StoreError::corrupt("journal", chain)
        };
        let link = match self.take_kept(key, journal) {
            Some(found) => found,
            None => {
                let at = reading.journal(key.space_no, journal)?.ok_or_else(|| broken("no such position"))?;
                let whole = Whole::read(reading, at.feed, at.seq)?;
                self.reads += 1;
                self.read_bytes += whole.as_ref().map_or(0, |whole| whole.bytes);
                if let Some(whole) = whole.as_ref().filter(|whole| whole.journal == journal) {
                    self.keep(key.space_no, whole);
                }
                whole.and_then(|whole| whole.into_link(key))
            }
        };
        let link = link.ok_or_else(|| broken("no entry that changes the entity"))?;
        if link.previous >= journal || link.journal != journal {
            return Err(broken("it does not lead backwards"));
        }
        Ok(link)
    }

    /// The change, if any, in the entry that is kept from this position; `None`: none is.
    fn take_kept(&mut self, key: EntityKey<'_>, journal: u64) -> Option<Option<Link>> {
        let at = (key.space_no, journal);
        let kept = self.kept.get_mut(&at)?;
        let link = kept.link(key, journal);
        kept.left = kept.left.saturating_sub(1);
        if kept.left == 0 {
            assert!(kept.memory() <= self.bytes, "what goes was counted when it came");
            self.bytes -= kept.memory();
            self.kept.remove(&at);
        }
        Some(link)
    }

    /// Keeps an entry, if it has more than a few changes and there is room.
    fn keep(&mut self, space_no: u32, whole: &Whole) {
        if whole.changes.len() < SHARED_CHANGES_MIN || self.kept.len() >= KEPT_MAX {
            return;
        }
        let memory = whole.memory_kept();
        if self.bytes + memory > self.room {
            return;
        }
        let Some(kept) = Kept::of(whole) else { return };
        self.bytes += kept.memory();
        self.kept.insert((space_no, whole.journal), kept);
        debug_assert!(self.bytes <= self.room && self.kept.len() <= KEPT_MAX, "what is kept is bounded");
    }
}

impl Kept {
    /// `None`: the entry is longer than any may be.
    fn of(whole: &Whole) -> Option<Self> {
        let mut text = Vec::with_capacity(whole.text_length());
        let mut parts = Vec::with_capacity(whole.changes.len());
        for (name, change, link) in &whole.changes {
            let mut place = |bytes: &[u8]| {
                let from = u32::try_from(text.len()).ok();
                text.extend_from_slice(bytes);
                from
            };
            let (collection, id, change) = (place(name.0.as_bytes())?, place(name.1.as_bytes())?, place(change)?);
            parts.push(Part { collection, id, change, end: u32::try_from(text.len()).ok()?, link: *link });
        }
        // Once it has been read just now.
        let left = parts.len() * READS_PER_CHANGE - 1;
        Some(Self { feed: whole.feed, seq: whole.seq, hlc: whole.hlc, text, parts, left })
    }

    const fn memory(&self) -> usize {
        memory(self.text.capacity(), self.parts.capacity())
    }

    fn text(&self, from: u32, to: u32) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    fn link(&self, key: EntityKey<'_>, journal: u64) -> Option<Link> {
        let name = |part: &Part| (self.text(part.collection, part.id), self.text(part.id, part.change));
        let wanted = (key.collection.as_bytes(), key.id.as_bytes());
        let at = self.parts.binary_search_by(|part| name(part).cmp(&wanted)).ok()?;
        let part = self.parts.get(at)?;
        Some(Link {
            journal,
            feed: self.feed,
            seq: self.seq,
            hlc: self.hlc,
            change: self.text(part.change, part.end).to_vec(),
            previous: part.link.previous,
            after: part.link.after,
            entities: self.parts.len(),
        })
    }
}

/// An entry as it is read: what it changed, if it was applied.
#[derive(Debug)]
pub(super) struct Whole {
    journal: u64,
    feed: FeedId,
    seq: u64,
    hlc: Hlc,
    /// Its length.
    bytes: usize,
    /// Entities that it names, applied or not.
    entities: usize,
    changes: Vec<((String, String), Vec<u8>, ChangeLink)>,
}

impl Whole {
    /// Reads an entry. `None`: it is not here, or changes no entities.
    pub(super) fn read(reading: &Reading, feed: FeedId, seq: u64) -> Result<Option<Self>, StoreError> {
        let Some(row) = reading.entry(feed, seq)? else { return Ok(None) };
        let entry = Entry::decode(&row.bytes)
            .map_err(|error| StoreError::corrupt("entries", format!("entry {feed}-{seq}: {error}")))?;
        let Body::Data(changes) = entry.body else { return Ok(None) };
        let entities = changes.len();
        let all = changes.into_iter().zip(row.changes);
        let changes = all.map(|(change, link)| ((change.collection, change.id), change.change, link)).collect();
        Ok(Some(Self { journal: row.journal, feed, seq, hlc: entry.hlc, bytes: row.bytes.len(), entities, changes }))
    }

    /// The change that it made to an entity.
    pub(super) fn into_link(self, key: EntityKey<'_>) -> Option<Link> {
        let mut all = self.changes.into_iter();
        let (_, change, link) =
            all.find(|(name, ..)| (name.0.as_str(), name.1.as_str()) == (key.collection, key.id))?;
        Some(Link {
            journal: self.journal,
            feed: self.feed,
            seq: self.seq,
            hlc: self.hlc,
            change,
            previous: link.previous,
            after: link.after,
            entities: self.entities,
        })
    }

    fn text_length(&self) -> usize {
        self.changes.iter().map(|(name, change, _)| name.0.len() + name.1.len() + change.len()).sum()
    }

    fn memory_kept(&self) -> usize {
        memory(self.text_length(), self.changes.len())
    }
}

const fn memory(text: usize, parts: usize) -> usize {
    text + parts * size_of::<Part>()
}

/// Whether a settled entry that is not its feed's last has this chain hash. If that entry is damaged the one after it
/// tells; `None`: both are.
pub(crate) fn has_chain(
    reading: &Reading,
    feed: FeedId,
    seq: u64,
    claimed: ChainHash,
) -> Result<Option<bool>, StoreError> {
    match reading.entry_chain(feed, seq) {
        Ok(Some(chain)) => return Ok(Some(chain == claimed)),
        Ok(None) | Err(StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    match reading.entry(feed, seq + 1) {
        Ok(Some(next)) => Ok(Some(chain(feed, seq + 1, claimed, &next.bytes) == next.chain)),
        Ok(None) | Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
