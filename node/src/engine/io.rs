//! What goes into a step and what comes out of it.

use std::collections::BTreeSet;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::entity::{Write, WriteError};
use tombolo_crdt::entry::Trace;
use tombolo_crdt::feed::{Signature, VerifiedRange};
use tombolo_crdt::names::NameError;
use tombolo_crdt::rules::Role;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{NodeId, Receipt, Revision, SpaceId};
use tombolo_transport::frame::{Frame, JoinRefusal};
use tombolo_transport::{CloseCode, Standing};

use super::acks::Acks;
use super::planning::{Plan, Planned};
use super::status::{PeerAck, Status};
use crate::chain::{Look, Looked};

/// The two clocks a step is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment of this process; never goes backwards.
    pub mono: Duration,
    /// Milliseconds since 1970; may jump.
    pub wall_millis: u64,
}

/// A connection, numbered by the runtime and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Where a reply goes, numbered by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// One input of a step.
#[derive(Debug)]
pub enum Input {
    /// Somebody on this site wants something.
    Command(ReplyTo, Command),
    /// A connection stands: TLS has proven who the peer is.
    Connected {
        /// The connection.
        conn: ConnId,
        /// The peer's key.
        peer: NodeId,
        /// Whether this node dialled.
        dialled: bool,
        /// The peer's address, for `status`.
        address: String,
    },
    /// A control frame arrived.
    Frame(ConnId, Frame),
    /// Ranges arrived on the space's transfer stream and every one of them was verified.
    Ranges {
        /// The connection.
        conn: ConnId,
        /// The space.
        space: SpaceId,
        /// The frame's number.
        number: u64,
        /// The verified ranges.
        ranges: Vec<VerifiedRange>,
    },
    /// Rules ranges arrived on the control stream and every one of them was verified.
    RulesRanges {
        /// The connection.
        conn: ConnId,
        /// The space.
        space: SpaceId,
        /// The verified ranges.
        ranges: Vec<VerifiedRange>,
        /// Whether this is the last frame of the offer.
        last: bool,
    },
    /// The transfer stream of a space has room for this many bytes (an absolute figure, not an increment).
    Writable(ConnId, SpaceId, usize),
    /// The control stream of a connection has room for this many bytes (an absolute figure).
    Room(ConnId, usize),
    /// Another process answered, or came, with this node's own key: where it was met.
    Twin(String),
    /// A connection ended.
    Closed(ConnId, String),
    /// The answer to [`Output::Look`].
    Looked(Box<Looked>),
    /// The wake-up the last step asked for, or any other moment.
    Timer,
}

impl Input {
    /// The connection it announces, if it does.
    #[must_use]
    pub fn connects(&self) -> Option<ConnId> {
        match self {
            Self::Connected { conn, .. } => Some(*conn),
            _ => None,
        }
    }

    /// Whether it is a command of writes that are carried out one by one.
    pub(super) fn is_batch(&self) -> bool {
        match self {
            Self::Command(_, Command::Write(command)) => !command.atomic,
            Self::Command(_, Command::Rest(..)) => true,
            _ => false,
        }
    }

    /// Whether it brings entries.
    #[must_use]
    pub fn carries(&self) -> bool {
        matches!(self, Self::Ranges { .. } | Self::RulesRanges { .. })
    }

    /// Feeds, positions and ranges that it names: what taking it in grows with.
    pub(super) fn names(&self) -> usize {
        match self {
            Self::Frame(_, Frame::Frontier(page)) => page.positions.len(),
            Self::Frame(_, Frame::Have(have)) => have.feeds.iter().map(|feed| 1 + feed.held.len()).sum(),
            Self::Frame(_, Frame::Refused(_, refused)) => refused.len(),
            Self::Ranges { ranges, .. } | Self::RulesRanges { ranges, .. } => ranges.len(),
            _ => 0,
        }
    }

    /// Where the reply to it goes, if it is a command.
    #[must_use]
    pub fn asks(&self) -> Option<ReplyTo> {
        match self {
            Self::Command(to, _) => Some(*to),
            _ => None,
        }
    }
}

/// Something a local client wants.
#[derive(Debug)]
pub enum Command {
    /// Writes to entities of one space.
    Write(WriteCommand),
    /// What is left of a [`Command::Write`] that is not atomic, with what became of the writes before: made by a step that
    /// had no work left.
    Rest(WriteCommand, Vec<Result<Written, Refusal>>),
    /// A write whose body has so many bytes, which may be answered by [`Reply::Plan`].
    Offer(WriteCommand, usize),
    /// A write that was planned as [`Reply::Plan`] asked; it may be answered by [`Reply::Moved`].
    Planned(Box<Planned>),
    /// Founds a space. The founder key signs the founding and the grant to this node, and is then forgotten.
    CreateSpace {
        /// The space's name.
        name: String,
        /// The founder key, made by the caller.
        founder: Box<SigningKey>,
    },
    /// Opens a place in a space for whoever holds the one-time key.
    Invite {
        /// The space.
        space: SpaceId,
        /// The role.
        role: Role,
        /// Public half of the one-time key, made by the caller.
        key: [u8; 32],
        /// Milliseconds since 1970.
        expires: u64,
    },
    /// Takes a place: remembered until it succeeds or is refused, and asked of every connected peer.
    Join(JoinRequest),
    /// Whether a join has succeeded.
    JoinState(SpaceId),
    /// Dials an address from now on.
    AddPeer(String),
    /// Stops dialling an address, or a node.
    RemovePeer(String),
    /// What a node found on the local network.
    Discovered(NodeId, Vec<String>),
    /// The addresses of this node have changed. Who connects from now on is told.
    Addresses(Vec<String>),
    /// Everything `status` and the metrics show.
    Status,
    /// Who has an entry.
    Receipt(Receipt),
    /// A reader has met a damaged row: space, collection, id.
    Damaged(SpaceId, String, String),
}

