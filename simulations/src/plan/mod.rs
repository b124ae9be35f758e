//! A plan: everything that is decided before a run, made from a scenario and a seed.
//!
//! A lane carries a plan out; the minimiser makes it smaller; a capsule keeps it. All choices that remain while running
//! (how long this packet takes, which sectors survive this crash) are drawn from [`Plan::noise`] and from what they
//! concern, never from a common sequence: leaving out one fault or write does not change the luck of the others.

mod fault;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_crdt::rules::Role;

pub use fault::{Attack, Fault, PlannedFault, ROW_FLIPS_MAX, Unsynced};

/// Index of a node in [`Plan::nodes`].
pub type NodeNo = usize;

/// Collection of what a member gone bad writes that is applied: the writes of a plan tell nothing of it.
pub const GONE_BAD_COLLECTION: &str = "of-a-member-gone-bad";

/// Everything decided before a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed that the plan was made with.
    pub seed: u64,
    /// Seed of what is drawn while running.
    pub noise: u64,
    /// The nodes. The numbers in the rest of the plan are indices here.
    pub nodes: Vec<NodePlan>,
    /// Who dials whom, and what lies between them.
    pub links: Vec<LinkPlan>,
    /// Spaces and their members. All are founded, and all members admitted, before time begins.
    pub spaces: Vec<SpacePlan>,
    /// Entities written at the first node of each space and known to all members before time begins.
    pub initial: Vec<InitialEntity>,
    /// Writes, by time.
    pub writes: Vec<PlannedWrite>,
    /// Faults, by the time they begin.
    pub faults: Vec<PlannedFault>,
    /// How long writes and faults go on.
    #[serde(with = "micros")]
    pub duration: Duration,
    /// How long the survivors may take to converge after that, in virtual time.
    #[serde(with = "micros")]
    pub patience: Duration,
    /// The nodes healed in the end: started, reconnected with each other, without faults. The others are never well
    /// again: dead, cut off both ways or one way, or hardly reachable, as the noise has it. They are connected among
    /// themselves by [`Plan::links`].
    pub survivors: Vec<NodeNo>,
    /// Assertions of the scenario, checked when the survivors have converged.
    pub assertions: Vec<Assertion>,
    /// Random faults that were drawn and left out, because a plan holds no more.
    #[serde(default, skip_serializing_if = "none")]
    pub left_out: u64,
}

/// A node of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// The node's name, unique.
    pub name: String,
    /// The wall clock against true time at the beginning, in milliseconds.
    pub clock_offset_ms: i64,
    /// How fast its wall clock runs: parts per million too fast (or, negative, too slow).
    pub clock_drift_ppm: i32,
    /// How long its disk takes for one durable commit.
    pub commit: Spread,
}

/// The way between two nodes, the same in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// Who dials.
    pub from: NodeNo,
    /// Who is dialled.
    pub to: NodeNo,
    /// Time of a packet from one to the other.
    pub latency: Spread,
    /// Bytes per second; 0: as many as you like.
    pub bandwidth: u64,
    /// Packets lost, of a million. A stream stalls for a round trip or more; datagrams are gone.
    pub loss_ppm: u32,
    /// Packets doubled, of a million. Only the QUIC lane has packets; streams know no doubles.
    pub duplicate_ppm: u32,
    /// Packets with flipped bits, of a million. Only the QUIC lane.
    pub corrupt_ppm: u32,
}

/// A distribution of times by its quantiles; between them it is linear. Integers: the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The least, in microseconds.
    pub min_us: u64,
    /// Half are below.
    pub p50_us: u64,
    /// 99 of 100 are below.
    pub p99_us: u64,
    /// The most.
    pub max_us: u64,
}

impl Spread {
    /// Always the same.
    #[must_use]
    pub const fn fixed(us: u64) -> Self {
        Self { min_us: us, p50_us: us, p99_us: us, max_us: us }
    }

