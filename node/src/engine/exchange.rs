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
use super::agenda::SessionId;
use super::io::{ConnId, Now, Output};
use super::news::NEWS_MAX;
use super::pages::Pages;
use super::session::{Conn, PAGES_MAX, PROBES_ASKED_MAX, SPACES_MAX, Session, have_wait};
use super::space::Space;
use super::spaces::Spaces;
use super::step::After;
use super::talk::Talk;
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
pub(super) fn note(conn: &mut Conn, frame: Frame, spaces: &mut Spaces, now: Now, after: &mut After) {
    match frame {
        Frame::Hello(hello) => {
            conn.clock_skew = hello.wall_millis.cast_signed().wrapping_sub(now.wall_millis.cast_signed());
            conn.hello.get_or_insert(hello);
            after.introduce = true;
        }
        Frame::Rules(space, _) => {
            if conn.theirs.len() < SPACES_MAX {
                conn.theirs.insert(space);
            }
            begin(conn, space);
            after.introduce = true;
        }
        Frame::RulesDone => {
            conn.named_all = true;
            after.introduce = true;
        }
        Frame::Summary(summary) => {
            // It may overtake, within a step, what would have begun the session.
            begin(conn, summary.space);
            if let Some(session) = conn.sessions.get_mut(&summary.space) {
                session.heard = Some((summary.frontier, summary.state));
                session.summary = Some(summary);
            }
        }
        Frame::Frontier(page) => note_page(conn, page),
        Frame::FrontierRequest(space) => {
            if let Some(session) = conn.sessions.get_mut(&space) {
                session.want_all = true;
                session.frontier_told = false;
            }
        }
        Frame::Have(have) => note_have(conn, have, spaces, now, after),
        Frame::Refused(space, refused) => {
            if let Some(session) = conn.sessions.get_mut(&space) {
                session.refused_there += refused.len() as u64;
            }
        }
        Frame::Probe(probe) => {
            if let Some(session) = conn.sessions.get_mut(&probe.space)
                && session.asked.len() < PROBES_ASKED_MAX
            {
                session.asked.push(probe);
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

/// Begins the session of a space that both sides have named.
fn begin(conn: &mut Conn, space: SpaceId) {
    if conn.ours.contains(&space) && conn.theirs.contains(&space) && !conn.sessions.contains_key(&space) {
        let room = conn.room.remove(&space).unwrap_or(0);
        conn.sessions.insert(space, Session { room, ..Session::default() });
    }
}

/// First wait before a session that neither moves nor agrees is begun anew; doubles up to [`STALL_WAIT_MAX`].
const STALL_WAIT_MIN: Duration = Duration::from_secs(30);
/// Longest such wait.
const STALL_WAIT_MAX: Duration = Duration::from_secs(3600);

fn note_page(conn: &mut Conn, page: FrontierPage) {
    let Some(session) = conn.sessions.get_mut(&page.space) else { return };
    if page.positions.len() > FRONTIER_PAGE_MAX || session.pages.len() >= PAGES_MAX {
        session.pages.clear();
        return;
    }
    if session.pages_done {
        session.pages.clear();
        session.pages_done = false;
    }
    session.pages_done = page.last;
    session.pages.push(page);
}

fn note_have(conn: &mut Conn, have: Have, spaces: &mut Spaces, now: Now, after: &mut After) {
    let Some(space) = spaces.get_mut(&have.space) else { return };
    let Some(session) = conn.sessions.get_mut(&have.space) else { return };
    after.acknowledged = true;
    let mut moved = false;
    for FeedHave { feed, settled, .. } in &have.feeds {
        // Of feeds that are not known here nothing could be sent: what the peer says of them takes no memory.
        if space.feeds.contains_key(feed) {
            moved |= session.known(*feed) < *settled;
            session.learn(*feed, *settled);
            if session.lag.contains(feed) && space.frontier.seq(*feed) <= session.reached(*feed) {
                // It has got everything from elsewhere.
                session.lag.remove(feed);
            }
        }
    }
    let held = |feed: FeedId, seq: u64| {
        let of_feed = have.feeds.iter().find(|have| have.feed == feed);
        of_feed.is_some_and(|have| have.held.iter().any(|(first, last)| (*first..=*last).contains(&seq)))
    };
    while session.in_flight.front().is_some_and(|flight| flight.number <= have.number) {
        let Some(flight) = session.in_flight.pop_front() else { break };
        if flight.number == have.number {
            session.acknowledged(now.mono.saturating_sub(flight.sent));
        }
        for (feed, last) in flight.carried {
            if session.known(feed) < last && !held(feed, last) {
                // Neither settled nor held: dropped there, so it is lacking and is sent again, after a while.
                session.send_again(feed, session.known(feed), now.mono);
            }
        }
    }
    // What was held there once and is no longer named has been dropped.
    for FeedHave { feed, settled, held } in &have.feeds {
        let on_its_way = session.in_flight.iter().any(|flight| flight.carried.iter().any(|(known, _)| known == feed));
        let kept = held
            .iter()
            .fold(*settled, |end, (first, last)| if end.checked_add(1) == Some(*first) { *last } else { end });
        if !on_its_way && have.number != 0 && session.cursor.get(feed).is_some_and(|sent| *sent > kept) {
            session.send_again(*feed, kept, now.mono);
        }
    }
    if moved {
        session.resend_wait = Duration::ZERO;
    }
    session.heard = Some((have.frontier, have.state));
    session.answer_due |=
        session.taken > 16 && have.frontier == space.frontier_digest() && defect::is(Defect::NeverSilent);
}

impl Engine {
    /// Everything that has to be said after a commit.
    pub(super) fn exchange(&mut self, now: Now, after: &mut After) {
        if after.introduce {
            self.settle_duplicates(after);
            self.introduce(after);
        }
        self.strangers(now, after);
        let have_wait = have_wait(self.conns.len());
        let (visits, told) = self.visits(now, have_wait, after);
        self.note_absent(now, after);
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
        let mut memory_moved = false;
        let mut stalled = BTreeSet::new();
        let Self { conns, spaces, patience, agenda, .. } = self;
        for (id, space_id) in visits {
            let Some(conn) = conns.get_mut(&id) else { continue };
            let peer = conn.peer;
            let (Some(session), Some(space)) = (conn.sessions.get_mut(&space_id), spaces.get_mut(&space_id)) else {
                continue;
            };
            let mut talk = Talk { conn: id, peer, now, have_wait, snapshot: &snapshot, out: &mut after.outputs };
            match talk.session(space, session) {
                Ok(moved) => memory_moved |= moved,
                Err(error) => {
                    tracing::error!(%error, space = %space_id, "an exchange failed");
                    let reason = "the store failed".to_owned();
                    after.outputs.push(Output::Close(id, CloseCode::Overloaded, reason));
                }
            }
            let equal = session.equal(space.frontier_digest());
            if watch(session, equal, patience.entry(peer).or_insert(STALL_WAIT_MIN), now) {
                stalled.insert(id);
            }
            agenda.enter((id, space_id), session);
        }
        for space in told {
            spaces.get_mut(&space).into_iter().for_each(|space| space.news.clear());
        }
        for id in stalled {
            self.drop_conn(id);
            let reason = "frontiers differ and nothing moves: starting over".to_owned();
            after.outputs.push(Output::Close(id, CloseCode::Done, reason));
        }
        if memory_moved {
            self.flush_memory_soon(now);
        }
    }

    /// Sessions in which something may have to be said: something has happened in them, their time has come, or they have to
    /// hear at once of what moved. And the spaces all of whose sessions are among them.
    fn visits(&mut self, now: Now, have_wait: Duration, after: &mut After) -> (BTreeSet<SessionId>, BTreeSet<SpaceId>) {
        let mut visits = std::mem::take(&mut after.touched);
        visits.extend(self.agenda.due(now.mono));
        let mut told = BTreeSet::new();
        let mut concerned: BTreeSet<SpaceId> = after.moved.keys().copied().collect();
        concerned.extend(now.mono.checked_sub(have_wait).into_iter().flat_map(|since| self.spaces.news_due(since)));
        if after.touched_all {
            concerned.extend(self.spaces.keys());
        }
        for id in &concerned {
            let Some(space) = self.spaces.get_mut(id) else { continue };
            let moved = after.moved.get(id);
            moved.into_iter().flatten().for_each(|feed| space.news.add(*feed, now));
            let own = [space.own_data_feed, space.own_rules_feed];
            let urgent = moved.is_some_and(|moved| moved.is_empty() || own.iter().any(|own| moved.contains(own)));
            let late = space.news.oldest().is_some_and(|at| at + have_wait <= now.mono);
            if after.touched_all || urgent || late || space.news.len() >= NEWS_MAX {
                told.insert(*id);
            } else if moved.is_some() {
                visits.extend(self.agenda.prompt().filter(|(_, space)| space == id));
            }
        }
        for (id, conn) in self.conns.iter().filter(|_| !told.is_empty()) {
            visits.extend(conn.sessions.keys().filter(|space| told.contains(space)).map(|space| (*id, *space)));
        }
        (visits, told)
    }

    pub(super) fn drop_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            self.agenda.forget(id, &conn);
        }
    }

    /// Members that are away fall behind from the first entry on that they miss.
    fn note_absent(&mut self, now: Now, after: &After) {
        let Self { conns, spaces, node, .. } = self;
        for (id, feeds) in &after.moved {
            let Some(space) = spaces.get_mut(id).filter(|_| !feeds.is_empty()) else { continue };
            let roster = space.roster();
            let with = conns.values().filter(|conn| conn.sessions.contains_key(id));
            if with.clone().count() + 1 == roster.members().count() {
                continue; // nobody is away, but for the moment in which two connections lead to one peer
            }
            let here: BTreeSet<NodeId> = with.map(|conn| conn.peer).collect();
            for (member, _) in roster.members().filter(|(member, _)| member != node) {
                if !here.contains(&member) {
                    space.memory.entry(member).or_default().behind_since.get_or_insert(now.wall_millis);
                }
            }
        }
    }

    /// Of two connections with one peer, whose Hellos are both through, one goes.
    fn settle_duplicates(&mut self, after: &mut After) {
        let mut best: BTreeMap<_, ConnId> = BTreeMap::new();
        let mut losers = BTreeSet::new();
        for (id, conn) in self.conns.iter().filter(|(_, conn)| conn.hello.is_some()) {
            let Some(other) = best.get(&conn.peer).copied() else {
                best.insert(conn.peer, *id);
                continue;
            };
            let link = |id: ConnId| {
                let conn = self.conns.get(&id)?;
                let theirs = conn.hello.as_ref()?;
                Some(match conn.dialled {
                    true => Link { dialled_by_us: true, process: self.process, counter: conn.counter },
                    false => Link { dialled_by_us: false, process: theirs.process, counter: theirs.counter },
                })
            };
            let (Some(first), Some(second)) = (link(other), link(*id)) else { continue };
            if keep(self.node, conn.peer, &first, &second) == Which::First {
                losers.insert(*id);
            } else {
                losers.insert(other);
                best.insert(conn.peer, *id);
            }
        }
        for id in losers {
            self.drop_conn(id);
            let reason = "another connection with this peer is kept".to_owned();
            after.outputs.push(Output::Close(id, CloseCode::Replaced, reason));
        }
    }

    /// Names spaces to peers whose roster holds them, begins sessions, offers rules, asks to join.
    fn introduce(&mut self, after: &mut After) {
        let Self { conns, spaces, joins, contact, node, .. } = self;
        for (id, conn) in conns.iter_mut() {
            if conn.hello.is_none() {
                continue;
            }
            let first = conn.ours.is_empty() && conn.offered.is_empty() && conn.asked_to_join.is_empty();
            for (space_id, space) in spaces.iter() {
                if space.role(conn.peer).is_none() || space.role(*node).is_none() {
                    continue;
                }
                if conn.ours.insert(*space_id) {
                    after.outputs.push(Output::Control(*id, Frame::Rules(*space_id, rules_digest(space))));
                }
                begin(conn, *space_id);
                after.touched.insert((*id, *space_id));
                if conn.named_all && !conn.theirs.contains(space_id) && conn.offered.insert(*space_id) {
                    after.owed.push((*id, *space_id));
                }
            }
            if first && !conn.done_named {
                conn.done_named = true;
                after.outputs.push(Output::Control(*id, Frame::RulesDone));
            }
            for join in joins.values().filter(|join| !join.over) {
                if conn.asked_to_join.insert(join.space) {
                    after.outputs.push(Output::Control(*id, Frame::Join(join.frame(contact))));
                }
            }
        }
    }

    /// Sends the rules entries of a space to peers that are owed them, as their control streams have room.
    fn owed_rules(&mut self, snapshot: &Snapshot, after: &mut After) -> Result<(), StoreError> {
        let Self { conns, spaces, .. } = self;
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

/// Watches for a session in which both have spoken, frontiers differ and nothing is on its way. What one believes of the
/// other is wrong then, and is stated anew on another connection. Whether its time has come.
fn watch(session: &mut Session, equal: bool, patience: &mut Duration, now: Now) -> bool {
    let moving = !session.lag.is_empty() || !session.in_flight.is_empty() || !session.resend.is_empty();
    if equal {
        *patience = STALL_WAIT_MIN;
    }
    if equal || moving || session.known.is_none() {
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
