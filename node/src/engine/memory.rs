//! What an engine has in memory, by what it is of: the spaces and the peers, the node itself, what waits, how it is
//! doing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::hash::Tagged;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{NodeId, SpaceId};

use crate::engine::backlog::Backlog;
use crate::engine::interface::{ConnId, EntityWrite, Input, Refusal, ReplyTo, Target, WriteCommand, Written};
use crate::engine::peers::agenda::Agenda;
use crate::engine::peers::conn::Conns;
use crate::engine::peers::contacts::Contacts;
use crate::engine::peers::transfer::Loads;
use crate::engine::poison::Poison;
use crate::engine::space::Author;
use crate::engine::space::membership::PendingJoin;
use crate::engine::space::spaces::Spaces;
use crate::engine::trouble::Trouble;

/// Spaces and peers. Of the spaces it is a cache of the store; of connections nothing is stored.
#[derive(Debug)]
pub(super) struct Memory {
    /// This process as the author of its feeds.
    pub(super) author: Author,
    pub(super) spaces: Spaces,
    pub(super) conns: Conns,
    /// Connections that are no member's yet.
    pub(super) strangers: BTreeSet<ConnId>,
    pub(super) agenda: Agenda,
    /// What is read to be sent.
    pub(super) loads: Loads,
    /// Entries of others that wait for their turn.
    pub(super) backlog: Backlog,
    pub(super) joins: BTreeMap<SpaceId, PendingJoin>,
    pub(super) contacts: Contacts,
    /// Addresses that are dialled because somebody said so.
    pub(super) added: BTreeSet<String>,
    /// What was found on the local network.
    pub(super) discovered: BTreeMap<NodeId, Vec<String>>,
    /// Connections so far.
    pub(super) dials: u64,
}

impl Memory {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            author: Author { node, epoch: 0 },
            spaces: Spaces::default(),
            conns: Conns::default(),
            strangers: BTreeSet::new(),
            agenda: Agenda::default(),
            loads: Loads::default(),
            backlog: Backlog::default(),
            joins: BTreeMap::new(),
            contacts: Contacts::default(),
            added: BTreeSet::new(),
            discovered: BTreeMap::new(),
            dials: 0,
        }
    }
}

/// The node itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) key: SigningKey,
    pub(super) node: NodeId,
    /// What it tells others of itself.
    pub(super) contact: Contact,
    /// Tells this process from others of this node's key.
    pub(super) process: [u8; 16],
    seed: [u8; 32],
    draws: u64,
}

impl Own {
    pub(super) fn new(key: SigningKey, contact: Contact, seed: [u8; 32]) -> Self {
        let node = NodeId::from_bytes(key.verifying_key().to_bytes());
        let mut own = Self { key, node, contact, process: [0; 16], seed, draws: 0 };
        let drawn = own.draw("process");
        own.process.copy_from_slice(drawn.split_at(16).0);
        own
    }

    /// The next random value: blake3(seed ‖ label ‖ counter).
    pub(super) fn draw(&mut self, label: &str) -> [u8; 32] {
        self.draws += 1;
        Tagged::new("tombolo/1 draw").bytes(&self.seed).sized(label.as_bytes()).number(self.draws).finish()
    }

    /// A number that nobody can guess and that is never used again: what a space that is founded is told from others
    /// by.
    pub(super) fn nonce(&mut self, founder: &SigningKey) -> [u8; 16] {
        self.draws += 1;
        let hash = Tagged::new("tombolo/1 nonce").bytes(&self.seed).bytes(founder.as_bytes());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(hash.number(self.draws).finish().split_at(16).0);
        nonce
    }
}

/// What is left of a command whose writes are carried out one by one.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) to: ReplyTo,
    /// The writes that are left.
    pub(super) command: WriteCommand,
    /// What became of the writes before them.
    pub(super) outcomes: Vec<Result<Written, Refusal>>,
    /// Those of them that go to large entities: not made, to be given back.
    pub(super) apart: Vec<EntityWrite>,
}

/// What is to be done, and by how much at a time.
#[derive(Debug)]
pub(super) struct Queue {
    /// Work of a step.
    pub(super) step_work: u64,
    /// Care has spent all of the last step's work.
    pub(super) tended: bool,
    /// The batch that the last step could not finish: goes before all inputs.
    pub(super) rest: Option<Rest>,
    /// Inputs that steps had no work left for.
    pub(super) later: VecDeque<Input>,
    /// Held entries are on a work list.
    pub(super) drain_due: bool,
    /// Entries of others were first in the last step.
    pub(super) theirs_first: bool,
}

/// How the node stands with its store.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Why writes are refused.
    pub(super) full: Option<String>,
    /// When what is wrong outside of this program was logged last.
    pub(super) logged: Option<Duration>,
    /// The store must be reopened, and the memory read again, before anything else is done.
    pub(super) reopen: bool,
    pub(super) unloaded: bool,
    pub(super) trouble: Trouble,
    pub(super) poison: Poison,
}

/// Whom to dial and whom to let in, as it was last told.
#[derive(Debug, Default)]
pub(super) struct Aims {
    pub(super) told: Vec<Target>,
    /// Keys of all members.
    pub(super) known: BTreeSet<NodeId>,
    /// Something has changed that they follow from.
    pub(super) due: bool,
}
