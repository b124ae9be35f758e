//! The engine: one deterministic state machine. All behaviour of a node lives here.
//!
//! [`Engine::step`] takes the time and what has happened, makes at most one durable commit, and returns what has to be
//! done. It does no IO but through the store it owns, reads no clock, draws no randomness but from the seed given at
//! opening, spawns nothing, and iterates nothing unordered.
//!
//! A step has three parts: inputs are carried out in one write transaction ([`inputs`], [`commands`], [`space`]), the
//! transaction is committed, and then, from what is durable, frames are made ([`peers`]). So nothing leaves before it
//! is durable. The engine's memory is a cache of its store: when a commit fails it is dropped and read again, and
//! connections are closed. The work of a step is counted and bounded ([`budget`]); what is left over is the next
//! step's.
//!
//! What belongs to a space knows no connection, and what belongs to connections reads no row; a step hands from one to
//! the other what has moved ([`after`]).
//!
//! Start reading at [`Engine::step`], then [`space::settle`].

mod after;
mod backlog;
mod budget;
mod commands;
mod inputs;
mod interface;
mod memory;
mod peers;
mod poison;
mod report;
mod space;
mod status;
mod step;
#[cfg(test)]
mod tests;
mod trouble;
mod work;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::verdict::Wait;
use tombolo_crdt::{Digest, Hlc, NodeId, SpaceId};

pub use budget::{STEP_KINDS, STEP_WORK_MAX};
pub use interface::{
    Command, ConnId, EntityWrite, Expect, Idempotency, Input, JoinRequest, JoinState, Left, Now, Output, Outputs,
    ReceiptState, Refusal, Reply, ReplyTo, StepCost, Target, WriteCommand, WriteOutcome, Written,
};
pub use peers::acks::Acks;
pub use peers::clocks::CLOCK_OFF_MILLIS;
pub use space::care::CareCounters;
pub use space::planning::{Outcome as PlanOutcome, PLANNED_HERE_BYTES, PLANNED_ROWS_BYTES_MAX, Plan, Planned};
pub use status::{
    ConnectionStatus, Counters, HeldStatus, LargeRow, MemberStatus, PeerAck, RunningOut, Sizes, SpaceStatus, Status,
    Twin,
};

use memory::{Aims, Health, Memory, Own, Queue};
use space::rows::Pasts;
use space::spaces::Spaces;
use space::{Author, Space, Stored};
use work::Work;

use crate::store::{Store, StoreError};

/// How an engine is opened.
#[derive(Debug)]
pub struct EngineConfig {
    /// The node's key.
    pub key: SigningKey,
    /// Name and addresses the node tells others.
    pub contact: Contact,
    /// 32 random bytes: the epoch and every later random value come from them.
    pub seed: [u8; 32],
    /// Work of a step, in nanoseconds: [`STEP_WORK_MAX`], or less where many small steps are to be tried.
    pub step_work: u64,
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot be read. Nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The state machine of a node. See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    own: Own,
    memory: Memory,
    queue: Queue,
    health: Health,
    aims: Aims,
    hlc_last: Hlc,
    hlc_seen: Hlc,
    pasts: Pasts,
    looks: space::looks::Looks,
    counters: Counters,
    /// Since when the store has an older version of what is remembered of peers.
    memory_since: Option<Duration>,
    /// How long a session with a peer may stall before it is begun anew.
    patience: BTreeMap<NodeId, Duration>,
    /// How often invariants were checked.
    checked: Cell<usize>,
}

/// Connections, and feeds of a space, whose invariants are checked after one step.
const CHECKED_AT_ONCE: usize = 16;

impl Engine {
    /// Opens the engine over a store: reads spaces, feeds, rules and what is held. O(feeds + rules entries + held).
    ///
    /// # Errors
    /// [`EngineError::Store`]: the store cannot be read.
    pub fn open(store: Store, config: EngineConfig) -> Result<Self, EngineError> {
        let EngineConfig { key, contact, seed, step_work } = config;
        let own = Own::new(key, contact, seed);
        let mut engine = Self {
            store,
            memory: Memory::new(own.node),
            own,
            queue: Queue {
                step_work,
                tended: false,
                rest: None,
                later: VecDeque::new(),
                drain_due: false,
                theirs_first: true,
            },
            health: Health::default(),
            aims: Aims { due: true, ..Aims::default() },
            hlc_last: Hlc::default(),
            hlc_seen: Hlc::default(),
            pasts: Pasts::default(),
            looks: space::looks::Looks::default(),
            counters: Counters::default(),
            memory_since: None,
            patience: BTreeMap::new(),
            checked: Cell::new(0),
        };
        engine.load()?;
        Ok(engine)
    }

    /// Reads the memory back from the store, as a new author: what follows a failed commit must not write at a
    /// position that the failed one may have reached after all.
    fn load(&mut self) -> Result<(), StoreError> {
        let mut epoch = [0; 8];
        epoch.copy_from_slice(self.own.draw("epoch").split_at(8).0);
        let drawn = u64::from_le_bytes(epoch);
        self.memory.author =
            Author { node: self.own.node, epoch: if defect::is(Defect::EpochReused) { 1 } else { drawn } };
        let mut batch = self.store.begin()?;
        let mut spaces = Spaces::default();
        let mut stored = Stored::read(&batch)?;
        for row in batch.spaces()? {
            spaces.insert(row.space, Space::load(row, &mut stored, &mut batch, self.memory.author)?);
        }
        self.memory.joins = space::membership::load_joins(&batch)?;
        self.memory.added = space::membership::load_added(&batch)?;
        self.memory.contacts.load(&batch)?;
        // Nothing is written but that damaged rows are gone which can be done without. If it fails they are met again.
        if let Err(error) = batch.commit() {
            tracing::error!(%error, "damaged rows cannot be removed");
        }
        let readings = spaces.values().flat_map(|space: &Space| space.feeds.values());
        let own = readings.filter(|feed| feed.opening.node == self.own.node);
        let last = own.map(|feed| Hlc::from_raw(feed.row.hlc)).max().unwrap_or_default();
        self.hlc_last = self.hlc_last.max(last);
        self.memory.spaces = spaces;
        for (space, collection, id) in self.health.poison.iter() {
            if let Some(space) = self.memory.spaces.get_mut(space) {
                space.care.poisoned((collection.clone(), id.clone()), poison::REASON.to_owned());
            }
        }
        self.queue.drain_due = true;
        self.aims.due = true;
        self.pasts = Pasts::default();
        self.looks.forget();
        Ok(())
    }

