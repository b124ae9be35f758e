//! Before time begins: spaces are founded, members admitted, initial entities written and given to all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::SpaceId;
use tombolo_node::engine::{Command, Reply};

use super::clients::{Clients, command_of};
use super::host::{Host, WallClock};
use super::net::Net;
use super::paths::Paths;
use super::queue::Queue;
use super::{World, dialling};
use crate::disk::Disk;
use crate::hand;
use crate::luck::Luck;
use crate::oracle::{INITIAL_FROM, Oracles, Start, Traffic};
use crate::outcome::{RunOptions, Stats};
use crate::plan::{Action, Edit, NodeNo, Plan, PlannedWrite};
use crate::trace::Recorder;

/// Initial entities in one step.
const BATCH: usize = 512;

/// Worlds of one shape that differ in their keys. More would be prepared anew for nearly every seed.
const VARIANTS: u64 = 8;
/// Prepared worlds that a thread remembers; each some megabytes.
const PREPARED_MAX: usize = 32;

/// The nodes of a plan with their spaces, members and initial entities, before time begins: not running.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Key and disk of every node.
    pub(crate) nodes: Vec<(SigningKey, Disk)>,
    /// The ids of the spaces.
    pub(crate) spaces: Vec<SpaceId>,
    /// The greatest number of a connection so far.
    pub(crate) last_conn: u64,
}

thread_local! {
    static PREPARED: RefCell<VecDeque<([u8; 32], Prepared)>> = const { RefCell::new(VecDeque::new()) };
}

/// Prepares a plan; `address` says where nodes are dialled. Plans of the same shape share what is prepared: founding
/// and admitting cost more than a short run.
///
/// # Panics
/// If a space cannot be founded or a member not admitted: a defect, which the caller catches.
pub(crate) fn prepare(plan: &Plan, address: impl Fn(NodeNo) -> String) -> Prepared {
    let variant = plan.noise % VARIANTS;
    let links: Vec<_> = plan.links.iter().map(|link| (link.from, address(link.to))).collect();
    let shape = serde_json::to_vec(&(variant, plan.nodes.len(), &plan.spaces, &plan.initial, links));
    let shape = *blake3::hash(&shape.expect("plans are plain data")).as_bytes();
    let known =
        PREPARED.with_borrow(|all| all.iter().find(|(known, _)| *known == shape).map(|(_, known)| known.copy()));
    known.unwrap_or_else(|| {
        let fresh = found(plan, variant, address);
        PREPARED.with_borrow_mut(|all| {
            if all.len() == PREPARED_MAX {
                all.pop_front();
            }
            all.push_back((shape, fresh.copy()));
            assert!(all.len() <= PREPARED_MAX, "prepared worlds are bounded");
        });
        fresh
    })
}

impl Prepared {
    /// Copies the setup, on disks of its own.
    fn copy(&self) -> Self {
        let nodes = self.nodes.iter().map(|(key, disk)| (key.clone(), disk.image())).collect();
        Self { nodes, ..self.clone() }
    }
}

fn found(plan: &Plan, variant: u64, address: impl Fn(NodeNo) -> String) -> Prepared {
    let mut world = hand::World::new(variant, plan.nodes.len());
    let mut spaces = Vec::new();
    for space in &plan.spaces {
        let (founder, _) = *space.members.first().expect("a space has members");
        let key = Box::new(SigningKey::from_bytes(&world.dice().bytes()));
        let reply = world.command(founder, Command::CreateSpace { name: space.name.clone(), founder: key });
        let id = match reply {
            Reply::Created(created) => created.expect("no space of this name is there"),
            other => unreachable!("a space was asked for: {other:?}"),
        };
        for (node, role) in space.members.iter().skip(1) {
            world.admit(founder, *node, id, &space.name, *role);
        }
        spaces.push(id);
    }
    write_initial(plan, &mut world, &spaces);
    for link in &plan.links {
        let reply = world.command(link.from, Command::AddPeer(address(link.to)));
        assert!(matches!(reply, Reply::Done(Ok(()))), "{reply:?}");
    }
    let last_conn = world.last_number();
    Prepared { nodes: world.into_disks(), spaces, last_conn }
}

fn write_initial(plan: &Plan, world: &mut hand::World, spaces: &[SpaceId]) {
    for (index, (space, members)) in spaces.iter().zip(&plan.spaces).enumerate() {
        let mine = plan.initial.iter().zip(INITIAL_FROM..).filter(|(entity, _)| entity.space == index);
        let founder = members.members.first().map_or(0, |(node, _)| *node);
        let commands: Vec<Command> = mine
            .map(|(entity, no)| {
                let (collection, id) = (entity.collection.clone(), entity.id.clone());
                let edit = Edit { collection, id, action: Action::Put(entity.value.clone()) };
                let write = PlannedWrite {
                    no,
                    at: Duration::ZERO,
                    node: founder,
                    space: index,
                    edits: vec![edit],
                    retried: false,
                };
                Command::Write(command_of(&write, *space).expect("plans hold JSON"))
            })
            .collect();
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let batch: Vec<Command> = commands.by_ref().take(BATCH).collect();
            for reply in world.commands(founder, batch) {
                assert!(matches!(reply, Reply::Written(Ok(_))), "an initial entity: {reply:?}");
            }
        }
        for (node, _) in members.members.iter().skip(1) {
            world.connect(*node, founder);
            world.settle();
            world.disconnect(*node, founder);
        }
    }
}

impl<'a> World<'a> {
    /// Everything as it is when time begins.
    pub(super) fn new(plan: &'a Plan, options: RunOptions) -> Self {
        let Prepared { nodes, spaces, last_conn } = prepare(plan, dialling::address);
        let hosts = plan.nodes.iter().zip(nodes).enumerate().map(|(node, (plan, (key, disk)))| Host {
            node,
            key,
            disk,
            clock: WallClock { offset_ms: plan.clock_offset_ms, drift_ppm: plan.clock_drift_ppm },
            commit: plan.commit,
            slow: 1,
            process: None,
            life: 0,
            paused_since: None,
            reads: None,
            read_until: Duration::ZERO,
            full: false,
            damaged: false,
            backups: std::collections::BTreeMap::new(),
            trips: None,
            repair_trips: None,
            restored: false,
            bad: false,
            clone_of: None,
        });
        let hosts: Vec<Host> = hosts.collect();
        let count = hosts.len();
        assert_eq!(count, plan.nodes.len(), "every node of the plan has a machine");
        assert_eq!(spaces.len(), plan.spaces.len(), "every space of the plan is founded");
        let mut world = Self {
            plan,
            luck: Luck::new(plan.noise),
            now: Duration::ZERO,
            queue: Queue::default(),
            hosts,
            net: Net::after(last_conn),
            decoder: super::decode::Decoder::default(),
            paths: Paths::new(plan),
            clients: Clients::new(plan),
            oracles: Oracles::new(plan, &spaces),
            spaces,
            recorder: Recorder::new(options.record),
            stats: Stats::default(),
            traffic: Traffic::default(),
            seen: super::step::Seen::new(),
            healed: false,
        };
        for node in 0..count {
            world.start(node, Start::Fresh).map_err(|violation| violation.detail).expect("prepared nodes start");
        }
        world
    }
}
