//! The network between the nodes: the way in for sockets and faults, and the task that carries datagrams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::flight::{Datagram, State, address};
use crate::plan::{NodeNo, Plan, PlannedFault};

/// The network. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Air {
    state: Arc<Mutex<State>>,
    /// Something arrives earlier than all that was known.
    sooner: Arc<Notify>,
    start: Instant,
}

impl Air {
    pub(super) fn new(plan: &Plan, start: Instant) -> Self {
        let state = State::new(plan);
        Self { state: Arc::new(Mutex::new(state)), sooner: Arc::new(Notify::new()), start }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Carries datagrams to where they go, for ever.
    pub(super) async fn carry(self) {
        loop {
            let next = self.state().deliver(self.now());
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.start + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.sooner.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Opens a node's socket. The one before it is dead.
    pub(super) fn plug(&self, node: NodeNo) -> u64 {
        let mut state = self.state();
        state.numbers += 1;
        let number = state.numbers;
        if let Some(port) = state.ports.get_mut(node) {
            assert!(number > 0, "a socket has a number; none is zero");
            (port.socket, port.is_off) = (number, false);
            port.inbox.clear();
            port.reader = None;
        }
        number
    }

    /// Ends a node's socket; nobody is told.
    pub(super) fn unplug(&self, node: NodeNo) {
        if let Some(port) = self.state().ports.get_mut(node) {
            port.socket = 0;
            port.inbox.clear();
        }
    }

    /// Switches what a node sends and hears on or off.
    pub(super) fn set_off(&self, node: NodeNo, is_off: bool) {
        if let Some(port) = self.state().ports.get_mut(node) {
            port.is_off = is_off;
        }
    }

    /// Loses what a node sends for a while.
    pub(super) fn mute(&self, node: NodeNo, lasts: Duration) {
        let until = self.now() + lasts;
        if let Some(port) = self.state().ports.get_mut(node) {
            port.mute_until = until;
        }
    }

    /// Gives a node another address, and says which.
    pub(super) fn readdress(&self, node: NodeNo) -> Option<SocketAddr> {
        let mut state = self.state();
        let port = state.ports.get_mut(node)?;
        port.moves = port.moves.wrapping_add(1);
        let (before, after) = (port.address, address(node, port.moves));
        port.address = after;
        state.homes.remove(&before);
        state.homes.insert(after, node);
        assert_eq!(state.homes.len(), state.ports.len(), "every node has one address");
        Some(after)
    }

    /// Where a node is, and whether it has moved.
    pub(super) fn address_of(&self, node: NodeNo) -> Option<(SocketAddr, bool)> {
        let state = self.state();
        state.ports.get(node).map(|port| (port.address, port.moves > 0))
    }

    /// A fault of the network begins.
    pub(super) fn begin(&self, planned: &PlannedFault) {
        self.state().faults.insert(planned.no, planned.fault.clone());
    }

    /// Ends a fault.
    pub(super) fn end(&self, no: u32) {
        let now = self.now();
        let mut state = self.state();
        state.faults.remove(&no);
        state.unclog(now);
        drop(state);
        self.sooner.notify_one();
    }

    /// All end.
    pub(super) fn clear(&self) {
        let now = self.now();
        let mut state = self.state();
        state.faults.clear();
        state.unclog(now);
        drop(state);
        self.sooner.notify_one();
    }

    /// What became of datagrams, by name.
    pub(super) fn hits(&self) -> BTreeMap<&'static str, u64> {
        self.state().hits.clone()
    }

    /// Sends a datagram; it is gone in any case.
    pub(super) fn send(&self, node: NodeNo, socket: u64, to: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let mut state = self.state();
        let before = state.flying.first_key_value().map(|(key, _)| *key);
        state.send(now, node, socket, to, bytes);
        let is_sooner = state.flying.first_key_value().map(|(key, _)| *key) != before;
        drop(state);
        if is_sooner {
            self.sooner.notify_one();
        }
    }

    /// Takes what has come for a socket, up to `count`; if nothing has, the reader is woken when something does.
    pub(super) fn receive(&self, node: NodeNo, socket: u64, count: usize, reader: &Waker) -> Vec<Datagram> {
        let mut state = self.state();
        let Some(port) = state.ports.get_mut(node).filter(|port| port.socket == socket) else { return Vec::new() };
        let count = count.min(port.inbox.len());
        let come: Vec<Datagram> = port.inbox.drain(..count).collect();
        if come.is_empty() {
            port.reader = Some(reader.clone());
        }
        come
    }
}
