//! When each session has to be looked at although nothing has happened in it: so that a step costs what it touched, not
//! what is connected.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::SpaceId;

use crate::engine::interface::ConnId;
use crate::engine::peers::conn::Conn;
use crate::engine::peers::session::Session;

/// One session: a space on a connection.
pub(in crate::engine) type SessionId = (ConnId, SpaceId);

/// Moments of sessions, by time, and the sessions that must hear at once of whatever moves. Bounded: one per session.
#[derive(Debug, Default)]
pub(in crate::engine) struct Agenda {
    moments: BTreeSet<(Duration, SessionId, &'static str)>,
    prompt: BTreeSet<(SpaceId, ConnId)>,
}

impl Agenda {
    /// Enters when a session wants to be looked at next, in place of what was entered before. O(log sessions).
    pub(in crate::engine) fn enter(&mut self, id: SessionId, session: &mut Session) {
        // A peer that relies on us for a feed waits for it.
        match session.relaying.is_relied_on() {
            true => self.prompt.insert((id.1, id.0)),
            false => self.prompt.remove(&(id.1, id.0)),
        };
        let next = session.next_moment();
        if session.entered == next {
            return;
        }
        self.strike(id, session);
        session.entered = next;
        if let Some((at, why)) = next {
            let is_new = self.moments.insert((at, id, why));
            debug_assert!(is_new, "a session has one moment");
        }
    }

    fn strike(&mut self, id: SessionId, session: &Session) {
        if let Some((at, why)) = session.entered {
            let was_there = self.moments.remove(&(at, id, why));
            debug_assert!(was_there, "what a session has entered is in the agenda");
        }
    }

    /// Forgets the sessions of a connection that has ended.
    pub(in crate::engine) fn forget(&mut self, id: ConnId, conn: &Conn) {
        for (space, session) in &conn.sessions {
            self.strike((id, *space), session);
            self.prompt.remove(&(*space, id));
        }
    }

    /// Sessions that must hear at once of what moves in a space.
    pub(in crate::engine) fn prompt(&self, space: SpaceId) -> impl Iterator<Item = SessionId> + '_ {
        let of_space = self.prompt.range((space, ConnId(0))..).take_while(move |(of, _)| *of == space);
        of_space.map(|(space, conn)| (*conn, *space))
    }

    /// The first moment, and why.
    pub(in crate::engine) fn first(&self) -> Option<(Duration, &'static str)> {
        self.moments.first().map(|(at, _, why)| (*at, *why))
    }

    /// Sessions whose moment has come.
    pub(in crate::engine) fn due(&self, now: Duration) -> impl Iterator<Item = SessionId> + '_ {
        self.moments.iter().take_while(move |(at, ..)| *at <= now).map(|(_, id, _)| *id)
    }
}
