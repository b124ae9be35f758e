//! What a step says.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::Frame;
use tombolo_transport::{CloseCode, Standing};

#[cfg(doc)]
use super::Input;
use super::{ConnId, Reply, ReplyTo};
use crate::chain::Look;
use crate::engine::peers::acks::Acks;
use crate::outgoing::Load;

/// Somebody to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The node expected there; `None`: whoever answers.
    pub node: Option<NodeId>,
    /// Where it may be found, best first.
    pub addrs: Vec<String>,
}

/// One output of a step, in the order in which they must be carried out. All that a step wrote is durable before any
/// of them is released.
#[derive(Debug)]
pub enum Output {
    /// Answers a command.
    Reply(ReplyTo, Reply),
    /// Sends a frame on the control stream.
    Control(ConnId, Frame),
    /// Sends a [`Frame::Ranges`] on the space's transfer stream.
    Transfer(ConnId, SpaceId, Frame),
    /// Closes a connection once its control frames are out; code and reason are told to the peer.
    Close(ConnId, CloseCode, String),
    /// How far the peer of a connection is trusted from now on; only grows.
    Standing(ConnId, Standing),
    /// The keys of all members of all spaces, complete: they come in past strangers.
    Known(BTreeSet<NodeId>),
    /// The journal of a space has grown up to this position.
    Journal(SpaceId, u64),
    /// Receipts or joins may have changed: these.
    Acknowledged(Acks),
    /// The set of nodes to dial, complete.
    Targets(Vec<Target>),
    /// Reads what takes longer than a step may; the answer is [`Input::Looked`]. At most one is under way at a time.
    Look(Box<Look>),
    /// Reads entries that are to be sent; the answer is [`Input::Loaded`]. Few are under way at a time, and they may be
    /// answered in any order.
    Load(Box<Load>),
}

/// Result of a step.
#[derive(Debug, Default)]
#[must_use]
pub struct Outputs {
    /// What to do, in order.
    pub list: Vec<Output>,
    /// When to step again at the latest, and why.
    pub wake: Option<(Duration, &'static str)>,
    /// What the step had no work left for: the caller steps again at once.
    pub left: Left,
    /// What the step did.
    pub cost: StepCost,
}

/// What a step leaves to the next because its work was spent. The engine keeps it, and the caller bounds it by what it
/// hands in meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Nothing.
    #[default]
    Nothing,
    /// Ranges, or held entries: no further ranges are handed in. Commands and other frames go on.
    Ranges,
    /// Inputs: nothing is handed in.
    Inputs,
}

/// Work of a step, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCost {
    /// Nanoseconds that it takes at most on one slow core in a release build.
    pub work: u64,
    /// That of the largest piece: an input, an entry or a slice of care, which are done whole. A step does at most one
    /// more than its work.
    pub largest: u64,
    /// Operations of that piece.
    pub operations: u64,
    /// What was said afterwards, in nanoseconds: sessions that were visited, positions compared, spaces and members
    /// told of. No part of `work`.
    pub said: u64,
    /// What most of it was: inputs, entries, operations, rows, history, care; or said, if that was more than all work.
    pub what: &'static str,
}
