//! Connections, and which of them lead to a peer.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::Hello;

use crate::engine::interface::ConnId;
use crate::engine::peers::session::Session;
use crate::engine::peers::strangers::Door;

/// Most spaces a peer may name.
pub(in crate::engine) const SPACES_MAX: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(in crate::engine) struct Conn {
    pub(in crate::engine) peer: NodeId,
    pub(in crate::engine) dialled: bool,
    pub(in crate::engine) address: String,
    pub(in crate::engine) since_millis: u64,
    /// Counter of the dial, if we dialled.
    pub(in crate::engine) counter: u64,
    pub(in crate::engine) hello: Option<Hello>,
    pub(in crate::engine) clock_skew: i64,
    /// Spaces the peer has named.
    pub(in crate::engine) theirs: BTreeSet<SpaceId>,
    /// Spaces we have named.
    pub(in crate::engine) ours: BTreeSet<SpaceId>,
    /// The peer has named all it has.
    pub(in crate::engine) named_all: bool,
    pub(in crate::engine) offered: BTreeSet<SpaceId>,
    pub(in crate::engine) asked_to_join: BTreeSet<SpaceId>,
    /// What matters until it is a member's.
    pub(in crate::engine) door: Door,
    pub(in crate::engine) sessions: BTreeMap<SpaceId, Session>,
    /// Room on transfer streams that were announced before their session began.
    pub(in crate::engine) room: BTreeMap<SpaceId, usize>,
}

impl Conn {
    pub(in crate::engine) fn new(
        peer: NodeId,
        dialled: bool,
        address: String,
        since_millis: u64,
        counter: u64,
    ) -> Self {
        Self {
            peer,
            dialled,
            address,
            since_millis,
            counter,
            hello: None,
            clock_skew: 0,
            theirs: BTreeSet::new(),
            ours: BTreeSet::new(),
            named_all: false,
            offered: BTreeSet::new(),
            asked_to_join: BTreeSet::new(),
            door: Door::default(),
            sessions: BTreeMap::new(),
            room: BTreeMap::new(),
        }
    }

    /// Begins the session of a space that both sides have named; whether it did.
    pub(in crate::engine) fn begin(&mut self, space: SpaceId) -> bool {
        let both = self.ours.contains(&space) && self.theirs.contains(&space);
        if !both || self.sessions.contains_key(&space) {
            return false;
        }
        let room = self.room.remove(&space).unwrap_or(0);
        self.sessions.insert(space, Session::with_room(room));
        true
    }
}

/// All connections, by id and by peer.
#[derive(Debug, Default)]
pub(in crate::engine) struct Conns {
    by_id: BTreeMap<ConnId, Conn>,
    by_peer: BTreeMap<NodeId, BTreeSet<ConnId>>,
}

impl Conns {
    pub(in crate::engine) fn insert(&mut self, id: ConnId, conn: Conn) {
        self.by_peer.entry(conn.peer).or_default().insert(id);
        let before = self.by_id.insert(id, conn);
        assert!(before.is_none(), "the number of a connection is used once");
    }

    pub(in crate::engine) fn remove(&mut self, id: &ConnId) -> Option<Conn> {
        let conn = self.by_id.remove(id)?;
        if let Some(ids) = self.by_peer.get_mut(&conn.peer) {
            let was_filed = ids.remove(id);
            assert!(was_filed, "a connection is filed under its peer as long as it is here");
            if ids.is_empty() {
                self.by_peer.remove(&conn.peer);
            }
        }
        Some(conn)
    }

    pub(in crate::engine) fn get(&self, id: &ConnId) -> Option<&Conn> {
        self.by_id.get(id)
    }

    pub(in crate::engine) fn get_mut(&mut self, id: &ConnId) -> Option<&mut Conn> {
        self.by_id.get_mut(id)
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(in crate::engine) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.by_id.keys().copied()
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> + '_ {
        self.by_id.iter().map(|(id, conn)| (*id, conn))
    }

    pub(in crate::engine) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Conn)> + '_ {
        self.by_id.iter_mut().map(|(id, conn)| (*id, conn))
    }

    pub(in crate::engine) fn values(&self) -> impl Iterator<Item = &Conn> + '_ {
        self.by_id.values()
    }

    pub(in crate::engine) fn values_mut(&mut self) -> impl Iterator<Item = &mut Conn> + '_ {
        self.by_id.values_mut()
    }

    /// Connections with a peer. O(log connections).
    pub(in crate::engine) fn with(&self, peer: NodeId) -> impl Iterator<Item = (ConnId, &Conn)> + '_ {
        let ids = self.by_peer.get(&peer).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id).map(|conn| (*id, conn)))
    }

    /// The session with a peer about a space, on whatever connection.
    pub(in crate::engine) fn session_with(&self, peer: NodeId, space: SpaceId) -> Option<&Session> {
        self.with(peer).find_map(|(_, conn)| conn.sessions.get(&space))
    }

    /// Panics if the two indexes differ. O(connections).
    pub(in crate::engine) fn check_index(&self) {
        let indexed: usize = self.by_peer.values().map(BTreeSet::len).sum();
        assert_eq!(indexed, self.by_id.len(), "every connection is filed under its peer");
    }
}
