//! The node as a process: the engine's thread, connections, dialling, HTTP, and the data directory.
//!
//! Everything that the engine must not do happens here: clocks are read, randomness is drawn, sockets are served.
//! [`Node::start`] brings it up, [`Node::shutdown`] takes it down in order.

mod clock;
mod data;
mod dialling;
mod driver;
mod handle;
mod links;
mod net;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tombolo_crdt::NodeId;
use tombolo_crdt::rules::{ADDR_BYTES_MAX, ADDRS_MAX, Contact};
use tombolo_transport::discovery::Discovery;
use tombolo_transport::{BindError, CloseCode, Endpoint, Settings};

pub use clock::Clock;
pub use data::{DataDir, DataError, RunningNode};
pub use dialling::{DialReport, DialReports};
pub use handle::{EngineHandle, Journals, Pending, Stopped};
pub use traffic::{PeerTraffic, Traffic, TrafficFigure};

use crate::api;
use crate::engine::{Engine, EngineConfig, EngineError};
use crate::store::{CACHE_BYTES, Store, StoreOptions};
use dialling::Dialling;
use driver::{Driver, Outlets, Source};
use handle::Inbox;
use links::Links;
use net::Net;

/// How long requests under way may take to end when the node stops; streams are ended at once.
const HTTP_GRACE: Duration = Duration::from_secs(5);
/// How long peers may take to be told that the node stops.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// How a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The data directory; [`DataDir::init`] has made it.
    pub data: PathBuf,
    /// Where to listen for nodes (UDP); port 0 picks one.
    pub listen: SocketAddr,
    /// Where to serve HTTP; port 0 picks one.
    pub http: SocketAddr,
    /// What the node calls itself; `None`: the name it was made with.
    pub name: Option<String>,
    /// Whether to announce the node on the local network and to look for others there.
    pub mdns: bool,
    /// Addresses (`host:port`) told to others, best first. Empty: the listening address, or this machine's outward one.
    pub advertise: Vec<String>,
    /// Host names (`name` or `name:port`) under which the API may be called, beside loopback names.
    pub allow_hosts: Vec<String>,
    /// Memory for cached pages of the store, in bytes.
    pub cache_bytes: usize,
}

impl NodeConfig {
    /// Defaults for a data directory: any free ports, HTTP on loopback, found on the local network.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            http: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            name: None,
            mdns: true,
            advertise: Vec::new(),
            allow_hosts: Vec::new(),
            cache_bytes: CACHE_BYTES,
        }
    }
}

