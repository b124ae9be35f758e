//! Connections, and which of them lead to a peer.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::Hello;

use super::interface::ConnId;
use super::session::Session;
use super::strangers::Door;

/// Most spaces a peer may name.
pub(super) const SPACES_MAX: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: NodeId,
    pub(super) dialled: bool,
    pub(super) address: String,
    pub(super) since_millis: u64,
    /// Counter of the dial, if we dialled.
    pub(super) counter: u64,
    pub(super) hello: Option<Hello>,
    pub(super) clock_skew: i64,
    /// Spaces the peer has named.
    pub(super) theirs: BTreeSet<SpaceId>,
    /// Spaces we have named.
    pub(super) ours: BTreeSet<SpaceId>,
    /// The peer has named all it has.
    pub(super) named_all: bool,
    pub(super) offered: BTreeSet<SpaceId>,
    pub(super) asked_to_join: BTreeSet<SpaceId>,
    /// What matters until it is a member's.
    pub(super) door: Door,
    pub(super) sessions: BTreeMap<SpaceId, Session>,
    /// Room on transfer streams that were announced before their session began.
    pub(super) room: BTreeMap<SpaceId, usize>,
}

impl Conn {
    pub(super) fn new(peer: NodeId, dialled: bool, address: String, since_millis: u64, counter: u64) -> Self {
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
    pub(super) fn begin(&mut self, space: SpaceId) -> bool {
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
pub(super) struct Conns {
    by_id: BTreeMap<ConnId, Conn>,
    by_peer: BTreeMap<NodeId, BTreeSet<ConnId>>,
}

impl Conns {
    pub(super) fn insert(&mut self, id: ConnId, conn: Conn) {
        self.by_peer.entry(conn.peer).or_default().insert(id);
        let before = self.by_id.insert(id, conn);
        assert!(before.is_none(), "the number of a connection is used once");
    }

    pub(super) fn remove(&mut self, id: &ConnId) -> Option<Conn> {
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

    pub(super) fn get(&self, id: &ConnId) -> Option<&Conn> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &ConnId) -> Option<&mut Conn> {
        self.by_id.get_mut(id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.by_id.keys().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> + '_ {
        self.by_id.iter().map(|(id, conn)| (*id, conn))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Conn)> + '_ {
        self.by_id.iter_mut().map(|(id, conn)| (*id, conn))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Conn> + '_ {
        self.by_id.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Conn> + '_ {
        self.by_id.values_mut()
    }

    /// Connections with a peer. O(log connections).
    pub(super) fn with(&self, peer: NodeId) -> impl Iterator<Item = (ConnId, &Conn)> + '_ {
        let ids = self.by_peer.get(&peer).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id).map(|conn| (*id, conn)))
    }

    /// The session with a peer about a space, on whatever connection.
    pub(super) fn session_with(&self, peer: NodeId, space: SpaceId) -> Option<&Session> {
        self.with(peer).find_map(|(_, conn)| conn.sessions.get(&space))
    }

    /// Panics if the two indexes differ. O(connections).
    pub(super) fn check_index(&self) {
        let indexed: usize = self.by_peer.values().map(BTreeSet::len).sum();
        assert_eq!(indexed, self.by_id.len(), "every connection is filed under its peer");
    }
}
