//! Before time begins: spaces are founded, members admitted, initial entities written and given to all.

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
use crate::hand;
use crate::luck::Luck;
use crate::oracle::{INITIAL, Oracles, Start, Traffic};
use crate::outcome::{RunOptions, Stats};
use crate::plan::{Action, Edit, Plan, PlannedWrite};
use crate::trace::Recorder;

/// Initial entities in one step.
const BATCH: usize = 512;

/// The nodes of a plan with their spaces, members and initial entities; not connected.
///
/// # Panics
/// If a space cannot be founded or a member not admitted: a defect, which the caller catches.
pub(crate) fn prepare(plan: &Plan) -> (hand::World, Vec<SpaceId>) {
    let mut world = hand::World::new(plan.noise, plan.nodes.len());
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
        let reply = world.command(link.from, Command::AddPeer(dialling::address(link.to)));
        assert!(matches!(reply, Reply::Done(Ok(()))), "{reply:?}");
    }
    (world, spaces)
}

fn write_initial(plan: &Plan, world: &mut hand::World, spaces: &[SpaceId]) {
    for (index, (space, members)) in spaces.iter().zip(&plan.spaces).enumerate() {
        let mine = plan.initial.iter().zip(INITIAL..).filter(|(entity, _)| entity.space == index);
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
        let (prepared, spaces) = prepare(plan);
        let last = prepared.last_number();
        let nodes = prepared.into_disks();
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
            damaged: false,
            backups: std::collections::BTreeMap::new(),
            trips: None,
            repair_trips: None,
            restored: false,
            clone_of: None,
        });
        let hosts: Vec<Host> = hosts.collect();
        let count = hosts.len();
        let mut world = Self {
            plan,
            luck: Luck::new(plan.noise),
            now: Duration::ZERO,
            queue: Queue::default(),
            hosts,
            net: Net::after(last),
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
