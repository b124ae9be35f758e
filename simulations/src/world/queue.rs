//! What will happen, by time; at one moment in the order in which it was scheduled.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use tombolo_node::engine::ConnId;
use tombolo_transport::dial::TargetId;

use super::bad::Try;
use super::host::Pid;
use crate::plan::NodeNo;

/// Counts the lives of a process: what was scheduled for an earlier life is void.
pub(super) type Life = u64;

/// One direction of one stream of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) conn: ConnId,
    /// Which end sends: 0 who dialled, 1 who was dialled.
    pub(super) from: usize,
    /// 0: the control stream; n: the transfer stream of space n − 1.
    pub(super) stream: usize,
}

/// Something that will happen.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A process takes what has come for it.
    Step(Pid, Life),
    /// A step of the node is over: what it said leaves.
    Done(Pid, Life),
    /// A timer of its engine.
    Wake(Pid, Life),
    /// What its engine asked to be read is read.
    Read(Pid, Life, u64),
    /// The node dials whom it has to.
    Dial(Pid, Life),
    /// An attempt of it ends.
    Dialled(Pid, Life, TargetId, Option<NodeNo>),
    /// The node can take further frames.
    Take(Pid, Life),
    /// Frames arrive.
    Arrive(Way),
    /// Room is known to the sender again.
    Flush(Way),
    /// An end has heard nothing from end `from` since then.
    Silent { conn: ConnId, from: usize, since: Duration },
    /// An end learns that the other end has forgotten the connection.
    Forgotten { conn: ConnId, end: usize },
    /// A client asks for a write of the plan, by index.
    Ask(usize),
    /// A backup is made for a fault of the plan, by index.
    Backup(usize),
    /// A fault of the plan begins, by index.
    Begin(usize),
    /// A fault ends.
    End(usize),
    /// A member gone bad attacks.
    Attack(Try),
}

#[derive(Debug)]
struct Scheduled {
    at: Duration,
    order: u64,
    event: Event,
}

/// Events by time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Scheduled>,
    order: u64,
}

impl Queue {
    pub(super) fn schedule(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.heap.push(Scheduled { at, order: self.order, event });
    }

    /// The next event, if it is due by then.
    pub(super) fn next(&mut self, until: Duration) -> Option<(Duration, Event)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        let next = self.heap.pop()?;
        debug_assert!(self.heap.peek().is_none_or(|later| later.at >= next.at), "what is earliest comes first");
        Some((next.at, next.event))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The heap gives the greatest first: the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
