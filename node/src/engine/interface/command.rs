//! What a local client may want.

use ed25519_dalek::SigningKey;
use tombolo_crdt::entity::Write;
use tombolo_crdt::entry::Trace;
use tombolo_crdt::feed::Signature;
use tombolo_crdt::rules::Role;
use tombolo_crdt::{NodeId, Receipt, Revision, SpaceId};

#[cfg(doc)]
use super::Reply;
use crate::engine::space::planning::Planned;

/// Something a local client wants.
#[derive(Debug)]
pub enum Command {
    /// Writes to entities of one space.
    Write(WriteCommand),
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
    pub(in crate::engine) fn changes_targets(&self) -> bool {
        !matches!(
            self,
            Self::Write(_)
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
