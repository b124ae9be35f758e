//! What `status` and the metrics show: plain data, filled by the engine.

use std::collections::BTreeMap;

use tombolo_crdt::entity::Removed;
use tombolo_crdt::rules::Role;
use tombolo_crdt::{Digest, NodeId, SpaceId};

use crate::engine::budget::STEP_KINDS;
use crate::engine::interface::StepCost;
use crate::engine::space::care::CareCounters;

/// Frozen and disputed entities, and feeds that wait, that are named in a status.
pub(super) const NAMED_MAX: usize = 100;

/// Whether a member has an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAck {
    /// The member.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it has said that it holds the entry.
    pub acknowledged: bool,
    /// Whether it is connected now.
    pub connected: bool,
}

/// Everything about this node at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addrs: Vec<String>,
    /// Its spaces.
    pub spaces: Vec<SpaceStatus>,
    /// Connections.
    pub connections: Vec<ConnectionStatus>,
    /// Addresses added by hand.
    pub peers_added: Vec<String>,
    /// Keys that two processes run with: this node's own, or a member's.
    pub twins: Vec<Twin>,
    /// Joins that wait for a member.
    pub joins: Vec<(SpaceId, String)>,
    /// Counters since this process started.
    pub counters: Counters,
    /// Why writes are refused at present, if they are.
    pub full: Option<String>,
    /// By how many milliseconds this node's clock is ahead (behind: negative), if most of at least two peers say so.
    pub clock_off: Option<i64>,
}

/// A key that two processes run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The key.
    pub node: NodeId,
    /// Where the other one was met.
    pub address: String,
    /// When, milliseconds since 1970.
    pub at: u64,
}

/// A space on this node.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceStatus {
    /// Its id.
    pub space: SpaceId,
    /// Its name.
    pub name: String,
    /// This node's role.
    pub role: Option<Role>,
    /// Present entities.
    pub entities: u64,
    /// Last journal position.
    pub journal: u64,
    /// Feeds in the frontier.
    pub feeds: usize,
    /// Frontier digest.
    pub frontier: Digest,
    /// State digest.
    pub state: Digest,
    /// Entries held, and why the first of each feed waits; and feeds whose chain forks. At most [`NAMED_MAX`] of each.
    pub held: Vec<HeldStatus>,
    /// Feeds with held entries.
    pub held_feeds: u64,
    /// Held entries.
    pub held_entries: u64,
    /// Bytes of held entries.
    pub held_bytes: u64,
    /// Refused entries.
    pub refused: u64,
    /// How many entities are frozen because they cannot be built anew.
    pub frozen_entities: u64,
    /// Collection, id and reason of them, at most [`NAMED_MAX`].
    pub frozen: Vec<(String, String, String)>,
    /// Collection and id of entities that differ from a member's although each is what its entries give: a defect.
    pub disputed: Vec<(String, String, NodeId)>,
    /// What was done for damaged rows since the process started.
    pub care: CareCounters,
    /// Large rows and numbers that run out, as the last pass over all rows met them.
    pub sizes: Sizes,
    /// Greatest clock reading seen that is too far ahead to be followed, in milliseconds since 1970.
    pub clock_ahead: Option<u64>,
    /// Every other member.
    pub members: Vec<MemberStatus>,
}

/// Entities that grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The largest rows of at least 64 KiB, the largest first, at most five.
    pub largest: Vec<LargeRow>,
    /// Present entities that have used up half of their numbers, the nearest to the end first, at most [`NAMED_MAX`].
    pub running_out: Vec<RunningOut>,
    /// How many of them there are.
    pub running_out_entities: u64,
}

/// A row that is large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeRow {
    /// Collection of the entity.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// Bytes of the row.
    pub row_bytes: u64,
    /// What was removed from the entity and is still in the row.
    pub removed: Removed,
}

/// An entity whose numbers run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningOut {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// Operations that it may still take.
    pub numbers_left: u64,
}

/// Held entries of one feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldStatus {
    /// Who wrote them.
    pub node: NodeId,
    /// The feed, as text.
    pub feed: String,
    /// The first that waits.
    pub seq: u64,
    /// How many.
    pub entries: u64,
    /// What for.
    pub reason: String,
}

/// Another member as this node sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberStatus {
    /// Its key.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The member's addresses as it said last, or as the roster says.
    pub addrs: Vec<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// Entries this node holds settled that the member has not acknowledged; `None` while unknown.
    pub behind: Option<u64>,
    /// Since when there has been something it has not acknowledged, milliseconds since 1970.
    pub behind_since: Option<u64>,
    /// Its clock minus this node's when the connection began, in milliseconds; `None`: it is not connected.
    pub clock_skew: Option<i64>,
    /// Whether frontiers are equal.
    pub in_step: bool,
    /// Whether frontiers are equal and state digests are not: a defect.
    pub diverged: bool,
    /// Entries of ours that it refused.
    pub refused_there: u64,
    /// Why nothing moves, in words; empty when in step.
    pub reason: String,
}

/// A connection, as `status` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionStatus {
    /// The peer.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether we dialled.
    pub dialled: bool,
    /// Common spaces.
    pub spaces: Vec<SpaceId>,
    /// Milliseconds since 1970 when it was opened.
    pub since: u64,
    /// Clock difference as told in its Hello, in milliseconds (theirs − ours).
    pub clock_skew: i64,
}

/// Counters since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Local writes made.
    pub writes: u64,
    /// Commits.
    pub commits: u64,
    /// Entries in these commits.
    pub entries: u64,
    /// Failed commits.
    pub failures: u64,
    /// Settled entries by verdict.
    pub settled: BTreeMap<&'static str, u64>,
    /// Entries that had to be held.
    pub held: u64,
    /// Held entries dropped because the buffer was full.
    pub dropped: u64,
    /// Sessions that were looked at.
    pub visits: u64,
    /// Feeds, rows of the journal and positions that were looked at to compare frontiers.
    pub compared: u64,
    /// By kind: the most work, in counted nanoseconds, of a step that was mostly of this kind.
    pub longest: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Takes note of what a step did.
    pub(super) fn note(&mut self, cost: StepCost) {
        let done = cost.work.max(cost.said);
        if done == 0 {
            // The step failed before anything was done.
            return;
        }
        debug_assert!(STEP_KINDS.contains(&cost.what), "a step is of a known kind");
        let longest = self.longest.entry(cost.what).or_default();
        *longest = done.max(*longest);
    }
}
