//! Where others are told to find this node.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::sync::watch;
use tombolo_crdt::rules::{ADDR_BYTES_MAX, ADDRS_MAX};

use super::StartError;
use crate::engine::Command;
use crate::handle::EngineHandle;

/// How often this machine is asked for its outward address, where it was not said: it may have moved to another
/// network.
const ADDRESS_EVERY: Duration = Duration::from_secs(30);
/// How long a name that is told to others may take to resolve before it is warned of.
const RESOLVE_WAIT: Duration = Duration::from_secs(10);

/// Addresses to tell others.
pub(super) fn advertised(given: &[String], listen: SocketAddr) -> Result<Vec<String>, StartError> {
    if given.is_empty() {
        let ip = if listen.ip().is_unspecified() { outward_ip(listen.ip()) } else { Some(listen.ip()) };
        return Ok(ip.map(|ip| SocketAddr::new(ip, listen.port()).to_string()).into_iter().collect());
    }
    let wrong = |addr: &String, reason: String| StartError::Advertise { addr: addr.clone(), reason };
    if let Some(addr) = given.get(ADDRS_MAX) {
        return Err(wrong(addr, format!("at most {ADDRS_MAX} addresses can be told")));
    }
    for addr in given {
        if addr.len() > ADDR_BYTES_MAX {
            return Err(wrong(addr, format!("it has more than {ADDR_BYTES_MAX} bytes")));
        }
        addr.parse::<tombolo_transport::dial::Address>().map_err(|error| wrong(addr, error.to_string()))?;
    }
    Ok(given.to_vec())
}

/// The address from which this machine would reach others. Sends nothing: a UDP socket is only pointed somewhere
/// (addresses reserved for documentation), and asked for its own end.
fn outward_ip(like: IpAddr) -> Option<IpAddr> {
    let probe = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
    };
    let v4 = || probe("0.0.0.0:0", "192.0.2.1:9");
    match like {
        IpAddr::V4(_) => v4(),
        IpAddr::V6(_) => v4().or_else(|| probe("[::]:0", "[2001:db8::1]:9")),
    }
}

/// Has the engine tell the address that this machine has now, as long as the node runs.
pub(super) async fn follow_address(
    engine: EngineHandle,
    (listen, mut told): (SocketAddr, Vec<String>),
    mut closed: watch::Receiver<bool>,
) {
    while tokio::time::timeout(ADDRESS_EVERY, closed.wait_for(|closed| *closed)).await.is_err() {
        // Without a network there is none: what was last is as good as nothing.
        let Ok(now) = advertised(&[], listen) else { continue };
        if now.is_empty() || now == told {
            continue;
        }
        tracing::info!(before = ?told, ?now, "this machine has another address");
        if engine.call(Command::Addresses(now.clone())).await.is_err() {
            return;
        }
        told = now;
    }
}

/// Warns of names that are told to others and do not resolve here: most likely they do not there.
pub(super) async fn warn_of_names(told: Vec<String>) {
    for name in told.iter().filter(|addr| addr.parse::<SocketAddr>().is_err()) {
        let found = tokio::net::lookup_host(name.as_str());
        let found = tokio::time::timeout(RESOLVE_WAIT, found).await.map(|found| found.map(Iterator::count));
        let reason = match found {
            Ok(Ok(1..)) => continue,
            Ok(Ok(0)) => "it has no address".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the resolver does not answer".to_owned(),
        };
        tracing::warn!(
            %name, %reason,
            "others are told a name that does not resolve here: unless it does there, they try it in vain; say another with --advertise"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_tell_are_checked() {
        let listen: SocketAddr = "127.0.0.1:7700".parse().expect("an address");
        assert_eq!(advertised(&[], listen).expect("its own"), ["127.0.0.1:7700"]);
        assert_eq!(advertised(&["site.example:1".to_owned()], listen).expect("given"), ["site.example:1"]);
        assert!(matches!(advertised(&["nowhere".to_owned()], listen), Err(StartError::Advertise { .. })));
        assert!(matches!(advertised(&vec!["a:1".to_owned(); 17], listen), Err(StartError::Advertise { .. })));
    }
}
