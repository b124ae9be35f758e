//! When each session has to be looked at although nothing has happened in it: so that a step costs what it touched, not
//! what is connected.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::SpaceId;

use super::io::ConnId;
use super::session::{Conn, Session};

/// One session: a space on a connection.
pub(super) type SessionId = (ConnId, SpaceId);

/// Moments of sessions, by time, and the sessions that must hear at once of whatever moves. Bounded: one per session.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    moments: BTreeSet<(Duration, SessionId, &'static str)>,
    prompt: BTreeSet<SessionId>,
}

impl Agenda {
    /// Enters when a session wants to be looked at next, in place of what was entered before. O(log sessions).
    pub(super) fn enter(&mut self, id: SessionId, session: &mut Session) {
        // A peer that relies on us for a feed waits for it.
        match session.relied.is_empty() {
            true => self.prompt.remove(&id),
            false => self.prompt.insert(id),
        };
        let next = session.next_moment();
        if session.entered == next {
            return;
        }
        self.strike(id, session);
        session.entered = next;
        if let Some((at, why)) = next {
            self.moments.insert((at, id, why));
        }
    }

    fn strike(&mut self, id: SessionId, session: &Session) {
        if let Some((at, why)) = session.entered {
            self.moments.remove(&(at, id, why));
        }
    }

    /// Forgets the sessions of a connection that has ended.
    pub(super) fn forget(&mut self, id: ConnId, conn: &Conn) {
        for (space, session) in &conn.sessions {
            self.strike((id, *space), session);
            self.prompt.remove(&(id, *space));
        }
    }

    /// Sessions that must hear at once of what moves.
    pub(super) fn prompt(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.prompt.iter().copied()
    }

    /// The first moment, and why.
    pub(super) fn first(&self) -> Option<(Duration, &'static str)> {
        self.moments.first().map(|(at, _, why)| (*at, *why))
    }

    /// Sessions whose moment has come.
    pub(super) fn due(&self, now: Duration) -> impl Iterator<Item = SessionId> + '_ {
        self.moments.iter().take_while(move |(at, ..)| *at <= now).map(|(_, id, _)| *id)
    }
}
