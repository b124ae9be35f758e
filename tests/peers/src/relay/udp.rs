//! Datagrams. Every client has a socket of its own towards the target, so that answers find their way back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Over, Traffic, lock};

/// How often a relay looks whether it is still needed.
const TICK: Duration = Duration::from_millis(100);
const DATAGRAM_MAX: usize = 65_536;

/// An address that leads to another one.
#[derive(Debug)]
pub(crate) struct UdpRelay {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    over: Over,
}

struct Hop {
    listener: Arc<UdpSocket>,
    target: Arc<Mutex<Option<SocketAddr>>>,
    traffic: Traffic,
    over: Over,
}

impl UdpRelay {
    /// It leads nowhere as yet: datagrams are lost.
    pub(crate) fn open(traffic: &Traffic) -> io::Result<Self> {
        let socket = loopback()?;
        let (address, target, over) = (socket.local_addr()?, Arc::new(Mutex::new(None)), Over::default());
        let hop =
            Hop { listener: Arc::new(socket), target: target.clone(), traffic: traffic.clone(), over: over.clone() };
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || hop.forward())?;
        Ok(Self { address, target, over })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *lock(&self.target) = Some(target);
    }

    /// From here on it leads nowhere again, for good: its address stays taken, so that nobody else answers there.
    pub(crate) fn cut(&self) {
        *lock(&self.target) = None;
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.over.set();
    }
}

impl Hop {
    fn forward(&self) {
        let mut clients: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let received = self.listener.recv_from(&mut buffer);
            // Looked at after receiving: what comes to a relay that is over does not pass.
            if self.over.is() {
                return;
            }
            let Ok((length, client)) = received else { continue };
            let Some(target) = *lock(&self.target) else { continue };
            let socket = match clients.entry(client) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => {
                    let Ok(socket) = self.back(client, target) else { continue };
                    free.insert(socket)
                }
            };
            self.traffic.add(length);
            // A datagram that is not taken is a datagram that is lost; QUIC knows about those.
            socket.send(&buffer[..length]).ok();
        }
    }

    fn back(&self, client: SocketAddr, target: SocketAddr) -> io::Result<UdpSocket> {
        let socket = loopback()?;
        socket.connect(target)?;
        let (from, listener, traffic, over) =
            (socket.try_clone()?, self.listener.clone(), self.traffic.clone(), self.over.clone());
        let leads = self.target.clone();
        std::thread::Builder::new().name("relay-back".to_owned()).spawn(move || {
            let mut buffer = vec![0; DATAGRAM_MAX];
            loop {
                let received = from.recv(&mut buffer);
                if over.is() {
                    return;
                }
                let Ok(length) = received else { continue };
                if lock(&leads).is_none() {
                    continue;
                }
                traffic.add(length);
                listener.send_to(&buffer[..length], client).ok();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_pass_both_ways_and_are_counted() {
        let (traffic, node, client) = (Traffic::default(), loopback().expect("bind"), loopback().expect("bind"));
        let relay = UdpRelay::open(&traffic).expect("relay");
        relay.lead_to(node.local_addr().expect("address"));
        let mut buffer = [0; 16];
        client.send_to(b"ping", relay.address()).expect("send");
        let (length, back) = node.recv_from(&mut buffer).expect("receive");
        assert_eq!(&buffer[..length], b"ping");
        node.send_to(b"pong!", back).expect("send");
        assert_eq!(client.recv_from(&mut buffer).expect("receive"), (5, relay.address()));
        assert_eq!(traffic.bytes(), 9);

        relay.cut();
        client.send_to(b"lost", relay.address()).expect("send");
        assert!(node.recv_from(&mut buffer).is_err());
        assert_eq!(traffic.bytes(), 9);
    }
}