/// Why a node does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used: not made yet, in use, damaged.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The UDP address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP address cannot be listened on.
    #[error("cannot serve HTTP on {address}: {source}; choose another with --http")]
    Http {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store's content cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Addresses to tell others are malformed or too many.
    #[error("cannot tell others the address `{addr}`: {reason}")]
    Advertise {
        /// The address.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no thread or no randomness.
    #[error("the system refused {what}: {reason}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Where a running node can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Its key.
    pub node: NodeId,
    /// Where it listens for nodes (UDP).
    pub listen: SocketAddr,
    /// Where it serves HTTP.
    pub http: SocketAddr,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    data: DataDir,
    addresses: Addresses,
    engine: EngineHandle,
    endpoint: Endpoint,
    tasks: JoinSet<()>,
    http: tokio::task::JoinHandle<()>,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    /// `true`: HTTP ends its streams and takes no more.
    closing: watch::Sender<bool>,
    /// `true`: the engine takes what waits and ends.
    stop: watch::Sender<bool>,
}

impl Node {
    /// Starts a node within the present tokio runtime (multi-threaded).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let data = DataDir::new(&config.data);
        let identity = data.load_identity()?;
        let token = data.load_token()?;
        let name = config.name.clone().map_or_else(|| data.load_name(), Ok)?;
        data::check_name(&name)?;
        let options =
            StoreOptions { create: false, cache_bytes: config.cache_bytes, ..StoreOptions::new(data.store()) };
        let store = Store::open(options).map_err(DataError::Store)?;
        let reader = store.reader();

        let endpoint = Endpoint::bind(identity.clone(), config.listen, Settings::default())?;
        let listen = endpoint.local_addr()?;
        let refused = |source| StartError::Http { address: config.http, source };
        let listener = TcpListener::bind(config.http).await.map_err(refused)?;
        let http = listener.local_addr().map_err(refused)?;
        let addresses = Addresses { node: identity.node_id(), listen, http };

        let clock = Clock::start();
        let contact = Contact { name, addrs: advertised(&config.advertise, listen)? };
        let engine = Engine::open(store, engine_config(&identity, contact)?)?;
        let traffic = Arc::new(Traffic::default());
        let (stop, stopping) = watch::channel(false);
        let Started { handle, thread, ended, links, net_inbox, targets } =
            start_engine(engine, clock, Arc::clone(&traffic), stopping)?;

        let (net, link_events) = Net::new(links, net_inbox);
        let reports = DialReports::default();
        let discovery = if config.mdns { Discovery::start(addresses.node, listen) } else { Discovery::off() };
        let dialling = Dialling {
            clock,
            endpoint: endpoint.clone(),
            engine: handle.clone(),
            net: net.clone(),
            reports: reports.clone(),
            discovery,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(net.accept(endpoint.clone()));
        tasks.spawn(dialling.run(targets, link_events));

        let (closing, closed) = watch::channel(false);
        let app = api::App::new(api::AppConfig {
            engine: handle.clone(),
            reader,
            addresses,
            clock,
            token,
            allow_hosts: config.allow_hosts,
            traffic,
            dials: reports,
            closing: closed.clone(),
        });
        data.write_running(&RunningNode { pid: std::process::id(), listen, http, node: addresses.node.to_string() })?;
        let http = tokio::spawn(serve_http(listener, app, closed));
        tracing::info!(node = %addresses.node, %listen, http = %addresses.http, "running");
        Ok(Self { data, addresses, engine: handle, endpoint, tasks, http, thread, ended, closing, stop })
    }

    /// Where it can be reached.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The way to its engine, for programs that hold a node in their own process.
    #[must_use]
    pub fn engine(&self) -> EngineHandle {
        self.engine.clone()
    }

    /// Waits until the engine has ended although nobody stopped it: a defect. The process should end with an error
    /// then; what was acknowledged is durable.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn failed(&mut self) {
        let _ = (&mut self.ended).await;
        tracing::error!("the engine has ended unexpectedly");
    }

    /// Stops in order: HTTP first, then connections, then the engine once it has taken what waits.
    pub async fn shutdown(self) {
        let Self { data, endpoint, mut tasks, mut http, thread, closing, stop, engine, .. } = self;
        tracing::info!("stopping");
        closing.send_replace(true);
        if tokio::time::timeout(HTTP_GRACE, &mut http).await.is_err() {
            tracing::warn!("requests are still under way; they are cut off");
            http.abort();
        }
        tasks.shutdown().await;
        endpoint.close(CloseCode::ShuttingDown);
        if tokio::time::timeout(CLOSE_GRACE, endpoint.wait_idle()).await.is_err() {
            tracing::debug!("some peers could not be told");
        }
        stop.send_replace(true);
        drop(engine);
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::error!("the engine's thread panicked"),
        }
        data.remove_running();
        tracing::info!("stopped");
    }
}

/// What starting the engine's thread gives.
struct Started {
    handle: EngineHandle,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    links: Arc<Links>,
    net_inbox: Inbox,
    targets: watch::Receiver<Vec<crate::engine::Target>>,
}

fn engine_config(identity: &tombolo_transport::Identity, contact: Contact) -> Result<EngineConfig, StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::System { what: "randomness", reason: error.to_string() })?;
    Ok(EngineConfig { key: identity.signing_key().clone(), contact, seed })
}

fn start_engine(
    engine: Engine,
    clock: Clock,
    traffic: Arc<Traffic>,
    stopping: watch::Receiver<bool>,
) -> Result<Started, StartError> {
    let system = |what| move |error: std::io::Error| StartError::System { what, reason: error.to_string() };
    let (local, local_items): (Inbox, mpsc::Receiver<_>) = Inbox::new();
    let (net_inbox, net_items) = Inbox::new();
    let links = Arc::new(Links::new(traffic));
    let (journal, journals) = watch::channel(Journals::new());
    let (acks, acked) = watch::channel(0);
    let (targets_in, targets) = watch::channel(Vec::new());
    let outlets = Outlets { links: Arc::clone(&links), journal, acks, targets: targets_in };
    let driver = Driver::new(engine, clock, Source::new(local_items), Source::new(net_items), outlets);
    let timers = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(system("a timer"))?;
    let (alive, ended) = oneshot::channel::<()>();
    let run = move || {
        // Dropped when the thread ends, by whatever way.
        let _alive = alive;
        timers.block_on(driver.run(stopping));
    };
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(run).map_err(system("a thread"))?;
    let handle = EngineHandle { inbox: local, journal: journals, acks: acked };
    Ok(Started { handle, thread, ended, links, net_inbox, targets })
}

async fn serve_http(listener: TcpListener, app: api::App, mut closed: watch::Receiver<bool>) {
    // Small answers must not wait for more to send.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let shutdown = async move {
        // An error means that the node is gone.
        let _ = closed.wait_for(|closed| *closed).await;
    };
    if let Err(error) = axum::serve(listener, api::router(app)).with_graceful_shutdown(shutdown).await {
        tracing::error!(%error, "HTTP has ended");
    }
}

/// Addresses to tell others.
fn advertised(given: &[String], listen: SocketAddr) -> Result<Vec<String>, StartError> {
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
