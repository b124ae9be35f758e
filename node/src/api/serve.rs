//! The server under the API: connections, how long they may take, and which of them goes when there are too many.
//!
//! A connection is a *stranger's* until a request on it has shown the token. Strangers are few at a time: one more
//! sends the oldest of them away. Where connections run out altogether, strangers go first, too. So whoever opens
//! sockets without the token competes with others of that kind, and with a client of this node for no longer than that
//! takes to send a head.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tower::util::MapRequest;

use super::app::App;

/// How long the head of a request may take, and how long a connection may rest before one.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How much longer where the token has been shown: clients keep connections for a minute or two, and must not find them
/// closed.
const KNOWN_REST: Duration = Duration::from_secs(590);
/// Bytes that the system keeps for a client that does not read; it would let them grow to megabytes.
const SEND_BUFFER_BYTES: u32 = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Bytes of a head, of what is read ahead of a body, and of what waits for a client that does not read.
const BUFFER_BYTES: usize = 32 << 10;
/// Connections at the same time, where the system gives enough descriptors: some 40 KiB each.
const CONNECTIONS_MAX: usize = 4_096;
/// Connections at the same time that have not shown the token: 20 MiB, and a fresh one has time to speak.
const STRANGERS_MAX: usize = 512;
/// Descriptors that the store, the log, the peers' sockets and the runtime need.
const DESCRIPTORS_KEPT: u64 = 32;
/// Pause after the system refused a connection: there is nothing to do but wait for one to end.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// The connections of the server.
#[derive(Debug)]
struct Connections {
    table: Mutex<Table>,
    most: usize,
    most_strangers: usize,
}

#[derive(Debug, Default)]
struct Table {
    /// Connections so far; numbers are never used again.
    numbered: u64,
    /// How many stand.
    standing: usize,
    /// Those that have not shown the token, oldest first.
    strangers: BTreeMap<u64, AbortHandle>,
}

/// The connection that a request came on; every request carries it as an extension.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<Standing>);

/// A connection that stands; given back when dropped.
#[derive(Debug)]
struct Standing {
    number: u64,
    is_known: AtomicBool,
    connections: Arc<Connections>,
}

impl Caller {
    /// A request on this connection has shown the token.
    pub(super) fn shows_token(&self) {
        if !self.0.is_known.swap(true, Ordering::Relaxed) {
            self.0.connections.table().strangers.remove(&self.0.number);
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.strangers.remove(&self.number);
        debug_assert!(table.standing > 0, "a connection ended that did not stand");
        table.standing -= 1;
    }
}

impl Connections {
    /// As many as the process has descriptors for: half of what is left, since peers and files need some as well.
    fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let half = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT) / 2).unwrap_or(usize::MAX);
        let most = half.clamp(8, CONNECTIONS_MAX);
        Self { table: Mutex::default(), most, most_strangers: STRANGERS_MAX.min(most / 2) }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing panics while it holds the table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place for one more connection. `false`: all are taken by clients that have shown the token.
    fn make_room(&self) -> bool {
        let mut table = self.table();
        debug_assert!(table.strangers.len() <= table.standing, "a stranger that does not stand");
        let is_full = table.standing >= self.most;
        if !is_full && table.strangers.len() < self.most_strangers {
            return true;
        }
        let oldest = table.strangers.pop_first();
        drop(table);
        let Some((_, oldest)) = oldest else { return !is_full };
        oldest.abort();
        true
    }

    /// Descriptors have run out elsewhere: whoever has not shown the token goes first.
    fn give_back_one(&self) {
        let oldest = self.table().strangers.pop_first();
        if let Some((_, oldest)) = oldest {
            oldest.abort();
        }
    }

    /// Has a connection served by a task of `tasks`.
    fn admit(self: &Arc<Self>, stream: TcpStream, router: &Router, watcher: Watcher, tasks: &mut JoinSet<()>) {
        let mut table = self.table();
        table.numbered += 1;
        table.standing += 1;
        let number = table.numbered;
        drop(table);
        let standing = Standing { number, is_known: AtomicBool::new(false), connections: Arc::clone(self) };
        let caller = Caller(Arc::new(standing));
        let task = tasks.spawn(serve_connection(stream, router.clone(), caller.clone(), watcher));
        let mut table = self.table();
        if !caller.0.is_known.load(Ordering::Relaxed) {
            table.strangers.insert(number, task);
        }
        // If the connection has ended by now, dropping `caller`, after the lock, takes it out of the table again.
        drop(table);
    }
}

/// Waits for heads: longer on a connection that has shown the token.
#[derive(Debug)]
struct HeadTimer {
    caller: Caller,
    timer: TokioTimer,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let is_known = self.caller.0.is_known.load(Ordering::Relaxed);
        self.timer.sleep_until(if is_known { deadline + KNOWN_REST } else { deadline })
    }

    fn now(&self) -> Instant {
        self.timer.now()
    }
}

/// Listens on an address.
///
/// # Errors
/// The system's, for an address that is in use or not this machine's.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait for the connections of the last start to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `closed` turns true; then takes no more connections, and ends when the requests under way have ended.
pub(crate) async fn serve(listener: TcpListener, app: App, mut closed: watch::Receiver<bool>) {
    let mut closing = std::pin::pin!(async move {
        // An error means that the node is gone.
        drop(closed.wait_for(|closed| *closed).await);
    });
    let router = super::router(app);
    let connections = Arc::new(Connections::new());
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.make_room() => {
                    connections.admit(stream, &router, graceful.watcher(), &mut tasks);
                }
                Ok(_) => tracing::debug!("all HTTP connections are taken by clients with the token; one more is refused"),
                Err(error) => {
                    tracing::debug!(%error, "the system refused an HTTP connection");
                    connections.give_back_one();
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            () = &mut closing => break,
        }
    }
    drop(listener);
    tokio::join!(graceful.shutdown(), async { while tasks.join_next().await.is_some() {} });
}

/// Serves one connection to its end.
async fn serve_connection(stream: TcpStream, router: Router, caller: Caller, watcher: Watcher) {
    // Small answers must not wait for more to send.
    drop(stream.set_nodelay(true));
    let timer = HeadTimer { caller: caller.clone(), timer: TokioTimer::new() };
    let service = MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        request
    });
    let mut builder = Builder::new();
    builder.timer(timer).header_read_timeout(HEAD_WAIT).max_buf_size(BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
