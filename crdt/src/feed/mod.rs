//! Feeds: the append-only, hash-chained, sealed log of one author in one space in one epoch.
//!
//! [`Range::verify`] is the only way from bytes of a peer to entries: what it returns is chained, sealed and canonical.

mod range;
#[cfg(test)]
mod tests;

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

pub use range::{Range, RangeError, ReadAhead, VerifiedEntry, VerifiedRange};

use crate::entry::{Ext, unknown_extension};
use crate::hash::{Tagged, tag};
use crate::{ChainHash, FeedId, NodeId, SpaceId};

/// Format version of openings and seals written by this crate.
pub const FEED_VERSION: u8 = 1;
/// Most entries in a stride: what lies between two seals that are kept.
pub const STRIDE_ENTRIES_MAX: usize = 1024;
/// Most bytes of entries in a stride, unless it is one larger entry alone.
pub const STRIDE_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a stride in a feed of rules entries, where one entry alone has no more either: a stride of them and
/// its opening fit a page.
pub const RULES_STRIDE_BYTES_MAX: usize = 64 * 1024;
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

impl FeedKind {
    /// Most bytes of entries in a stride, unless it is one larger entry alone.
    #[must_use]
    pub const fn stride_bytes_max(self) -> usize {
        match self {
            Self::Data => STRIDE_BYTES_MAX,
            Self::Rules => RULES_STRIDE_BYTES_MAX,
        }
    }

    /// Most bytes of one entry.
    #[must_use]
    pub const fn entry_bytes_max(self) -> usize {
        match self {
            Self::Data => crate::entry::ENTRY_BYTES_MAX,
            Self::Rules => RULES_STRIDE_BYTES_MAX,
        }
    }
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

    /// The canonical bytes of the opening.
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

    /// The chain hash before the first entry: chain(0).
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

    /// The signature of `key` over `message`.
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
