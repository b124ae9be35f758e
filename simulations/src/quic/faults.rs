//! Faults of the plan: how each begins and ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::about;
use super::play::Play;
use crate::outcome::Violation;
use crate::plan::{Fault, NodeNo, PlannedFault, Unsynced};
use crate::trace::What;

/// How long a node that forgets its connections is not heard: until QUIC has forgotten them too.
const FORGETTING: Duration = Duration::from_secs(5);
/// What a slow reader takes at a time, in bytes: about a frame of each connection.
const SIP_BYTES: u64 = 1_200;

impl Play {
    /// A fault begins.
    pub(super) async fn begin(&mut self, index: usize) -> Result<(), Violation> {
        let Some(planned) = self.plan.faults.get(index).cloned() else { return Ok(()) };
        let at = self.shared.now();
        self.shared.lock().event(at, None, What::FaultBegan { fault: planned.no });
        match &planned.fault {
            Fault::Cut { .. } => self.on_air(&planned, "cut"),
            Fault::Clog { .. } => self.on_air(&planned, "clog"),
            Fault::Slow { .. } => self.on_air(&planned, "slow link"),
            Fault::Lossy { .. } => self.on_air(&planned, "lossy link"),
            Fault::Reset { from, to } => self.reset(from, to),
            Fault::HalfOpen { node } => {
                if let Some(process) = &self.processes[*node] {
                    self.air.mute(*node, FORGETTING);
                    let count = process.core.disconnect(None);
                    self.hit_times("an end forgot a connection", count);
                }
            }
            Fault::Readdress { node } => {
                self.hit("readdress");
                self.air.readdress(*node);
                for link in self.plan.links.iter().filter(|link| link.to == *node) {
                    self.announce(*node, link.from);
                }
            }
            Fault::SlowReader { node, bytes_per_second } => {
                self.hit("slow reader");
                self.read_slowly(*node, *bytes_per_second);
            }
            Fault::Pause { node } => {
                if self.processes[*node].is_some() {
                    self.hit("pause");
                    self.air.set_off(*node, true);
                    self.shared.lock().list[*node].paused.send_replace(true);
                }
            }
            _ => return self.begin_on_machine(&planned).await,
        }
        Ok(())
    }

    async fn begin_on_machine(&mut self, planned: &PlannedFault) -> Result<(), Violation> {
        match planned.fault {
            Fault::Crash { node, unsynced, in_commit, in_repair } => {
                let waits = {
                    let mut sites = self.shared.lock();
                    let site = &mut sites.list[node];
                    site.repair_trips = in_repair;
                    match in_commit {
                        Some(after) if site.engine.is_some() => {
                            site.trips = Some(unsynced);
                            site.cut_power_after(after);
                            true
                        }
                        _ => false,
                    }
                };
                if !waits {
                    self.crash(node, unsynced).await;
                }
            }
            Fault::ClockJump { node, by_ms } => {
                self.hit("clock jump");
                self.shared.lock().list[node].clock.offset_ms += by_ms;
            }
            Fault::DiskFull { node } => {
                self.hit("disk full");
                let mut sites = self.shared.lock();
                let random = sites.luck.draw([about::FULL, u64::from(planned.no), 0, 0]);
                sites.list[node].full = true;
                sites.list[node].disk.fill(random);
            }
            Fault::DiskError { node, after } => {
                self.shared.lock().list[node].fail_once_after(after);
            }
            Fault::DiskSlow { node, factor } => {
                self.hit("slow disk");
                self.shared.lock().list[node].slow = factor;
            }
            Fault::BitFlips { node, count } => {
                self.crash(node, Unsynced::Kept).await;
                self.hit("bit flips");
                let mut sites = self.shared.lock();
                let seed = sites.luck.draw([about::DISK_FLIPS, u64::from(planned.no), 0, 0]);
                sites.list[node].flip_bits(count, seed);
            }
            Fault::RowFlips { node, count } => {
                self.crash(node, Unsynced::Kept).await;
                let mut sites = self.shared.lock();
                let seed = sites.luck.draw([about::DISK_FLIPS, u64::from(planned.no), 0, 0]);
                let rows = sites.list[node].flip_rows(count, seed);
                sites.stats.count("rows damaged", rows.len() as u64);
                sites.oracles.rotted(node, &rows);
            }
            Fault::Restore { node, .. } => {
                self.kill(node, Unsynced::Kept).await;
                let mut sites = self.shared.lock();
                if sites.list[node].put_back(planned.no) {
                    sites.stats.hit("a backup was restored");
                }
            }
            Fault::Replay { .. } => self.hit("skipped replay"),
            Fault::Clone { .. } => self.hit("skipped clone"),
            Fault::GoneBad { .. } => self.hit("skipped gone_bad"),
            _ => {}
        }
        Ok(())
    }

