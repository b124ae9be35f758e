//! The exchange: who says what to whom, after a commit. Compares digests, then frontiers, then acknowledges.
//!
//! Frames that arrive only change what is known of the peer ([`note`]); what has to be said follows from that and from
//! what is durable ([`Engine::exchange`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::feed::{FeedKind, Position};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{Digest, FeedId, NodeId, SpaceId};
use tombolo_transport::frame::{
    FRONTIER_PAGE_MAX, FeedHave, Frame, FrontierPage, Have, Hello, PROTOCOL_VERSION, packing_offer,
};
use tombolo_transport::limits::GUEST_FRAME_BYTES_MAX;
use tombolo_transport::{CloseCode, Link, Which, keep};

use super::Engine;
use super::after::{After, Introduce};
use super::agenda::SessionId;
use super::conn::{Conn, SPACES_MAX};
use super::io::{ConnId, Now, Output};
use super::memory::Memory;
use super::news::NEWS_MAX;
use super::pages::Pages;
use super::session::acknowledge::have_wait;
use super::session::talk::Talk;
use super::session::{PAGES_MAX, Session};
use super::space::Space;
use super::spaces::Spaces;
use super::transfer::STEP_READ_BYTES;
use crate::store::{Snapshot, StoreError};

/// The first frame on a connection.
pub(super) fn hello(contact: &Contact, process: [u8; 16], counter: u64, now: Now) -> Frame {
    Frame::Hello(Hello {
        version: PROTOCOL_VERSION,
        contact: contact.clone(),
        process,
        counter,
        wall_millis: now.wall_millis,
        ext: vec![packing_offer()],
    })
}

/// Takes note of a frame. Nothing is answered here.
pub(super) fn note(id: ConnId, conn: &mut Conn, frame: Frame, spaces: &mut Spaces, now: Now, after: &mut After) {
    match frame {
        Frame::Hello(hello) => {
            conn.clock_skew = hello.wall_millis.cast_signed().wrapping_sub(now.wall_millis.cast_signed());
            if conn.hello.is_none() {
                conn.hello = Some(hello);
                after.introduce.greeted.insert(id);
            }
        }
        Frame::Rules(space, _) => {
            if conn.theirs.len() < SPACES_MAX {
                conn.theirs.insert(space);
            }
            conn.begin(space);
        }
        Frame::RulesDone => {
            if !std::mem::replace(&mut conn.named_all, true) {
                after.introduce.named.insert(id);
            }
        }
        Frame::Summary(summary) => {
            // It may overtake, within a step, what would have begun the session.
            conn.begin(summary.space);
            if let Some(session) = conn.sessions.get_mut(&summary.space) {
                session.heard.stated = Some((summary.frontier, summary.state));
                session.heard.fresh = true;
                session.heard.summary = Some(summary);
            }
        }
        Frame::Frontier(page) => note_page(conn, page),
        Frame::FrontierRequest(space) => {
            if let Some(session) = conn.sessions.get_mut(&space) {
                session.said.telling.ask();
            }
        }
        Frame::Have(have) => note_have(conn, have, spaces, now, after),
        Frame::Refused(space, refused) => {
            if let Some(session) = conn.sessions.get_mut(&space) {
                session.heard.refused += refused.len() as u64;
            }
        }
        Frame::Probe(probe) => {
            if let Some(session) = conn.sessions.get_mut(&probe.space) {
                session.probing.note(probe);
            }
        }
        Frame::Audit(audit) => {
            if let Some(space) = spaces.get_mut(&audit.space)
                && conn.sessions.contains_key(&audit.space)
            {
                let frontier = space.frontier_digest();
                space.care.audit.hear(conn.peer, audit, frontier, now.mono);
                space.care.hurry();
            }
        }
        Frame::Bye(_) | Frame::RulesFrontier(..) => {}
        // Taken elsewhere: they carry entries, or need a transaction.
        Frame::Ranges(_) | Frame::RulesRanges(_) | Frame::Join(_) | Frame::JoinRefused(..) => {}
    }
}

