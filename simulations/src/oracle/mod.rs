//! What watches over a run.
//!
//! A lane tells [`Oracles`] what it does and what engines answer; the first violation ends the run. The truth they hold
//! it against is nothing but the acknowledged writes and their causal order, as the signed entries state it:
//!
//! ```text
//! while it runs:  acks, work, frontiers, causality (what was held around each step), atomicity and streams on a sample
//! when it is quiet:  ledger (every entry with its past)  ->  permission, causality, durability
//!                    ledger + the plan's writes  ->  model of every entity  ->  values, counters, resurrection
//!                    rows  <->  rows of the others, a replay in another order, mirrors of streams, assertions
//! ```
//!
//! Start reading at [`Oracles`], then `model`.

mod acks;
mod assertion;
mod atomicity;
mod causality;
mod damage;
mod fault;
mod frontiers;
mod leavings;
mod ledger;
mod model;
mod permission;
mod quiet;
mod replay;
mod rot;
mod shown;
mod stream;
mod survivors;
#[cfg(test)]
mod tests;
mod traffic;
mod values;
mod work;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::{NodeId, SpaceId};
use tombolo_node::engine::{Engine, Left, Output, Outputs, Reply};

pub use assertion::{AssertionError, compile};
pub(crate) use permission::role;
pub(crate) use survivors::difference;
pub use traffic::{QUEUE_BYTES_MAX, RECONNECT_BYTES, TRANSFER_FACTOR, TRANSFER_PER_CONNECTION};
pub use writes::{INITIAL_FROM, trace_of, write_of};

use crate::Dice;
use crate::outcome::{Stats, Violation};
use crate::plan::{NodeNo, Plan};
use crate::rot::Row;
use fault::Fault;

/// Nodes that have a client of their change stream: in plans of up to so many all of them.
const CLIENTS: usize = 8;
/// Steps that grow a journal, between two looks of a client, and between two checks of atomicity.
const CLIENT_EVERY: u64 = 16;
const ATOMICITY_EVERY: u64 = 48;

/// How a process came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// On an empty disk.
    Fresh,
    /// On its own disk, after a crash: what it acknowledged must be there.
    Crash,
    /// On an older image of its disk: what it acknowledged since may be missing until others give it back.
    Restored,
    /// On a disk with flipped bits: anything may be missing, nothing may be wrong.
    Damaged,
    /// On a copy of a disk, beside the original: see [`Oracles::clone_of`].
    Clone,
}

/// Bytes on the wire, as the lane counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// All frames, control included.
    pub bytes: u64,
    /// Frames of entries on transfer streams.
    pub transferred: u64,
    /// Connections made.
    pub connections: u64,
    /// Transfer bytes that were lost or thrown away with connections, and faults that make a lane send twice on
    /// purpose.
    pub wasted: u64,
}

/// All oracles of one run. A lane tells them what happens, in order; the first violation ends the run.
///
/// A second process of a node has a number of its own: [`Oracles::clone_of`].
#[derive(Debug)]
pub struct Oracles {
    plan: Plan,
    spaces: Vec<SpaceId>,
    asked: BTreeMap<u32, writes::Asked>,
    /// Who is behind a key.
    nodes: BTreeMap<NodeId, NodeNo>,
    acks: acks::Acks,
    frontiers: frontiers::Frontiers,
    causality: causality::Causality,
    clients: BTreeMap<NodeNo, Vec<stream::Consumer>>,
    damaged: BTreeSet<NodeNo>,
    damage: Vec<damage::Seen>,
    rot: rot::Rot,
    /// Steps that grew a journal.
    grown: u64,
}

impl Oracles {
    /// Oracles of a plan; `spaces` are the ids of its spaces, in the plan's order.
    #[must_use]
    pub fn new(plan: &Plan, spaces: &[SpaceId]) -> Self {
        assert_eq!(spaces.len(), plan.spaces.len(), "every space of the plan has its id");
        Self {
            plan: plan.clone(),
            spaces: spaces.to_vec(),
            asked: writes::of_plan(plan),
            nodes: BTreeMap::new(),
            acks: acks::Acks::default(),
            frontiers: frontiers::Frontiers::default(),
            causality: causality::Causality::default(),
            clients: clients(plan, spaces),
            damaged: BTreeSet::new(),
            damage: Vec::new(),
            rot: rot::Rot::default(),
            grown: 0,
        }
    }