    /// This node's key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.own.node
    }

    /// Handle for readers of the store.
    #[must_use]
    pub fn reader(&self) -> crate::store::Reader {
        self.store.reader()
    }

    /// Ids and names of the spaces held here.
    pub fn spaces(&self) -> impl Iterator<Item = (SpaceId, &str)> {
        self.memory.spaces.values().map(|space| (space.id, space.row.name.as_str()))
    }

    /// The newest rules entries of a space, as this node's next entry would name them.
    #[must_use]
    pub fn rules_heads(&self, space: SpaceId) -> Option<Vec<tombolo_crdt::ChainHash>> {
        self.memory.spaces.get(&space).map(|space| space.rules.heads())
    }

    /// The settled prefixes of a space.
    #[must_use]
    pub fn frontier(&self, space: SpaceId) -> Option<&Frontier> {
        self.memory.spaces.get(&space).map(|space| &space.frontier)
    }

    /// Digest of the state of a space, as kept incrementally.
    #[must_use]
    pub fn state_digest(&self, space: SpaceId) -> Option<Digest> {
        self.memory.spaces.get(&space).map(|space| space.row.sums.digest())
    }

    /// Entries of a space that wait for others, and their bytes.
    #[must_use]
    pub fn held(&self, space: SpaceId) -> Option<(usize, usize)> {
        self.memory.spaces.get(&space).map(|space| (space.held.len(), space.held.bytes()))
    }

    /// Held entries of a space by feed, and what each feed waits for.
    #[must_use]
    pub fn held_by_feed(&self, space: SpaceId) -> Vec<HeldStatus> {
        let of = |space| report::held_status(space, usize::MAX).1;
        self.memory.spaces.get(&space).map(of).unwrap_or_default()
    }

    /// Work after which a step begins nothing more: [`EngineConfig::step_work`].
    #[must_use]
    pub fn step_work(&self) -> u64 {
        self.queue.step_work
    }

    /// Counters since this engine was opened.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Rows that were built anew since this engine was opened, in all spaces. O(spaces).
    #[must_use]
    pub fn repaired(&self) -> u64 {
        self.memory.spaces.values().map(|space| space.care.counters.repaired).sum()
    }

    /// Panics if an invariant of the memory is broken. The simulator calls it after every step, so each call looks at
    /// some connections and feeds, and the calls together at all: O(1) but for what is held.
    pub fn check_invariants(&self) {
        let turn = self.checked.get();
        self.checked.set(turn.wrapping_add(1));
        let some = |count: usize| turn.checked_rem(count.div_ceil(CHECKED_AT_ONCE)).unwrap_or(0) * CHECKED_AT_ONCE;
        self.memory.conns.check_index();
        for conn in self.memory.conns.values().skip(some(self.memory.conns.len())).take(CHECKED_AT_ONCE) {
            assert!(conn.theirs.len() <= peers::conn::SPACES_MAX, "the spaces a peer names are bounded");
            for (id, session) in &conn.sessions {
                self.memory.spaces.get(id).into_iter().for_each(|space| session.check_bounds(space));
            }
        }
        for space in self.memory.spaces.values() {
            // A memory that a failed commit left behind is read again before anything is done on it.
            assert!(self.health.unloaded || space.moves.is_empty(), "what moved in a step is told in it");
            for (id, feed) in space.feeds.iter().skip(some(space.feeds.len())).take(CHECKED_AT_ONCE) {
                // A hash per feed and step is for debug builds.
                debug_assert_eq!(*id, feed.opening.feed(), "a feed is filed under its id");
                assert_eq!(space.frontier.seq(*id), feed.row.seq, "the frontier is the settled prefix");
                assert!(feed.sealed_seq() <= feed.row.seq, "nothing is sealed that is not settled");
            }
            for head in space.heads.iter() {
                assert!(space.frontier.seq(head.feed) >= head.seq, "heads are settled");
            }
            assert!(space.held.len() <= space::held::HELD_ENTRIES_MAX, "held entries are bounded");
            assert!(space.held.bytes() <= space::held::HELD_BYTES_MAX, "held bytes are bounded");
            for feed in space.held.feeds() {
                let next = space.frontier.seq(feed) + 1;
                let is_next = space.held.of(feed).is_some_and(|(first, _)| first == next);
                if let Some(Wait::Entry(of, seq)) = space.held.blocker(feed).filter(|_| is_next) {
                    assert!(*of != feed || *seq < next, "what is next does not wait for what comes after it");
                }
            }
            if space.held.len() > 0
                && let Ok(reading) = self.store.reader().reading()
            {
                let first = |feed| space.held.of(feed).map(|(seq, _)| reading.held_entry(feed, seq));
                let gone = space.held.feeds().into_iter().find(|feed| matches!(first(*feed), Some(Ok(None))));
                assert_eq!(gone, None, "what is held is in the store");
            }
        }
    }
}
