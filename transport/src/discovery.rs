//! Finds nodes on the local network by multicast DNS (DNS-SD service `_tombolo._udp.local.`).
//!
//! The announcement carries the node id and the port, nothing about spaces. What is heard is a hint: everybody on the
//! network can say anything; the handshake proves who is there.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::mpsc;
use tombolo_crdt::NodeId;

/// A node that says it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Who it says it is.
    pub node: NodeId,
    /// Where, at most [`ADDRESSES_MAX`], sorted.
    pub addresses: Vec<SocketAddr>,
}

/// Announces this node and listens for others, until dropped.
pub struct Discovery {
    daemon: Option<ServiceDaemon>,
    found: mpsc::Receiver<Discovered>,
}

impl Discovery {
    /// Starts within the present tokio runtime. `listening` is the endpoint's address: if it is a loopback address,
    /// only nodes on this machine are told and heard; otherwise only other machines' and this one's outer addresses.
    ///
    /// If multicast does not work here, that is logged as a warning and nothing is ever found.
    #[must_use]
    pub fn start(node: NodeId, listening: SocketAddr) -> Self {
        let (sender, found) = mpsc::channel(QUEUE);
        match announce(node, listening) {
            Ok((daemon, events)) => {
                tokio::spawn(listen(node, listening.ip().is_loopback(), events, sender));
                Self { daemon: Some(daemon), found }
            }
            Err(error) => {
                tracing::warn!(%error, "discovery on the local network does not work; give peers' addresses instead");
                Self { daemon: None, found }
            }
        }
    }

    /// Announces nothing and finds nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { daemon: None, found: mpsc::channel(1).1 }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.daemon.is_some()
    }

    /// Waits for the next announcement. The same node may be announced again. Waits for ever when off.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) -> Discovered {
        match self.found.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            // Says goodbye to the network first, if it still can.
            let _ = daemon.shutdown();
        }
    }
}

type Events = mdns_sd::Receiver<ServiceEvent>;

fn announce(node: NodeId, listening: SocketAddr) -> Result<(ServiceDaemon, Events), mdns_sd::Error> {
    let ip = listening.ip();
    let daemon = ServiceDaemon::new()?;
    if ip.is_loopback() {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(if ip.is_ipv4() { IfKind::LoopbackV4 } else { IfKind::LoopbackV6 })?;
    }
    let id = node.to_string();
    // A DNS label holds 63 characters, an id has 64 digits: half of them tell nodes apart, the TXT record has all.
    let label = id.get(..LABEL_DIGITS).unwrap_or_default();
    let host = format!("{label}.local.");
    let properties = [(TXT_ID, id.as_str())];
    let service = if ip.is_unspecified() {
        ServiceInfo::new(SERVICE, label, &host, "", listening.port(), &properties[..])?.enable_addr_auto()
    } else {
        ServiceInfo::new(SERVICE, label, &host, ip, listening.port(), &properties[..])?
    };
    let events = daemon.browse(SERVICE)?;
    daemon.register(service)?;
    Ok((daemon, events))
}

async fn listen(ours: NodeId, local_only: bool, events: Events, sender: mpsc::Sender<Discovered>) {
    while let Ok(event) = events.recv_async().await {
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let id = service.get_property_val_str(TXT_ID);
        // In an order of their own: the set has none.
        let addresses = BTreeSet::from_iter(service.get_addresses().clone().into_iter().map(|ip| ip.to_ip_addr()));
        let addresses = addresses.into_iter();
        let Some(found) = discovered(ours, local_only, id, service.get_port(), addresses) else { continue };
        match sender.try_send(found) {
            Ok(()) => {}
            // It will be announced again.
            Err(mpsc::error::TrySendError::Full(_)) => tracing::debug!("more announcements than are taken"),
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

/// What an announcement says, if it is of use.
fn discovered(
    ours: NodeId,
    local_only: bool,
    id: Option<&str>,
    port: u16,
    addresses: impl Iterator<Item = IpAddr>,
) -> Option<Discovered> {
    let node: NodeId = id?.parse().ok()?;
    if node == ours || port == 0 {
        return None;
    }
    let usable = |ip: &IpAddr| ip.is_loopback() == local_only && !ip.is_unspecified() && !ip.is_multicast();
    // A link-local IPv6 address means nothing without the interface, which the announcement does not carry.
    let scoped = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let addresses = addresses.filter(|ip| usable(ip) && !scoped(ip));
    let mut addresses: Vec<SocketAddr> = addresses.map(|ip| SocketAddr::new(ip, port)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    (!addresses.is_empty()).then_some(Discovered { node, addresses })
}

/// Addresses kept of one announcement.
pub const ADDRESSES_MAX: usize = 8;

/// The DNS-SD service type.
pub const SERVICE: &str = "_tombolo._udp.local.";

/// Announcements that wait to be taken; more are dropped and come again.
const QUEUE: usize = 64;

const TXT_ID: &str = "id";
const LABEL_DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: NodeId = NodeId::from_bytes([1; 32]);
    const THEIRS: NodeId = NodeId::from_bytes([2; 32]);

    fn heard(id: &str, port: u16, local_only: bool, addresses: &[&str]) -> Option<Vec<String>> {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address"));
        let found = discovered(OURS, local_only, Some(id), port, addresses)?;
        Some(found.addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_usable_announcements_of_others_are_passed_on() {
        let (ours, theirs) = (OURS.to_string(), THEIRS.to_string());
        assert_eq!(heard(&ours, 7, false, &["192.0.2.1"]), None);
        assert_eq!(heard("nonsense", 7, false, &["192.0.2.1"]), None);
        assert_eq!(heard(&theirs, 0, false, &["192.0.2.1"]), None);
        assert_eq!(heard(&theirs, 7, false, &["127.0.0.1", "0.0.0.0", "224.0.0.1", "fe80::1"]), None);
        assert_eq!(heard(&theirs, 7, true, &["127.0.0.1", "192.0.2.1"]), Some(vec!["127.0.0.1:7".to_owned()]));
        let both = ["2001:db8::1", "192.0.2.1", "127.0.0.1", "192.0.2.1"];
        assert_eq!(heard(&theirs, 7, false, &both), Some(vec!["192.0.2.1:7".to_owned(), "[2001:db8::1]:7".to_owned()]));
        assert_eq!(discovered(OURS, false, None, 7, std::iter::empty()), None);
    }

    #[test]
    fn off_is_off() {
        assert!(!Discovery::off().is_on());
    }
}
