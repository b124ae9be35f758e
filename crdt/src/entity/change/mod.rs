//! Automerge change chunks: bytes to [`Change`] and back, both ours.
//!
//! A chunk is read once, front to back. What a length or a count says is never believed before the bytes are there,
//! what runs expand to is bounded by the bytes of the chunk ([`CHANGE_OPERATIONS_MAX`]), and every encoding has exactly
//! one accepted form, the one Automerge 0.12 writes: two different chunks are two different changes. Automerge itself
//! sees no byte from outside. In tests and simulations it encodes every local change a second time, to the same bytes.

mod bytes;
mod chunk;
mod columns;
mod limits;
mod ops;
#[cfg(any(test, feature = "reference"))]
mod reference;
mod rle;
#[cfg(test)]
mod tests;
mod values;

use self::chunk::{Actors, Header};
use self::limits::Budget;
pub(crate) use self::limits::Weight;
pub use self::limits::{
    CHANGE_BYTES_MAX, CHANGE_KEY_BYTES_MAX, CHANGE_OPERATIONS_MAX, ENTRY_OPERATIONS_MAX, EntryBudget,
};
use super::doc::Operation;
use super::id::{NUMBER_END, OpId};
use crate::{ChangeHash, FeedId};

/// Why bytes are not a change. The author's fault; nothing changed. All but [`ChangeError::Unknown`] are
/// refused(structure).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// More than [`CHANGE_BYTES_MAX`], or more operations, predecessors or bytes of keys than its bytes,
    /// [`CHANGE_OPERATIONS_MAX`] and [`CHANGE_KEY_BYTES_MAX`] allow.
    #[error("more than a change may hold")]
    TooLarge,
    /// Not exactly one chunk of type 1: other magic or type, cut off, or bytes behind it.
    #[error("not exactly one change chunk")]
    Chunk,
    /// Cut off inside, a number over 64 bits, text that is not UTF-8, a deflated column, columns of different lengths,
    /// an actor that is not listed, or half an id.
    #[error("not decodable")]
    Undecodable,
    /// Another encoding of what the chunk says, and not the one accepted: a wrong checksum, a number or a run in
    /// another than its shortest form, lists out of order, an unused actor, an unknown or empty column, bytes left
    /// over.
    #[error("not in canonical form")]
    NotCanonical,
    /// Made by another actor than its feed's, or naming an actor that cannot be a feed.
    #[error("the actor is not the feed")]
    Actor,
    /// A counter or sequence number of 0 or from 2³¹ on, dependencies or predecessors twice, or a malformed operation.
    #[error("a number or an operation is out of range")]
    Range,
    /// An operation this version does not know, rich-text marks among them. A newer version may. The other operations
    /// are well formed; columns and actors that only such an operation can need are not looked at.
    #[error("an operation of an unknown kind")]
    Unknown,
}

/// A change that passed every check its bytes alone allow.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    hash: ChangeHash,
    actor: FeedId,
    seq: u64,
    start_op: u64,
    deps: Vec<ChangeHash>,
    bytes: Vec<u8>,
    ops: Vec<Operation>,
}

