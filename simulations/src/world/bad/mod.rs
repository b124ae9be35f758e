//! A member gone bad: what is sent in its name beside what its engine says.
//!
//! It goes over the connections that the node has, frame by frame, so its peers hear both. Entries are in feeds of
//! epochs that the node never had. What an attack sends is drawn from the plan's noise and from what the attack is:
//! leaving out one changes no other.

mod entries;
mod hand;
mod lies;

use std::time::Duration;

use tombolo_node::engine::ConnId;
use tombolo_transport::frame::Frame;

use super::World;
use super::host::Pid;
use super::paths::about;
use super::pipe::Pipe;
use super::queue::Event;
use crate::oracle::role;
use crate::plan::{Attack, Fault, NodeNo, PlannedFault};
use hand::Hand;

/// How often an attack is tried anew where there is nobody to attack.
const TRIES: u64 = 6;
/// What may wait on a stream that an attack is sent on: it waits for room, as whoever speaks the protocol has to.
const WAITING_MAX: usize = 256 << 10;

/// One of the attacks of a fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    /// The fault, by index.
    fault: usize,
    attack: Attack,
    tries: u64,
}

/// Who is attacked: over which connection, from which end of it, about which space.
#[derive(Debug, Clone, Copy)]
struct Target {
    conn: ConnId,
    peer: Pid,
    space: usize,
}

impl World<'_> {
    /// A member goes bad: its attacks come at moments of their own. Its connections break first, so that each is one on
    /// which everything counts, or one on which nothing does.
    pub(super) fn go_bad(&mut self, index: usize) {
        let Some(PlannedFault { no, at, until, fault: Fault::GoneBad { node, attacks } }) = self.plan.faults.get(index)
        else {
            return;
        };
        self.break_all(*node);
        self.hosts[*node].bad = true;
        for attack in attacks {
            let random = self.luck.draw([about::BAD, u64::from(*no), *attack as u64, 0]);
            let wait = Duration::from_micros(random % super::micros(*until - *at).max(1));
            let first = Try { fault: index, attack: *attack, tries: 0 };
            self.queue.schedule(*at + wait, Event::Attack(first));
        }
    }

    /// All is as before, on connections of which nothing false was said.
    pub(super) fn turn_good(&mut self, node: NodeNo) {
        if std::mem::take(&mut self.hosts[node].bad) {
            self.break_all(node);
        }
    }

    fn break_all(&mut self, node: NodeNo) {
        for id in self.net.between(|a, _| a == node) {
            self.cut(id, "reset");
        }
    }

    /// Whether one of these nodes is a member gone bad: what passes between it and others proves nothing of the
    /// product.
    pub(super) fn is_bad(&self, nodes: [NodeNo; 2]) -> bool {
        nodes.iter().any(|node| self.hosts.get(*node).is_some_and(|host| host.bad))
    }

    /// The moment of an attack has come.
    pub(super) fn attack(&mut self, this: Try) {
        let Some(PlannedFault { no, until, fault: Fault::GoneBad { node, .. }, .. }) = self.plan.faults.get(this.fault)
        else {
            return;
        };
        if self.healed || !self.hosts[*node].bad {
            return;
        }
        let question = [about::BAD, u64::from(*no) << 8 | this.attack as u64 | 1 << 63];
        let Some((target, frames)) =
            self.aimed(*node, question).and_then(|at| Some((at, self.craft(*node, at, this.attack, question)?)))
        else {
            if this.tries < TRIES {
                let later = self.now + until.saturating_sub(self.now) / 2;
                self.queue.schedule(later, Event::Attack(Try { tries: this.tries + 1, ..this }));
            }
            return;
        };
        self.stats.hit(this.attack.hit());
        for frame in frames {
            let stream = if matches!(frame, Frame::Ranges(_)) { target.space + 1 } else { 0 };
            self.send(*node, target.conn, stream, &frame);
        }
    }

    /// Somebody to attack: both ends of a connection know it, a session about a space of both is on it, and it has
    /// room.
    fn aimed(&self, node: NodeNo, [about, this]: [u64; 2]) -> Option<Target> {
        if !self.hosts[node].is_up() {
            return None;
        }
        let mut targets = Vec::new();
        for (id, end) in self.net.of(node) {
            let Some(conn) = self.net.conns.get(&id) else { continue };
            let (peer, heard) = (conn.pids[1 - end], conn.silent[end].is_none());
            if conn.open != [true, true] || !heard || !self.hosts[peer].is_up() {
                continue;
            }
            let has_room = |stream: usize| {
                let pipe = conn.pipes[end].get(stream).and_then(Option::as_ref);
                pipe.map(Pipe::bytes).is_some_and(|bytes| bytes <= WAITING_MAX)
            };
            let members = (0..self.spaces.len()).filter(|space| {
                [node, conn.nodes[1 - end]].iter().all(|member| role(self.plan, *space, *member).is_some())
            });
            let spaces = members.filter(|space| has_room(0) && has_room(space + 1));
            targets.extend(spaces.map(|space| Target { conn: id, peer, space }));
        }
        let random = self.luck.draw([about, this, 0, 0]);
        targets.get(usize::try_from(random % targets.len().max(1) as u64).unwrap_or(0)).copied()
    }

    /// What is sent to whom is attacked.
    fn craft(&self, node: NodeNo, target: Target, attack: Attack, question: [u64; 2]) -> Option<Vec<Frame>> {
        let (host, peer) = (&self.hosts[node], self.hosts[target.peer].process.as_ref()?);
        let hand = Hand {
            luck: self.luck,
            question,
            key: &host.key,
            role: role(self.plan, target.space, node)?,
            space: *self.spaces.get(target.space)?,
            wall_millis: host.now(self.now).wall_millis,
            own: &host.process.as_ref()?.engine,
            peer: &peer.engine,
        };
        hand.craft(attack)
    }
}
