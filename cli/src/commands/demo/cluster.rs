//! The three nodes of the demo and the network between them.

use tempfile::TempDir;

use crate::error::CliError;
use crate::local_nodes::{LocalNode, Network, Relay, temporary};

/// Fields are dropped in this order: processes first, then their directory.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) berlin: LocalNode,
    pub(super) hamburg: LocalNode,
    pub(super) oslo: LocalNode,
    pub(super) network: Network,
    _relays: [Relay; 3],
    _dir: TempDir,
}

impl Cluster {
    /// Starts the nodes; berlin creates the space and invites the others.
    pub(super) async fn start(space: &str) -> Result<Self, CliError> {
        let (dir, network) = (temporary("demo")?, Network::default());
        let relays = [network.relay()?, network.relay()?, network.relay()?];
        let berlin = LocalNode::start(dir.path(), "berlin", Some(&relays[0])).await?;
        let hamburg = LocalNode::start(dir.path(), "hamburg", Some(&relays[1])).await?;
        let oslo = LocalNode::start(dir.path(), "oslo", Some(&relays[2])).await?;
        let cluster = Self { berlin, hamburg, oslo, network, _relays: relays, _dir: dir };
        cluster.berlin.create_space(space).await?;
        for node in [&cluster.hamburg, &cluster.oslo] {
            let ticket = cluster.berlin.invite(space).await?;
            node.join(&ticket).await?;
        }
        Ok(cluster)
    }

    pub(super) fn all(&self) -> [&LocalNode; 3] {
        [&self.berlin, &self.hamburg, &self.oslo]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.network.close();
    }
}
