//! The engine: one deterministic state machine. All behaviour of a node lives here.
//!
//! [`Engine::step`] takes the time and what has happened, makes at most one durable commit, and returns what has to be
//! done. It does no IO but through the store it owns, reads no clock, draws no randomness but from the seed given at
//! opening, spawns nothing, and iterates nothing unordered.
//!
//! A step has three parts: inputs are carried out in one write transaction ([`local`], [`settle`], [`rules`]), the
//! transaction is committed, and then, from what is durable, frames are made ([`exchange`], [`transfer`]). So nothing
//! leaves before it is durable. The engine's memory is a cache of its store: when a commit fails it is dropped and
//! read again, and connections are closed.
//!
//! Start reading at [`Engine::step`], then [`settle`].

mod acks;
mod agenda;
mod append;
mod backlog;
mod budget;
mod care;
mod clocks;
mod commands;
mod conn;
mod contacts;
mod exchange;
mod heads;
mod held;
mod holding;
mod idempotency;
mod inputs;
mod io;
mod judge;
mod local;
mod looks;
mod memory;
mod news;
mod offer;
mod pages;
mod past;
mod planning;
mod poison;
mod report;
mod rows;
mod rules;
mod session;
mod settle;
mod space;
mod spaces;
mod status;
mod step;
mod strangers;
#[cfg(test)]
mod tests;
mod transfer;
mod trouble;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::hash::Tagged;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::verdict::Wait;
use tombolo_crdt::{Digest, FeedId, Hlc, NodeId, SpaceId};

pub use acks::Acks;
pub use budget::STEP_WORK_MAX;
pub use care::CareCounters;
pub use clocks::CLOCK_OFF_MILLIS;
pub use io::{
    Command, ConnId, EntityWrite, Expect, Idempotency, Input, JoinRequest, JoinState, Left, Now, Output, Outputs,
    ReceiptState, Refusal, Reply, ReplyTo, StepCost, Target, WriteCommand, WriteOutcome, Written,
};
pub use planning::{Outcome as PlanOutcome, Plan, Planned};
pub use status::{ConnectionStatus, Counters, HeldStatus, MemberStatus, PeerAck, SpaceStatus, Status, Twin};

use conn::Conns;
use rows::{Pasts, Rows};
use space::{Author, Space, Stored};
use spaces::Spaces;

