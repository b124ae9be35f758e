//! Faults of the plan: how each begins and ends.

use std::collections::BTreeSet;

use tombolo_node::store::SpaceProbe;

use super::World;
use super::host::{Host, Pid, WallClock};
use super::paths::{about, ways};
use super::queue::Event;
use crate::oracle::Start;
use crate::outcome::Violation;
use crate::plan::{Fault, NodeNo, PlannedFault, Unsynced};
use crate::rot::flip_rows;
use crate::trace::What;

/// How many times slower an abandoned node's links are, and what they lose.
const ABANDONED_SLOWER: u32 = 20;
const ABANDONED_LOSS_PPM: u32 = 200_000;

impl World<'_> {
    /// A fault begins.
    pub(super) fn begin(&mut self, index: usize) -> Result<(), Violation> {
        let Some(planned) = self.plan.faults.get(index) else { return Ok(()) };
        self.event(None, What::FaultBegan { fault: planned.no });
        if planned.until > planned.at {
            self.queue.schedule(planned.until, Event::End(index));
        }
        match &planned.fault {
            Fault::Cut { .. } | Fault::Clog { .. } | Fault::Slow { .. } | Fault::Lossy { .. } => {
                self.set_network(planned, true);
                Ok(())
            }
            Fault::Reset { from, to } => {
                self.reset(from, to);
                Ok(())
            }
            Fault::Replay { from, to } => {
                self.stats.hit("replay");
                self.net.replays.extend(ways(from, to, true));
                Ok(())
            }
            Fault::HalfOpen { node } | Fault::Readdress { node } => {
                // On this network an address is a name: what is left of a new one is that its connections are gone.
                for (id, end) in self.net.of(*node) {
                    self.stats.hit("an end forgot a connection");
                    self.close_end(id, end, "forgotten");
                }
                Ok(())
            }
            _ => self.begin_on_machine(index, planned),
        }
    }

    fn begin_on_machine(&mut self, index: usize, planned: &PlannedFault) -> Result<(), Violation> {
        match planned.fault {
            Fault::SlowReader { node, bytes_per_second } => {
                self.stats.hit("slow reader");
                self.hosts[node].reads = Some(bytes_per_second);
            }
            Fault::Crash { node, unsynced, in_commit, in_repair } => {
                let host = &mut self.hosts[node];
                host.repair_trips = in_repair;
                match in_commit {
                    Some(after) if host.process.is_some() => {
                        host.trips = Some(unsynced);
                        host.disk.cut_power_after(u64::from(after));
                    }
                    _ => self.crash(node, unsynced),
                }
            }
            Fault::Pause { node } => self.pause(node),
            Fault::ClockJump { node, by_ms } => {
                self.stats.hit("clock jump");
                self.hosts[node].clock.offset_ms += by_ms;
            }
            Fault::DiskFull { node } => {
                self.stats.hit("disk full");
                let random = self.luck.draw([about::FULL, u64::from(planned.no), 0, 0]);
                self.hosts[node].full = true;
                self.hosts[node].disk.fill(random);
            }
            Fault::DiskError { node, after } => self.hosts[node].disk.fail_once_after(u64::from(after)),
            Fault::DiskSlow { node, factor } => {
                self.stats.hit("slow disk");
                self.hosts[node].slow = factor;
            }
            Fault::BitFlips { node, count } => {
                self.crash(node, Unsynced::Kept);
                self.stats.hit("bit flips");
                let seed = self.luck.draw([about::FLIPS, u64::from(planned.no), 0, 0]);
                self.hosts[node].disk.flip_bits(count, seed);
                self.hosts[node].damaged = true;
            }
            Fault::RowFlips { node, count } => {
                self.crash(node, Unsynced::Kept);
                let seed = self.luck.draw([about::FLIPS, u64::from(planned.no), 0, 0]);
                let rows = flip_rows(&self.hosts[node].disk, count, seed);
                self.stats.count("rows damaged", rows.len() as u64);
                self.oracles.rotted(node, &rows);
            }
            Fault::Restore { node, .. } => {
                self.kill(node, Unsynced::Kept);
                if let Some(image) = self.hosts[node].backups.remove(&planned.no) {
                    self.stats.hit("a backup was restored");
                    self.hosts[node].disk = image;
                    self.hosts[node].restored = true;
                }
            }
            Fault::Clone { node } => return self.clone_machine(planned.no, node),
            Fault::GoneBad { .. } => self.go_bad(index),
            _ => {}
        }
        Ok(())
    }

    /// A fault ends.
    pub(super) fn end(&mut self, index: usize) -> Result<(), Violation> {
        let Some(planned) = self.plan.faults.get(index) else { return Ok(()) };
        if self.healed {
            return Ok(());
        }
        self.event(None, What::FaultEnded { fault: planned.no });
        match planned.fault {
            Fault::SlowReader { node, .. } => {
                self.hosts[node].reads = None;
                return self.read_on(node);
            }
            Fault::Crash { node, .. }
            | Fault::BitFlips { node, .. }
            | Fault::RowFlips { node, .. }
            | Fault::Restore { node, .. } => return self.restart(node),
            Fault::Pause { node } => return self.resume(node),
            Fault::ClockJump { node, by_ms } => self.hosts[node].clock.offset_ms -= by_ms,
            Fault::DiskFull { node } => self.hosts[node].make_room(),
            Fault::DiskSlow { node, .. } => self.hosts[node].slow = 1,
            Fault::GoneBad { node, .. } => self.turn_good(node),
            Fault::Clone { .. } => {
                let clones = self.hosts.iter().enumerate().skip(self.plan.nodes.len());
                let gone = clones.filter(|(_, host)| host.clone_of == Some(planned.no)).map(|(pid, _)| pid);
                for pid in gone.collect::<Vec<Pid>>() {
                    self.kill(pid, Unsynced::Kept);
                }
            }
            _ => self.set_network(planned, false),
        }
        Ok(())
    }

    fn set_network(&mut self, planned: &PlannedFault, begins: bool) {
        match &planned.fault {
            Fault::Cut { from, to, one_way } => self.set_closed(&ways(from, to, !one_way), begins),
            Fault::Clog { from, to } => {
                let changed = self.paths.set_clogged(&ways(from, to, false), begins);
                self.flush_all(&changed);
            }
            Fault::Slow { from, to, factor } => {
                self.paths.set_slow(planned.no, &ways(from, to, true), begins.then_some(*factor));
            }
            Fault::Lossy { from, to, loss_ppm } => {
                self.paths.set_lossy(planned.no, &ways(from, to, true), begins.then_some(*loss_ppm));
            }
            _ => {}
        }
    }

    fn set_closed(&mut self, ways: &BTreeSet<(NodeNo, NodeNo)>, closed: bool) {
        let changed = self.paths.set_closed(ways, closed);
        self.hear_all(&changed);
    }

    fn hear_all(&mut self, changed: &[(NodeNo, NodeNo)]) {
        let changed: BTreeSet<_> = changed.iter().copied().collect();
        for id in self.net.between(|a, b| changed.contains(&(a, b))) {
            self.hear(id);
        }
    }

    /// What waited on clogged ways leaves.
    fn flush_all(&mut self, changed: &[(NodeNo, NodeNo)]) {
        for id in self.net.between(|a, b| changed.contains(&(a, b))) {
            self.flush_conn(id);
        }
    }

    /// All ways are open again, among the survivors.
    pub(super) fn open_paths(&mut self) {
        let survivors = &self.plan.survivors;
        let free = self.paths.clear(|(a, b)| survivors.contains(a) && survivors.contains(b));
        self.hear_all(&free);
        self.flush_all(&free);
    }

    fn reset(&mut self, from: &[NodeNo], to: &[NodeNo]) {
        let broken = self.net.between(|a, b| from.contains(&a) && to.contains(&b));
        for id in broken {
            self.stats.hit("a connection was reset");
            self.cut(id, "reset");
        }
    }

    /// Breaks every connection among the survivors.
    pub(super) fn reset_survivors(&mut self) {
        let survivors = &self.plan.survivors;
        for id in self.net.between(|a, b| survivors.contains(&a) && survivors.contains(&b)) {
            self.cut(id, "reset");
        }
    }

    /// A node that is not healed: dead, cut off, half cut off, or hardly reachable, for ever. If it still runs, it goes
    /// on with the faults it has, and may bother the survivors.
    pub(super) fn abandon(&mut self, node: NodeNo) {
        self.clients_give_up(node);
        let survivors = &self.plan.survivors;
        match self.luck.draw([about::FATE, node as u64, 0, 0]) % 5 {
            0 => self.kill(node, Unsynced::Kept),
            1 => self.set_closed(&ways(&[node], survivors, true), true),
            2 => self.set_closed(&ways(&[node], survivors, false), true),
            3 => self.set_closed(&ways(survivors, &[node], false), true),
            _ => {
                let both = ways(&[node], survivors, true);
                self.paths.set_slow(u32::MAX, &both, Some(ABANDONED_SLOWER));
                self.paths.set_lossy(u32::MAX, &both, Some(ABANDONED_LOSS_PPM));
            }
        }
        if self.hosts[node].process.is_some() {
            self.stats.hit("a node was left unwell beside the survivors");
        }
    }

    fn crash(&mut self, node: NodeNo, unsynced: Unsynced) {
        if self.hosts[node].process.is_some() {
            self.stats.hit("crash");
            if self.hosts[node].process.as_ref().is_some_and(|process| process.done.is_some()) {
                self.stats.hit("a crash between a commit and its replies");
            }
        }
        self.kill(node, unsynced);
    }

    /// The power was cut in the middle of a step: the process is gone, and nothing of the step was said.
    pub(super) fn trip(&mut self, pid: Pid) -> Result<(), Violation> {
        let unsynced = self.hosts[pid].trips.take().unwrap_or(Unsynced::Torn);
        self.crash(pid, unsynced);
        Ok(())
    }

    /// The process is started again, if it is not running.
    fn restart(&mut self, node: NodeNo) -> Result<(), Violation> {
        let host = &mut self.hosts[node];
        host.disk.power();
        host.trips = None;
        if host.process.is_some() {
            return Ok(());
        }
        if let Some(after) = host.repair_trips.take() {
            host.disk.cut_power_after(u64::from(after));
        }
        let start = if std::mem::take(&mut host.restored) { Start::Restored } else { Start::Crash };
        self.start(node, start)
    }

    fn pause(&mut self, node: NodeNo) {
        if self.hosts[node].process.is_none() || self.hosts[node].paused_since.is_some() {
            return;
        }
        self.stats.hit("pause");
        self.hosts[node].paused_since = Some(self.now);
        for (id, _) in self.net.of(node) {
            self.hear(id);
        }
    }

    fn resume(&mut self, node: NodeNo) -> Result<(), Violation> {
        let Some(since) = self.hosts[node].paused_since.take() else { return Ok(()) };
        let stood = self.now.saturating_sub(since);
        if let Some(process) = self.hosts[node].process.as_mut() {
            process.lost_time += stood;
            // Timers of the process stood still with it.
            process.wake = process.wake.map(|at| at + stood);
            process.wake_scheduled = None;
            process.dial_scheduled = None;
        }
        // It may have forgotten connections that others know, and learn so, and the other way round.
        for (id, _) in self.net.of(node).into_iter().chain(self.net.facing(node)) {
            self.hear(id);
        }
        self.release(node)?;
        self.give(node, tombolo_node::engine::Input::Timer);
        self.dial_soon(node);
        self.read_on(node)
    }

    /// Makes a backup of a data directory.
    pub(super) fn backup(&mut self, index: usize) {
        if let Some(PlannedFault { no, fault: Fault::Restore { node, .. }, .. }) = self.plan.faults.get(index) {
            let host = &mut self.hosts[*node];
            let image = host.disk.image();
            host.backups.insert(*no, image);
        }
    }

    fn clone_machine(&mut self, fault: u32, node: NodeNo) -> Result<(), Violation> {
        self.stats.hit("clone");
        let original = &self.hosts[node];
        let clone = Host {
            node,
            key: original.key.clone(),
            disk: original.disk.image(),
            clock: WallClock { ..original.clock },
            commit: original.commit,
            slow: 1,
            process: None,
            life: 0,
            paused_since: None,
            reads: None,
            read_until: self.now,
            full: false,
            damaged: original.damaged,
            backups: std::collections::BTreeMap::new(),
            trips: None,
            repair_trips: None,
            restored: false,
            bad: false,
            clone_of: Some(fault),
        };
        self.hosts.push(clone);
        assert!(self.hosts.len() > self.plan.nodes.len(), "clones come after the machines of the plan");
        self.start(self.hosts.len() - 1, Start::Clone)
    }

    /// Ends everything that is wrong with a machine itself.
    pub(super) fn cure(&mut self, node: NodeNo) -> Result<(), Violation> {
        let host = &mut self.hosts[node];
        host.reads = None;
        host.slow = 1;
        host.trips = None;
        host.make_room();
        host.disk.spare();
        host.disk.power();
        debug_assert!(host.disk.volume().is_ok(), "a disk that is cured can be asked");
        let plan = self.plan.nodes.get(node);
        host.clock.offset_ms = plan.map_or(0, |plan| plan.clock_offset_ms);
        self.turn_good(node);
        self.resume(node)?;
        self.restart(node)?;
        self.read_on(node)
    }
}
