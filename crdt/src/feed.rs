//! Feeds: the append-only, hash-chained, sealed log of one author in one space in one epoch.
//!
//! [`Range::verify`] is the only way from bytes of a peer to entries: what it returns is chained, sealed and canonical.

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::entry::{Content, ENTRY_BYTES_MAX, EntryError, Ext, unknown_extension};
use crate::hash::{Tagged, tag};
use crate::{ChainHash, FeedId, NodeId, SpaceId};

/// Format version of openings and seals written by this crate.
pub const FEED_VERSION: u8 = 1;
/// Most entries in a stride: what lies between two seals that are kept.
pub const STRIDE_ENTRIES_MAX: usize = 1024;
/// Most bytes of entries in a stride, unless it is one larger entry alone.
pub const STRIDE_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of an encoded opening; room for 1,000 closed epochs.
pub const OPENING_BYTES_MAX: usize = 64 * 1024;

/// Whether a feed carries data entries or rules entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FeedKind {
    /// Transactions over entities.
    Data,
    /// Typed records about the space.
    Rules,
}

/// A settled position: how far a feed is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The feed.
    pub feed: FeedId,
    /// Its last entry; the first is 1.
    pub seq: u64,
    /// The chain hash at that entry.
    pub chain: ChainHash,
}

/// The first record of a feed: who writes it, where, in which epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Format version.
    pub version: u8,
    /// The author; its key seals the feed.
    pub node: NodeId,
    /// The space.
    pub space: SpaceId,
    /// Drawn at random at every opening of the author's store.
    pub epoch: u64,
    /// What the feed carries.
    pub kind: FeedKind,
    /// How far this copy of the store knows the author's earlier epochs. Information, never a limit.
    pub closes: Vec<Position>,
    /// Room for later versions.
    pub ext: Vec<Ext>,
}

impl Opening {
    /// Opening of a new feed.
    #[must_use]
    pub fn new(node: NodeId, space: SpaceId, epoch: u64, kind: FeedKind, closes: Vec<Position>) -> Self {
        Self { version: FEED_VERSION, node, space, epoch, kind, closes, ext: Vec::new() }
    }

    /// The feed's id, which is also the Automerge actor of its changes.
    #[must_use]
    pub fn feed(&self) -> FeedId {
        let kind = match self.kind {
            FeedKind::Data => 0,
            FeedKind::Rules => 1,
        };
        let hash = Tagged::new(tag::FEED).bytes(self.node.as_bytes()).bytes(self.space.as_bytes());
        FeedId::from_bytes(hash.number(self.epoch).bytes(&[kind]).finish16())
    }

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("writing to a vector cannot fail")
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`RangeError::Opening`]: too long, not an opening, or not canonical. [`RangeError::Unsupported`]: of a later
    /// version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RangeError> {
        if bytes.len() > OPENING_BYTES_MAX {
            return Err(RangeError::Opening);
        }
        if bytes.first().is_some_and(|version| *version != FEED_VERSION) {
            return Err(RangeError::Unsupported);
        }
        let opening: Self = postcard::from_bytes(bytes).map_err(|_| RangeError::Opening)?;
        if opening.encode() != bytes {
            return Err(RangeError::Opening);
        }
        if unknown_extension(&opening.ext) {
            return Err(RangeError::Unsupported);
        }
        Ok(opening)
    }

    /// chain(0).
    #[must_use]
    pub fn chain(&self) -> ChainHash {
        ChainHash::from_bytes(Tagged::new(tag::OPENING).bytes(&self.encode()).finish())
    }
}

/// chain(n) from chain(n−1) and entry n.
#[must_use]
pub fn chain(feed: FeedId, seq: u64, previous: ChainHash, entry: &[u8]) -> ChainHash {
    let content = blake3::hash(entry);
    let hash = Tagged::new(tag::CHAIN).bytes(feed.as_bytes()).number(seq).bytes(previous.as_bytes());
    ChainHash::from_bytes(hash.bytes(content.as_bytes()).finish())
}

/// An Ed25519 signature, as its two halves (serde knows arrays up to 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([u8; 32], [u8; 32]);

impl Signature {
    /// From the 64 bytes of RFC 8032.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(bytes.split_at(32).0);
        s.copy_from_slice(bytes.split_at(32).1);
        Self(r, s)
    }

    /// The 64 bytes of RFC 8032.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut out = [0; 64];
        let (r, s) = out.split_at_mut(32);
        r.copy_from_slice(&self.0);
        s.copy_from_slice(&self.1);
        out
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(key: &SigningKey, message: &[u8]) -> Self {
        Self::from_bytes(&key.sign(message).to_bytes())
    }

    /// Whether this is `signer`'s signature over `message` (strict: no malleable or small-order forms).
    #[must_use]
    pub fn verify(&self, signer: &[u8; 32], message: &[u8]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(signer) else { return false };
        key.verify_strict(message, &DalekSignature::from_bytes(&self.to_bytes())).is_ok()
    }
}

/// What a seal signs: it vouches for the whole prefix up to `seq`.
#[must_use]
pub fn seal_message(feed: FeedId, seq: u64, chain: ChainHash) -> [u8; 32] {
    let hash = Tagged::new(tag::SEAL).bytes(&[FEED_VERSION]).bytes(feed.as_bytes()).number(seq);
    hash.bytes(chain.as_bytes()).finish()
}

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
    /// The entries, encoded.
    pub entries: Vec<serde_bytes::ByteBuf>,
    /// Signature over the last position.
    pub seal: Signature,
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
}

/// A range that is chained, sealed by its author and canonical. Only [`Range::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedRange {
    opening: Opening,
    feed: FeedId,
    previous: ChainHash,
    entries: Vec<VerifiedEntry>,
    seal: Signature,
}

impl VerifiedRange {
    /// The feed's opening.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The feed.
    #[must_use]
    pub fn feed(&self) -> FeedId {
        self.feed
    }

    /// chain before the first entry.
    #[must_use]
    pub fn previous(&self) -> ChainHash {
        self.previous
    }

    /// The entries, by position.
    #[must_use]
    pub fn entries(&self) -> &[VerifiedEntry] {
        &self.entries
    }

    /// Takes the entries out.
    #[must_use]
    pub fn into_entries(self) -> Vec<VerifiedEntry> {
        self.entries
    }

    /// The author's signature over the last position.
    #[must_use]
    pub fn seal(&self) -> Signature {
        self.seal
    }
}

impl Range {
    /// Bytes of all entries together.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.len()).sum()
    }

    /// Proves the range: limits, chain, seal, canonical envelopes. Costs one signature check (~38 µs) and a hash and a
    /// decode per entry; touches no state, so it can run anywhere.
    ///
    /// # Errors
    /// See [`RangeError`].
    pub fn verify(self) -> Result<VerifiedRange, RangeError> {
        let bytes = self.entry_bytes();
        let count = self.entries.len();
        let fits = count <= STRIDE_ENTRIES_MAX && bytes <= STRIDE_BYTES_MAX;
        let alone = count == 1 && bytes <= ENTRY_BYTES_MAX;
        if count == 0 || self.from == 0 || self.from.checked_add(count as u64).is_none() || !(fits || alone) {
            return Err(RangeError::Stride { entries: count, bytes });
        }
        let opening = Opening::decode(&self.opening)?;
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
            Ok(VerifiedEntry { seq, chain, bytes, content })
        });
        let entries = entries.collect::<Result<Vec<_>, RangeError>>()?;
        Ok(VerifiedRange { opening, feed, previous: self.previous, entries, seal: self.seal })
    }
}
