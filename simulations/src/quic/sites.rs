//! What all tasks of a run share: the engines with their disks and clocks, the oracles, the numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tombolo_crdt::{FeedId, SpaceId};
use tombolo_node::engine::{Engine, ReplyTo};
use tombolo_node::handle::EngineHandle;
use tombolo_node::runtime::{Traffic as ByKind, TrafficFigure};

use super::letters::Letters;
use crate::disk::Disk;
use crate::luck::Luck;
use crate::oracle::{Oracles, Traffic, difference};
use crate::outcome::{Oracle, RunOptions, Stats, Violation};
use crate::plan::{NodeNo, Plan, Spread, Unsynced};
use crate::trace::{Recorder, What};
use crate::world::WallClock;

/// A machine.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) key: SigningKey,
    pub(super) disk: Disk,
    pub(super) clock: WallClock,
    pub(super) commit: Spread,
    /// How many times slower its disk is.
    pub(super) slow: u32,
    /// Counts its processes; one of an earlier life does nothing any more.
    pub(super) life: u64,
    /// The running process's engine, and the way to it.
    pub(super) engine: Option<Engine>,
    pub(super) handle: Option<EngineHandle>,
    /// Whether the process stands still.
    pub(super) paused: watch::Sender<bool>,
    /// Asked of the running process and not answered.
    pub(super) waiting: BTreeMap<ReplyTo, u32>,
    /// The power is cut in the middle of a commit; what then becomes of unsynced writes.
    pub(super) trips: Option<Unsynced>,
    /// At the next start it is cut again, after so many disk operations.
    pub(super) repair_trips: Option<u32>,
    pub(super) restored: bool,
    pub(super) damaged: bool,
    /// Whether the volume has no room.
    pub(super) full: bool,
    pub(super) backups: BTreeMap<u32, Disk>,
    /// Last position of each feed that ever reached this process.
    pub(super) seen: BTreeMap<FeedId, u64>,
    /// Bytes of frames by kind, over all its processes.
    pub(super) bytes: Arc<ByKind>,
}

/// Everything that tasks share; behind one lock.
#[derive(Debug)]
pub(super) struct Sites {
    pub(super) plan: Arc<Plan>,
    pub(super) luck: Luck,
    pub(super) spaces: Vec<SpaceId>,
    pub(super) list: Vec<Site>,
    pub(super) oracles: Oracles,
    pub(super) recorder: Recorder,
    pub(super) stats: Stats,
    pub(super) violation: Option<Violation>,
    /// Machines whose power was just cut by their disk.
    pub(super) tripped: Vec<NodeNo>,
    /// When a frame last came or left.
    pub(super) last_frame: Duration,
    /// Clients that wait or will ask again.
    pub(super) asking: usize,
    pub(super) healed: bool,
    pub(super) letters: Letters,
}

/// The lock and what wakes the player.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    sites: Arc<Mutex<Sites>>,
    pub(super) alarm: Arc<Notify>,
    pub(super) start: Instant,
}

