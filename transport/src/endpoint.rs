//! The UDP socket of a node: accepts and dials.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};

use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};
use tombolo_crdt::NodeId;

use crate::attempt;
use crate::config::{self, Settings};
use crate::connection::Connection;
use crate::dial::Address;
use crate::doors::{Doors, Seat};
use crate::error::{BindError, CloseCode, ConnectError, Lost};
use crate::identity::Identity;
use crate::limits;

/// Listens on one UDP address and dials from it. Clones share it.
#[derive(Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    identity: Identity,
    settings: Arc<Settings>,
    doors: Arc<Doors>,
}

impl Endpoint {
    /// Listens on `address` (port 0: any free one) within the present tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(identity: Identity, address: SocketAddr, settings: Settings) -> Result<Self, BindError> {
        let socket = UdpSocket::bind(address).map_err(|source| BindError::Socket { address, source })?;
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket)?;
        Self::with_socket(identity, settings, socket, runtime)
    }

    /// Listens on a socket and runtime of the caller's: for simulations.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn with_socket(
        identity: Identity,
        settings: Settings,
        socket: Arc<dyn AsyncUdpSocket>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, BindError> {
        let server = config::server(&identity, &settings)?;
        let endpoint = config::endpoint(&identity, &settings)?;
        let quinn = quinn::Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime)?;
        let doors = Doors::new(settings.places.clone());
        Ok(Self { quinn, identity, settings: Arc::new(settings), doors })
    }

    /// The key of this node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Where the endpoint listens: with the real port if 0 was asked for.
    ///
    /// # Errors
    /// [`BindError::Runtime`] if the system does not say.
    pub fn local_addr(&self) -> Result<SocketAddr, BindError> {
        Ok(self.quinn.local_addr()?)
    }

    /// The next newcomer, not yet known by name. `None`: the endpoint is closed. Let a task of its own do
    /// [`Accepting::establish`], so that a slow newcomer keeps nobody waiting.
    ///
    /// When many handshakes are under way, newcomers must first prove their address. Where places are short, the oldest
    /// stranger goes for a newcomer; newcomers are refused only where members have taken nearly everything.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn accept(&self) -> Option<Accepting> {
        loop {
            let incoming = self.quinn.accept().await?;
            let from = incoming.remote_address();
            let (taken, handshakes) = self.doors.taken();
            let open = self.quinn.open_connections();
            if taken >= limits::CONNECTIONS_MAX || open >= limits::OPEN_CONNECTIONS_MAX {
                tracing::debug!(%from, taken, open, "refused: too many connections");
                incoming.refuse();
                continue;
            }
            if handshakes >= limits::HANDSHAKES_BEFORE_RETRY && incoming.may_retry() {
                let _ = incoming.retry();
                continue;
            }
            let seat = self.doors.enter(from.ip());
            return Some(Accepting { incoming, ours: self.node_id(), seat, settings: Arc::clone(&self.settings) });
        }
    }

    /// Dials one address. With `expected`, any other node is refused before this one shows its key.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Safe: the attempt is given up.
    pub async fn connect(&self, address: SocketAddr, expected: Option<NodeId>) -> Result<Connection, ConnectError> {
        if let Some(reason) = self.local_addr().ok().and_then(|listen| unreachable(listen.ip(), address.ip())) {
            return Err(ConnectError::BadAddress { address, reason });
        }
        let seen = Arc::new(OnceLock::new());
        let config = config::client(&self.identity, &self.settings, expected, seen.clone())?;
        let connecting = self.quinn.connect_with(config, address, SERVER_NAME).map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => ConnectError::Stopped,
            other => ConnectError::BadAddress { address, reason: other.to_string() },
        })?;
        let handshake = async {
            let quinn = connecting.await.map_err(|error| failed(address, error.into()))?;
            let peer = checked(&quinn, self.node_id(), address)?;
            Connection::dialled(quinn, peer, &self.settings).await.map_err(|cause| failed(address, cause))
        };
        let result = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, handshake).await;
        match (result, expected, seen.get().copied()) {
            (Ok(Ok(connection)), ..) => Ok(connection),
            (Ok(Err(_)), Some(expected), Some(found)) if found != expected => {
                Err(ConnectError::WrongPeer { expected, found, address })
            }
            (Ok(Err(error)), ..) => Err(error),
            (Err(_), ..) => Err(ConnectError::NoAnswer { address }),
        }
    }

    /// Dials a target at all its addresses, one after another with a short head start each, and keeps the first
    /// connection. Names are resolved meanwhile, all at once; at most [`limits::DIAL_ADDRESSES_MAX`] addresses are
    /// tried.
    ///
    /// # Errors
    /// The most telling [`ConnectError`] of all addresses.
    ///
    /// # Cancel safety
    /// Safe: the attempts are given up.
    pub async fn dial(&self, expected: Option<NodeId>, addresses: &[Address]) -> Result<Connection, ConnectError> {
        let dial = |address| {
            let endpoint = self.clone();
            async move { endpoint.connect(address, expected).await }
        };
        attempt::first(addresses, attempt::look_up, dial).await
    }

    /// Keys whose holders come in past strangers: those of all members of all spaces. O(their number).
    pub fn set_known(&self, known: BTreeSet<NodeId>) {
        self.doors.set_known(known);
    }

    /// Closes all connections and takes no more. Connected peers are told `code`.
    pub fn close(&self, code: CloseCode) {
        self.quinn.close(code.code(), code.to_string().as_bytes());
    }

    /// Waits until closed peers have been told, as far as they can be.
    pub async fn wait_idle(&self) {
        self.quinn.wait_idle().await;
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("node", &self.node_id()).field("quinn", &self.quinn).finish_non_exhaustive()
    }
}

