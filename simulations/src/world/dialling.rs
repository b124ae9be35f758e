//! Dialling: `transport`'s own dialler decides when; the network decides what comes of it.

use tombolo_node::engine::Target;
use tombolo_transport::dial::{Address, Target as DialTarget, TargetId};
use tombolo_transport::limits::HANDSHAKE_TIMEOUT;

use super::World;
use super::host::Pid;
use super::paths::about;
use super::queue::Event;
use crate::outcome::Violation;
use crate::plan::NodeNo;

/// Where a node listens.
pub(super) fn address(node: NodeNo) -> String {
    format!("node-{node}:7600")
}

fn node_at(address: &Address) -> Option<NodeNo> {
    match address {
        Address::Name(name) => name.strip_prefix("node-")?.strip_suffix(":7600")?.parse().ok(),
        Address::Socket(_) => None,
    }
}

impl World<'_> {
    /// The engine says whom to dial.
    pub(super) fn aim(&mut self, pid: Pid, wanted: &[Target]) {
        let mono = self.hosts[pid].now(self.now).mono;
        let Some(process) = self.hosts[pid].process.as_mut() else { return };
        // Members are reached at the addresses added by hand alone: only links of the plan are dialled.
        let wanted: Vec<&Target> = wanted.iter().filter(|target| !target.addrs.is_empty()).collect();
        let gone: Vec<TargetId> = process
            .targets
            .iter()
            .filter(|(_, addrs)| !wanted.iter().any(|target| target.addrs == **addrs))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            process.targets.remove(&id);
            process.learned.remove(&id);
            process.dialler.remove(id);
        }
        for target in wanted {
            if !process.targets.values().any(|addrs| *addrs == target.addrs) {
                let addresses = target.addrs.iter().filter_map(|addr| addr.parse().ok()).collect();
                let id = process.dialler.add(DialTarget { node: target.node, addresses }, mono);
                process.targets.insert(id, target.addrs.clone());
            }
        }
        self.dial_soon(pid);
    }

    /// When the next dial is due.
    pub(super) fn dial_soon(&mut self, pid: Pid) {
        let (now, host) = (self.now, &self.hosts[pid]);
        let Some(at) = host.process.as_ref().and_then(|process| process.dialler.next_wake()) else { return };
        let (at, life) = (host.moment(at).max(now), host.life);
        let Some(process) = self.hosts[pid].process.as_mut() else { return };
        if process.dial_scheduled.is_none_or(|scheduled| at < scheduled) {
            process.dial_scheduled = Some(at);
            self.queue.schedule(at, Event::Dial(pid, life));
        }
    }

    /// Dials that are due.
    pub(super) fn dial(&mut self, pid: Pid) {
        let (mono, life, node, up) = {
            let host = &self.hosts[pid];
            (host.now(self.now).mono, host.life, host.node, host.is_up())
        };
        let Some(process) = self.hosts[pid].process.as_mut() else { return };
        if process.dial_scheduled != Some(self.now) {
            return;
        }
        process.dial_scheduled = None;
        if !up {
            // It dials when it goes on.
            return;
        }
        let due = process.dialler.poll(mono);
        for dial in due {
            self.stats.timers += 1;
            let peer = dial.target.addresses.first().and_then(node_at);
            let reached = peer.filter(|peer| self.reaches(node, *peer));
            let wait = match reached {
                Some(peer) => {
                    self.paths.latency(node, peer, self.luck.draw32([about::LATENCY, pid as u64, life, 0])) * 3
                }
                None => HANDSHAKE_TIMEOUT,
            };
            self.queue.schedule(self.now + wait, Event::Dialled(pid, life, dial.id, reached));
        }
        self.dial_soon(pid);
    }

    fn reaches(&self, node: NodeNo, peer: NodeNo) -> bool {
        let paths = self.paths.has_link(node, peer) && self.paths.is_open(node, peer) && self.paths.is_open(peer, node);
        paths && self.answers(peer).is_some()
    }

    /// Which machine answers at a node's address: the node, or a clone of it.
    fn answers(&self, node: NodeNo) -> Option<Pid> {
        let machines = self.hosts.iter().enumerate().filter(|(_, host)| host.node == node && host.is_up());
        let up: Vec<Pid> = machines.map(|(pid, _)| pid).collect();
        let chosen =
            self.luck.draw([about::CLONE, node as u64, self.now.as_micros() as u64, 0]) % up.len().max(1) as u64;
        up.get(usize::try_from(chosen).unwrap_or(0)).copied()
    }

    /// An attempt ends.
    pub(super) fn dialled(&mut self, pid: Pid, target: TargetId, peer: Option<NodeNo>) -> Result<(), Violation> {
        let (mono, node) = (self.hosts[pid].now(self.now).mono, self.hosts[pid].node);
        let random = self.luck.draw([about::BACKOFF, pid as u64, self.hosts[pid].life, self.now.as_micros() as u64]);
        let reached = peer.filter(|peer| self.reaches(node, *peer));
        let Some(process) = self.hosts[pid].process.as_mut() else { return Ok(()) };
        let known = process.targets.contains_key(&target);
        match reached {
            Some(peer) if known => {
                process.learned.insert(target, peer);
                process.dialler.connected(target, mono);
                if let Some(other) = self.answers(peer) {
                    self.establish(pid, other);
                }
            }
            _ => process.dialler.failed(target, mono, random),
        }
        self.dial_soon(pid);
        Ok(())
    }

    /// A connection with a node stands: nobody needs to dial it.
    pub(super) fn peer_up(&mut self, pid: Pid, peer: NodeNo) {
        let mono = self.hosts[pid].now(self.now).mono;
        let Some(process) = self.hosts[pid].process.as_mut() else { return };
        *process.connected.entry(peer).or_default() += 1;
        for id in process.leading_to(peer) {
            process.dialler.connected(id, mono);
        }
    }

    /// One is gone.
    pub(super) fn peer_down(&mut self, pid: Pid, peer: NodeNo) {
        let mono = self.hosts[pid].now(self.now).mono;
        let random = self.luck.draw([about::BACKOFF, pid as u64, peer as u64, self.now.as_micros() as u64]);
        let Some(process) = self.hosts[pid].process.as_mut() else { return };
        let Some(count) = process.connected.get_mut(&peer) else { return };
        assert!(*count > 0, "a connection that ends was counted when it began");
        *count -= 1;
        if *count == 0 {
            process.connected.remove(&peer);
            for id in process.leading_to(peer) {
                process.dialler.closed(id, mono, true, random);
            }
            self.dial_soon(pid);
        }
    }
}
