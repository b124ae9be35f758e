//! What watches over a run.

use std::time::Duration;

use tombolo_crdt::SpaceId;
use tombolo_crdt::frontier::Frontier;
use tombolo_node::engine::{Engine, Outputs, Reply};

use crate::outcome::{Stats, Violation};
use crate::plan::{NodeNo, Plan};

/// Number of the first initial entity of a plan, as if it were a write.
pub const INITIAL: u32 = 1 << 31;

/// The trace context by which an entry can be told to be the planned write with a number.
#[must_use]
pub fn trace_of(no: u32) -> tombolo_crdt::entry::Trace {
    let mut trace = [0; 16];
    trace[..4].copy_from_slice(&no.to_le_bytes());
    tombolo_crdt::entry::Trace { trace, span: [0; 8], flags: 0 }
}

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
    /// Transfer bytes that were lost or thrown away with connections, and faults that make a lane send twice on purpose.
    pub wasted: u64,
}

/// All oracles of one run. A lane tells them what happens, in order; the first violation ends the run.
#[derive(Debug)]
pub struct Oracles {}

impl Oracles {
    /// Oracles of a plan; `spaces` are the ids of its spaces.
    #[must_use]
    pub fn new(plan: &Plan, spaces: &[SpaceId]) -> Self {
        let _ = (plan, spaces);
        Self {}
    }

    /// A node was given a planned write; `before` is its frontier of the write's space just before that step.
    pub fn asked(&mut self, write: u32, node: NodeNo, before: &Frontier) {
        let _ = (write, node, before);
    }

    /// The node answered it. Not called when the node dies first.
    ///
    /// # Errors
    /// What is violated.
    pub fn answered(&mut self, at: Duration, write: u32, node: NodeNo, reply: &Reply) -> Result<(), Violation> {
        let _ = (at, write, node, reply);
        Ok(())
    }

    /// A process was started (`clone`: beside the original) and its engine opened.
    ///
    /// # Errors
    /// What is violated.
    pub fn started(&mut self, at: Duration, node: NodeNo, start: Start, engine: &Engine) -> Result<(), Violation> {
        let _ = (at, node, start, engine);
        Ok(())
    }

    /// An engine has made a step. Cheap: O(what the step did), with dearer checks on a sample.
    ///
    /// # Errors
    /// What is violated.
    pub fn stepped(&mut self, at: Duration, node: NodeNo, engine: &Engine, outputs: &Outputs) -> Result<(), Violation> {
        let _ = (at, node, engine, outputs);
        Ok(())
    }

    /// The survivors are connected, without faults, and nothing is on its way between them. Full checks.
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
        let _ = (at, survivors, traffic, stats);
        Ok(())
    }
}