    /// The number under which a lane tells of the second process of a node.
    #[must_use]
    pub fn clone_of(plan: &Plan, node: NodeNo) -> NodeNo {
        plan.nodes.len() + node
    }

    /// The node behind a process.
    fn node(&self, process: NodeNo) -> NodeNo {
        let nodes = self.plan.nodes.len();
        assert!(process < 2 * nodes, "a process is a node's, or its clone's");
        if process < nodes { process } else { process - nodes }
    }

    /// A node was given a planned write; `before` is its frontier of the write's space just before that step.
    pub fn asked(&mut self, write: u32, node: NodeNo, before: &Frontier) {
        if let Some(asked) = self.asked.get(&write) {
            self.causality.asked(write, node, asked.space, before);
        }
    }

    /// The node answered it. Not called when the node dies first.
    ///
    /// # Errors
    /// What is violated.
    pub fn answered(&mut self, at: Duration, write: u32, node: NodeNo, reply: &Reply) -> Result<(), Violation> {
        let Some(space) = self.asked.get(&write).map(|asked| asked.space) else { return Ok(()) };
        let answered = self.acks.answered(write, node, space, reply);
        answered.map_err(|fault| fault.at(node).violation(at))
    }

    /// A bit has flipped in each of these rows of a node whose process is dead. They may be unreadable until they are
    /// built anew; everything else is asked of the node as before.
    pub(crate) fn rotted(&mut self, node: NodeNo, rows: &[Row]) {
        self.rot.hit(node, rows);
    }

    /// What one of these nodes has not built anew yet, in words.
    pub(crate) fn damaged(&self, nodes: &[NodeNo]) -> Option<String> {
        let (node, (_, collection, id)) = self.rot.left(nodes)?;
        let name = self.plan.nodes.get(node).map_or("nobody", |node| node.name.as_str());
        Some(format!("{collection}/{id} of {name} is damaged and has not been built anew"))
    }

    /// A process was started and its engine opened.
    ///
    /// # Errors
    /// What is violated.
    pub fn started(&mut self, at: Duration, node: NodeNo, start: Start, engine: &Engine) -> Result<(), Violation> {
        let owner = self.node(node);
        self.nodes.insert(engine.node(), owner);
        let started = self.start(node, start, engine);
        started.map_err(|fault| fault.at(node).violation(at))
    }

    fn start(&mut self, node: NodeNo, start: Start, engine: &Engine) -> Result<(), Fault> {
        self.causality.died(node);
        if self.damaged.contains(&node) && start != Start::Damaged {
            return Ok(());
        }
        match start {
            Start::Crash => self.acks.crashed(node, engine, &self.spaces)?,
            Start::Restored => {
                self.acks.restored(node, engine)?;
                self.causality.forgot(node);
            }
            Start::Damaged => {
                self.acks.forgot(node);
                self.causality.forgot(node);
            }
            Start::Fresh | Start::Clone => {}
        }
        if start == Start::Damaged {
            self.damaged.insert(node);
            self.clients.remove(&node);
            self.frontiers.forget(node);
            let seen = self.spaces.iter().map(|space| damage::Seen::of(node, *space, engine));
            self.damage.extend(seen);
            return Ok(());
        }
        self.rot.started(node, self.node(node), start, engine)?;
        if self.rot.left(&[node]).is_some() {
            self.damage.extend(self.spaces.iter().map(|space| damage::Seen::of(node, *space, engine)));
        }
        self.frontiers.started(node, engine, start == Start::Crash)?;
        let reader = engine.reader();
        self.clients.get_mut(&node).into_iter().flatten().try_for_each(|client| client.started(start, &reader))
    }

