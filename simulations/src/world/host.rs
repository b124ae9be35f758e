//! A machine: a disk, a clock, and at most one process on it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::rules::Contact;
use tombolo_node::engine::{Engine, EngineConfig, Input, Left, Now, Outputs, STEP_WORK_MAX};
use tombolo_node::handle::{QUEUE_BYTES, QUEUE_ITEMS};
use tombolo_node::outgoing::Load;
use tombolo_node::runtime::{STEP_BYTES, STEP_ENTRIES};
use tombolo_node::store::{Store, StoreOptions};
use tombolo_transport::dial::{Dialler, TargetId};

use super::queue::{Life, Way};
use crate::disk::Disk;
use crate::plan::{NodeNo, Spread, Unsynced};

/// Index of a machine: the node's number; clones follow.
pub(super) type Pid = usize;

/// Virtual time begins here: 2026-01-01T00:00:00Z in milliseconds since 1970.
pub(crate) const EPOCH_MILLIS: u64 = 1_767_225_600_000;
/// Cache of pages per store: small, as there are many stores.
const CACHE_BYTES: usize = 4 << 20;
/// Room kept on the volume.
const RESERVE_BYTES: u64 = 16 << 20;

/// A wall clock that is wrong in a known way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    pub(crate) offset_ms: i64,
    pub(crate) drift_ppm: i32,
}

impl WallClock {
    /// What it shows, in milliseconds since 1970.
    pub(crate) fn read(self, now: Duration) -> u64 {
        let millis = i64::try_from(now.as_millis()).unwrap_or(i64::MAX / 2);
        let drift = millis / 1_000 * i64::from(self.drift_ppm) / 1_000;
        EPOCH_MILLIS.saturating_add_signed(millis.saturating_add(drift).saturating_add(self.offset_ms))
    }
}

/// An input on its way into a step.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) input: Input,
    pub(super) bytes: usize,
    pub(super) entries: usize,
    /// The planned write it is, by number.
    pub(super) write: Option<u32>,
}

/// What is read beside an engine.
#[derive(Debug)]
pub(super) enum Read {
    /// What was read at once.
    Done(Box<Input>),
    /// What is read when its time is over: the store has moved on.
    Late(Box<Load>),
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) engine: Engine,
    pub(super) inbox: VecDeque<Item>,
    /// Ranges that wait until the engine has worked off what it has.
    aside: VecDeque<Item>,
    /// Bytes of both.
    pub(super) inbox_bytes: usize,
    /// A step whose outputs have not left.
    pub(super) done: Option<Outputs>,
    /// What the last step left over.
    pub(super) left: Left,
    /// What the engine asked to be read, and what is read of that, until it is handed to the engine.
    pub(super) reads: BTreeMap<u64, Read>,
    /// How often it has asked.
    pub(super) asked: u64,
    pub(super) step_scheduled: bool,
    /// When the engine wants to wake, and what is scheduled for it.
    pub(super) wake: Option<Duration>,
    pub(super) wake_scheduled: Option<Duration>,
    pub(super) dialler: Dialler,
    /// Where targets lead, and which node answered there.
    pub(super) targets: BTreeMap<TargetId, Vec<String>>,
    pub(super) learned: BTreeMap<TargetId, NodeNo>,
    pub(super) dial_scheduled: Option<Duration>,
    /// Connections by node.
    pub(super) connected: BTreeMap<NodeNo, usize>,
    /// Streams with frames that nobody has read.
    pub(super) unread: VecDeque<Way>,
    pub(super) read_scheduled: bool,
    /// Time spent standing still.
    pub(super) lost_time: Duration,
}

/// A machine.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) node: NodeNo,
    pub(super) key: SigningKey,
    pub(super) disk: Disk,
    pub(super) clock: WallClock,
    pub(super) commit: Spread,
    pub(super) slow: u32,
    pub(super) process: Option<Process>,
    pub(super) life: Life,
    pub(super) paused_since: Option<Duration>,
    /// Bytes per second it reads; `None`: as they come.
    pub(super) reads: Option<u64>,
    /// When a slow reader is through with what it has read.
    pub(super) read_until: Duration,
    /// Whether the volume has no room.
    pub(super) full: bool,
    /// Whether the disk was damaged: then the node may have lost anything.
    pub(super) damaged: bool,
    /// Backups by the fault that needs them.
    pub(super) backups: BTreeMap<u32, Disk>,
    /// The power will be cut in the middle of a commit; what then becomes of unsynced writes.
    pub(super) trips: Option<Unsynced>,
    /// At the next start it is cut again, after so many disk operations.
    pub(super) repair_trips: Option<u32>,
    /// The disk was put back to what it was earlier.
    pub(super) restored: bool,
    /// The node's key is in other hands as well.
    pub(super) bad: bool,
    /// The fault that made this machine a clone.
    pub(super) clone_of: Option<u32>,
}

