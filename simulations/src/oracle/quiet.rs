//! Everything that is checked when the survivors are silent.

use tombolo_crdt::SpaceId;

use super::fault::Fault;
use super::ledger::Ledger;
use super::survivors::{Survivor, groups, reading};
use super::values::{Model, Rows};
use super::{Oracles, Traffic, assertion, atomicity, leavings, permission, replay, survivors, traffic};
use crate::outcome::{Oracle, Stats};

impl Oracles {
    pub(super) fn check_quiet(
        &mut self,
        survivors: &[Survivor<'_>],
        traffic: Traffic,
        stats: &mut Stats,
    ) -> Result<(), Fault> {
        stats.entities = 0;
        stats.conflicts = 0;
        stats.assertions.clear();
        stats.refused_writes = Some(self.acks.refused.iter().copied().collect());
        let mut feeds = 0;
        for (index, space) in self.spaces.clone().into_iter().enumerate() {
            for (node, engine) in survivors {
                if permission::role(&self.plan, index, *node).is_none() && engine.frontier(space).is_some() {
                    let fault = Fault::new(Oracle::Permission, "a space of others", space.to_string());
                    return Err(fault.at(*node));
                }
            }
            for group in groups(&self.plan, index, survivors) {
                feeds = feeds.max(group.first().and_then(|(_, engine)| engine.frontier(space)).map_or(0, |f| f.len()));
                self.group((index, space), &group, stats)?;
            }
        }
        traffic::check(&self.plan, traffic, stats)?;
        traffic::chatter(traffic, stats.frames, self.spaces.len(), feeds)
    }

    /// The members of a space that can reach each other.
    fn group(&mut self, of: (usize, SpaceId), group: &[Survivor<'_>], stats: &mut Stats) -> Result<(), Fault> {
        let (index, space) = of;
        survivors::digests(space, group)?;
        let Some(reference) = group.first().copied() else { return Ok(()) };
        let store = reading(reference)?;
        let ledger = Ledger::read(&store, space).map_err(|fault| fault.at(reference.0))?;
        let nodes: Vec<_> = group.iter().map(|(node, _)| *node).collect();
        self.acks.quiet(index, &nodes, &ledger)?;
        self.acks.once(&ledger, &self.asked)?;
        permission::check(&self.plan, index, &ledger, &self.nodes, &self.asked)?;
        let stepped = self.causality.check(&ledger)?;
        stats.count("oracle: entries held against what their node had", stepped);
        leavings::clocks(&self.plan, &ledger)?;
        leavings::feeds(reference, &store, space)?;
        leavings::count(group, space, &ledger, stats);
        let rows = survivors::rows(&store, space).map_err(|fault| fault.at(reference.0))?;
        self.values(index, &ledger, &rows, &nodes, stats)?;
        for other in group.iter().skip(1) {
            let store = reading(*other)?;
            let theirs = survivors::rows(&store, space).map_err(|fault| fault.at(other.0))?;
            leavings::feeds(*other, &store, space)?;
            survivors::equal(reference.0, &rows, &theirs).map_err(|fault| fault.at(other.0))?;
            atomicity::check(&store, space, &|_, _| false).map_err(|fault| fault.at(other.0))?;
        }
        drop(store);
        survivors::verified(group)?;
        replay::check(&ledger, &rows, self.plan.noise)?;
        self.streams(space, group, &rows)?;
        self.damage.iter().filter(|seen| seen.space() == space).try_for_each(|seen| seen.check(&ledger))?;
        for node in nodes {
            assertion::check(&self.plan, &self.acks, (index, node), &rows, stats)?;
        }
        stats.entities += rows.values().filter(|state| state.is_present()).count() as u64;
        stats.conflicts += rows.values().filter(|s| s.is_present() && !s.conflicts().is_empty()).count() as u64;
        Ok(())
    }

    /// The entities against the writes.
    fn values(
        &self,
        space: usize,
        ledger: &Ledger,
        rows: &Rows,
        nodes: &[usize],
        stats: &mut Stats,
    ) -> Result<(), Fault> {
        let model = Model::of(ledger, &self.asked)?;
        let tally = model.check(&ledger.whole(), rows)?;
        stats.count("oracle: values demanded", tally.sure);
        stats.count("oracle: values left open", tally.unsure);
        stats.count("oracle: paths not looked at", tally.skipped);
        let idle = self.acks.writes.iter().filter(|(_, ack)| ack.receipt.is_none() && ack.space == space);
        for (no, _) in idle.filter(|(_, ack)| nodes.contains(&ack.node)) {
            if let Some(past) = self.causality.exact(*no, ledger) {
                model.unwritten(*no, &past)?;
            }
        }
        Ok(())
    }

    /// Clients catch up and compare their mirrors.
    fn streams(&mut self, space: SpaceId, group: &[Survivor<'_>], rows: &Rows) -> Result<(), Fault> {
        for (node, engine) in group {
            let clients = self.clients.get_mut(node).into_iter().flatten();
            for client in clients.filter(|client| client.space() == space) {
                let told = client.poll(&engine.reader()).and_then(|()| client.compare(rows));
                told.map_err(|fault| fault.at(*node))?;
            }
        }
        Ok(())
    }
}
