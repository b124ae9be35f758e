//! A node without files and HTTP: the queues to its engine, its connections, its dialling. The process is built on it,
//! and simulations run it on a network, a clock and a disk of their own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tombolo_crdt::NodeId;
use tombolo_transport::discovery::Discovery;
use tombolo_transport::{CloseCode, Endpoint};

use super::clock::Clock;
use super::dialling::{Chance, DialReports, Dialling};
use super::driver::{Driver, Outlets, Source, Stepper};
use super::links::Links;
use super::net::Net;
use super::steps::StepTimes;
use super::traffic::Traffic;
use crate::acks::AckBoard;
use crate::handle::{EngineHandle, Inbox, Journals, Planning};

/// What a core is made of.
#[derive(Debug)]
pub struct CoreConfig {
    /// The clocks; the engine and dialling read them.
    pub clock: Clock,
    /// Where peers are met.
    pub endpoint: Endpoint,
    /// Who is found on the local network.
    pub discovery: Discovery,
    /// Where bytes are counted.
    pub traffic: Arc<Traffic>,
    /// 32 random bytes, for the waits between dials.
    pub seed: [u8; 32],
}

/// A running core. Dropping it ends accepting and dialling; connections go on until the endpoint is closed.
#[derive(Debug)]
pub struct Core {
    engine: EngineHandle,
    reports: DialReports,
    times: StepTimes,
    links: Arc<Links>,
    inbox: Inbox,
    tasks: JoinSet<()>,
}

/// While it lives, the engine hears nothing from the network; its own site it hears.
#[derive(Debug)]
#[must_use = "dropping it lets the engine hear again"]
pub struct Deaf(#[expect(dead_code, reason = "it is what it does when dropped")] OwnedSemaphorePermit);

impl Core {
    /// Begins to accept and to dial within the present tokio runtime. The future is the engine's loop, for a thread or
    /// task of the caller's; it ends when `stop` turns true, once what waits has been taken.
    pub fn start<S: Stepper>(
        stepper: S,
        config: CoreConfig,
        stop: watch::Receiver<bool>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let CoreConfig { clock, endpoint, discovery, traffic, seed } = config;
        let (local, local_items) = Inbox::new();
        let (inbox, net_items) = Inbox::new();
        let links = Arc::new(Links::new(traffic));
        let (journal, journals) = watch::channel(Journals::new());
        let acks = AckBoard::default();
        let times = StepTimes::default();
        let (targets_in, targets) = watch::channel(Vec::new());
        let outlets = Outlets {
            links: Arc::clone(&links),
            endpoint: endpoint.clone(),
            journal,
            acks: acks.clone(),
            targets: targets_in,
            times: times.clone(),
        };
        let driver = Driver::new(stepper, clock, Source::new(local_items), Source::new(net_items), outlets);

        let engine = EngineHandle { inbox: local, journal: journals, acks, planning: Arc::new(Planning::new()) };
        let (net, link_events) = Net::new(Arc::clone(&links), inbox.clone(), endpoint.local_addr().ok());
        let reports = DialReports::default();
        let dialling = Dialling {
            clock,
            endpoint: endpoint.clone(),
            engine: engine.clone(),
            net: net.clone(),
            reports: reports.clone(),
            discovery,
            chance: Chance::new(seed),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(net.accept(endpoint));
        tasks.spawn(dialling.run(targets, link_events));
        (Self { engine, reports, times, links, inbox, tasks }, driver.run(stop))
    }

    /// The way to the engine.
    #[must_use]
    pub fn engine(&self) -> EngineHandle {
        self.engine.clone()
    }

    /// Targets whose last dial failed.
    #[must_use]
    pub fn dials(&self) -> DialReports {
        self.reports.clone()
    }

    /// How long the engine's steps take.
    #[must_use]
    pub fn step_times(&self) -> StepTimes {
        self.times.clone()
    }

    /// Breaks all connections, or those with one peer, at once and in the middle of whatever is on its way. Returns how
    /// many. They are dialled again.
    pub fn disconnect(&self, peer: Option<NodeId>) -> usize {
        self.links.disconnect(peer, CloseCode::Done)
    }

    /// How many connections stand with a peer.
    #[must_use]
    pub fn connections(&self, peer: NodeId) -> usize {
        self.links.count(peer)
    }

    /// Makes the engine deaf to the network: what arrives fills its buffers and then stops the senders. Waits until
    /// what is queued already has been heard.
    pub async fn deafen(&self) -> Option<Deaf> {
        self.inbox.occupy().await.map(Deaf)
    }

    /// Ends accepting and dialling.
    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}
