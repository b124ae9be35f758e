//! Entries: one record of a feed. A data entry is a transaction; a rules entry holds typed records.
//!
//! The envelope is canonical: it decodes and re-encodes to the same bytes, or its range is rejected. Change bytes and
//! record bodies are opaque here; what is wrong inside them is a matter of the verdict.

use serde::{Deserialize, Serialize};

use crate::feed::FeedKind;
use crate::{ChainHash, FeedId, Hlc};

/// Format version of entries written by this crate.
pub const ENTRY_VERSION: u8 = 1;
/// Most bytes of an encoded entry (4 MiB). Part of the verdict.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Most changes in a data entry. Part of the verdict.
pub const ENTRY_CHANGES_MAX: usize = 4096;
/// Most dependencies of an entry. Part of the verdict. An author beyond it first writes empty joining entries.
pub const ENTRY_DEPS_MAX: usize = 1024;
/// Most bytes of one change (1 MiB). Part of the verdict.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;

/// Room for later versions: a numbered value that is skipped where unknown, unless it must be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ext {
    /// What it is. None are defined in version 1.
    pub id: u16,
    /// Whether a reader that does not know it must hold what carries it.
    pub must_understand: bool,
    /// Its value.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Whether an extension is unknown and must be understood.
#[must_use]
pub fn unknown_extension(ext: &[Ext]) -> bool {
    ext.iter().any(|ext| ext.must_understand)
}

/// A head of the space's data-entry DAG as the author saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dep {
    /// The feed of the entry depended on.
    pub feed: FeedId,
    /// Its position.
    pub seq: u64,
    /// The chain hash the author saw there.
    pub chain: ChainHash,
}

/// W3C trace context of the request that caused the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Trace id.
    pub trace: [u8; 16],
    /// Parent span id.
    pub span: [u8; 8],
    /// Trace flags.
    pub flags: u8,
}

/// A change to one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityChange {
    /// Collection of the entity.
    pub collection: String,
    /// Id of the entity in its collection.
    pub id: String,
    /// Who made the change: 0 = the feed. Other values are room for client actors.
    pub origin: u8,
    /// An Automerge change chunk.
    #[serde(with = "serde_bytes")]
    pub change: Vec<u8>,
}

/// A record of a rules entry, before its kind is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRecord {
    /// What it is; see the `rules` module.
    pub kind: u16,
    /// Its body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Changes that become visible together, by strictly ascending (collection, id).
    Data(Vec<EntityChange>),
    /// Records about the space.
    Rules(Vec<RawRecord>),
}

/// One record of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format version; always the first byte.
    pub version: u8,
    /// Position in the feed; the first entry is 1.
    pub seq: u64,
    /// The author's clock.
    pub hlc: Hlc,
    /// The newest rules entries the author had seen, ascending. `None`: as in its previous entry.
    pub rules: Option<Vec<ChainHash>>,
    /// Heads of the data-entry DAG the author had seen, ascending by feed, without its own feed. Empty in rules
    /// entries.
    pub deps: Vec<Dep>,
    /// Trace context.
    pub trace: Option<Trace>,
    /// Hash of the idempotency key, keyed by the space.
    pub idempotency: Option<[u8; 16]>,
    /// Content.
    pub body: Body,
    /// Room for later versions.
    pub ext: Vec<Ext>,
}

/// What is wrong with the envelope of an entry. The author's fault; the range is rejected and nothing stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Over [`ENTRY_BYTES_MAX`].
    #[error("{bytes} bytes, over the limit of {ENTRY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Does not decode.
    #[error("malformed envelope")]
    Malformed,
    /// Decodes, but encodes to other bytes, or lists are out of order.
    #[error("envelope is not canonical")]
    NotCanonical,
    /// Says another position than it has.
    #[error("says it is entry {said}")]
    Seq {
        /// What it says.
        said: u64,
    },
    /// A data entry in a rules feed, or the reverse; or a rules entry with dependencies.
    #[error("is not of its feed's kind")]
    Kind,
}

/// A decoded entry, or the reason why a node of this version holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Understood.
    Known(Box<Entry>),
    /// Of a later version, or with an extension that must be understood: held until this node is upgraded.
    Later,
}

impl Content {
    /// Decodes entry `seq` of a feed of `kind`.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn decode(bytes: &[u8], kind: FeedKind, seq: u64) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        match bytes.first() {
            None => return Err(EntryError::Malformed),
            Some(&ENTRY_VERSION) => {}
            Some(_) => return Ok(Self::Later),
        }
        let entry = Entry::decode(bytes)?;
        if entry.seq != seq {
            return Err(EntryError::Seq { said: entry.seq });
        }
        let fits = match &entry.body {
            Body::Data(_) => kind == FeedKind::Data,
            Body::Rules(_) => kind == FeedKind::Rules && entry.deps.is_empty(),
        };
        if !fits {
            return Err(EntryError::Kind);
        }
        if unknown_extension(&entry.ext) {
            return Ok(Self::Later);
        }
        Ok(Self::Known(Box::new(entry)))
    }
}

impl Entry {
    /// The canonical bytes of the entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("writing to a vector cannot fail")
    }

    /// Reads canonical bytes of a version 1 entry. Allocates no more than the input holds.
    ///
    /// # Errors
    /// [`EntryError::Malformed`] or [`EntryError::NotCanonical`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let (entry, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| EntryError::Malformed)?;
        let ascending = entry.deps.windows(2).all(|pair| matches!(pair, [a, b] if a.feed < b.feed))
            && entry.rules.iter().all(|rules| rules.windows(2).all(|pair| matches!(pair, [a, b] if a < b)));
        if !rest.is_empty() || !ascending || entry.encode() != bytes {
            return Err(EntryError::NotCanonical);
        }
        Ok(entry)
    }
}
