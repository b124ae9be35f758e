//! The exchange: who says what to whom, after a commit. Compares digests, then frontiers, then acknowledges.
//!
//! Frames that arrive only change what is known of the peer ([`note`]); what has to be said follows from that and from
//! what is durable ([`Engine::exchange`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::feed::{FeedKind, Position};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{Digest, FeedId, SpaceId};
use tombolo_transport::frame::{
    FRONTIER_PAGE_MAX, FeedHave, Frame, FrontierPage, Have, Hello, PROTOCOL_VERSION, Summary,
};
use tombolo_transport::{Link, Which, keep};

use super::io::{ConnId, Now, Output};
use super::session::{Conn, PAGES_MAX, Session};
use super::space::Space;
use super::step::After;
use super::{Engine, transfer};
use crate::store::{Snapshot, StoreError};

/// Entries of others are relayed after this long, so that a peer that has them from their author can say so first.
const RELAY_DELAY: Duration = Duration::from_millis(5);
/// First wait before something dropped by the peer is sent again; doubles up to [`RESEND_WAIT_MAX`].
const RESEND_WAIT_MIN: Duration = Duration::from_millis(200);
/// Longest such wait.
const RESEND_WAIT_MAX: Duration = Duration::from_secs(30);
/// Most refusals reported in one frame.
const REFUSALS_MAX: usize = 4096;

/// The first frame on a connection.
pub(super) fn hello(contact: &Contact, process: [u8; 16], counter: u64, now: Now) -> Frame {
    Frame::Hello(Hello {
        version: PROTOCOL_VERSION,
        contact: contact.clone(),
        process,
        counter,
        wall_millis: now.wall_millis,
        ext: Vec::new(),
    })
}

/// Takes note of a frame. Nothing is answered here.
pub(super) fn note(conn: &mut Conn, frame: Frame, spaces: &mut BTreeMap<SpaceId, Space>, now: Now, after: &mut After) {
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
        Frame::Probe(_) | Frame::Bye(_) | Frame::RulesFrontier(..) => {}
        // Taken elsewhere: they carry entries, or need a transaction.
        Frame::Ranges(_) | Frame::RulesRanges(_) | Frame::Join(_) | Frame::JoinRefused(..) => {}
    }
}

/// Begins the session of a space that both sides have named.
fn begin(conn: &mut Conn, space: SpaceId) {
    if conn.ours.contains(&space) && conn.theirs.contains(&space) && !conn.sessions.contains_key(&space) {
        let room = conn.room.remove(&space).unwrap_or(0);
        conn.sessions.insert(space, Session { room, ..Session::default() });
    }
}

/// Most spaces a peer may name.
const SPACES_MAX: usize = 4096;

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

fn note_have(conn: &mut Conn, have: Have, spaces: &mut BTreeMap<SpaceId, Space>, now: Now, after: &mut After) {
    let Some(space) = spaces.get_mut(&have.space) else { return };
    let Some(session) = conn.sessions.get_mut(&have.space) else { return };
    after.acknowledged = true;
    let mut moved = false;
    for FeedHave { feed, settled, .. } in &have.feeds {
        moved |= session.known(*feed) < *settled;
        session.learn(*feed, *settled);
    }
    let held = |feed: FeedId, seq: u64| {
        let of_feed = have.feeds.iter().find(|have| have.feed == feed);
        of_feed.is_some_and(|have| have.held.iter().any(|(first, last)| (*first..=*last).contains(&seq)))
    };
    while let Some((number, carried)) = session.in_flight.front() {
        if *number > have.number {
            break;
        }
        for (feed, last) in carried.clone() {
            if session.known(feed) < last && !held(feed, last) {
                // Neither settled nor held: dropped there, so it is lacking and is sent again, after a while.
                let known = session.known(feed);
                session.cursor.insert(feed, known);
                session.lag.insert(feed);
                if session.resend_at.is_none() {
                    session.resend_wait = (session.resend_wait * 2).clamp(RESEND_WAIT_MIN, RESEND_WAIT_MAX);
                    session.resend_at = Some(now.mono + session.resend_wait);
                }
            }
        }
        session.in_flight.pop_front();
    }
    if moved {
        session.resend_wait = Duration::ZERO;
    }
    let (frontier, state) = (space.frontier_digest(), space.state_digest());
    if have.frontier == frontier {
        let news = session.agreed != Some(frontier);
        session.agree(frontier, have.state != state);
        session.answer_due |= news;
        let journal = space.row.journal;
        space.memory.entry(conn.peer).or_default().shared(frontier, journal);
    }
}

