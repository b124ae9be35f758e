//! The one place that starts a node in this process: `init` and `run` go through here.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::data_dir::DataDir;
use crate::error::CliError;

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
    let _ = (data, name);
    Err(not_built())
}

/// Runs the node until SIGTERM or SIGINT. `ready` is called once with the addresses that were chosen.
pub(crate) fn run(
    config: RunConfig,
    ready: &mut dyn FnMut(SocketAddr, SocketAddr) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let _ = (config, ready);
    Err(not_built())
}

fn not_built() -> CliError {
    CliError::failed("this build has no node runtime")
}
