//! Keeps connections to the engine's targets, and tells the engine who was found on the local network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tombolo_crdt::NodeId;
use tombolo_transport::dial::{Address, DialNow, Dialler, Target as DialTarget, TargetId};
use tombolo_transport::discovery::Discovery;
use tombolo_transport::{ConnectError, Connection, Endpoint};

use super::clock::Clock;
use super::net::{LinkEvent, Net};
use crate::engine::{Command, Target};
use crate::handle::EngineHandle;

/// Why a target is not connected, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialReport {
    /// The node expected; `None`: whoever answers.
    pub node: Option<NodeId>,
    /// Where it was sought.
    pub addrs: Vec<String>,
    /// What came of the last attempt.
    pub error: String,
    /// Attempts that failed since the last success.
    pub failures: u64,
    /// Time of the last attempt, milliseconds since 1970.
    pub at: u64,
}

/// Targets whose last dial failed. As many as the engine has targets.
#[derive(Clone, Debug, Default)]
pub struct DialReports(Arc<Mutex<BTreeMap<TargetId, DialReport>>>);

impl DialReports {
    /// All of them.
    #[must_use]
    pub fn read(&self) -> Vec<DialReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn forget(&self, id: TargetId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn failed(&self, id: TargetId, target: &Target, error: String) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = reports.get(&id).map_or(0, |report| report.failures) + 1;
        let Target { node, addrs } = target.clone();
        reports.insert(id, DialReport { node, addrs, error, failures, at: Clock::wall_millis() });
    }
}

type Dialled = (TargetId, Result<Connection, ConnectError>);

/// The dialling task.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) clock: Clock,
    pub(super) endpoint: Endpoint,
    pub(super) engine: EngineHandle,
    pub(super) net: Net,
    pub(super) reports: DialReports,
    pub(super) discovery: Discovery,
    pub(super) chance: Chance,
}

/// Randomness for backoff, from a seed.
#[derive(Debug, Default)]
pub(super) struct Chance {
    seed: [u8; 32],
    draws: u64,
}

impl Chance {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, draws: 0 }
    }

    /// The next 64 bits.
    fn draw(&mut self) -> u64 {
        self.draws += 1;
        let hash = blake3::keyed_hash(&self.seed, &self.draws.to_le_bytes());
        let mut raw = [0; 8];
        raw.copy_from_slice(hash.as_bytes().split_at(8).0);
        u64::from_le_bytes(raw)
    }
}

#[derive(Debug, Default)]
struct Book {
    chance: Chance,
    dialler: Dialler,
    targets: BTreeMap<TargetId, Target>,
    /// Who answered at targets that name nobody.
    learned: BTreeMap<TargetId, NodeId>,
    /// Connections by node.
    connected: BTreeMap<NodeId, usize>,
}

impl Dialling {
    pub(super) async fn run(mut self, mut targets: watch::Receiver<Vec<Target>>, mut links: mpsc::Receiver<LinkEvent>) {
        let mut book = Book { chance: std::mem::take(&mut self.chance), ..Book::default() };
        let mut dials: JoinSet<Dialled> = JoinSet::new();
        loop {
            for due in book.dialler.poll(self.clock.mono()) {
                self.dial(&mut dials, due);
            }
            let wake = book.dialler.next_wake().map(|at| self.clock.instant(at));
            let timer = async move {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = targets.changed() => match changed {
                    Ok(()) => book.aim(targets.borrow_and_update().clone(), self.clock, &self.reports),
                    Err(_) => return,
                },
                event = links.recv() => match event {
                    Some(event) => book.link(event, self.clock),
                    None => return,
                },
                Some(dialled) = dials.join_next() => match dialled {
                    Ok((id, result)) => self.dialled(&mut book, id, result),
                    Err(error) => tracing::error!(%error, "a dial ended abnormally"),
                },
                found = self.discovery.next() => {
                    let addrs = found.addresses.iter().map(ToString::to_string).collect();
                    if self.engine.call(Command::Discovered(found.node, addrs)).await.is_err() {
                        return;
                    }
                }
                () = timer => {}
            }
        }
    }

    fn dial(&self, dials: &mut JoinSet<Dialled>, due: DialNow) {
        let endpoint = self.endpoint.clone();
        dials.spawn(async move {
            let DialNow { id, target } = due;
            (id, endpoint.dial(target.node, &target.addresses).await)
        });
    }

    fn dialled(&self, book: &mut Book, id: TargetId, result: Result<Connection, ConnectError>) {
        match result {
            Ok(connection) => {
                self.reports.forget(id);
                let peer = connection.peer();
                book.answered(id, peer, self.clock);
                tokio::spawn(self.net.clone().serve(connection));
            }
            Err(error) => {
                if let ConnectError::Ourselves { address } = &error {
                    self.net.met_own_key(*address);
                }
                let Some(target) = book.targets.get(&id) else { return };
                tracing::debug!(?target, %error, "no connection");
                self.reports.failed(id, target, error.to_string());
                let random = book.chance.draw();
                book.dialler.failed(id, self.clock.mono(), random);
            }
        }
    }
}