/// A newcomer whose handshake has not happened. Dropping it refuses the newcomer.
pub struct Accepting {
    incoming: quinn::Incoming,
    ours: NodeId,
    seat: Seat,
    settings: Arc<Settings>,
}

impl Accepting {
    /// Where the newcomer says it is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.incoming.remote_address())
    }

    /// Does the handshake and learns who the newcomer is.
    ///
    /// # Errors
    /// [`ConnectError`]; a stranger's fault as a rule, not worth more than a debug line.
    pub async fn establish(self) -> Result<Connection, ConnectError> {
        let address = self.remote_address();
        let Self { incoming, ours, seat, settings } = self;
        let until = tokio::time::Instant::now() + limits::HANDSHAKE_TIMEOUT;
        let quinn = tokio::select! {
            biased;
            () = seat.put_out() => return Err(failed(address, Lost::ByUs { code: CloseCode::Overloaded })),
            result = tokio::time::timeout_at(until, incoming) => match result {
                Ok(connected) => connected.map_err(|error| failed(address, error.into()))?,
                Err(_) => return Err(ConnectError::NoAnswer { address }),
            },
        };
        let peer = checked(&quinn, ours, address)?;
        seat.named(peer, &quinn);
        match tokio::time::timeout_at(until, Connection::accepted(quinn.clone(), peer, seat, &settings)).await {
            Ok(result) => result.map_err(|cause| failed(address, cause)),
            Err(_) => {
                quinn.close(CloseCode::Refused.code(), b"no control stream in time");
                Err(ConnectError::NoAnswer { address })
            }
        }
    }
}

impl fmt::Debug for Accepting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("from", &self.remote_address()).finish_non_exhaustive()
    }
}

/// An IPv4 peer of an IPv6 socket is shown as what it is.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The peer's key, from a finished handshake.
fn checked(quinn: &quinn::Connection, ours: NodeId, address: SocketAddr) -> Result<NodeId, ConnectError> {
    let keys = quinn.peer_identity().and_then(|any| any.downcast::<Vec<rustls::pki_types::CertificateDer<'_>>>().ok());
    let peer = keys.and_then(|keys| crate::tls::node_id(keys.first()?));
    match peer {
        None => {
            close(quinn, CloseCode::Protocol);
            Err(failed(address, Lost::Protocol { what: "no key presented" }))
        }
        Some(peer) if peer == ours => {
            close(quinn, CloseCode::SameKey);
            Err(ConnectError::Ourselves { address })
        }
        Some(peer) => Ok(peer),
    }
}

fn close(quinn: &quinn::Connection, code: CloseCode) {
    quinn.close(code.code(), code.to_string().as_bytes());
}

fn failed(address: SocketAddr, cause: Lost) -> ConnectError {
    match cause {
        Lost::TimedOut => ConnectError::NoAnswer { address },
        Lost::ByPeer { code: CloseCode::SameKey, .. } => ConnectError::Ourselves { address },
        cause => ConnectError::Failed { address, cause },
    }
}

/// Why nothing at `to` can be dialled from a socket that listens at `listen`, where that is certain.
fn unreachable(listen: IpAddr, to: IpAddr) -> Option<String> {
    let to = to.to_canonical();
    let family = match (listen, to) {
        (IpAddr::V4(_), IpAddr::V6(_)) => Some("IPv4"),
        (IpAddr::V6(ours), IpAddr::V4(_)) if !ours.is_unspecified() && ours.to_ipv4_mapped().is_none() => Some("IPv6"),
        _ => None,
    };
    match family {
        Some(family) => Some(format!("this node listens on {listen}, {family} only")),
        None if listen.is_loopback() && !to.is_loopback() => {
            Some(format!("this node listens on {listen}, this machine only"))
        }
        None => None,
    }
}

/// QUIC wants a name; with raw public keys it means nothing and is not sent.
const SERVER_NAME: &str = "tombolo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_socket_of_this_family_reaches_is_said_at_once() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (listen, to, reason) in [
            ("0.0.0.0", "2001:db8::1", "IPv4 only"),
            ("::1", "192.0.2.1", "IPv6 only"),
            ("2001:db8::2", "192.0.2.1", "IPv6 only"),
            ("127.0.0.1", "192.0.2.1", "this machine only"),
            ("::1", "2001:db8::1", "this machine only"),
        ] {
            let said = unreachable(ip(listen), ip(to)).expect("certain");
            assert!(
                said.contains(&format!("listens on {listen}")) && said.contains(reason),
                "{listen} to {to}: {said}"
            );
        }
        for (listen, to) in [
            ("0.0.0.0", "192.0.2.1"),
            ("0.0.0.0", "::ffff:192.0.2.1"),
            ("::", "192.0.2.1"),
            ("::", "2001:db8::1"),
            ("127.0.0.1", "127.0.0.2"),
            ("::ffff:192.0.2.7", "192.0.2.1"),
        ] {
            assert_eq!(unreachable(ip(listen), ip(to)), None, "{listen} to {to}");
        }
    }
}
