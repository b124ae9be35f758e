//! Ranges: how feeds travel. [`Range::verify`] is the only way from bytes of a peer to entries.

use std::collections::VecDeque;
use std::fmt;
use std::panic::catch_unwind;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Opening, STRIDE_ENTRIES_MAX, Signature, chain, seal_message};
use crate::entity::{Change, ChangeError};
use crate::entry::{Body, Content, EntityChange, Entry, EntryError, RawRecord};
use crate::{ChainHash, FeedId};

/// Bytes that changes which are read ahead may take in memory, per byte of the entries they are read with. An operation
/// takes some 130. Entries with one to eight small fields take nine to fourteen times their bytes in all, those with
/// very many fields twenty, and are not all read ahead; runs make of a byte a thousand.
const AHEAD_FACTOR: usize = 16;
/// Bytes of a change that is read ahead: a longer one is worth a step of its own.
const AHEAD_CHANGE_BYTES: usize = 16 * 1024;
/// Bytes of the shortest entry: version, seq, clock reading, and a byte for each of six fields that may be empty.
const ENTRY_BYTES_MIN: usize = 9;

/// A run of entries of one feed that ends at a seal: how feeds travel. At most one stride.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The feed's opening, encoded: names author and space, so that a range can be verified by itself.
    #[serde(with = "serde_bytes")]
    pub opening: Vec<u8>,
    /// Position of the first entry.
    pub from: u64,
    /// chain(from − 1).
    pub previous: ChainHash,
    /// The entries, encoded; at most 1,024, each of at least nine bytes.
    #[serde(deserialize_with = "entries")]
    pub entries: Vec<serde_bytes::ByteBuf>,
    /// Signature over the last position.
    pub seal: Signature,
}

/// Reads entries, of which none may be so short that reading it takes many times its bytes.
fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<serde_bytes::ByteBuf>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<serde_bytes::ByteBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {STRIDE_ENTRIES_MAX} entries of at least {ENTRY_BYTES_MIN} bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = seq.next_element::<serde_bytes::ByteBuf>()? {
                if entry.len() < ENTRY_BYTES_MIN || entries.len() == STRIDE_ENTRIES_MAX {
                    return Err(A::Error::custom("an entry too short, or too many"));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    from.deserialize_seq(Entries)
}

/// Why a range is rejected. Always the sender's fault; nothing is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The opening is too long, malformed or not canonical.
    #[error("malformed feed opening")]
    Opening,
    /// Written by a later version in a way this one must not skip. Held by the sender until we are upgraded.
    #[error("feed of a later version: upgrade this node")]
    Unsupported,
    /// Empty, position 0, or beyond the limits of a stride.
    #[error("range of {entries} entries and {bytes} bytes is empty or over a stride")]
    Stride {
        /// How many entries.
        entries: usize,
        /// How many bytes they have together.
        bytes: usize,
    },
    /// First entry of the feed, and `previous` is not the opening's hash.
    #[error("the range does not begin at its opening")]
    Start,
    /// An entry's envelope is malformed.
    #[error("entry {seq}: {source}")]
    Entry {
        /// Position of the entry.
        seq: u64,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The seal is not the author's signature over these entries.
    #[error("the seal does not match the entries")]
    Seal,
}

/// An entry whose place in its feed is proven.
#[derive(Clone, Debug)]
pub struct VerifiedEntry {
    /// Position in the feed.
    pub seq: u64,
    /// chain(seq).
    pub chain: ChainHash,
    /// The encoded entry.
    pub bytes: Vec<u8>,
    /// The decoded entry, or why it is held.
    pub content: Content,
    /// Its changes, one for each, or none where reading them ahead would take too much, or panicked: then whoever needs
    /// them reads them one after the other with [`Change::parse`].
    pub changes: Vec<Result<Change, ChangeError>>,
}

/// A range that is chained, sealed by its author and canonical. Only [`Range::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedRange {
    opening: Opening,
    feed: FeedId,
    previous: ChainHash,
    /// Only ever taken from at the front, so that they lie in one piece.
    entries: VecDeque<VerifiedEntry>,
    /// Position of the last entry.
    end: u64,
    seal: Signature,
}

impl VerifiedRange {
    /// The feed's opening.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The feed of the range.
    #[must_use]
    pub fn feed(&self) -> FeedId {
        self.feed
    }

    /// Chain hash before the first entry.
    #[must_use]
    pub fn previous(&self) -> ChainHash {
        self.previous
    }

    /// The entries, by position.
    #[must_use]
    pub fn entries(&self) -> &[VerifiedEntry] {
        let (all, rest) = self.entries.as_slices();
        debug_assert!(rest.is_empty(), "nothing is ever put in");
        all
    }

    /// Takes the first entry out: what is left is a range as well.
    pub fn pop_front(&mut self) -> Option<VerifiedEntry> {
        let entry = self.entries.pop_front()?;
        self.previous = entry.chain;
        Some(entry)
    }

    /// Position of the last entry, which is sealed, whether or not it has been taken out.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The author's signature over the last position.
    #[must_use]
    pub fn seal(&self) -> Signature {
        self.seal
    }

    /// About how many bytes it takes in memory: the entries, decoded, and the changes that were read ahead. O(the
    /// operations of these).
    #[must_use]
    pub fn memory(&self) -> usize {
        let opening = size_of::<Self>() + self.opening.closes.len() * size_of::<super::Position>();
        opening + self.entries.iter().map(VerifiedEntry::memory).sum::<usize>()
    }
}

