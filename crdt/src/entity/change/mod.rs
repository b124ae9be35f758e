//! Automerge change chunks: bytes to [`Change`] and back, both ours.
//!
//! A chunk is read once, front to back. What a length or a count says is never believed before the bytes are there, what
//! runs expand to is bounded by [`CHANGE_OPS_FREE`] and [`CHANGE_KEY_BYTES_MAX`], and every encoding has exactly one
//! accepted form, the one Automerge 0.12 writes: two different chunks are two different changes. Automerge itself sees
//! no byte from outside. In debug builds it encodes every local change a second time, to the same bytes.

mod bytes;
mod chunk;
mod columns;
mod ops;
#[cfg(any(test, debug_assertions))]
mod reference;
mod rle;
#[cfg(test)]
mod tests;
mod values;

use self::chunk::{Actors, Header};
use self::ops::Budget;
use super::doc::Operation;
use super::id::{NUMBER_END, OpId};
use crate::{ChangeHash, FeedId};

/// Bytes a change may have.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;
/// Operations a change may have however short it is, and as many predecessors. A longer change may have one per byte.
///
/// A constant of the wire version: stores hold sealed changes that need it, such as one that deletes thousands of list
/// elements. Runs make a hundred bytes stand for so many operations, and each takes about a hundred bytes and 30 ns.
pub const CHANGE_OPS_FREE: usize = 1 << 16;
/// Operations, and as many predecessors, that a change of our own has at most for fewer bytes: beyond, it is given a
/// message that makes it a byte for each. So what a change makes others do costs its author bytes, and a later wire
/// version may ask for that. Nearly all writes have a byte per operation anyway.
const OWN_OPS_FREE: usize = 1 << 10;
/// Bytes that the keys of all operations of a change may have together, each counted as often as it is used: runs of one
/// key would multiply it. Writes of less than 4 MiB have no more.
pub const CHANGE_KEY_BYTES_MAX: usize = 4 << 20;

/// Why bytes are not a change. The author's fault; nothing changed. All but [`ChangeError::Unknown`] are refused(structure).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// More than [`CHANGE_BYTES_MAX`], or more operations, predecessors or bytes of keys than [`CHANGE_OPS_FREE`] and
    /// [`CHANGE_KEY_BYTES_MAX`] allow.
    #[error("more than a change may hold")]
    TooLarge,
    /// Not exactly one chunk of type 1: other magic or type, cut off, or bytes behind it.
    #[error("not exactly one change chunk")]
    Chunk,
    /// Cut off inside, a number over 64 bits, text that is not UTF-8, a deflated column, columns of different lengths, an
    /// actor that is not listed, or half an id.
    #[error("not decodable")]
    Undecodable,
    /// Another encoding of what the chunk says, and not the one accepted: a wrong checksum, a number or a run in another
    /// than its shortest form, lists out of order, an unused actor, an unknown or empty column, bytes left over.
    #[error("not in canonical form")]
    NotCanonical,
    /// Made by another actor than its feed's, or naming an actor that cannot be a feed.
    #[error("the actor is not the feed")]
    Actor,
    /// A counter or sequence number of 0 or from 2³¹ on, dependencies or predecessors twice, or a malformed operation.
    #[error("a number or an operation is out of range")]
    Range,
    /// An operation this version does not know, rich-text marks among them. A newer version may. The other operations are
    /// well formed; columns and actors that only such an operation can need are not looked at.
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
    /// Takes time and memory linear in the bytes and in the operations they stand for, which are bounded as
    /// [`CHANGE_OPS_FREE`] says.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn parse(bytes: &[u8], actor: FeedId) -> Result<Self, ChangeError> {
        Self::read(bytes, actor, budget(bytes.len()))
    }

    /// The same, as long as it takes at most some `memory` bytes; `None`: it takes more, or has more than a change may.
    pub(crate) fn parse_within(bytes: &[u8], actor: FeedId, memory: usize) -> Option<Result<Self, ChangeError>> {
        let all = budget(bytes.len());
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

    /// Encodes a change of our own. The caller vouches for the numbers, and that the predecessors are sorted.
    pub(crate) fn build(mut own: Own) -> Result<Self, ChangeError> {
        if own.start_op == 0 {
            return Err(ChangeError::Range);
        }
        own.deps.sort_unstable();
        let actors = Actors::of(own.actor, ops::named(&own.ops));
        let mut operations = Vec::new();
        columns::write(&ops::write(&own.ops, &actors), &mut operations);
        let preds: usize = own.ops.iter().map(|op| op.pred.len()).sum();
        let rows = preds.max(own.ops.len());
        if rows > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        let padding = if rows > OWN_OPS_FREE { rows.saturating_sub(operations.len()) } else { 0 };
        let mut contents = chunk::write_header(&own, &actors, padding);
        contents.append(&mut operations);
        let (hash, bytes) = chunk::close(&contents);
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        budget(bytes.len()).check(&own.ops)?;
        #[cfg(debug_assertions)]
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

    /// The chunk.
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

/// What the operations of a change with so many bytes may take.
fn budget(bytes: usize) -> Budget {
    let rows = bytes.max(CHANGE_OPS_FREE);
    Budget { ops: rows, preds: rows, key_bytes: CHANGE_KEY_BYTES_MAX }
}
