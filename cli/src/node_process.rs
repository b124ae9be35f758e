//! The one place that starts a node in this process: `init` and `run` go through here.

use std::net::SocketAddr;
use std::path::PathBuf;

use tombolo_node::process::{Node, NodeConfig, StartError};
use tombolo_node::runtime::{self, DataError};
use tombolo_node::store::OpenError;
use tombolo_transport::BindError;

use crate::data_dir::DataDir;
use crate::error::CliError;
use crate::{human, interrupt};

/// What `run` decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunConfig {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) name: Option<String>,
    pub(crate) mdns: bool,
    pub(crate) advertise: Vec<String>,
    pub(crate) allow_hosts: Vec<String>,
}

/// Makes key, store and token. Answers the node id.
pub(crate) fn init(data: &DataDir, name: Option<&str>) -> Result<String, CliError> {
    let name = name.map_or_else(host_name, str::to_owned);
    let made = runtime::DataDir::new(data.path()).init(&name);
    made.map(|node| node.to_string()).map_err(|error| not_made(&error))
}

/// Runs the node until SIGTERM or SIGINT. `ready` is called once with the addresses that were chosen.
pub(crate) fn run(
    config: RunConfig,
    ready: &mut dyn FnMut(SocketAddr, SocketAddr) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let threads = threads.map_err(|error| CliError::failed("the async runtime could not be started").cause(error))?;
    let ended = threads.block_on(async {
        // From here on a signal stops the node in order, also while it is starting.
        let mut stop = std::pin::pin!(interrupt::signalled()?);
        let data = DataDir::at(&config.data);
        let mut node = Node::start(node_config(config)).await.map_err(|error| not_started(&error, &data))?;
        let addresses = node.addresses();
        let told = ready(addresses.listen, addresses.http);
        let failed = tokio::select! { () = &mut stop => false, () = node.failed() => true };
        node.shutdown().await;
        if failed {
            return Err(CliError::failed("the node has ended unexpectedly")
                .cause("its engine has stopped; what was acknowledged is safe")
                .hint("see the log above; start it again, and run `tombolo verify` if it happens again"));
        }
        told
    });
    // A resolver that does not answer must not hold up the end; everything else has ended.
    threads.shutdown_timeout(RESOLVER_GRACE);
    ended
}

/// How long threads that wait for the system may take to end.
const RESOLVER_GRACE: std::time::Duration = std::time::Duration::from_millis(100);
const _: () = assert!(RESOLVER_GRACE.as_millis() < 1_000, "a node stops within a second");

fn node_config(config: RunConfig) -> NodeConfig {
    NodeConfig {
        listen: config.listen,
        http: config.http,
        name: config.name,
        mdns: config.mdns,
        advertise: config.advertise,
        allow_hosts: config.allow_hosts,
        ..NodeConfig::new(config.data)
    }
}

/// Errors of a data directory say themselves what to do.
fn not_made(error: &DataError) -> CliError {
    CliError::failed("the node could not be made").cause(error)
}

fn not_started(error: &StartError, data: &DataDir) -> CliError {
    match error {
        StartError::Data(DataError::Store(OpenError::InUse { .. })) => {
            // Another process may be about to stop, or `verify` may read: then there is no note of it.
            let who = data.node_file().map(|file| format!("process {} has its store open", file.pid));
            CliError::failed(format!("a node runs on {} already", data.path().display()))
                .cause(who.unwrap_or_else(|_| error.to_string()))
                .hint(format!(
                    "`tombolo --data {} status` shows it; a second node needs a directory of its own: --data DIR",
                    human::path(data.path())
                ))
        }
        StartError::Bind(BindError::Socket { .. }) => CliError::failed("the node does not start")
            .cause(error)
            .hint("choose another address or port with --listen; port 0 picks a free one"),
        error => CliError::failed("the node does not start").cause(error),
    }
}

fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    if name.is_empty() { "node".to_owned() } else { name }
}