impl Change {
    /// Parses and checks the bytes of one change that the feed `actor` carries.
    ///
    /// Takes time and memory linear in its bytes: what it stands for is counted before it is made.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn parse(bytes: &[u8], actor: FeedId) -> Result<Self, ChangeError> {
        Self::read(bytes, actor, Budget::of(bytes.len()))
    }

    /// Hash of the change in a chunk; none: the bytes are no chunk. What is in the chunk is not looked at: for changes
    /// that are refused.
    #[must_use]
    pub fn hash_of(bytes: &[u8]) -> Option<ChangeHash> {
        (bytes.len() <= CHANGE_BYTES_MAX).then(|| chunk::open(bytes).ok()).flatten().map(|(hash, _)| hash)
    }

    /// What [`Change::parse`] gives, as long as it takes at most some `memory` bytes; `None`: it takes more, or has
    /// more than a change may.
    pub(crate) fn parse_within(bytes: &[u8], actor: FeedId, memory: usize) -> Option<Result<Self, ChangeError>> {
        let all = Budget::of(bytes.len());
        let budget = Budget {
            ops: all.ops.min(memory / size_of::<Operation>()),
            preds: all.preds.min(memory / size_of::<OpId>()),
            key_bytes: all.key_bytes.min(memory),
        };
        let read = Self::read(bytes, actor, budget);
        let fits = |change: &Self| change.memory() <= memory;
        match read {
            Ok(change) => fits(&change).then_some(Ok(change)),
            Err(ChangeError::TooLarge) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn read(bytes: &[u8], actor: FeedId, budget: Budget) -> Result<Self, ChangeError> {
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        let (hash, contents) = chunk::open(bytes)?;
        let Header { deps, seq, start_op, mut actors, columns } = Header::read(contents, actor)?;
        let ops = ops::read(&columns, &mut actors, budget)?;
        if start_op + ops.len() as u64 > NUMBER_END {
            return Err(ChangeError::Range);
        }
        Ok(Self { hash, actor, seq, start_op, deps, bytes: bytes.to_vec(), ops })
    }

    /// Encodes a change of our own. The caller vouches for the numbers, and that the predecessors are sorted. A change
    /// that stands for more than its bytes allow gets a message of spaces that makes up for them.
    pub(crate) fn build(mut own: Own) -> Result<Self, ChangeError> {
        if own.start_op == 0 {
            return Err(ChangeError::Range);
        }
        own.deps.sort_unstable();
        let actors = Actors::of(own.actor, ops::named(&own.ops));
        let mut operations = Vec::new();
        columns::write(&ops::write(&own.ops, &actors), &mut operations);
        let needed = Weight::of(&own.ops).bytes().ok_or(ChangeError::TooLarge)?;
        let mut contents = chunk::write_header(&own, &actors, 0);
        let padding = needed.saturating_sub(contents.len() + operations.len());
        if padding > 0 {
            contents = chunk::write_header(&own, &actors, padding);
        }
        contents.append(&mut operations);
        let (hash, bytes) = chunk::close(&contents);
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        debug_assert!(needed <= bytes.len(), "a change has as many bytes as it stands for");
        #[cfg(any(test, feature = "reference"))]
        assert!(reference::encode(&own, padding) == bytes, "Automerge encodes this change in another way");
        Ok(Self { hash, actor: own.actor, seq: own.seq, start_op: own.start_op, deps: own.deps, bytes, ops: own.ops })
    }

    /// Automerge's hash of the change.
    #[must_use]
    pub fn hash(&self) -> ChangeHash {
        self.hash
    }

    /// The changes it was made on top of, sorted.
    #[must_use]
    pub fn deps(&self) -> &[ChangeHash] {
        &self.deps
    }

    /// Its number among its actor's changes to the entity, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Counter of its first operation.
    #[must_use]
    pub fn start_op(&self) -> u64 {
        self.start_op
    }

    /// Counter of its last operation; below [`Change::start_op`] if it has none.
    #[must_use]
    pub fn max_op(&self) -> u64 {
        self.start_op + self.ops.len() as u64 - 1
    }

    /// How many operations it has.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.ops.len()
    }

    /// How many predecessors these name together. O(its operations).
    #[must_use]
    pub fn predecessors(&self) -> usize {
        self.ops.iter().map(|op| op.pred.len()).sum()
    }

    /// The bytes of the chunk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// About how many bytes it takes in memory. O(its operations).
    #[must_use]
    pub fn memory(&self) -> usize {
        let own = size_of::<Self>() + self.bytes.len() + self.deps.len() * size_of::<ChangeHash>();
        let unused = (self.ops.capacity() - self.ops.len()) * size_of::<Operation>();
        own + unused + self.ops.iter().map(Operation::memory).sum::<usize>()
    }

    /// The feed that carries it.
    #[must_use]
    pub fn actor(&self) -> FeedId {
        self.actor
    }

    /// Its operations with their ids.
    pub(crate) fn ops(&self) -> impl Iterator<Item = (OpId, &Operation)> {
        let ids = (self.start_op..).map_while(|counter| OpId::new(counter, self.actor));
        ids.zip(&self.ops)
    }
}

/// What a change of our own is built from.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) actor: FeedId,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) time: i64,
    pub(crate) deps: Vec<ChangeHash>,
    pub(crate) ops: Vec<Operation>,
}
