//! What a local client is answered.

use std::sync::Arc;

use tombolo_crdt::entity::WriteError;
use tombolo_crdt::names::NameError;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{Receipt, Revision, SpaceId};
use tombolo_transport::frame::JoinRefusal;

#[cfg(doc)]
use super::Command;
use super::{EntityWrite, WriteCommand};
use crate::engine::space::planning::{PLANNED_ROWS_BYTES_MAX, Plan};
use crate::engine::status::{PeerAck, Status};

/// What became of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it landed; `None` if the entity was never written and the write changed nothing.
    pub receipt: Option<Receipt>,
    /// The revision after it.
    pub revision: Revision,
    /// Whether the entity is present after it.
    pub present: bool,
    /// Whether the entity was absent before it.
    pub created: bool,
    /// Whether anything changed.
    pub changed: bool,
}

/// Outcome of a [`WriteCommand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOutcome {
    /// Per write. When atomic: all `Ok`, or the first refusal alone is what the command answers.
    pub writes: Vec<Result<Written, Refusal>>,
    /// Whether this is the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Why a command was not carried out. Nothing was written for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This node holds no such space.
    #[error("this node holds no space {0}")]
    UnknownSpace(SpaceId),
    /// This node holds a space of this name already.
    #[error("this node already holds a space of this name: {0}")]
    SpaceExists(SpaceId),
    /// This node's role does not allow it.
    #[error("this node's role in the space ({0}) does not allow it")]
    Role(&'static str),
    /// Every node would refuse the entry, this one included: by its bytes, or because the rules that it states, or what
    /// it was made on, do not allow it.
    #[error("every node would refuse this entry ({}): nothing was written", .0.name())]
    Verdict(Verdict),
    /// A name breaks its limits.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The write itself cannot be made.
    #[error("{collection}/{id}: {source}")]
    Write {
        /// Collection of the entity.
        collection: String,
        /// Id of the entity.
        id: String,
        /// Why.
        source: WriteError,
    },
    /// The entity is not as the caller expects.
    #[error("{collection}/{id} is not as expected: its revision is {}", current.map_or_else(|| "none (absent)".to_owned(), |r| r.to_string()))]
    Mismatch {
        /// Collection of the entity.
        collection: String,
        /// Id of the entity.
        id: String,
        /// The present revision; `None`: absent.
        current: Option<Revision>,
    },
    /// The idempotency key was used for another body.
    #[error("this idempotency key was used with another body")]
    IdempotencyConflict,
    /// Over a limit of entries: too many changes, bytes or operations in one transaction.
    #[error(
        "the transaction has {changes} changes and {bytes} bytes; the limits are 4096, 4 MiB and 524288 operations"
    )]
    TooLarge {
        /// Entities changed.
        changes: usize,
        /// Bytes of the entry.
        bytes: usize,
    },
    /// The entities of a transaction are too large together to be planned at once.
    #[error("the entities of the transaction take {bytes} bytes or more; the limit is {}", PLANNED_ROWS_BYTES_MAX)]
    RowsTooLarge {
        /// Bytes of the rows that were looked at.
        bytes: usize,
    },
    /// A batch carries out no write to a large entity: planning one takes long.
    #[error("the entity is large: a write to it goes by itself")]
    Large,
    /// The disk is full, or nearly, or the store is gone: writes are refused until that is mended; reads go on.
    #[error("writes are refused: {0}")]
    Full(String),
    /// The invite or ticket was refused by a member.
    #[error("the ticket was refused: {0:?}")]
    Ticket(JoinRefusal),
    /// A malformed argument.
    #[error("{0}")]
    Argument(String),
    /// A frozen or damaged entity.
    #[error("{collection}/{id} is damaged on this node and frozen: {reason}")]
    Damaged {
        /// Collection of the entity.
        collection: String,
        /// Id of the entity.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// Something else that was asked for and cannot be read: everything but this goes on.
    #[error("{what} is damaged on this node: {reason}")]
    Unreadable {
        /// What was asked for, in words.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The store failed; it is being reopened.
    #[error("the store failed: {0}")]
    Store(String),
}

/// Where a join stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinState {
    /// No such request and no such space.
    Unknown,
    /// Waiting for a member to answer.
    Waiting,
    /// Refused by a member.
    Refused(JoinRefusal),
    /// This node is a member.
    Joined,
}

/// Where an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptState {
    /// The space.
    pub space: SpaceId,
    /// Verdict here; `None` while it is held or unknown.
    pub verdict: Option<&'static str>,
    /// Every other member and whether it has acknowledged the entry.
    pub peers: Vec<PeerAck>,
}

/// Answer to a [`Command`].
#[derive(Debug)]
pub enum Reply {
    /// To [`Command::Write`], [`Command::Offer`] and [`Command::Planned`].
    Written(Result<WriteOutcome, Refusal>),
    /// To a [`Command::Write`] that is not atomic: what became of each write, and the writes to large entities, in
    /// their order. These were not made ([`Refusal::Large`] is their outcome). Each is to be handed in by
    /// [`Command::Offer`].
    InPart(Vec<Result<Written, Refusal>>, Vec<EntityWrite>),
    /// To [`Command::Offer`]: to be planned by the caller, because that takes long.
    Plan(Box<Plan>),
    /// To [`Command::Planned`]: what it was planned on is no longer the present state. Nothing was written.
    Moved(WriteCommand),
    /// To [`Command::CreateSpace`].
    Created(Result<SpaceId, Refusal>),
    /// To commands that only succeed or fail.
    Done(Result<(), Refusal>),
    /// To [`Command::JoinState`].
    JoinState(JoinState),
    /// To [`Command::Status`].
    Status(Arc<Status>),
    /// To [`Command::Receipt`]; `None`: this node knows no such feed.
    Receipt(Option<ReceiptState>),
    /// To any command whose step failed, or that asked for what cannot be read: nothing was written for it. Of a
    /// [`Command::Write`] that is not atomic some writes may have been made.
    Failed(Refusal),
}
