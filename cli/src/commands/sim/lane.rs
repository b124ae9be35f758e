//! Where plans are carried out.

use tombolo_sim::campaign::Lane;
use tombolo_sim::capsule::LaneName;
use tombolo_sim::scenario::Scenario;
use tombolo_sim::{quic, world};

/// The lanes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneArg {
    /// A model network: fast
    World,
    /// Real QUIC over simulated UDP: a hundred times slower
    Quic,
}

impl LaneArg {
    pub(super) fn name(self) -> LaneName {
        match self {
            Self::World => LaneName::World,
            Self::Quic => LaneName::Quic,
        }
    }

    pub(super) fn takes(self, scenario: &Scenario) -> bool {
        match self {
            Self::World => scenario.world(),
            Self::Quic => scenario.quic(),
        }
    }
}

/// What carries plans out there.
pub(super) fn lane(name: LaneName) -> Lane<'static> {
    match name {
        LaneName::World => &world::run,
        LaneName::Quic => &quic::run,
    }
}
