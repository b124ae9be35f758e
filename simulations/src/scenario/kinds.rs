//! What faults have in common.

use crate::plan::{Fault, NodeNo};

/// What of a node a fault takes for itself while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The node's process and data.
    Process,
    /// The node's wall clock.
    Clock,
    /// How much room its disk has.
    Room,
    /// How fast its disk is.
    Speed,
    /// How fast it reads.
    Reading,
    /// What is sent in its name.
    Key,
}

impl Fault {
    /// Whether it happens at once and has no length.
    #[must_use]
    pub const fn is_at_once(&self) -> bool {
        matches!(
            self,
            Self::Reset { .. }
                | Self::Replay { .. }
                | Self::HalfOpen { .. }
                | Self::Readdress { .. }
                | Self::DiskError { .. }
        )
    }

    /// The two sides of a fault of the network.
    #[must_use]
    pub fn sides(&self) -> Option<(&[NodeNo], &[NodeNo])> {
        match self {
            Self::Cut { from, to, .. }
            | Self::Clog { from, to }
            | Self::Slow { from, to, .. }
            | Self::Lossy { from, to, .. }
            | Self::Reset { from, to }
            | Self::Replay { from, to } => Some((from, to)),
            _ => None,
        }
    }

    /// The node of a fault of one node.
    #[must_use]
    pub const fn node(&self) -> Option<NodeNo> {
        match self {
            Self::HalfOpen { node }
            | Self::Readdress { node }
            | Self::SlowReader { node, .. }
            | Self::Crash { node, .. }
            | Self::Pause { node }
            | Self::ClockJump { node, .. }
            | Self::DiskFull { node }
            | Self::DiskError { node, .. }
            | Self::DiskSlow { node, .. }
            | Self::BitFlips { node, .. }
            | Self::RowFlips { node, .. }
            | Self::Restore { node, .. }
            | Self::Clone { node }
            | Self::GoneBad { node, .. } => Some(*node),
            Self::Cut { .. }
            | Self::Clog { .. }
            | Self::Slow { .. }
            | Self::Lossy { .. }
            | Self::Reset { .. }
            | Self::Replay { .. } => None,
        }
    }

    /// What it takes for itself: two faults of a plan never take the same at the same time.
    pub(super) const fn occupies(&self) -> Option<(NodeNo, Part)> {
        let (node, part) = match self {
            Self::Crash { node, .. }
            | Self::Restore { node, .. }
            | Self::Clone { node }
            | Self::Pause { node }
            | Self::BitFlips { node, .. }
            | Self::RowFlips { node, .. } => (node, Part::Process),
            Self::ClockJump { node, .. } => (node, Part::Clock),
            Self::DiskFull { node } => (node, Part::Room),
            Self::DiskSlow { node, .. } => (node, Part::Speed),
            Self::SlowReader { node, .. } => (node, Part::Reading),
            Self::GoneBad { node, .. } => (node, Part::Key),
            _ => return None,
        };
        Some((*node, part))
    }
}