impl Shared {
    pub(super) fn new(sites: Sites, start: Instant) -> Self {
        Self { sites: Arc::new(Mutex::new(sites)), alarm: Arc::new(Notify::new()), start }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sites> {
        // Whoever panics while holding it ends the run; what is then read of it is for the report alone.
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Notes what an oracle said; the first violation stands.
    pub(super) fn report(&self, violation: Violation) {
        self.lock().violation.get_or_insert(violation);
        self.alarm.notify_one();
    }
}

impl Sites {
    pub(super) fn new(
        plan: &Plan,
        options: RunOptions,
        spaces: Vec<SpaceId>,
        machines: Vec<(SigningKey, Disk)>,
    ) -> Self {
        assert_eq!(machines.len(), plan.nodes.len(), "every node of the plan has a machine");
        let site = |(plan, (key, disk)): (&crate::plan::NodePlan, (SigningKey, Disk))| Site {
            key,
            disk,
            clock: WallClock { offset_ms: plan.clock_offset_ms, drift_ppm: plan.clock_drift_ppm },
            commit: plan.commit,
            slow: 1,
            life: 0,
            engine: None,
            handle: None,
            paused: watch::channel(false).0,
            waiting: BTreeMap::new(),
            trips: None,
            repair_trips: None,
            restored: false,
            damaged: false,
            full: false,
            backups: BTreeMap::new(),
            seen: BTreeMap::new(),
            bytes: Arc::new(ByKind::default()),
        };
        Self {
            luck: Luck::new(plan.noise),
            list: plan.nodes.iter().zip(machines).map(site).collect(),
            oracles: Oracles::new(plan, &spaces),
            recorder: Recorder::new(options.record),
            stats: Stats::default(),
            violation: None,
            tripped: Vec::new(),
            last_frame: Duration::ZERO,
            asking: 0,
            healed: false,
            letters: Letters::new(options.record),
            plan: Arc::new(plan.clone()),
            spaces,
        }
    }

    pub(super) fn event(&mut self, at: Duration, node: Option<NodeNo>, what: What) {
        self.recorder.event(at, node, what);
    }

    /// The node with a key.
    pub(super) fn node_of(&self, id: tombolo_crdt::NodeId) -> Option<NodeNo> {
        self.list.iter().position(|site| site.key.verifying_key().as_bytes() == id.as_bytes())
    }

    pub(super) fn name(&self, node: NodeNo) -> &str {
        self.plan.nodes.get(node).map_or("nobody", |node| node.name.as_str())
    }

    pub(super) fn violation(&self, at: Duration, oracle: Oracle, place: &str, detail: String) -> Violation {
        Violation { oracle, place: place.to_owned(), node: None, at, detail }
    }

    /// Bytes of frames so far, over all nodes and lives.
    pub(super) fn traffic(&self) -> Traffic {
        self.sum(self.list.iter().flat_map(|site| site.bytes.read()))
    }

    /// What survivors sent each other. What others exchange beside them is no reconnect of equals.
    pub(super) fn traffic_of_survivors(&self) -> Traffic {
        let survivors: Vec<_> = self.plan.survivors.iter().filter_map(|node| self.list.get(*node)).collect();
        let ids: BTreeSet<_> = survivors.iter().map(|site| site.key.verifying_key().to_bytes()).collect();
        let figures = survivors.iter().flat_map(|site| site.bytes.read());
        self.sum(figures.filter(|figure| ids.contains(figure.peer.as_bytes())))
    }

    fn sum(&self, figures: impl Iterator<Item = TrafficFigure>) -> Traffic {
        let mut traffic = Traffic { connections: self.stats.connections, ..Traffic::default() };
        let mut taken = 0;
        for figure in figures {
            traffic.bytes += figure.sent;
            if figure.kind == "ranges" {
                traffic.transferred += figure.sent;
                taken += figure.received;
            }
        }
        traffic.wasted = traffic.transferred.saturating_sub(taken);
        traffic
    }

    /// In what two survivors that share a space differ.
    pub(super) fn difference(&self) -> Option<String> {
        let differ = difference(&self.plan, &self.spaces, |node| self.list.get(node)?.engine.as_ref());
        differ.or_else(|| self.oracles.damaged(&self.plan.survivors))
    }

    /// Hash over the final states of the survivors.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut survivors = self.plan.survivors.clone();
        survivors.sort_unstable();
        for node in survivors {
            hasher.update(&(node as u64).to_le_bytes());
            let Some(engine) = self.list.get(node).and_then(|site| site.engine.as_ref()) else { continue };
            for space in &self.spaces {
                let frontier = engine.frontier(*space).map(|frontier| frontier.digest().to_string());
                let state = engine.state_digest(*space).map(|digest| digest.to_string());
                hasher.update(format!("{frontier:?} {state:?}\n").as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}
