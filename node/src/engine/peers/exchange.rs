//! The exchange: who says what to whom, after a commit. Compares digests, then frontiers, then acknowledges.
//!
//! Frames that arrive only change what is known of the peer (`hearing.rs`); what has to be said follows from that and
//! from what is durable ([`Engine::exchange`]).

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::SpaceId;
use tombolo_transport::CloseCode;

use crate::engine::Engine;
use crate::engine::after::After;
use crate::engine::interface::{ConnId, Now, Output};
use crate::engine::memory::Memory;
use crate::engine::peers::agenda::SessionId;
use crate::engine::peers::session::Session;
use crate::engine::peers::session::acknowledge::have_wait;
use crate::engine::peers::session::since::STEP_LOOKS;
use crate::engine::peers::session::talk::Talk;
use crate::engine::peers::transfer::STEP_READ_BYTES;
use crate::engine::space::Space;
use crate::engine::space::news::NEWS_MAX;
use crate::store::Reading;

/// First wait before a session that neither moves nor agrees is begun anew; doubles up to [`STALL_WAIT_MAX`].
const STALL_WAIT_MIN: Duration = Duration::from_secs(30);
/// Longest such wait.
const STALL_WAIT_MAX: Duration = Duration::from_secs(3600);

impl Engine {
    /// Everything that has to be said after a commit.
    pub(in crate::engine) fn exchange(&mut self, now: Now, after: &mut After) {
        self.introduce(after);
        self.strangers(now, after);
        let have_wait = have_wait(self.memory.conns.len());
        self.note_absent(now, after);
        let (visits, told) = self.visits(now, have_wait, after);
        self.part(after);
        self.say(visits, told, now, have_wait, after);
        let Self { store, memory: Memory { conns, spaces, loads, .. }, .. } = self;
        loads.begin(conns, spaces, || store.reader(), &mut after.outputs);
    }

    /// What has to be said in sessions, and who is told of rules.
    fn say(
        &mut self,
        visits: BTreeSet<SessionId>,
        told: BTreeSet<SpaceId>,
        now: Now,
        have_wait: Duration,
        after: &mut After,
    ) {
        if visits.is_empty() && after.owed.is_empty() && after.roomy.is_empty() && told.is_empty() {
            return;
        }
        let reading = match self.store.reader().reading() {
            Ok(reading) => reading,
            Err(error) => return tracing::error!(%error, "no reading; peers wait"),
        };
        if let Err(error) = self.owed_rules(&reading, after) {
            tracing::error!(%error, "rules could not be read");
        }
        for id in self.visit(visits, now, have_wait, &reading, after) {
            self.drop_conn(id);
            let reason = "frontiers differ and nothing moves: starting over".to_owned();
            after.outputs.push(Output::Close(id, CloseCode::Done, reason));
        }
        for id in told {
            self.memory.spaces.get_mut(&id).into_iter().for_each(|space| space.news.clear());
        }
    }

    /// Visits sessions. Returns the connections of those that have stalled.
    fn visit(
        &mut self,
        visits: BTreeSet<SessionId>,
        now: Now,
        have_wait: Duration,
        reading: &Reading,
        after: &mut After,
    ) -> BTreeSet<ConnId> {
        let mut memory_moved = false;
        let mut stalled = BTreeSet::new();
        let Self { memory, patience, counters, .. } = self;
        let Memory { conns, spaces, agenda, loads, .. } = memory;
        counters.visits += visits.len() as u64;
        let After { outputs, acks, .. } = after;
        let (mut left, mut looks) = (STEP_READ_BYTES, STEP_LOOKS);
        for (id, space_id) in visits {
            let Some(conn) = conns.get_mut(&id) else { continue };
            let peer = conn.peer;
            let (Some(session), Some(space)) = (conn.sessions.get_mut(&space_id), spaces.get_mut(&space_id)) else {
                continue;
            };
            let looked = &mut counters.compared;
            let mut talk = Talk {
                conn: id,
                peer,
                now,
                have_wait,
                reading,
                out: &mut *outputs,
                acks: &mut *acks,
                left: &mut left,
                looks: &mut looks,
                looked,
            };
            match talk.session(space, session) {
                Ok(moved) => memory_moved |= moved,
                Err(error) => {
                    tracing::error!(%error, space = %space_id, "an exchange failed");
                    // What it was about to note of the peer is not known; nothing may be claimed.
                    session.forget(space);
                    outputs.push(Output::Close(id, CloseCode::Overloaded, "the store failed".to_owned()));
                }
            }
            if session.sending.loading.queue() {
                loads.wait((id, space_id));
            }
            if watch(session, space, patience.entry(peer).or_insert(STALL_WAIT_MIN), now) {
                stalled.insert(id);
            }
            agenda.enter((id, space_id), session);
        }
        if memory_moved {
            self.flush_memory_soon(now);
        }
        stalled
    }

