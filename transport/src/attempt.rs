//! One dial of a target: all its addresses, one after another with a short head start each, until one answers.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::dial::Address;
use crate::error::ConnectError;
use crate::limits;

/// What a task of an attempt brings.
enum Done<C> {
    /// A name is resolved; `Err`: why not.
    Resolved(Result<Vec<SocketAddr>, String>),
    /// A connection stands, or not.
    Dialled(Result<C, ConnectError>),
}

/// Where a target may be, and what has come of it so far.
#[derive(Debug, Default)]
struct Attempt {
    /// Addresses that have not been tried.
    rest: VecDeque<SocketAddr>,
    seen: BTreeSet<SocketAddr>,
    /// Dials under way.
    dialling: usize,
    worst: Option<ConnectError>,
    /// Why some name has no address.
    unresolved: Option<String>,
}

impl Attempt {
    fn found(&mut self, address: SocketAddr) {
        if self.seen.len() < limits::DIAL_ADDRESSES_MAX && self.seen.insert(address) {
            self.rest.push_back(address);
        }
        debug_assert!(self.rest.len() <= limits::DIAL_ADDRESSES_MAX, "a target has so many addresses at most");
    }

    fn has_room(&self) -> bool {
        self.dialling < limits::DIAL_AT_ONCE_MAX
    }

    /// Nothing is left to try.
    fn failed(self) -> ConnectError {
        let reason = || self.unresolved.unwrap_or_else(|| "no address given".to_owned());
        self.worst.unwrap_or_else(|| ConnectError::NoAddress { reason: reason() })
    }
}

/// The first connection that stands. `look_up` finds the addresses of a name, `dial` tries one. A name that nobody
/// resolves keeps no address waiting.
///
/// # Errors
/// The most telling of all errors; [`ConnectError::NoAddress`]: there was nothing to dial.
///
/// # Cancel safety
/// Safe: what is under way is given up.
pub(crate) async fn first<C, L, D>(
    addresses: &[Address],
    look_up: impl Fn(String) -> L,
    dial: impl Fn(SocketAddr) -> D,
) -> Result<C, ConnectError>
where
    C: Send + 'static,
    L: Future<Output = Result<Vec<SocketAddr>, String>> + Send + 'static,
    D: Future<Output = Result<C, ConnectError>> + Send + 'static,
{
    let mut attempt = Attempt::default();
    let mut running: JoinSet<Done<C>> = JoinSet::new();
    for address in addresses {
        match address {
            Address::Socket(address) => attempt.found(*address),
            Address::Name(name) => {
                let looked = look_up(name.clone());
                running.spawn(async move { Done::Resolved(looked.await) });
            }
        }
    }
    loop {
        if attempt.has_room()
            && let Some(address) = attempt.rest.pop_front()
        {
            attempt.dialling += 1;
            let dialled = dial(address);
            running.spawn(async move { Done::Dialled(dialled.await) });
        }
        let more = !attempt.rest.is_empty() && attempt.has_room();
        let done = tokio::select! {
            biased;
            done = running.join_next() => match done {
                Some(done) => done,
                None => return Err(attempt.failed()),
            },
            () = tokio::time::sleep(limits::DIAL_STAGGER), if more => continue,
        };
        match done {
            Ok(Done::Resolved(Ok(found))) => found.into_iter().for_each(|address| attempt.found(address)),
            Ok(Done::Resolved(Err(reason))) => attempt.unresolved = Some(reason),
            Ok(Done::Dialled(Ok(connection))) => return Ok(connection),
            Ok(Done::Dialled(Err(error))) => {
                attempt.dialling -= 1;
                if attempt.worst.as_ref().is_none_or(|so_far| rank(&error) > rank(so_far)) {
                    attempt.worst = Some(error);
                }
            }
            Err(error) => tracing::error!(%error, "a dial ended abnormally"),
        }
    }
}

/// Which of two errors tells more.
fn rank(error: &ConnectError) -> u8 {
    match error {
        ConnectError::WrongPeer { .. } => 3,
        ConnectError::Ourselves { .. } | ConnectError::Failed { .. } => 2,
        ConnectError::NoAnswer { .. } => 0,
        _ => 1,
    }
}

/// The addresses of `host:port`, as the system's resolver knows them.
pub(crate) async fn look_up(name: String) -> Result<Vec<SocketAddr>, String> {
    match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, tokio::net::lookup_host(name.as_str())).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(format!("{name}: {error}")),
        Err(_) => Err(format!("{name}: the resolver does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn socket(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn name(text: &str) -> Address {
        Address::Name(text.to_owned())
    }

    async fn resolver(name: String) -> Result<Vec<SocketAddr>, String> {
        match name.as_str() {
            "hangs:1" => std::future::pending().await,
            "knows:1" => Ok((1..100).map(socket).collect()),
            _ => Err(format!("{name}: unknown")),
        }
    }

    /// Port 7 answers, nobody else.
    async fn dialler(address: SocketAddr) -> Result<u16, ConnectError> {
        match address.port() {
            7 => Ok(7),
            _ => Err(ConnectError::NoAnswer { address }),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_keeps_no_address_waiting() {
        let began = Instant::now();
        let found = first(&[name("hangs:1"), name("hangs:1"), Address::Socket(socket(7))], resolver, dialler).await;
        assert!(matches!(found, Ok(7)), "{found:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        // Nor does it keep another name waiting.
        let found = first(&[name("hangs:1"), name("knows:1")], resolver, dialler).await;
        assert!(matches!(found, Ok(7)) && began.elapsed() < Duration::from_secs(8), "{found:?}, {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_why_nothing_was_reached() {
        let none = first(&[name("nowhere:1")], resolver, dialler).await;
        assert!(matches!(&none, Err(ConnectError::NoAddress { reason }) if reason.contains("nowhere:1")), "{none:?}");
        let silent = first(&[name("nowhere:1"), Address::Socket(socket(8))], resolver, dialler).await;
        assert!(matches!(silent, Err(ConnectError::NoAnswer { .. })), "{silent:?}");
        let nothing = first(&[], resolver, dialler).await;
        assert!(matches!(nothing, Err(ConnectError::NoAddress { .. })), "{nothing:?}");
    }
}