impl Engine {
    /// Everything that has to be said after a commit.
    pub(super) fn exchange(&mut self, now: Now, after: &mut After) {
        if after.introduce {
            self.settle_duplicates(after);
            self.introduce(after);
        }
        let snapshot = match self.store.reader().snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return tracing::error!(%error, "no snapshot; peers wait"),
        };
        if let Err(error) = self.owed_rules(&snapshot, after) {
            tracing::error!(%error, "rules could not be read");
        }
        let mut memory_moved = false;
        let Self { conns, spaces, .. } = self;
        for (id, conn) in conns.iter_mut() {
            let peer = conn.peer;
            for (space_id, session) in &mut conn.sessions {
                let Some(space) = spaces.get_mut(space_id) else { continue };
                let moved = after.moved.get(space_id);
                let mut talk = Talk { conn: *id, peer, now, snapshot: &snapshot, out: &mut after.outputs };
                match talk.session(space, session, moved) {
                    Ok(moved) => memory_moved |= moved,
                    Err(error) => {
                        tracing::error!(%error, space = %space_id, "an exchange failed");
                        after.outputs.push(Output::Close(*id, "the store failed".to_owned()));
                    }
                }
            }
        }
        if memory_moved {
            self.flush_memory_soon(now);
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
            self.conns.remove(&id);
            after.outputs.push(Output::Close(id, "another connection with this peer is kept".to_owned()));
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
                if conn.named_all && !conn.theirs.contains(space_id) && conn.offered.insert(*space_id) {
                    after.owed.push((*id, *space_id));
                }
            }
            if first && !conn.done_named {
                conn.done_named = true;
                after.outputs.push(Output::Control(*id, Frame::RulesDone));
            }
            for join in joins.values().filter(|join| join.refused.is_none()) {
                if conn.asked_to_join.insert(join.space) {
                    after.outputs.push(Output::Control(*id, Frame::Join(join.frame(contact))));
                }
            }
        }
    }

    /// Sends all rules entries of a space to peers that are owed them.
    fn owed_rules(&mut self, snapshot: &Snapshot, after: &mut After) -> Result<(), StoreError> {
        let mut owed = std::mem::take(&mut after.owed);
        owed.sort_unstable();
        owed.dedup();
        for (conn, id) in owed {
            let Some(space) = self.spaces.get(&id) else { continue };
            if self.conns.contains_key(&conn) {
                let frames = transfer::rules_offer(space, snapshot)?;
                after.outputs.extend(frames.into_iter().map(|frame| Output::Control(conn, frame)));
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

/// One session after a commit.
struct Talk<'a> {
    conn: ConnId,
    peer: tombolo_crdt::NodeId,
    now: Now,
    snapshot: &'a Snapshot,
    out: &'a mut Vec<Output>,
}

impl Talk<'_> {
    /// Says what has to be said in one session; whether what is remembered of the peer changed.
    fn session(
        &mut self,
        space: &mut Space,
        session: &mut Session,
        moved: Option<&BTreeSet<FeedId>>,
    ) -> Result<bool, StoreError> {
        let mut remembered = self.summary(space, session);
        session.equal = session.agreed == Some(space.frontier_digest());
        session.diverged &= session.equal;
        self.frontier(space, session)?;
        self.learn_frontier(space, session)?;
        if let Some(moved) = moved {
            self.moved(space, session, moved);
        }
        if session.resend_at.is_some_and(|at| at <= self.now.mono) {
            session.resend_at = None;
        }
        transfer::pump(space, session, self.now, self.conn, self.snapshot, self.out)?;
        remembered |= self.have(space, session);
        if !session.refusals.is_empty() {
            let mut refusals = std::mem::take(&mut session.refusals);
            refusals.truncate(REFUSALS_MAX);
            self.send(Frame::Refused(space.id, refusals));
        }
        Ok(remembered)
    }

    fn send(&mut self, frame: Frame) {
        self.out.push(Output::Control(self.conn, frame));
    }

    /// Tells our digests, once, and compares when both are known.
    fn summary(&mut self, space: &mut Space, session: &mut Session) -> bool {
        if session.told.is_some() {
            return false;
        }
        let frontier = space.frontier_digest();
        let (state, poisoned, journal) = (space.state_digest(), space.row.poisoned, space.row.journal);
        let memory = space.memory.entry(self.peer).or_default();
        let common = memory.common().map(|(digest, _)| digest);
        memory.told(frontier, journal);
        session.told = Some(frontier);
        self.send(Frame::Summary(Summary { space: space.id, frontier, state, poisoned, common }));
        true
    }

    /// Tells our frontier where the summaries differ: on top of the newest state that the peer is known to remember.
    fn frontier(&mut self, space: &mut Space, session: &mut Session) -> Result<(), StoreError> {
        let Some(theirs) = &session.summary else { return Ok(()) };
        if session.frontier_told {
            return Ok(());
        }
        session.frontier_told = true;
        let told = session.told;
        if told == Some(theirs.frontier) && !session.want_all {
            let state = space.state_digest();
            let moved_since = space.frontier_digest() != theirs.frontier;
            let known = self.positions_at(space, theirs.frontier)?.unwrap_or_default();
            session.known = Some(known);
            let (digest, diverged) = (theirs.frontier, theirs.state != state);
            if !moved_since {
                session.agree(digest, diverged);
                let journal = space.row.journal;
                space.memory.entry(self.peer).or_default().shared(digest, journal);
            } else {
                session.lag = lagging(space, session);
            }
            return Ok(());
        }
        let memory = space.memory.entry(self.peer).or_default();
        let known = |digest: Digest| memory.journal_of(digest).map(|journal| (digest, journal));
        let base = known(theirs.frontier).or_else(|| theirs.common.and_then(known)).filter(|_| !session.want_all);
        let mut positions: Vec<Position> = match base {
            None => space.frontier.positions().collect(),
            Some((_, journal)) => self.moved_since(space, journal)?,
        };
        loop {
            let rest = positions.split_off(positions.len().min(FRONTIER_PAGE_MAX));
            let (base, last) = (base.map(|(digest, _)| digest), rest.is_empty());
            self.send(Frame::Frontier(FrontierPage { space: space.id, base, positions, last }));
            if last {
                return Ok(());
            }
            positions = rest;
        }
    }

    /// Feeds that moved after a journal position, as they are now.
    fn moved_since(&self, space: &Space, journal: u64) -> Result<Vec<Position>, StoreError> {
        let mut moved = Vec::new();
        for position in space.frontier.positions() {
            if self.snapshot.entry_journal(position.feed, position.seq)?.is_some_and(|at| at > journal) {
                moved.push(position);
            }
        }
        Ok(moved)
    }

    /// Positions of all feeds when the frontier had this digest, if it is remembered.
    fn positions_at(&self, space: &Space, digest: Digest) -> Result<Option<BTreeMap<FeedId, u64>>, StoreError> {
        let Some(journal) = space.memory.get(&self.peer).and_then(|memory| memory.journal_of(digest)) else {
            return Ok(None);
        };
        let mut known = BTreeMap::new();
        for position in space.frontier.positions() {
            known.insert(position.feed, transfer::seq_at(self.snapshot, position, journal)?);
        }
        Ok(Some(known))
    }

    /// Takes the peer's frontier once all of it has come.
    fn learn_frontier(&mut self, space: &mut Space, session: &mut Session) -> Result<(), StoreError> {
        if !session.pages_done || session.pages.is_empty() {
            return Ok(());
        }
        session.pages_done = false;
        let pages = std::mem::take(&mut session.pages);
        let base = pages.first().and_then(|page| page.base);
        let mut known = match base {
            None => BTreeMap::new(),
            Some(digest) => match self.positions_at(space, digest)? {
                Some(known) => known,
                None if !session.asked_all => {
                    session.asked_all = true;
                    self.send(Frame::FrontierRequest(space.id));
                    return Ok(());
                }
                None => return Ok(()),
            },
        };
        for position in pages.iter().flat_map(|page| &page.positions) {
            known.insert(position.feed, position.seq);
            let ours = space.feeds.get(&position.feed).map_or(0, |feed| feed.row.seq);
            if ours >= position.seq
                && !self.same_chain(space, position)?
                && let Some(feed) = space.feeds.get_mut(&position.feed)
            {
                feed.fork.get_or_insert(position.seq);
            }
        }
        if let Some(before) = &session.known {
            for (feed, seq) in before {
                let at = known.entry(*feed).or_default();
                *at = (*at).max(*seq);
            }
        }
        session.known = Some(known);
        session.lag = lagging(space, session);
        Ok(())
    }

    fn same_chain(&self, space: &Space, position: &Position) -> Result<bool, StoreError> {
        let Some(feed) = space.feeds.get(&position.feed) else { return Ok(true) };
        let ours = if feed.row.seq == position.seq {
            Some(feed.row.chain)
        } else {
            self.snapshot.entry(position.feed, position.seq)?.map(|row| row.chain)
        };
        Ok(position.seq == 0 || ours.is_none_or(|chain| chain == position.chain))
    }

    /// Feeds moved here: the peer may lack them, and is told that we hold them.
    fn moved(&mut self, space: &Space, session: &mut Session, moved: &BTreeSet<FeedId>) {
        for feed in moved {
            let own = *feed == space.own_data.feed() || *feed == space.own_rules.feed();
            if !own {
                session.have_due.insert(*feed);
            }
            if session.known.is_some() && space.frontier.seq(*feed) > session.reached(*feed) {
                if !own && session.lag.is_empty() && session.relay_at.is_none() {
                    session.relay_at = Some(self.now.mono + RELAY_DELAY);
                }
                session.lag.insert(*feed);
                session.behind_since.get_or_insert(self.now.wall_millis);
            }
        }
    }

    /// Acknowledges what has become durable.
    fn have(&mut self, space: &mut Space, session: &mut Session) -> bool {
        let speaks = session.summary.is_some() && (session.answer_due || !session.have_due.is_empty());
        if !speaks {
            return false;
        }
        session.answer_due = false;
        let feeds: Vec<FeedHave> = std::mem::take(&mut session.have_due)
            .into_iter()
            .map(|feed| FeedHave { feed, settled: space.frontier.seq(feed), held: space.held.runs(feed) })
            .collect();
        let (frontier, state) = (space.frontier_digest(), space.state_digest());
        let journal = space.row.journal;
        space.memory.entry(self.peer).or_default().told(frontier, journal);
        self.send(Frame::Have(Have { space: space.id, number: session.taken, feeds, frontier, state }));
        true
    }
}

/// Feeds of which the peer lacks something that can be sent.
fn lagging(space: &Space, session: &Session) -> BTreeSet<FeedId> {
    space.lacking(&|feed| session.reached(feed)).into_iter().map(|(feed, _)| feed).collect()
}
