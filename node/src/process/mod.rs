//! The node as a process: the engine's thread, its connections and HTTP, brought up and taken down in order.
//!
//! [`Node::start`] stands above [`crate::runtime`] and [`crate::api`]; nothing else knows both.

mod advertise;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tombolo_crdt::rules::Contact;
use tombolo_transport::discovery::Discovery;
use tombolo_transport::{BindError, CloseCode, Endpoint, Settings};

use crate::api;
use crate::engine::{Engine, EngineConfig, EngineError, STEP_WORK_MAX};
use crate::handle::EngineHandle;
use crate::runtime::{Addresses, Clock, Core, CoreConfig, DataDir, DataError, RunningNode, Traffic, check_name};
use crate::store::CACHE_BYTES;
use advertise::{advertised, follow_address, warn_of_names};

/// How long requests under way may take to end when the node stops: a large write takes half a second. Who waits for
/// something is answered at once; who does not read is cut off.
const HTTP_GRACE: Duration = Duration::from_millis(500);
/// How often a note that found no room is tried again.
const NOTE_RETRY: Duration = Duration::from_secs(2);
/// How long peers may take to be told that the node stops.
const CLOSE_GRACE: Duration = Duration::from_millis(300);
/// How long a node may take to stop.
const STOP_MAX: Duration = Duration::from_secs(1);
const _: () = assert!(
    HTTP_GRACE.as_millis() + CLOSE_GRACE.as_millis() < STOP_MAX.as_millis(),
    "a node stops in time although nobody reads and no peer answers, and its engine makes its last step"
);

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
    #[error("{0}; choose another with --listen")]
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

/// A running node.
#[derive(Debug)]
pub struct Node {
    data: DataDir,
    addresses: Addresses,
    core: Core,
    endpoint: Endpoint,
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
        check_name(&name)?;
        data.warn_if_open();
        let store = data.open_store(config.cache_bytes, identity.node_id())?;
        let reader = store.reader();

        let endpoint = Endpoint::bind(identity.clone(), config.listen, Settings::default())?;
        let listen = endpoint.local_addr()?;
        let refused = |source| StartError::Http { address: config.http, source };
        let listener = api::listen(config.http).map_err(refused)?;
        let http = listener.local_addr().map_err(refused)?;
        let addresses = Addresses { node: identity.node_id(), listen, http };
        if !http.ip().is_loopback() {
            tracing::warn!(
                %http,
                "the API is served in plain text beyond this machine: whoever listens on the way reads the token; serve it on 127.0.0.1 behind a proxy with TLS"
            );
        }

        let clock = Clock::start();
        let told = advertised(&config.advertise, listen)?;
        let contact = Contact { name, addrs: told.clone() };
        let engine = Engine::open(store, engine_config(&identity, contact)?)?;
        let traffic = Arc::new(Traffic::default());
        let (stop, stopping) = watch::channel(false);
        let discovery = if config.mdns { Discovery::start(addresses.node, listen) } else { Discovery::off() };
        let core_config =
            CoreConfig { clock, endpoint: endpoint.clone(), discovery, traffic: Arc::clone(&traffic), seed: random()? };
        let (core, driver) = Core::start(engine, core_config, stopping);
        let (thread, ended) = start_thread(driver)?;
        let handle = core.engine();

        let (closing, closed) = watch::channel(false);
        let app = api::App::new(api::AppConfig {
            engine: handle.clone(),
            reader,
            addresses,
            clock,
            token,
            allow_hosts: config.allow_hosts,
            traffic,
            dials: core.dials(),
            steps: core.step_times(),
            closing: closed.clone(),
            store: data.store(),
        });
        let running = RunningNode { pid: std::process::id(), listen, http, node: addresses.node.to_string() };
        let (notes, noted) = (data.clone(), running.clone());
        note_running(move || notes.write_running(&noted), running.http, closed.clone())?;
        match config.advertise.is_empty() {
            true => drop(tokio::spawn(follow_address(handle, (listen, told), closed.clone()))),
            false => drop(tokio::spawn(warn_of_names(config.advertise))),
        }
        let http = tokio::spawn(api::serve(listener, app, closed));
        tracing::info!(node = %addresses.node, %listen, http = %addresses.http, "running");
        Ok(Self { data, addresses, core, endpoint, http, thread, ended, closing, stop })
    }

    /// Where it can be reached.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The way to its engine, for programs that hold a node in their own process.
    #[must_use]
    pub fn engine(&self) -> EngineHandle {
        self.core.engine()
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
        let Self { data, endpoint, mut core, mut http, thread, closing, stop, .. } = self;
        tracing::info!("stopping");
        closing.send_replace(true);
        if tokio::time::timeout(HTTP_GRACE, &mut http).await.is_err() {
            tracing::warn!("requests are still under way; they are cut off");
            http.abort();
        }
        core.shutdown().await;
        endpoint.close(CloseCode::ShuttingDown);
        if tokio::time::timeout(CLOSE_GRACE, endpoint.wait_idle()).await.is_err() {
            tracing::debug!("some peers could not be told");
        }
        stop.send_replace(true);
        drop(core);
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::error!("the engine's thread panicked"),
        }
        data.remove_running();
        tracing::info!("stopped");
    }
}