    /// An engine has made a step. Cheap: O(what the step did), with dearer checks on a sample. Panics where the
    /// engine's own invariants are broken, as the engine would.
    ///
    /// # Errors
    /// What is violated.
    pub fn stepped(&mut self, at: Duration, node: NodeNo, engine: &Engine, outputs: &Outputs) -> Result<(), Violation> {
        if self.damaged.contains(&node) {
            // Anything may be missing from now on: what it showed when it was started is judged in the end.
            self.causality.died(node);
            return Ok(());
        }
        engine.check_invariants();
        let stepped = self.step(node, engine, outputs);
        stepped.map_err(|fault| fault.at(node).violation(at))
    }

    fn step(&mut self, node: NodeNo, engine: &Engine, outputs: &Outputs) -> Result<(), Fault> {
        if outputs.left != Left::Inputs {
            self.causality.stepped(node, engine, &self.spaces);
        }
        self.rot.stepped(node, engine)?;
        work::stepped(engine, outputs)?;
        acks::Acks::stepped(engine, outputs)?;
        self.frontiers.stepped(node, engine, outputs)?;
        let grew = |output: &Output| match output {
            Output::Journal(space, _) => Some(*space),
            _ => None,
        };
        let Some(space) = outputs.list.iter().find_map(grew) else { return Ok(()) };
        self.grown += 1;
        if self.grown.is_multiple_of(ATOMICITY_EVERY)
            && let Ok(reading) = engine.reader().reading()
        {
            let damaged = |collection: &str, id: &str| self.rot.excuses(node, space, collection, id);
            atomicity::check(&reading, space, &damaged)?;
        }
        if self.grown.is_multiple_of(CLIENT_EVERY) {
            let reader = engine.reader();
            self.clients.get_mut(&node).into_iter().flatten().try_for_each(|client| client.poll(&reader))?;
        }
        Ok(())
    }

    /// The survivors are connected, without faults, and nothing is on its way between them. Full checks. `stats` are
    /// what the lane has counted so far; entities, conflicts and hits are filled in.
    ///
    /// # Errors
    /// What is violated.
    pub fn quiet(
        &mut self,
        at: Duration,
        survivors: &[(NodeNo, &Engine)],
        traffic: Traffic,
        stats: &mut Stats,
    ) -> Result<(), Violation> {
        for (node, engine) in survivors {
            self.nodes.insert(engine.node(), self.node(*node));
        }
        self.check_quiet(survivors, traffic, stats).map_err(|fault| fault.violation(at))
    }

    /// After [`Oracles::quiet`] the lane connected all survivors anew and they fell silent again: `traffic` is what
    /// that took, alone.
    ///
    /// # Errors
    /// What is violated.
    pub fn reconnected(&self, at: Duration, traffic: Traffic) -> Result<(), Violation> {
        traffic::reconnected(self.spaces.len(), traffic).map_err(|fault| fault.violation(at))
    }
}

/// Which nodes have a client, by the plan's noise: survivors first.
fn clients(plan: &Plan, spaces: &[SpaceId]) -> BTreeMap<NodeNo, Vec<stream::Consumer>> {
    let mut dice = Dice::new(plan.noise ^ 0x0073_7472_6561_6d73);
    let others = (0..plan.nodes.len()).filter(|node| !plan.survivors.contains(node));
    let mut nodes: Vec<NodeNo> = plan.survivors.iter().copied().chain(others).collect();
    let mut chosen = BTreeMap::new();
    while chosen.len() < CLIENTS && !nodes.is_empty() {
        let among = if chosen.len() + 1 < CLIENTS { plan.survivors.len().saturating_sub(chosen.len()) } else { 0 };
        let node = nodes.remove(dice.below(if among == 0 { nodes.len() } else { among.min(nodes.len()) }));
        let member = spaces.iter().enumerate().filter(|(space, _)| role(plan, *space, node).is_some());
        chosen.insert(node, member.map(|(_, space)| stream::Consumer::new(*space)).collect());
    }
    chosen
}