use crate::chain::Entries;
use crate::store::{Batch, Store, StoreError};

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
    key: SigningKey,
    node: NodeId,
    contact: Contact,
    seed: [u8; 32],
    step_work: u64,
    draws: u64,
    author: Author,
    spaces: Spaces,
    conns: Conns,
    /// Connections that are no member's yet.
    strangers: BTreeSet<ConnId>,
    agenda: agenda::Agenda,
    /// Inputs that steps had no work left for.
    later: VecDeque<Input>,
    backlog: backlog::Backlog,
    joins: BTreeMap<SpaceId, rules::PendingJoin>,
    contacts: contacts::Contacts,
    added: BTreeSet<String>,
    discovered: BTreeMap<NodeId, Vec<String>>,
    targets: Vec<Target>,
    /// Keys of all members, as last told.
    known: BTreeSet<NodeId>,
    /// Something has changed that targets follow from.
    targets_due: bool,
    process: [u8; 16],
    dials: u64,
    hlc_last: Hlc,
    hlc_seen: Hlc,
    pasts: Pasts,
    looks: looks::Looks,
    poison: poison::Poison,
    counters: Counters,
    full: Option<String>,
    /// When what is wrong outside of this program was logged last.
    logged: Option<Duration>,
    /// The store must be reopened, and the memory read again, before anything else is done.
    reopen: bool,
    unloaded: bool,
    /// Held entries are on a work list.
    drain_due: bool,
    /// Since when the store has an older version of what is remembered of peers.
    memory_since: Option<Duration>,
    /// How long a session with a peer may stall before it is begun anew.
    patience: BTreeMap<NodeId, Duration>,
    trouble: trouble::Trouble,
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
        let node = NodeId::from_bytes(config.key.verifying_key().to_bytes());
        let mut engine = Self {
            store,
            key: config.key,
            node,
            contact: config.contact,
            seed: config.seed,
            step_work: config.step_work,
            draws: 0,
            author: Author { node, epoch: 0 },
            spaces: Spaces::default(),
            conns: Conns::default(),
            strangers: BTreeSet::new(),
            agenda: agenda::Agenda::default(),
            later: VecDeque::new(),
            backlog: backlog::Backlog::default(),
            joins: BTreeMap::new(),
            contacts: contacts::Contacts::default(),
            added: BTreeSet::new(),
            discovered: BTreeMap::new(),
            targets: Vec::new(),
            known: BTreeSet::new(),
            targets_due: true,
            process: [0; 16],
            dials: 0,
            hlc_last: Hlc::default(),
            hlc_seen: Hlc::default(),
            pasts: Pasts::default(),
            looks: looks::Looks::default(),
            poison: poison::Poison::default(),
            counters: Counters::default(),
            full: None,
            logged: None,
            reopen: false,
            unloaded: false,
            drain_due: false,
            memory_since: None,
            patience: BTreeMap::new(),
            trouble: trouble::Trouble::default(),
            checked: Cell::new(0),
        };
        let process = engine.draw("process");
        engine.process.copy_from_slice(process.split_at(16).0);
        engine.load()?;
        Ok(engine)
    }

    /// Reads the memory back from the store, as a new author: what follows a failed commit must not write at a
    /// position that the failed one may have reached after all.
    fn load(&mut self) -> Result<(), StoreError> {
        let mut epoch = [0; 8];
        epoch.copy_from_slice(self.draw("epoch").split_at(8).0);
        let drawn = u64::from_le_bytes(epoch);
        self.author = Author { node: self.node, epoch: if defect::is(Defect::EpochReused) { 1 } else { drawn } };
        let mut batch = self.store.begin()?;
        let mut spaces = Spaces::default();
        let mut stored = Stored::read(&batch)?;
        for row in batch.spaces()? {
            spaces.insert(row.space, Space::load(row, &mut stored, &mut batch, self.author)?);
        }
        self.joins = rules::load_joins(&batch)?;
        self.added = rules::load_added(&batch)?;
        self.contacts.load(&batch)?;
        // Nothing is written but that damaged rows are gone which can be done without. If it fails they are met again.
        if let Err(error) = batch.commit() {
            tracing::error!(%error, "damaged rows cannot be removed");
        }
        let readings = spaces.values().flat_map(|space: &Space| space.feeds.values());
        let own = readings.filter(|feed| feed.opening.node == self.node);
        let last = own.map(|feed| Hlc::from_raw(feed.row.hlc)).max().unwrap_or_default();
        self.hlc_last = self.hlc_last.max(last);
        self.spaces = spaces;
        for (space, collection, id) in self.poison.iter() {
            if let Some(space) = self.spaces.get_mut(space) {
                space.care.poisoned((collection.clone(), id.clone()), poison::REASON.to_owned());
            }
        }
        self.drain_due = true;
        self.targets_due = true;
        self.pasts = Pasts::default();
        self.looks.forget();
        Ok(())
    }

    /// The next random value: blake3(seed ‖ label ‖ counter).
    fn draw(&mut self, label: &str) -> [u8; 32] {
        self.draws += 1;
        Tagged::new("tombolo/1 draw").bytes(&self.seed).sized(label.as_bytes()).number(self.draws).finish()
    }

    /// This node's key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Handle for readers of the store.
    #[must_use]
    pub fn reader(&self) -> crate::store::Reader {
        self.store.reader()
    }

    /// Ids and names of the spaces held here.
    pub fn spaces(&self) -> impl Iterator<Item = (SpaceId, &str)> {
        self.spaces.values().map(|space| (space.id, space.row.name.as_str()))
    }

    /// The newest rules entries of a space, as this node's next entry would name them.
    #[must_use]
    pub fn rules_heads(&self, space: SpaceId) -> Option<Vec<tombolo_crdt::ChainHash>> {
        self.spaces.get(&space).map(|space| space.rules.heads())
    }

    /// The settled prefixes of a space.
    #[must_use]
    pub fn frontier(&self, space: SpaceId) -> Option<&Frontier> {
        self.spaces.get(&space).map(|space| &space.frontier)
    }

    /// Digest of the state of a space, as kept incrementally.
    #[must_use]
    pub fn state_digest(&self, space: SpaceId) -> Option<Digest> {
        self.spaces.get(&space).map(|space| space.row.sums.digest())
    }

    /// Entries of a space that wait for others, and their bytes.
    #[must_use]
    pub fn held(&self, space: SpaceId) -> Option<(usize, usize)> {
        self.spaces.get(&space).map(|space| (space.held.len(), space.held.bytes()))
    }

    /// Held entries of a space by feed, and what each feed waits for.
    #[must_use]
    pub fn held_by_feed(&self, space: SpaceId) -> Vec<HeldStatus> {
        self.spaces.get(&space).map(report::held_status).unwrap_or_default()
    }

    /// Counters since this engine was opened.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Rows that were built anew since this engine was opened, in all spaces. O(spaces).
    #[must_use]
    pub fn repaired(&self) -> u64 {
        self.spaces.values().map(|space| space.care.counters.repaired).sum()
    }

    /// Panics if an invariant of the memory is broken. The simulator calls it after every step, so each call looks at some
    /// connections and feeds, and the calls together at all: O(1) but for what is held.
    pub fn check_invariants(&self) {
        let turn = self.checked.get();
        self.checked.set(turn.wrapping_add(1));
        let some = |count: usize| turn.checked_rem(count.div_ceil(CHECKED_AT_ONCE)).unwrap_or(0) * CHECKED_AT_ONCE;
        self.conns.check_index();
        for conn in self.conns.values().skip(some(self.conns.len())).take(CHECKED_AT_ONCE) {
            assert!(conn.theirs.len() <= conn::SPACES_MAX, "the spaces a peer names are bounded");
            for (id, session) in &conn.sessions {
                self.spaces.get(id).into_iter().for_each(|space| session.check_bounds(space));
            }
        }
        for space in self.spaces.values() {
            // A memory that a failed commit left behind is read again before anything is done on it.
            assert!(self.unloaded || space.moves.is_empty(), "what moved in a step is told in it");
            for (id, feed) in space.feeds.iter().skip(some(space.feeds.len())).take(CHECKED_AT_ONCE) {
                // A hash per feed and step is for debug builds.
                debug_assert_eq!(*id, feed.opening.feed(), "a feed is filed under its id");
                assert_eq!(space.frontier.seq(*id), feed.row.seq, "the frontier is the settled prefix");
                assert!(feed.sealed_seq() <= feed.row.seq, "nothing is sealed that is not settled");
            }
            for head in space.heads.iter() {
                assert!(space.frontier.seq(head.feed) >= head.seq, "heads are settled");
            }
            assert!(space.held.len() <= held::HELD_ENTRIES_MAX, "held entries are bounded");
            assert!(space.held.bytes() <= held::HELD_BYTES_MAX, "held bytes are bounded");
            for feed in space.held.feeds() {
                let next = space.frontier.seq(feed) + 1;
                let is_next = space.held.of(feed).is_some_and(|(first, _)| first == next);
                if let Some(Wait::Entry(of, seq)) = space.held.blocker(feed).filter(|_| is_next) {
                    assert!(*of != feed || *seq < next, "what is next does not wait for what comes after it");
                }
            }
            if space.held.len() > 0
                && let Ok(snapshot) = self.store.reader().snapshot()
            {
                let first = |feed| space.held.of(feed).map(|(seq, _)| snapshot.held_entry(feed, seq));
                let gone = space.held.feeds().into_iter().find(|feed| matches!(first(*feed), Some(Ok(None))));
                assert_eq!(gone, None, "what is held is in the store");
            }
        }
    }
}

/// What the inputs of one step work on: the write transaction and the rows it has touched.
struct Work<'a> {
    batch: Batch<'a>,
    rows: Rows,
    entries: Entries,
    pasts: &'a mut Pasts,
    looks: &'a mut looks::Looks,
    poison: &'a mut poison::Poison,
    key: &'a SigningKey,
    node: NodeId,
    now: Now,
    hlc_last: &'a mut Hlc,
    hlc_seen: &'a mut Hlc,
    counters: &'a mut Counters,
    unsealed: BTreeSet<(SpaceId, FeedId)>,
    budget: budget::Budget,
}