/// Writes down where the node is. A volume without a free byte stops no start: the note is written once there is room.
fn note_running(
    write: impl Fn() -> Result<(), DataError> + Send + 'static,
    http: SocketAddr,
    mut closed: watch::Receiver<bool>,
) -> Result<(), DataError> {
    match write() {
        Err(error) if error.says_full() => {
            tracing::warn!(%error, %http, "commands do not find this node until there is room; it serves what it has");
        }
        done => return done,
    }
    tokio::spawn(async move {
        while tokio::time::timeout(NOTE_RETRY, closed.wait_for(|closed| *closed)).await.is_err() {
            if write().is_ok() {
                return;
            }
        }
    });
    Ok(())
}

fn random() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::System { what: "randomness", reason: error.to_string() })?;
    Ok(seed)
}

fn engine_config(identity: &tombolo_transport::Identity, contact: Contact) -> Result<EngineConfig, StartError> {
    Ok(EngineConfig { key: identity.signing_key().clone(), contact, seed: random()?, step_work: STEP_WORK_MAX })
}

/// Runs the engine's loop on a thread of its own; the receiver hears when it has ended, by whatever way.
fn start_thread(
    driver: impl Future<Output = ()> + Send + 'static,
) -> Result<(JoinHandle<()>, oneshot::Receiver<()>), StartError> {
    let system = |what| move |error: std::io::Error| StartError::System { what, reason: error.to_string() };
    let timers = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(system("a timer"))?;
    let (alive, ended) = oneshot::channel::<()>();
    let run = move || {
        // Dropped when the thread ends.
        let _alive = alive;
        timers.block_on(driver);
    };
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(run).map_err(system("a thread"))?;
    Ok((thread, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume without a free byte stops no start, and the note is written once there is room.
    #[tokio::test(start_paused = true)]
    async fn a_note_that_finds_no_room_is_written_once_there_is_some() {
        use std::io::{Error, ErrorKind};
        use std::sync::atomic::{AtomicUsize, Ordering};

        let http: SocketAddr = "127.0.0.1:7701".parse().expect("an address");
        let failed = |kind: ErrorKind| {
            Err(DataError::Io { doing: "write", path: PathBuf::from("node.json"), source: Error::from(kind) })
        };
        let tries = Arc::new(AtomicUsize::new(0));
        let (closing, closed) = watch::channel(false);
        let write = |until: usize| {
            let tries = Arc::clone(&tries);
            move || match tries.fetch_add(1, Ordering::Relaxed) < until {
                true => failed(ErrorKind::StorageFull),
                false => Ok(()),
            }
        };
        note_running(write(3), http, closed.clone()).expect("the node starts");
        tokio::time::sleep(10 * NOTE_RETRY).await;
        assert_eq!(tries.load(Ordering::Relaxed), 4, "three in vain, and none after the one that was written");
        // A node that stops tries no more, and what is no matter of room is told.
        note_running(write(usize::MAX), http, closed.clone()).expect("the node starts");
        closing.send_replace(true);
        tokio::time::sleep(10 * NOTE_RETRY).await;
        assert!(tries.load(Ordering::Relaxed) <= 6, "{tries:?}");
        let refused = note_running(move || failed(ErrorKind::PermissionDenied), http, closed);
        assert!(matches!(refused, Err(DataError::Io { .. })), "{refused:?}");
    }
}