impl Book {
    /// Takes over the engine's targets.
    fn aim(&mut self, wanted: Vec<Target>, clock: Clock, reports: &DialReports) {
        let now = clock.mono();
        let same = |a: &Target, b: &Target| match (a.node, b.node) {
            (None, None) => a.addrs == b.addrs,
            (a, b) => a == b,
        };
        let gone: Vec<TargetId> = self
            .targets
            .iter()
            .filter(|(_, target)| !wanted.iter().any(|wanted| same(wanted, target)))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.targets.remove(&id);
            self.learned.remove(&id);
            self.dialler.remove(id);
            reports.forget(id);
        }
        // Whoever is to be joined may be at an address that somebody gave.
        let joins = wanted
            .iter()
            .any(|target| target.node.is_some() && !self.targets.values().any(|known| same(known, target)));
        if joins {
            self.dialler.hurry(now);
        }
        for target in wanted {
            let known = self.targets.iter().find(|(_, known)| same(known, &target)).map(|(id, _)| *id);
            let addresses = addresses(&target.addrs);
            let id = match known {
                Some(id) => {
                    self.dialler.set_addresses(id, addresses, now);
                    id
                }
                None => self.dialler.add(DialTarget { node: target.node, addresses }, now),
            };
            if target.node.is_some_and(|node| self.connected.contains_key(&node)) {
                self.dialler.connected(id, now);
            }
            self.targets.insert(id, target);
        }
    }

    /// Whoever was dialled has answered.
    fn answered(&mut self, id: TargetId, peer: NodeId, clock: Clock) {
        if self.targets.get(&id).is_some_and(|target| target.node.is_none()) {
            self.learned.insert(id, peer);
            assert!(self.learned.len() <= self.targets.len(), "what is learned is about targets");
        }
        self.dialler.connected(id, clock.mono());
    }

    fn link(&mut self, event: LinkEvent, clock: Clock) {
        let now = clock.mono();
        match event {
            LinkEvent::Up(peer) => {
                *self.connected.entry(peer).or_default() += 1;
                for id in self.of(peer) {
                    self.dialler.connected(id, now);
                }
            }
            LinkEvent::Down(peer, met) => {
                let Some(count) = self.connected.get_mut(&peer) else { return };
                assert!(*count > 0, "a connection that ends was counted when it began");
                *count -= 1;
                if *count == 0 {
                    self.connected.remove(&peer);
                    for id in self.of(peer) {
                        let random = self.chance.draw();
                        self.dialler.closed(id, now, met, random);
                    }
                }
            }
        }
    }

    /// The targets that lead to a node.
    fn of(&self, peer: NodeId) -> Vec<TargetId> {
        let named = self.targets.iter().filter(|(_, target)| target.node == Some(peer)).map(|(id, _)| *id);
        let learned = self.learned.iter().filter(|(_, node)| **node == peer).map(|(id, _)| *id);
        named.chain(learned).collect()
    }
}

fn addresses(addrs: &[String]) -> Vec<Address> {
    let parse = |addr: &String| match addr.parse() {
        Ok(address) => Some(address),
        Err(error) => {
            tracing::warn!(%error, "an address that a member or user gave cannot be dialled");
            None
        }
    };
    addrs.iter().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn target(node: Option<u8>, addr: &str) -> Target {
        Target { node: node.map(|byte| NodeId::from_bytes([byte; 32])), addrs: vec![addr.to_owned()] }
    }

    #[test]
    fn a_node_that_is_connected_by_whatever_way_is_not_dialled() {
        let clock = Clock::start();
        let reports = DialReports::default();
        let mut book = Book::default();
        let peer = NodeId::from_bytes([1; 32]);
        book.link(LinkEvent::Up(peer), clock);
        book.aim(vec![target(Some(1), "127.0.0.1:1"), target(None, "127.0.0.1:2")], clock, &reports);
        let due = book.dialler.poll(clock.mono());
        let [due] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!(due.target.node, None);

        // The address turns out to be the same node: both targets rest until the last connection is gone.
        book.answered(due.id, peer, clock);
        book.link(LinkEvent::Up(peer), clock);
        book.link(LinkEvent::Down(peer, true), clock);
        assert_eq!(book.dialler.next_wake(), None);
        book.link(LinkEvent::Down(peer, true), clock);
        assert_eq!(book.dialler.poll(clock.mono() + Duration::from_secs(1)).len(), 2);
    }

    #[test]
    fn targets_that_are_gone_are_forgotten_and_addresses_are_renewed() {
        let clock = Clock::start();
        let reports = DialReports::default();
        let mut book = Book::default();
        book.aim(vec![target(Some(1), "127.0.0.1:1"), target(None, "bad address")], clock, &reports);
        assert_eq!(book.dialler.poll(clock.mono()).len(), 1);
        book.aim(vec![target(Some(1), "127.0.0.1:9")], clock, &reports);
        assert_eq!(book.targets.len(), 1);
        assert_eq!(book.targets.values().next(), Some(&target(Some(1), "127.0.0.1:9")));
    }
}
