//! What surrounds the engine in a process: its thread, connections, dialling, clocks, and the data directory.
//!
//! Everything that the engine must not do happens here: clocks are read, bytes are moved. HTTP is not here:
//! [`crate::api`] reads what this module counts, and [`crate::process`] starts both.

mod clock;
mod core;
mod data;
mod dialling;
mod driver;
mod links;
mod net;
mod steps;
mod traffic;
mod verifying;

use std::net::SocketAddr;

use tombolo_crdt::NodeId;

pub use clock::Clock;
pub use core::{Core, CoreConfig, Deaf};
pub(crate) use data::check_name;
pub use data::{DataDir, DataError, RunningNode};
pub use dialling::{DialReport, DialReports};
pub use driver::{STEP_BYTES, STEP_ENTRIES, Stepper};
pub use steps::StepTimes;
pub use traffic::{PeerTraffic, Traffic, TrafficFigure};

/// Where a running node can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The node's key.
    pub node: NodeId,
    /// Where the node listens for nodes (UDP).
    pub listen: SocketAddr,
    /// Where the node serves HTTP.
    pub http: SocketAddr,
}