/// The space of whose session a frame tells something.
pub(super) fn concerns(frame: &Frame) -> Option<SpaceId> {
    match frame {
        Frame::Rules(space, _) | Frame::FrontierRequest(space) | Frame::Refused(space, _) => Some(*space),
        Frame::Summary(summary) => Some(summary.space),
        Frame::Frontier(page) => Some(page.space),
        Frame::Have(have) => Some(have.space),
        Frame::Probe(probe) => Some(probe.space),
        Frame::Audit(audit) => Some(audit.space),
        Frame::Hello(_) | Frame::RulesDone | Frame::Bye(_) | Frame::RulesFrontier(..) => None,
        Frame::Ranges(_) | Frame::RulesRanges(_) | Frame::Join(_) | Frame::JoinRefused(..) => None,
    }
}

/// First wait before a session that neither moves nor agrees is begun anew; doubles up to [`STALL_WAIT_MAX`].
const STALL_WAIT_MIN: Duration = Duration::from_secs(30);
/// Longest such wait.
const STALL_WAIT_MAX: Duration = Duration::from_secs(3600);

fn note_page(conn: &mut Conn, page: FrontierPage) {
    let Some(session) = conn.sessions.get_mut(&page.space) else { return };
    if page.positions.len() <= FRONTIER_PAGE_MAX && session.heard.pages.len() < PAGES_MAX {
        session.heard.pages.push(page);
    }
}

fn note_have(conn: &mut Conn, have: Have, spaces: &mut Spaces, now: Now, after: &mut After) {
    let Some(space) = spaces.get_mut(&have.space) else { return };
    let Some(session) = conn.sessions.get_mut(&have.space) else { return };
    let mut moved = false;
    for FeedHave { feed, settled, .. } in &have.feeds {
        if session.learn(space, *feed, *settled) {
            moved = true;
            after.acks.feeds([*feed]);
        }
        if session.sending.lag.contains(feed) && space.frontier.seq(*feed) <= session.reached(space, *feed) {
            // It has got everything from elsewhere.
            session.sending.lag.remove(feed);
        }
    }
    let of_feed: BTreeMap<FeedId, &FeedHave> = have.feeds.iter().map(|have| (have.feed, have)).collect();
    let held = |feed: FeedId, seq: u64| {
        let runs = of_feed.get(&feed).into_iter().flat_map(|have| &have.held);
        runs.into_iter().any(|(first, last)| (*first..=*last).contains(&seq))
    };
    while session.sending.in_flight.front().is_some_and(|flight| flight.number <= have.number) {
        let Some(flight) = session.sending.in_flight.pop_front() else { break };
        if flight.number == have.number {
            session.relaying.acknowledged(now.mono.saturating_sub(flight.sent));
        }
        for (feed, last) in flight.carried {
            let settled = session.settled(space, feed);
            if settled < last && !held(feed, last) {
                // Neither settled nor held: dropped there, so it is lacking and is sent again, after a while.
                session.sending.again(feed, settled, now.mono);
            }
        }
    }
    drop_unkept(session, &have, now);
    if moved {
        session.sending.resend_wait = Duration::ZERO;
    }
    session.heard.stated = Some((have.frontier, have.state));
    session.heard.fresh = true;
    let silent = session.answering.taken() <= 16 || have.frontier != space.frontier_digest();
    if !silent && defect::is(Defect::NeverSilent) {
        session.answering.hurry();
    }
}

/// What was held there once and is no longer named has been dropped, and is sent again.
fn drop_unkept(session: &mut Session, have: &Have, now: Now) {
    let sending = &mut session.sending;
    let flying: BTreeSet<FeedId> =
        sending.in_flight.iter().flat_map(|flight| flight.carried.iter().map(|(feed, _)| *feed)).collect();
    for FeedHave { feed, settled, held } in &have.feeds {
        // What a peer says may be any number.
        let next = |end: u64, first: u64| end.checked_add(1) == Some(first);
        let kept = held.iter().fold(*settled, |end, (first, last)| if next(end, *first) { *last } else { end });
        if !flying.contains(feed) && have.number != 0 && sending.cursor.get(feed).is_some_and(|sent| *sent > kept) {
            sending.again(*feed, kept, now.mono);
        }
    }
}

