//! Processes: a node's engine, endpoint, connections and dialling, started and killed.

use std::sync::Arc;

use quinn::TokioRuntime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tombolo_node::engine::Command;
use tombolo_node::runtime::{Clock, Core, CoreConfig};
use tombolo_transport::discovery::Discovery;
use tombolo_transport::{CloseCode, Endpoint, Identity, Settings};

use super::about;
use super::machine::has_tripped;
use super::play::Play;
use super::socket::SimSocket;
use super::watch::Watched;
use crate::oracle::Start;
use crate::outcome::{Oracle, Violation};
use crate::plan::{NodeNo, Unsynced};
use crate::trace::What;
use crate::world;

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) core: Arc<Core>,
    endpoint: Endpoint,
    driver: JoinHandle<()>,
    /// Keeps the engine's loop from ending.
    _stop: watch::Sender<bool>,
}

impl Play {
    /// Starts a process on what its disk holds.
    pub(super) fn start(&mut self, node: NodeNo, start: Start) -> Result<(), Violation> {
        let at = self.shared.now();
        let mut sites = self.shared.lock();
        let luck = sites.luck;
        let site = &mut sites.list[node];
        site.life += 1;
        let (life, damaged) = (site.life, site.damaged);
        let seed = |what| luck.bytes([what, node as u64, life, 0]);
        let errors = site.disk.usage().errors;
        let opened = world::open(node, &site.key, &site.disk, seed(about::ENGINE));
        if has_tripped(&site.disk) {
            site.lose_power(Unsynced::Torn, luck.draw([about::CRASH, node as u64, life, 1]));
            sites.stats.hit("a crash in the middle of a repair");
            drop(sites);
            return self.start(node, start);
        }
        if opened.is_err() && site.disk.usage().errors > errors {
            // Whatever watches over the process starts it again; a disk fails once.
            sites.stats.hit("the disk failed while a store was opened");
            drop(sites);
            return self.start(node, start);
        }
        site.seen.clear();
        let engine = match opened {
            Ok(engine) => engine,
            Err(reason) if damaged => {
                sites.stats.hit("a damaged store was refused");
                sites.event(at, Some(node), What::NotStarted { reason });
                return Ok(());
            }
            Err(reason) => {
                let detail = format!("{} does not start: {reason}", sites.name(node));
                return Err(sites.violation(at, Oracle::Durability, "a store does not open", detail));
            }
        };
        let digests = sites.spaces.iter().filter_map(|space| engine.state_digest(*space));
        let state = digests.map(|digest| digest.to_string()).collect::<Vec<_>>().join(" ");
        sites.event(at, Some(node), What::Started { state });
        let start = if damaged { Start::Damaged } else { start };
        sites.oracles.started(at, node, start, &engine)?;

        let site = &mut sites.list[node];
        let identity = Identity::from_seed(site.key.as_bytes());
        let settings = Settings { rng_seed: Some(seed(about::ENDPOINT)), ..Settings::default() };
        let socket = SimSocket::open(&self.air, node);
        let endpoint = Endpoint::with_socket(identity, settings, socket, Arc::new(TokioRuntime));
        let endpoint = endpoint.expect("a simulated socket is always there");
        let config = CoreConfig {
            clock: Clock::start(),
            endpoint: endpoint.clone(),
            discovery: Discovery::off(),
            traffic: Arc::clone(&site.bytes),
            seed: seed(about::BACKOFF),
        };
        let watched = Watched::new(&self.shared, node, life, site.paused.subscribe());
        let (stop, stopping) = watch::channel(false);
        let (core, driver) = Core::start(watched, config, stopping);
        site.handle = Some(core.engine());
        site.engine = Some(engine);
        drop(sites);
        let driver = tokio::spawn(driver);
        self.processes[node] = Some(Process { core: Arc::new(core), endpoint, driver, _stop: stop });
        let moved: Vec<NodeNo> = self.plan.links.iter().filter(|link| link.from == node).map(|link| link.to).collect();
        for to in moved {
            self.announce(to, node);
        }
        Ok(())
    }

    /// Tells a node where another one is if that has moved: as the announcements on a local network do.
    pub(super) fn announce(&self, who: NodeNo, to: NodeNo) {
        let Some((address, true)) = self.air.address_of(who) else { return };
        let sites = self.shared.lock();
        let Some(handle) = sites.list[to].handle.clone() else { return };
        let Some(id) = sites.list.get(who).map(|site| site.key.verifying_key().to_bytes()) else { return };
        let found = Command::Discovered(tombolo_crdt::NodeId::from_bytes(id), vec![address.to_string()]);
        drop(sites);
        tokio::spawn(async move {
            // The node may go down before it hears.
            let _ = handle.call(found).await;
        });
    }

    /// Kills a process: nothing more is written, said or heard by it. What its disk had not been asked to keep has its
    /// fate.
    pub(super) async fn kill(&mut self, node: NodeNo, unsynced: Unsynced) {
        let Some(process) = self.processes[node].take() else { return };
        {
            let mut sites = self.shared.lock();
            let luck = sites.luck;
            let site = &mut sites.list[node];
            site.lose_power(unsynced, luck.draw([about::CRASH, node as u64, site.life, 0]));
        }
        self.air.unplug(node);
        self.deaf[node] = None;
        process.driver.abort();
        let _ = process.driver.await;
        let at = self.shared.now();
        {
            let mut sites = self.shared.lock();
            let site = &mut sites.list[node];
            site.life += 1;
            (site.engine, site.handle) = (None, None);
            site.waiting.clear();
            site.paused.send_replace(false);
            sites.event(at, Some(node), What::Died);
            let lost = sites.letters.died(node);
            lost.into_iter().for_each(|message| sites.event(at, Some(node), What::Lost { message }));
        }
        // What its tasks still say meets a socket that is gone.
        process.endpoint.close(CloseCode::ShuttingDown);
    }

    /// The power goes: the process dies, and what the disk had not been asked to keep has its fate.
    pub(super) async fn crash(&mut self, node: NodeNo, unsynced: Unsynced) {
        if self.processes[node].is_some() {
            self.shared.lock().stats.hit("crash");
        }
        self.kill(node, unsynced).await;
    }

    /// Starts a process again, if none runs.
    pub(super) fn restart(&mut self, node: NodeNo) -> Result<(), Violation> {
        let start = {
            let mut sites = self.shared.lock();
            let site = &mut sites.list[node];
            site.power();
            if site.engine.is_some() {
                return Ok(());
            }
            if let Some(after) = site.repair_trips.take() {
                site.cut_power_after(after);
            }
            if std::mem::take(&mut site.restored) { Start::Restored } else { Start::Crash }
        };
        self.start(node, start)
    }
}