    /// A fault ends.
    pub(super) fn end(&mut self, index: usize) -> Result<(), Violation> {
        let Some(planned) = self.plan.faults.get(index).cloned() else { return Ok(()) };
        let at = self.shared.now();
        self.shared.lock().event(at, None, What::FaultEnded { fault: planned.no });
        match planned.fault {
            Fault::Cut { .. } | Fault::Clog { .. } | Fault::Slow { .. } | Fault::Lossy { .. } => {
                self.air.end(planned.no);
            }
            Fault::SlowReader { node, .. } => self.deaf[node] = None,
            Fault::Pause { node } => self.resume(node),
            Fault::Crash { node, .. }
            | Fault::BitFlips { node, .. }
            | Fault::RowFlips { node, .. }
            | Fault::Restore { node, .. } => return self.restart(node),
            Fault::ClockJump { node, by_ms } => self.shared.lock().list[node].clock.offset_ms -= by_ms,
            Fault::DiskFull { node } => self.shared.lock().list[node].make_room(),
            Fault::DiskSlow { node, .. } => self.shared.lock().list[node].slow = 1,
            _ => {}
        }
        Ok(())
    }

    /// A data directory is copied for a later restore.
    pub(super) fn backup(&mut self, index: usize) {
        if let Some(PlannedFault { no, fault: Fault::Restore { node, .. }, .. }) = self.plan.faults.get(index) {
            self.shared.lock().list[*node].back_up(*no);
        }
    }

    /// Ends everything that is wrong with a machine.
    pub(super) fn cure(&mut self, node: NodeNo) -> Result<(), Violation> {
        self.deaf[node] = None;
        self.resume(node);
        {
            let mut sites = self.shared.lock();
            let offset_ms = self.plan.nodes.get(node).map_or(0, |plan| plan.clock_offset_ms);
            let site = &mut sites.list[node];
            site.slow = 1;
            site.clock.offset_ms = offset_ms;
            site.make_room();
            site.disk.spare();
        }
        self.restart(node)
    }

    fn resume(&self, node: NodeNo) {
        self.shared.lock().list[node].paused.send_replace(false);
        self.air.set_off(node, false);
    }

    fn on_air(&self, planned: &PlannedFault, name: &str) {
        self.hit(name);
        self.air.begin(planned);
    }

    /// Breaks connections at both ends.
    fn reset(&self, from: &[NodeNo], to: &[NodeNo]) {
        let ids: Vec<_> = {
            let sites = self.shared.lock();
            sites
                .list
                .iter()
                .map(|site| tombolo_crdt::NodeId::from_bytes(site.key.verifying_key().to_bytes()))
                .collect()
        };
        let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        for (a, b) in pairs {
            for (here, there) in [(a, b), (b, a)] {
                let core = self.processes.get(here).and_then(|process| Some(&process.as_ref()?.core));
                let count = core.zip(ids.get(there)).map_or(0, |(core, peer)| core.disconnect(Some(*peer)));
                self.hit_times("a connection was reset", count);
            }
        }
    }

    /// Lets a node take what arrives in small sips; at rate 0 it takes nothing.
    fn read_slowly(&mut self, node: NodeNo, bytes_per_second: u64) {
        let Some(process) = &self.processes[node] else { return };
        let core = Arc::clone(&process.core);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(deaf) = core.deafen().await {
                match (SIP_BYTES * 1_000).checked_div(bytes_per_second) {
                    Some(millis) => tokio::time::sleep(Duration::from_millis(millis.max(1))).await,
                    None => std::future::pending().await,
                }
                drop(deaf);
            }
        });
        self.deaf[node] = Some(task);
    }

    pub(super) fn hit(&self, what: &str) {
        self.shared.lock().stats.hit(what);
    }

    fn hit_times(&self, what: &str, count: usize) {
        (0..count).for_each(|_| self.hit(what));
    }
}