impl Command {
    /// Whether it may change whom to dial.
    pub(super) fn changes_targets(&self) -> bool {
        !matches!(
            self,
            Self::Write(_)
                | Self::Rest(..)
                | Self::JoinState(_)
                | Self::Addresses(_)
                | Self::Status
                | Self::Receipt(_)
                | Self::Damaged(..)
        )
    }
}

/// A place to take in a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The space.
    pub space: SpaceId,
    /// Its name, as the ticket says.
    pub name: String,
    /// Public half of the one-time key.
    pub key: [u8; 32],
    /// Its signature over the space and this node.
    pub signature: Signature,
    /// Who invited, and where it may be found.
    pub inviter: NodeId,
    /// Addresses of the inviter and others.
    pub addrs: Vec<String>,
}

/// Writes to one space.
#[derive(Debug)]
pub struct WriteCommand {
    /// The space.
    pub space: SpaceId,
    /// The writes, in order.
    pub writes: Vec<EntityWrite>,
    /// Whether they are one entry, all or nothing; else each is an entry of its own with its own outcome.
    pub atomic: bool,
    /// Bound to token, route and body.
    pub idempotency: Option<Idempotency>,
    /// Trace context of the request.
    pub trace: Option<Trace>,
}

/// A retried request gives the first answer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// blake3 over (token, route, key).
    pub key: [u8; 32],
    /// blake3 over the body.
    pub body: [u8; 32],
}

/// What must hold for a write to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    #[default]
    Any,
    /// The entity is present at this revision (`If-Match: "…"`).
    Revision(Revision),
    /// The entity is present at one of these revisions (`If-Match: "…", "…"`); none: never.
    OneOf(Vec<Revision>),
    /// The entity is present (`If-Match: *`).
    Present,
    /// The entity is absent (`If-None-Match: *`).
    Absent,
}

/// A write to one entity.
#[derive(Debug, Clone)]
pub struct EntityWrite {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// What must hold.
    pub expect: Expect,
    /// What to do. A base that was asked for by revision has been found and folded by the caller.
    pub write: Write,
}

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
    /// Every node would refuse the entry, this one included: by its bytes, or because the rules that it states, or what it
    /// was made on, do not allow it.
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
    Status(Box<Status>),
    /// To [`Command::Receipt`]; `None`: this node knows no such feed.
    Receipt(Option<ReceiptState>),
    /// To any command whose step failed, or that asked for what cannot be read: nothing was written for it. Of a
    /// [`Command::Write`] that is not atomic some writes may have been made.
    Failed(Refusal),
}

/// Somebody to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The node expected there; `None`: whoever answers.
    pub node: Option<NodeId>,
    /// Where it may be found, best first.
    pub addrs: Vec<String>,
}

/// One output of a step, in the order in which they must be carried out. All that a step wrote is durable before any
/// of them is released.
#[derive(Debug)]
pub enum Output {
    /// Answers a command.
    Reply(ReplyTo, Reply),
    /// Sends a frame on the control stream.
    Control(ConnId, Frame),
    /// Sends a [`Frame::Ranges`] on the space's transfer stream.
    Transfer(ConnId, SpaceId, Frame),
    /// Closes a connection once its control frames are out; code and reason are told to the peer.
    Close(ConnId, CloseCode, String),
    /// How far the peer of a connection is trusted from now on; only grows.
    Standing(ConnId, Standing),
    /// The keys of all members of all spaces, complete: they come in past strangers.
    Known(BTreeSet<NodeId>),
    /// The journal of a space has grown up to this position.
    Journal(SpaceId, u64),
    /// Receipts or joins may have changed: these.
    Acknowledged(Acks),
    /// The set of nodes to dial, complete.
    Targets(Vec<Target>),
    /// Reads what takes longer than a step may; the answer is [`Input::Looked`]. At most one is under way at a time.
    Look(Box<Look>),
}

/// Result of a step.
#[derive(Debug, Default)]
#[must_use]
pub struct Outputs {
    /// What to do, in order.
    pub list: Vec<Output>,
    /// When to step again at the latest, and why.
    pub wake: Option<(Duration, &'static str)>,
    /// What the step had no work left for: the caller steps again at once.
    pub left: Left,
    /// What the step did.
    pub cost: StepCost,
}

/// What a step leaves to the next because its work was spent. The engine keeps it, and the caller bounds it by what it hands
/// in meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Nothing.
    #[default]
    Nothing,
    /// Ranges, or held entries: no further ranges are handed in. Commands and other frames go on.
    Ranges,
    /// Inputs: nothing is handed in.
    Inputs,
}

/// Work of a step, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCost {
    /// Nanoseconds that it takes at most on one slow core in a release build.
    pub work: u64,
    /// That of the largest piece: an input, an entry or a slice of care, which are done whole. A step does at most one more
    /// than its work.
    pub largest: u64,
    /// What most of it was: inputs, entries, operations, rows, history, care.
    pub what: &'static str,
}