    /// Sessions in which something may have to be said: something has happened in them, their time has come, or they
    /// have to hear at once of what moved. And the spaces all of whose sessions are among them.
    fn visits(&mut self, now: Now, have_wait: Duration, after: &mut After) -> (BTreeSet<SessionId>, BTreeSet<SpaceId>) {
        let mut visits = std::mem::take(&mut after.touched);
        // A frame may name a space of which there is no session.
        visits.retain(|(id, space)| self.memory.conns.get(id).is_some_and(|conn| conn.sessions.contains_key(space)));
        visits.extend(self.memory.agenda.due(now.mono));
        let mut told = BTreeSet::new();
        if after.touched_all {
            told.extend(self.memory.spaces.keys().copied());
        }
        told.extend(now.mono.checked_sub(have_wait).into_iter().flat_map(|since| self.memory.spaces.news_due(since)));
        for (id, moved) in &after.moved {
            let Some(space) = self.memory.spaces.get_mut(id) else { continue };
            let mut moves = std::mem::take(&mut space.moves);
            // Of some nothing settled, but something is held now.
            for feed in moved {
                moves.entry(*feed).or_insert_with(|| space.frontier.seq(*feed));
            }
            moves.iter().for_each(|(feed, from)| space.news.add(*feed, *from, now));
            after.acks.feeds(moves.into_keys());
            let own = [space.own_data_feed, space.own_rules_feed];
            let urgent = moved.is_empty() || own.iter().any(|own| moved.contains(own));
            if urgent || space.news.len() >= NEWS_MAX {
                told.insert(*id);
            } else {
                visits.extend(self.memory.agenda.prompt(*id));
            }
        }
        for (id, conn) in self.memory.conns.iter().filter(|_| !told.is_empty()) {
            visits.extend(told.iter().filter(|space| conn.sessions.contains_key(space)).map(|space| (id, *space)));
        }
        (visits, told)
    }

    /// Keeps what was known of peers whose connections ended.
    fn part(&mut self, after: &mut After) {
        for conn in std::mem::take(&mut after.parted) {
            for (id, session) in conn.sessions {
                let Some(space) = self.memory.spaces.get_mut(&id) else { continue };
                let behind_since = session.behind_since;
                let known = session.part(space);
                let known = known.map(|known| {
                    let lacked = space.lacked(conn.peer, &known);
                    (known, lacked)
                });
                let memory = space.memory.entry(conn.peer).or_default();
                memory.parted(known, space.row.journal, behind_since);
                if memory.behind_since.is_none() {
                    space.abreast.add(conn.peer);
                }
            }
        }
    }

    pub(in crate::engine) fn drop_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.memory.conns.remove(&id) {
            self.memory.agenda.forget(id, &conn);
        }
    }

    /// Members that are away fall behind from the first entry on that they miss.
    fn note_absent(&mut self, now: Now, after: &After) {
        let Memory { conns, spaces, .. } = &mut self.memory;
        for id in after.moved.keys() {
            if let Some(space) = spaces.get_mut(id).filter(|space| !space.moves.is_empty()) {
                space.fall_behind(now.wall_millis, |member| conns.session_with(member, *id).is_none());
            }
        }
    }
}

/// Watches for a session in which both have spoken, frontiers differ and nothing is on its way. What one believes of
/// the other is wrong then, and is stated anew on another connection. Whether its time has come.
fn watch(session: &mut Session, space: &Space, patience: &mut Duration, now: Now) -> bool {
    if session.known().is_none() || session.sending.is_moving() {
        session.stalled_at = None;
        return false;
    }
    if session.is_in_step(space) {
        *patience = STALL_WAIT_MIN;
        session.stalled_at = None;
        return false;
    }
    let at = *session.stalled_at.get_or_insert(now.mono + *patience);
    if at > now.mono {
        return false;
    }
    *patience = (*patience * 2).min(STALL_WAIT_MAX);
    true
}