/// Work of a step, in nanoseconds: that of the product, and so little that something is left over nearly always.
const STEP_WORKS: [u64; 3] = [STEP_WORK_MAX, 200_000, 20_000];
const _: () = assert!(STEP_WORKS[0] == STEP_WORK_MAX, "some engines have the work of the product");

/// Opens a node's engine on what a disk holds.
///
/// # Errors
/// What the store says, in words.
pub(crate) fn open(node: NodeNo, key: &SigningKey, disk: &Disk, seed: [u8; 32]) -> Result<Engine, String> {
    let name = format!("node-{node}");
    let options = StoreOptions {
        create: true,
        cache_bytes: CACHE_BYTES,
        reserve_bytes: Some(RESERVE_BYTES),
        ..StoreOptions::new(name.clone())
    };
    let backend = disk.clone();
    let store = Store::open_with_backend(move || Ok(backend.clone()), disk.clone(), options);
    let store = store.map_err(|error| error.to_string())?;
    let step_work = STEP_WORKS.get(usize::from(seed[0]) % STEP_WORKS.len()).copied().unwrap_or(STEP_WORK_MAX);
    let config = EngineConfig { key: key.clone(), contact: Contact { name, addrs: Vec::new() }, seed, step_work };
    Engine::open(store, config).map_err(|error| error.to_string())
}

impl Host {
    /// Starts a process on what the disk holds.
    pub(super) fn open(&self, seed: [u8; 32]) -> Result<Engine, String> {
        open(self.node, &self.key, &self.disk, seed)
    }

    /// Gives the volume room again.
    pub(super) fn make_room(&mut self) {
        self.full = false;
        self.disk.make_room();
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some() && self.paused_since.is_none()
    }

    /// The clocks as the process reads them.
    pub(super) fn now(&self, now: Duration) -> Now {
        Now { mono: now.saturating_sub(self.lost_time()), wall_millis: self.clock.read(now) }
    }

    fn lost_time(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, |process| process.lost_time)
    }

    /// When a moment of the process's monotonic clock is.
    pub(super) fn moment(&self, mono: Duration) -> Duration {
        mono + self.lost_time()
    }
}

impl Process {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            inbox: VecDeque::new(),
            aside: VecDeque::new(),
            inbox_bytes: 0,
            done: None,
            left: Left::Nothing,
            reads: BTreeMap::new(),
            asked: 0,
            step_scheduled: false,
            wake: None,
            wake_scheduled: None,
            dialler: Dialler::new(),
            targets: BTreeMap::new(),
            learned: BTreeMap::new(),
            dial_scheduled: None,
            connected: BTreeMap::new(),
            unread: VecDeque::new(),
            read_scheduled: false,
            lost_time: Duration::ZERO,
        }
    }

    /// Whether another frame may be read.
    pub(super) fn has_room(&self) -> bool {
        self.inbox_bytes < QUEUE_BYTES && self.inbox.len() + self.aside.len() < QUEUE_ITEMS
    }

    pub(super) fn take(&mut self, item: Item) {
        self.inbox_bytes += item.bytes;
        self.inbox.push_back(item);
    }

    /// What one step takes: of what waits, as much as the last one's rest allows. Ranges that have to wait are set
    /// aside, as the runtime does.
    pub(super) fn gather(&mut self) -> Vec<Item> {
        let (mut bytes, mut entries, mut taken) = (0, 0, Vec::new());
        while let Some(item) = self.next() {
            if !taken.is_empty() && (bytes + item.bytes > STEP_BYTES || entries + item.entries > STEP_ENTRIES) {
                let back = if item.input.carries() { &mut self.aside } else { &mut self.inbox };
                back.push_front(item);
                break;
            }
            bytes += item.bytes;
            entries += item.entries;
            taken.push(item);
        }
        self.inbox_bytes -= bytes;
        taken
    }

    fn next(&mut self) -> Option<Item> {
        match self.left {
            Left::Inputs => None,
            Left::Nothing => self.aside.pop_front().or_else(|| self.inbox.pop_front()),
            Left::Ranges => loop {
                let item = self.inbox.pop_front()?;
                if !item.input.carries() {
                    return Some(item);
                }
                self.aside.push_back(item);
            },
        }
    }

    /// Whether there is something that a step would take.
    pub(super) fn has_work(&self) -> bool {
        self.left != Left::Nothing || !self.inbox.is_empty() || !self.aside.is_empty()
    }

    /// Targets that lead to a node.
    pub(super) fn leading_to(&self, node: NodeNo) -> Vec<TargetId> {
        self.learned.iter().filter(|(_, known)| **known == node).map(|(id, _)| *id).collect()
    }
}
