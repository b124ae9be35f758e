//! What the kinds of frames carry.

use serde::{Deserialize, Serialize};
use tombolo_crdt::entry::Ext;
use tombolo_crdt::feed::{Position, Range, Signature};
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{ChainHash, Digest, FeedId, SpaceId};

/// First frame of each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL_VERSION`] of the sender.
    pub version: u16,
    /// Name and listening addresses of the sender.
    pub contact: Contact,
    /// Drawn at random at every start of the sender.
    pub process: [u8; 16],
    /// Counts the connections the dialler has opened in this process.
    pub counter: u64,
    /// The sender's wall clock, milliseconds since 1970.
    pub wall_millis: u64,
    /// What the sender can do beyond version 1 (see [`super::packing_offer`]), and room for later versions.
    pub ext: Vec<Ext>,
}

/// Asks for membership with a ticket's one-time key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The space.
    pub space: SpaceId,
    /// Public half of the one-time key.
    pub key: [u8; 32],
    /// Its signature over the space and the sender.
    pub signature: Signature,
    /// Name and addresses of the sender, for its admission.
    pub contact: Contact,
}

/// Why a [`Join`] is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinRefusal {
    /// The invite has expired.
    Expired,
    /// Somebody has taken the place.
    Used,
    /// The signature does not match.
    Signature,
    /// The answering node cannot write just now (disk full).
    Busy,
}

/// Compares a space in 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The space.
    pub space: SpaceId,
    /// Digest of the settled frontier.
    pub frontier: Digest,
    /// State digest.
    pub state: Digest,
    /// Entities left out of the state digest because they are frozen.
    pub frozen: u64,
    /// The last frontier at which the sender knows both to have been equal.
    pub common: Option<Digest>,
}

/// Settled positions: all of them, or those that moved since a frontier both know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontierPage {
    /// The space.
    pub space: SpaceId,
    /// The frontier that these positions are on top of; `None`: they are all there are.
    pub base: Option<Digest>,
    /// Positions, ascending by feed.
    pub positions: Vec<Position>,
    /// Whether this is the last page.
    pub last: bool,
}

/// What the sender of [`Have`] holds of one feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedHave {
    /// The feed.
    pub feed: FeedId,
    /// Settled up to here.
    pub settled: u64,
    /// Runs beyond it that are kept on disk until their dependencies arrive: (first, last).
    pub held: Vec<(u64, u64)>,
}

/// Acknowledges what is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// The space.
    pub space: SpaceId,
    /// Number of the last [`Ranges`] frame taken on this connection.
    pub number: u64,
    /// The feeds that moved or were carried since the last `Have`.
    pub feeds: Vec<FeedHave>,
    /// Digest of the sender's settled frontier.
    pub frontier: Digest,
    /// The sender's state digest: equal frontiers with unequal states are a defect, and seen at once.
    pub state: Digest,
}

/// Entries, on the transfer stream of their space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// The space.
    pub space: SpaceId,
    /// Counts the frames of this kind in this direction of the connection and space, from 1.
    pub number: u64,
    /// Runs of entries, in an order in which they can be settled.
    pub ranges: Vec<Range>,
}

/// Rules entries: an offer of all of them, or those that the other side lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesRanges {
    /// The space.
    pub space: SpaceId,
    /// Runs of rules entries, in an order in which they can be settled.
    pub ranges: Vec<Range>,
    /// Whether this is the last frame of the offer.
    pub last: bool,
}

/// Where a chain stands, or the question for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The space.
    pub space: SpaceId,
    /// The feed.
    pub feed: FeedId,
    /// The position.
    pub seq: u64,
    /// `None` in a question; in the answer the chain hash there, if settled.
    pub chain: Option<Option<ChainHash>>,
}

/// A row as two nodes compare it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSum {
    /// Collection of the entity.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// First half of what its row adds to the state digest.
    pub sum: [u8; 16],
}

/// What rows add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sums {
    /// Of every bucket, modulo 2¹²⁸, little-endian.
    Buckets(Vec<[u8; 16]>),
    /// Of every row in the named buckets.
    Rows(Vec<u16>, Vec<RowSum>),
}

/// Finds the entities that differ where frontiers are equal and states are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The space.
    pub space: SpaceId,
    /// The frontier at which the rows were read.
    pub frontier: Digest,
    /// What they add up to.
    pub sums: Sums,
}