    /// The time at a random 32-bit number. O(1).
    #[must_use]
    pub fn at(&self, random: u32) -> Duration {
        const WHOLE: u64 = 1 << 32;
        const P50: u64 = WHOLE / 2;
        const P99: u64 = WHOLE / 100 * 99;
        const { assert!(P50 < P99 && P99 < WHOLE, "quantiles ascend") };
        let between = |from: u64, to: u64, low: u64, high: u64, x: u64| {
            from + u64::try_from(u128::from(to.saturating_sub(from)) * u128::from(x - low) / u128::from(high - low))
                .unwrap_or(0)
        };
        let x = u64::from(random);
        let us = match x {
            _ if x < P50 => between(self.min_us, self.p50_us, 0, P50, x),
            _ if x < P99 => between(self.p50_us, self.p99_us, P50, P99, x),
            _ => between(self.p99_us, self.max_us, P99, WHOLE, x),
        };
        Duration::from_micros(us)
    }
}

/// A space of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpacePlan {
    /// The space's name, unique.
    pub name: String,
    /// The members; the first founds the space and is its admin whatever is said here.
    pub members: Vec<(NodeNo, Role)>,
}

/// An entity that everybody has at the beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialEntity {
    /// Index in [`Plan::spaces`].
    pub space: usize,
    /// The collection of the entity.
    pub collection: String,
    /// The id of the entity.
    pub id: String,
    /// The content of the entity, an object.
    pub value: serde_json::Value,
}

/// What a client asks of a node: one request, one entry if it is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWrite {
    /// The number of the write, unique in the plan; stays when others are left out. From 1.
    pub no: u32,
    /// When.
    #[serde(with = "micros")]
    pub at: Duration,
    /// Where.
    pub node: NodeNo,
    /// Index in [`Plan::spaces`].
    pub space: usize,
    /// What; several entities are one transaction.
    pub edits: Vec<Edit>,
    /// Whether the client asks again, with the same idempotency key, when the node goes down before it answers.
    pub retried: bool,
}

/// An edit of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The collection of the entity.
    pub collection: String,
    /// The id of the entity.
    pub id: String,
    /// What is done to it.
    pub action: Action,
}

/// What is done to an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// PUT without a base.
    Put(serde_json::Value),
    /// PATCH with a JSON Merge Patch.
    Patch(serde_json::Value),
    /// The typed operation `increment`.
    Increment {
        /// JSON Pointer to the counter.
        path: String,
        /// What is added.
        by: i64,
    },
    /// DELETE.
    Delete,
}

/// An assertion in CEL over what a node shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// For messages.
    pub name: String,
    /// The expression; it must give a bool.
    pub expression: String,
    /// Over what.
    pub over: Over,
}

/// What an assertion is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Over {
    /// Every entity of a collection on every survivor: `id`, `entity` (its view), `conflicts` (JSON Pointer → values),
    /// `present`, `node`.
    Entity {
        /// Index in [`Plan::spaces`].
        space: usize,
        /// The collection.
        collection: String,
    },
    /// Every survivor: `node`, `views` (collection → id → view), `conflicts` (collection → id → pointer → values),
    /// `writes` (acknowledged: node, at, collection, id, action), `spaces`.
    Node {
        /// Index in [`Plan::spaces`].
        space: usize,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn none(count: &u64) -> bool {
    *count == 0
}

/// Durations as whole microseconds.
pub(crate) mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_goes_through_its_quantiles() {
        let spread = Spread { min_us: 10, p50_us: 100, p99_us: 1_000, max_us: 5_000 };
        assert_eq!(spread.at(0), Duration::from_micros(10));
        assert_eq!(spread.at(1 << 31), Duration::from_micros(100));
        assert_eq!(spread.at(u32::MAX / 100 * 99 + 100), Duration::from_micros(1_000));
        assert!(spread.at(u32::MAX) <= Duration::from_micros(5_000));
        assert!(spread.at(u32::MAX) >= Duration::from_micros(4_999));
        assert_eq!(Spread::fixed(7).at(12_345), Duration::from_micros(7));
    }
}
