//! After the planned time: survivors are healed and must become equal and silent.

use std::time::Duration;

use super::about;
use super::play::Play;
use crate::oracle::Traffic;
use crate::outcome::{Oracle, Violation};
use crate::plan::{Fault, NodeNo, PlannedFault, Unsynced};
use crate::trace::What;

/// How often quiet is looked for.
const LOOK: Duration = Duration::from_millis(500);
/// Without a frame for so long the survivors are silent, unless their engines still have something in mind: longer than
/// any round trip with a few losses in a row.
const SILENCE: Duration = Duration::from_secs(3);

impl Play {
    /// Ends all faults among the survivors. The others are never well again: dead, or cut off.
    pub(super) async fn heal(&mut self) -> Result<(), Violation> {
        let at = self.shared.now();
        {
            let mut sites = self.shared.lock();
            sites.healed = true;
            sites.event(at, None, What::Healed);
        }
        let mut lost = Vec::new();
        for node in 0..self.plan.nodes.len() {
            if self.plan.survivors.contains(&node) {
                self.cure(node)?;
            } else {
                lost.push(node);
            }
        }
        self.air.clear();
        for node in lost {
            self.abandon(node).await;
        }
        Ok(())
    }

    /// A node that is not healed. If it runs and can answer its clients, it may go on behind a cut.
    async fn abandon(&mut self, node: NodeNo) {
        let goes_on = {
            let sites = self.shared.lock();
            let site = &sites.list[node];
            let lucky = sites.luck.draw([about::FATE, node as u64, 0, 0]).is_multiple_of(2);
            lucky && site.engine.is_some() && !*site.paused.borrow()
        };
        if !goes_on {
            return self.kill(node, Unsynced::Kept).await;
        }
        self.hit("a node was left unwell beside the survivors");
        let (at, to) = (self.shared.now(), self.plan.survivors.clone());
        let fault = Fault::Cut { from: vec![node], to, one_way: false };
        let no = u32::MAX - u32::try_from(node).unwrap_or(0);
        self.air.begin(&PlannedFault { no, at, until: at, fault });
    }

    /// Waits for quiet, asks the oracles, and then reconnects everybody: with nothing new that must cost a constant.
    pub(super) async fn settle(&mut self) -> Result<(), Violation> {
        let healed = self.shared.now();
        self.quiet("converge").await?;
        let now = self.shared.now();
        let before = {
            let mut sites = self.shared.lock();
            let sites = &mut *sites;
            sites.stats.convergence_us = u64::try_from((now - healed).as_micros()).unwrap_or(u64::MAX);
            sites.event(now, None, What::Quiet);
            let (traffic, list) = (sites.traffic(), &sites.list);
            let survivors = self.plan.survivors.iter();
            let engines: Vec<_> =
                survivors.filter_map(|node| Some((*node, list.get(*node)?.engine.as_ref()?))).collect();
            sites.oracles.quiet(now, &engines, traffic, &mut sites.stats)?;
            sites.traffic_of_survivors()
        };
        for process in self.plan.survivors.iter().filter_map(|node| self.processes.get(*node)?.as_ref()) {
            process.core.disconnect(None);
        }
        self.quiet("fall silent after reconnecting").await?;
        let sites = self.shared.lock();
        let after = sites.traffic_of_survivors();
        let took = Traffic {
            bytes: after.bytes - before.bytes,
            transferred: after.transferred - before.transferred,
            connections: after.connections - before.connections,
            wasted: after.wasted - before.wasted,
        };
        sites.oracles.reconnected(self.shared.now(), took)
    }

    /// Waits until the survivors are connected, equal and silent.
    async fn quiet(&mut self, what: &str) -> Result<(), Violation> {
        let end = self.shared.now() + self.plan.patience;
        loop {
            self.until(self.shared.now() + LOOK).await?;
            let now = self.shared.now();
            let connected = self.is_connected();
            let sites = self.shared.lock();
            let silent = sites.asking == 0 && now.saturating_sub(sites.last_frame) >= SILENCE;
            if connected && silent && sites.difference().is_none() {
                return Ok(());
            }
            if now >= end {
                let why = sites.difference().unwrap_or_else(|| match connected {
                    true => "they still talk".to_owned(),
                    false => "they are not all connected".to_owned(),
                });
                let detail = format!("the survivors did not {what} within {:?}: {why}", self.plan.patience);
                return Err(sites.violation(now, Oracle::Liveness, &format!("did not {what}"), detail));
            }
        }
    }

    /// Whether every link among the survivors stands.
    fn is_connected(&self) -> bool {
        let survives = |node: NodeNo| self.plan.survivors.contains(&node);
        let ids: Vec<_> = {
            let sites = self.shared.lock();
            let id = |site: &super::sites::Site| tombolo_crdt::NodeId::from_bytes(site.key.verifying_key().to_bytes());
            sites.list.iter().map(id).collect()
        };
        let mut links = self.plan.links.iter().filter(|link| survives(link.from) && survives(link.to));
        links.all(|link| {
            let process = self.processes.get(link.from).and_then(Option::as_ref);
            process.zip(ids.get(link.to)).is_some_and(|(process, peer)| process.core.connections(*peer) > 0)
        })
    }
}
