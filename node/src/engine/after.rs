//! What a step leaves to be done, and to be said, once its commit stands.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{FeedId, SpaceId};

use crate::engine::interface::{ConnId, Input, Output, Reply, ReplyTo, StepCost};
use crate::engine::memory::Rest;
use crate::engine::peers::acks::Acks;
use crate::engine::peers::agenda::SessionId;
use crate::engine::peers::conn::Conn;

/// What a step leaves to be done once its commit stands.
#[derive(Debug, Default)]
pub(super) struct After {
    pub(super) outputs: Vec<Output>,
    /// Feeds that moved, by space.
    pub(super) moved: BTreeMap<SpaceId, BTreeSet<FeedId>>,
    /// Between whom and in which spaces there may be something to name.
    pub(super) introduce: Introduce,
    /// Connections to which rules are owed whatever they have been told: (connection, space).
    pub(super) owed: Vec<(ConnId, SpaceId)>,
    /// Connections whose control stream has room again.
    pub(super) roomy: BTreeSet<ConnId>,
    /// Sessions in which something has happened; all of them, if need be.
    pub(super) touched: BTreeSet<SessionId>,
    pub(super) touched_all: bool,
    /// Whom to dial may have changed.
    pub(super) retarget: bool,
    /// What others were found to have.
    pub(super) acks: Acks,
    /// Connections that ended.
    pub(super) parted: Vec<Conn>,
    /// Replies are kept back until the commit stands.
    pub(super) replies: Vec<(ReplyTo, Reply)>,
    pub(super) status: Vec<ReplyTo>,
    /// Commands and connections that the step took in, and whether entries were among what it took in.
    pub(super) begun: Begun,
    /// What is left of the command that the step was at when its work was spent.
    pub(super) unfinished: Option<Rest>,
    pub(super) cost: StepCost,
}

/// What a step took in, for the case that it fails.
#[derive(Debug, Default)]
pub(super) struct Begun {
    pub(super) commands: Vec<ReplyTo>,
    pub(super) connections: Vec<ConnId>,
    pub(super) carries: bool,
}

impl Begun {
    pub(super) fn add(&mut self, input: &Input) {
        self.commands.extend(input.asks());
        self.connections.extend(input.connects());
        self.carries |= input.carries();
    }
}

/// What may have to be named to peers, offered, or asked of them.
#[derive(Debug, Default)]
pub(super) struct Introduce {
    /// Connections whose hello came.
    pub(super) greeted: BTreeSet<ConnId>,
    /// Connections whose peer has named all it has.
    pub(super) named: BTreeSet<ConnId>,
    /// Spaces whose rules changed, or that are new.
    pub(super) spaces: BTreeSet<SpaceId>,
    /// A join was asked for here.
    pub(super) joins: bool,
}