impl VerifiedEntry {
    fn memory(&self) -> usize {
        // What each change or record takes beside its bytes, which are there a second time once they are decoded.
        let listed = match &self.content {
            Content::Known(entry) => match &entry.body {
                Body::Data(changes) => changes.len() * size_of::<EntityChange>(),
                Body::Rules(records) => records.len() * size_of::<RawRecord>(),
            },
            Content::Later => 0,
        };
        let read = self.changes.iter().map(|read| read.as_ref().map_or(size_of::<Change>(), Change::memory));
        size_of::<Self>() + size_of::<Entry>() + listed + 2 * self.bytes.len() + read.sum::<usize>()
    }
}

/// How much of a frame may be read ahead: shared by its ranges, in proportion to the bytes they have together, so that
/// a peer pays in bytes for the memory it takes.
#[derive(Debug)]
pub struct ReadAhead(usize);

impl ReadAhead {
    /// For entries of so many bytes together.
    #[must_use]
    pub const fn of(bytes: usize) -> Self {
        Self(bytes.saturating_mul(AHEAD_FACTOR))
    }
}

impl Range {
    /// Bytes of all entries together.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.len()).sum()
    }

    /// Proves the range: limits, chain, seal, canonical envelopes; and reads its changes, so that the engine need not.
    /// Costs one signature check (~38 µs), a hash and a decode per entry, and half a microsecond per change of a field;
    /// touches no state, so it can run anywhere. Takes some twenty times its bytes in memory, more if its
    /// entries are tiny.
    ///
    /// # Errors
    /// See [`RangeError`].
    pub fn verify(self) -> Result<VerifiedRange, RangeError> {
        let mut ahead = ReadAhead::of(self.entry_bytes());
        self.verify_ahead(&mut ahead)
    }

    /// Checks the range ([`Range::verify`]), and takes its part of what may be read ahead of all ranges of a frame.
    ///
    /// # Errors
    /// See [`RangeError`].
    pub fn verify_ahead(self, ahead: &mut ReadAhead) -> Result<VerifiedRange, RangeError> {
        let bytes = self.entry_bytes();
        let count = self.entries.len();
        let opening = Opening::decode(&self.opening)?;
        let fits = count <= STRIDE_ENTRIES_MAX && bytes <= opening.kind.stride_bytes_max();
        let alone = count == 1 && bytes <= opening.kind.entry_bytes_max();
        if count == 0 || self.from == 0 || self.from.checked_add(count as u64).is_none() || !(fits || alone) {
            return Err(RangeError::Stride { entries: count, bytes });
        }
        let feed = opening.feed();
        if self.from == 1 && self.previous != opening.chain() {
            return Err(RangeError::Start);
        }
        let mut last = self.previous;
        let mut entries = Vec::with_capacity(count);
        for (seq, bytes) in (self.from..).zip(self.entries) {
            last = chain(feed, seq, last, &bytes);
            entries.push((seq, last, bytes.into_vec()));
        }
        let end = self.from + count as u64 - 1;
        if !self.seal.verify(opening.node.as_bytes(), &seal_message(feed, end, last)) {
            return Err(RangeError::Seal);
        }
        let entries = entries.into_iter().map(|(seq, chain, bytes)| {
            let content =
                Content::decode(&bytes, opening.kind, seq).map_err(|source| RangeError::Entry { seq, source })?;
            let changes = read_ahead(&content, feed, &mut ahead.0);
            Ok(VerifiedEntry { seq, chain, bytes, content, changes })
        });
        let entries = entries.collect::<Result<Vec<_>, RangeError>>()?;
        Ok(VerifiedRange { opening, feed, previous: self.previous, entries: entries.into(), end, seal: self.seal })
    }
}

/// The changes of an entry, as long as they take no more than `left` bytes of memory: all, or none. One that takes more
/// is the last that is tried.
fn read_ahead(content: &Content, feed: FeedId, left: &mut usize) -> Vec<Result<Change, ChangeError>> {
    let Content::Known(entry) = content else { return Vec::new() };
    let Body::Data(changes) = &entry.body else { return Vec::new() };
    let mut read = Vec::new();
    for change in changes {
        if *left == 0 || change.change.len() > AHEAD_CHANGE_BYTES {
            return Vec::new();
        }
        let Some(change) = parse(&change.change, feed, *left) else {
            *left = 0;
            return Vec::new();
        };
        *left = left.saturating_sub(change.as_ref().map_or(size_of::<Change>(), Change::memory));
        read.push(change);
    }
    read
}

/// Reads a change. `None` as well where that panics, which is a defect: whoever needs the change knows whose it is, and
/// can stop that entity alone.
fn parse(bytes: &[u8], feed: FeedId, memory: usize) -> Option<Result<Change, ChangeError>> {
    let read = || {
        #[cfg(test)]
        spring(bytes, feed);
        Change::parse_within(bytes, feed, memory)
    };
    catch_unwind(read).unwrap_or(None)
}

#[cfg(test)]
thread_local! {
    /// Reading the change with this number ahead panics, on this thread.
    pub(super) static TRAP: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
fn spring(bytes: &[u8], feed: FeedId) {
    let seq = Change::parse(bytes, feed).map(|change| change.seq());
    assert!(TRAP.get().is_none_or(|trap| seq != Ok(trap)), "the trap");
}