impl Engine {
    /// Everything that has to be said after a commit.
    pub(super) fn exchange(&mut self, now: Now, after: &mut After) {
        self.introduce(after);
        self.strangers(now, after);
        let have_wait = have_wait(self.memory.conns.len());
        self.note_absent(now, after);
        let (visits, told) = self.visits(now, have_wait, after);
        self.part(after);
        if visits.is_empty() && after.owed.is_empty() && after.roomy.is_empty() && told.is_empty() {
            return;
        }
        let snapshot = match self.store.reader().snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return tracing::error!(%error, "no snapshot; peers wait"),
        };
        if let Err(error) = self.owed_rules(&snapshot, after) {
            tracing::error!(%error, "rules could not be read");
        }
        for id in self.visit(visits, now, have_wait, &snapshot, after) {
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
        snapshot: &Snapshot,
        after: &mut After,
    ) -> BTreeSet<ConnId> {
        let mut memory_moved = false;
        let mut stalled = BTreeSet::new();
        let Self { memory, patience, counters, turn: next, .. } = self;
        let Memory { conns, spaces, agenda, .. } = memory;
        counters.visits += visits.len() as u64;
        let After { outputs, acks, .. } = after;
        let mut left = STEP_READ_BYTES;
        // Who could not be read for in the last step comes first.
        let turn = next.take().unwrap_or((ConnId(0), SpaceId::from_bytes([0; 32])));
        let (before, from) = (visits.range(..turn), visits.range(turn..));
        for (id, space_id) in from.chain(before).copied() {
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
                snapshot,
                out: &mut *outputs,
                acks: &mut *acks,
                left: &mut left,
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
            if session.sending.hungry_at.is_some() {
                next.get_or_insert((id, space_id));
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

    /// Sessions in which something may have to be said: something has happened in them, their time has come, or they have to
    /// hear at once of what moved. And the spaces all of whose sessions are among them.
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
                let by_another = |feed| space.feeds.get(&feed).is_none_or(|feed| feed.opening.node != conn.peer);
                let lacks = known.as_ref().map_or(0, |known| known.lacking(&space.frontier, by_another));
                let journal = space.row.journal;
                space.memory.entry(conn.peer).or_default().parted(known, journal, lacks, behind_since);
            }
        }
    }

