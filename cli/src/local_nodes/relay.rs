//! A network on loopback that can be cut: every node is known to the others by the address of its relay, which passes
//! datagrams on both ways, or drops them. Nodes notice nothing but the silence.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::CliError;

/// How often a relay looks whether it is still needed.
const TICK: Duration = Duration::from_millis(200);
const DATAGRAM_MAX: usize = 65_536;
const _: () = assert!(DATAGRAM_MAX > u16::MAX as usize, "every datagram fits, or it would be cut");

/// Who is cut off, and what has passed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Real addresses of the nodes that are cut off.
    cut: Mutex<BTreeSet<SocketAddr>>,
    passed: AtomicU64,
    dropped: AtomicU64,
    over: AtomicBool,
}

/// The address of one node on the network. Ends with the last [`Network`].
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl Network {
    /// An address for one more node.
    pub(crate) fn relay(&self) -> Result<Relay, CliError> {
        let failed = |error| CliError::failed("a relay could not be started").cause(error);
        let socket = loopback().map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let target = Arc::new(Mutex::new(None));
        let hop = Hop { listener: Arc::new(socket), target: target.clone(), shared: self.shared.clone() };
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || hop.forward()).map_err(failed)?;
        Ok(Relay { address, target })
    }

    /// From here on nothing passes to or from the node at this address.
    pub(crate) fn cut(&self, node: SocketAddr) {
        lock(&self.shared.cut).insert(node);
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        lock(&self.shared.cut).clear();
    }

    /// Bytes of datagrams that have passed.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// Datagrams that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Lets the relays end.
    pub(crate) fn close(&self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Relay {
    /// What others are told.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the node really is.
    pub(crate) fn lead_to(&self, node: SocketAddr) {
        *lock(&self.target) = Some(node);
    }
}

impl Shared {
    fn may_pass(&self, one: SocketAddr, other: SocketAddr, bytes: usize) -> bool {
        let cut = lock(&self.cut);
        if cut.contains(&one) || cut.contains(&other) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        true
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

struct Hop {
    listener: Arc<UdpSocket>,
    target: Arc<Mutex<Option<SocketAddr>>>,
    shared: Arc<Shared>,
}

impl Hop {
    /// Client to node. Every client has a socket of its own towards the node, so that answers find their way back.
    fn forward(&self) {
        let mut clients: BTreeMap<(SocketAddr, SocketAddr), Arc<UdpSocket>> = BTreeMap::new();
        let mut buffer = vec![0; DATAGRAM_MAX];
        while !self.shared.is_over() {
            let Ok((length, client)) = self.listener.recv_from(&mut buffer) else { continue };
            let Some(target) = *lock(&self.target) else { continue };
            if !self.shared.may_pass(client, target, length) {
                continue;
            }
            let upstream = match clients.get(&(client, target)) {
                Some(socket) => socket.clone(),
                None => {
                    let Ok(socket) = self.open(client, target) else { continue };
                    clients.insert((client, target), socket.clone());
                    socket
                }
            };
            // A datagram that is not taken is a datagram that is lost; QUIC knows about those.
            upstream.send(&buffer[..length]).ok();
        }
    }

    fn open(&self, client: SocketAddr, target: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let socket = Arc::new(loopback()?);
        socket.connect(target)?;
        let (from, back, shared) = (socket.clone(), self.listener.clone(), self.shared.clone());
        std::thread::Builder::new().name("relay-back".to_owned()).spawn(move || {
            let mut buffer = vec![0; DATAGRAM_MAX];
            while !shared.is_over() {
                let Ok(length) = from.recv(&mut buffer) else { continue };
                if shared.may_pass(target, client, length) {
                    back.send_to(&buffer[..length], client).ok();
                }
            }
        })?;
        Ok(socket)
    }
}

fn loopback() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(socket)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_pass_until_they_are_cut() {
        let (network, node, client) = (Network::default(), loopback().expect("bind"), loopback().expect("bind"));
        let (there, here) = (node.local_addr().expect("address"), client.local_addr().expect("address"));
        let relay = network.relay().expect("relay");
        relay.lead_to(there);
        let mut buffer = [0; 16];
        client.send_to(b"ping", relay.address()).expect("send");
        let (length, back) = node.recv_from(&mut buffer).expect("receive");
        assert_eq!(&buffer[..length], b"ping");
        node.send_to(b"pong", back).expect("send");
        assert_eq!(client.recv_from(&mut buffer).expect("receive"), (4, relay.address()));

        network.cut(here);
        client.send_to(b"lost", relay.address()).expect("send");
        assert!(node.recv_from(&mut buffer).is_err());
        assert_eq!((network.passed(), network.dropped()), (8, 1));
        network.heal();
        client.send_to(b"again", relay.address()).expect("send");
        assert_eq!(node.recv_from(&mut buffer).expect("receive").0, 5);
        network.close();
    }
}
