//! Faults of a plan: what goes wrong, when, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NodeNo, micros};

/// Most rows that one fault damages: the disk is searched for each of them.
pub const ROW_FLIPS_MAX: u32 = 64;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// The number of the fault, unique in the plan; stays when others are left out. From 1.
    pub no: u32,
    /// When it begins.
    #[serde(with = "micros")]
    pub at: Duration,
    /// When it ends; for what happens at once, the same as `at`. Never later than
    /// [`Plan::duration`](super::Plan::duration).
    #[serde(with = "micros")]
    pub until: Duration,
    /// What.
    pub fault: Fault,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Fault {
    /// Nothing passes between the two sides. Nobody is told: connections end by their idle timeout.
    Cut {
        /// One side.
        from: Vec<NodeNo>,
        /// The other side.
        to: Vec<NodeNo>,
        /// Only what goes from `from` to `to` is lost.
        one_way: bool,
    },
    /// What is sent from one side to the other waits and arrives at the end, all at once.
    Clog {
        /// Senders.
        from: Vec<NodeNo>,
        /// Receivers.
        to: Vec<NodeNo>,
    },
    /// Latency is so many times greater, both ways.
    Slow {
        /// One side.
        from: Vec<NodeNo>,
        /// The other side.
        to: Vec<NodeNo>,
        /// How many times.
        factor: u32,
    },
    /// Packets are lost, both ways, on top of what the link loses.
    Lossy {
        /// One side.
        from: Vec<NodeNo>,
        /// The other side.
        to: Vec<NodeNo>,
        /// Of a million.
        loss_ppm: u32,
    },
    /// Connections between the sides break, in the middle of whatever frame is on its way. Both ends notice.
    Reset {
        /// One side.
        from: Vec<NodeNo>,
        /// The other side.
        to: Vec<NodeNo>,
    },
    /// The connections vanish at one end only: `node` forgets them and tells nobody (a NAT that lost its table).
    HalfOpen {
        /// Who forgets.
        node: NodeNo,
    },
    /// The node gets another address: connections survive on the QUIC lane (migration), break on the other.
    Readdress {
        /// Who moves.
        node: NodeNo,
    },
    /// Whatever transfer frames the connections between the sides carried last are carried again on the next ones.
    Replay {
        /// One side.
        from: Vec<NodeNo>,
        /// The other side.
        to: Vec<NodeNo>,
    },
    /// The node takes what arrives for it at this rate and no faster.
    SlowReader {
        /// Who.
        node: NodeNo,
        /// Bytes per second; 0: nothing at all.
        bytes_per_second: u64,
    },
    /// The process is killed; at the end it is started again on what its disk kept.
    Crash {
        /// Who.
        node: NodeNo,
        /// What becomes of writes the disk had not been asked to keep.
        unsynced: Unsynced,
        /// `Some(n)`: not now, but in the middle of its next commit, after n disk operations.
        in_commit: Option<u32>,
        /// `Some(n)`: at the next start it is killed again after n disk operations, while the store is being repaired,
        /// and then started for good.
        in_repair: Option<u32>,
    },
    /// The process stands still (a suspended laptop): it neither reads nor answers, and its monotonic clock stops.
    Pause {
        /// Who.
        node: NodeNo,
    },
    /// The wall clock jumps; at the end it jumps back.
    ClockJump {
        /// Whose.
        node: NodeNo,
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// The volume has no room.
    DiskFull {
        /// Whose.
        node: NodeNo,
    },
    /// One write or sync fails, after so many that succeed; then the disk works again.
    DiskError {
        /// Whose.
        node: NodeNo,
        /// Operations that succeed before.
        after: u32,
    },
    /// Commits take so many times longer.
    DiskSlow {
        /// Whose.
        node: NodeNo,
        /// How many times.
        factor: u32,
    },
    /// The process is killed, bits of its cold file flip, and it is started again at the end. What it held may be lost:
    /// it is never among the survivors.
    BitFlips {
        /// Whose.
        node: NodeNo,
        /// How many.
        count: u32,
    },
    /// The process is killed, a bit flips in each of so many rows of its cold entity table, and it is started again at
    /// the end. It lacks nothing: it has to find these rows and build them anew.
    RowFlips {
        /// Whose.
        node: NodeNo,
        /// How many rows, at most [`ROW_FLIPS_MAX`]; if it has fewer, all.
        count: u32,
    },
    /// The process is killed and its whole data directory put back to what it was earlier; at the end it is started.
    Restore {
        /// Whose.
        node: NodeNo,
        /// When the backup was made. If the process was running then, the copy is that of a crash.
        #[serde(with = "micros")]
        taken: Duration,
    },
    /// A copy of the data directory is started as a second process beside the first, with the same key, until the end.
    /// Clients keep talking to the first; half of the peers' dials reach the second.
    Clone {
        /// Whose.
        node: NodeNo,
    },
    /// The node's key is in other hands as well: beside what its engine says, its peers are sent what no engine would
    /// write. At the beginning its connections break, and at the end again; then all is as before.
    GoneBad {
        /// Whose.
        node: NodeNo,
        /// What is tried, each once, at a moment that the noise decides. Not nothing.
        attacks: Vec<Attack>,
    },
}

/// What a member gone bad does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Many entries that are refused: by role if it may not write, else by structure.
    Refused,
    /// Entries that wait for what never comes, in feeds whose openings are nearly as large as they may be.
    Waiting,
    /// Changes of few bytes that would stand for tens of thousands of operations.
    Dense,
    /// Changes of the entity with the longest history, made on changes that nobody has.
    Unknown,
    /// Changes made on the oldest of entities with long histories, one of them its own.
    Old,
    /// Entries with as many dependencies as they may have.
    Naming,
    /// Rules entries that are refused.
    Rules,
    /// Refused entries with clocks that are a day ahead.
    Clocks,
    /// Frontiers, acknowledgements, audits and probes that are lies, of feeds that do not exist as well.
    Lies,
    /// The whole frontier is asked for again and again.
    Asking,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::Waiting,
        Self::Dense,
        Self::Unknown,
        Self::Old,
        Self::Naming,
        Self::Rules,
        Self::Clocks,
        Self::Lies,
        Self::Asking,
    ];

    /// What a lane counts when it was carried out.
    #[must_use]
    pub const fn hit(self) -> &'static str {
        match self {
            Self::Refused => "a member gone bad: refused entries",
            Self::Waiting => "a member gone bad: entries that wait for ever",
            Self::Dense => "a member gone bad: dense changes",
            Self::Unknown => "a member gone bad: changes made on unknown ones",
            Self::Old => "a member gone bad: changes made on old ones",
            Self::Naming => "a member gone bad: entries with most dependencies",
            Self::Rules => "a member gone bad: refused rules",
            Self::Clocks => "a member gone bad: clocks a day ahead",
            Self::Lies => "a member gone bad: lies",
            Self::Asking => "a member gone bad: frontier asked for again and again",
        }
    }
}

/// What becomes of writes that were not synced when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsynced {
    /// All are kept: the process alone was killed.
    Kept,
    /// All are lost.
    Lost,
    /// Any of them are kept, whole.
    Subset,
    /// Any 512-byte sectors of them are kept.
    Torn,
}