    pub(super) fn drop_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.memory.conns.remove(&id) {
            self.memory.agenda.forget(id, &conn);
        }
    }

    /// Members that are away fall behind from the first entry on that they miss.
    fn note_absent(&mut self, now: Now, after: &After) {
        let Self { memory, own, .. } = self;
        let Memory { conns, spaces, .. } = memory;
        for id in after.moved.keys() {
            let Some(space) = spaces.get_mut(id).filter(|space| !space.moves.is_empty()) else { continue };
            let roster = space.roster();
            let Space { memory, feeds, moves, frontier, .. } = space;
            for (member, _) in roster.members().filter(|(member, _)| *member != own.node) {
                if conns.session_with(member, *id).is_some() {
                    continue;
                }
                let memory = memory.entry(member).or_default();
                for (feed, from) in moves.iter() {
                    if feeds.get(feed).is_none_or(|feed| feed.opening.node != member) {
                        memory.missed(*feed, *from, frontier.seq(*feed));
                        memory.behind_since.get_or_insert(now.wall_millis);
                    }
                }
            }
        }
    }

    /// Of the connections with the peer of `id`, whose Hellos are through, one stays.
    fn settle_duplicates(&mut self, id: ConnId, after: &mut After) {
        let Some(peer) = self.memory.conns.get(&id).map(|conn| conn.peer) else { return };
        let link = |conn: &Conn| {
            let theirs = conn.hello.as_ref()?;
            Some(match conn.dialled {
                true => Link { dialled_by_us: true, process: self.own.process, counter: conn.counter },
                false => Link { dialled_by_us: false, process: theirs.process, counter: theirs.counter },
            })
        };
        let mut best: Option<(ConnId, Link)> = None;
        let mut losers = BTreeSet::new();
        for (id, conn) in self.memory.conns.with(peer) {
            let Some(new) = link(conn) else { continue };
            best = match best {
                Some((other, first)) if keep(self.own.node, peer, &first, &new) == Which::First => {
                    losers.insert(id);
                    Some((other, first))
                }
                Some((other, _)) => {
                    losers.insert(other);
                    Some((id, new))
                }
                None => Some((id, new)),
            };
        }
        for id in losers {
            self.drop_conn(id);
            let reason = "another connection with this peer is kept".to_owned();
            after.outputs.push(Output::Close(id, CloseCode::Replaced, reason));
        }
    }

    /// Names spaces to peers whose roster holds them, begins sessions, offers rules, asks to join: on the connections that
    /// have said hello, and for the spaces whose rules changed. O(those connections × spaces + those spaces × connections).
    fn introduce(&mut self, after: &mut After) {
        let Introduce { greeted, named, spaces: changed, joins: asked } = std::mem::take(&mut after.introduce);
        for id in &greeted {
            self.settle_duplicates(*id, after);
        }
        for id in &greeted {
            let Some(conn) = self.memory.conns.get_mut(id) else { continue };
            for (space_id, space) in self.memory.spaces.iter() {
                name(*id, conn, *space_id, space, self.own.node, after);
            }
            after.outputs.push(Output::Control(*id, Frame::RulesDone));
        }
        for id in changed {
            let Some(space) = self.memory.spaces.get(&id) else { continue };
            for (conn_id, conn) in self.memory.conns.iter_mut().filter(|(_, conn)| conn.hello.is_some()) {
                name(conn_id, conn, id, space, self.own.node, after);
            }
        }
        for id in &named {
            let Some(conn) = self.memory.conns.get_mut(id) else { continue };
            let unnamed: Vec<SpaceId> = conn.ours.difference(&conn.theirs).copied().collect();
            let offered = unnamed.into_iter().filter(|space| conn.offered.insert(*space));
            after.owed.extend(offered.map(|space| (*id, space)));
        }
        let Self { memory, own, .. } = self;
        let Memory { conns, joins, .. } = memory;
        let to: Vec<ConnId> = if asked { conns.ids().collect() } else { greeted.into_iter().collect() };
        for id in to {
            let Some(conn) = conns.get_mut(&id).filter(|conn| conn.hello.is_some()) else { continue };
            for join in joins.values().filter(|join| !join.over) {
                if conn.asked_to_join.insert(join.space) {
                    after.outputs.push(Output::Control(id, Frame::Join(join.frame(&own.contact))));
                }
            }
        }
    }

    /// Sends the rules entries of a space to peers that are owed them, as their control streams have room.
    fn owed_rules(&mut self, snapshot: &Snapshot, after: &mut After) -> Result<(), StoreError> {
        let Memory { conns, spaces, .. } = &mut self.memory;
        for (conn, id) in std::mem::take(&mut after.owed) {
            let (Some(space), Some(known)) = (spaces.get(&id), conns.get_mut(&conn)) else { continue };
            known.door.owed.insert(id, Pages::of(space, snapshot)?);
            after.roomy.insert(conn);
        }
        for id in std::mem::take(&mut after.roomy) {
            let Some(conn) = conns.get_mut(&id) else { continue };
            while conn.door.room >= GUEST_FRAME_BYTES_MAX
                && let Some((space_id, pages)) = conn.door.owed.iter_mut().next()
            {
                let (space_id, frame, last) = match spaces.get(space_id) {
                    Some(space) => {
                        let (frame, last) = pages.page(space, snapshot)?;
                        (*space_id, Some(frame), last)
                    }
                    None => (*space_id, None, true),
                };
                conn.door.room = conn.door.room.saturating_sub(GUEST_FRAME_BYTES_MAX);
                after.outputs.extend(frame.map(|frame| Output::Control(id, frame)));
                if last {
                    conn.door.owed.remove(&space_id);
                }
            }
        }
        Ok(())
    }
}

/// Digest of the rules part of the frontier.
fn rules_digest(space: &Space) -> Digest {
    let rules = space.feeds.iter().filter(|(_, feed)| feed.opening.kind == FeedKind::Rules && feed.row.seq > 0);
    let positions = rules.map(|(id, feed)| Position { feed: *id, seq: feed.row.seq, chain: feed.row.chain });
    positions.collect::<Frontier>().digest()
}

/// Names a space to a peer whose roster holds it, and begins the session if the peer has named it too.
fn name(id: ConnId, conn: &mut Conn, space_id: SpaceId, space: &Space, node: NodeId, after: &mut After) {
    if space.role(conn.peer).is_none() || space.role(node).is_none() {
        return;
    }
    if conn.ours.insert(space_id) {
        after.outputs.push(Output::Control(id, Frame::Rules(space_id, rules_digest(space))));
    }
    if conn.begin(space_id) {
        after.touched.insert((id, space_id));
    }
    if conn.named_all && !conn.theirs.contains(&space_id) && conn.offered.insert(space_id) {
        after.owed.push((id, space_id));
    }
}

/// Watches for a session in which both have spoken, frontiers differ and nothing is on its way. What one believes of the
/// other is wrong then, and is stated anew on another connection. Whether its time has come.
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
