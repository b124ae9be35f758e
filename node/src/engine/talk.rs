//! One session after a commit: what has to be said to one peer about one space.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::feed::Position;
use tombolo_crdt::{Digest, FeedId, NodeId};
use tombolo_transport::frame::{FRONTIER_PAGE_MAX, FeedHave, Frame, FrontierPage, Have, Probe, Summary};

use super::io::{ConnId, Now, Output};
use super::judge::has_chain;
use super::news::Moved;
use super::session::{PROBES_MAX, Session};
use super::space::Space;
use super::transfer::{self, unless_damaged};
use crate::store::{Snapshot, StoreError};

/// Most refusals reported in one frame.
const REFUSALS_MAX: usize = 4096;
/// Feeds named in one acknowledgement (with their runs at most 700 bytes each).
const HAVE_FEEDS_MAX: usize = 1024;
/// Runs of held entries named per feed (at most 20 bytes each).
const HELD_RUNS_MAX: usize = 32;

/// One session after a commit.
pub(super) struct Talk<'a> {
    pub(super) conn: ConnId,
    pub(super) peer: NodeId,
    pub(super) now: Now,
    /// How long an acknowledgement waits that nobody waits for.
    pub(super) have_wait: Duration,
    pub(super) snapshot: &'a Snapshot,
    pub(super) out: &'a mut Vec<Output>,
}

impl Talk<'_> {
    /// Says what has to be said in one session; whether what is remembered of the peer changed.
    pub(super) fn session(&mut self, space: &mut Space, session: &mut Session) -> Result<bool, StoreError> {
        let mut remembered = self.summary(space, session);
        self.compare(space, session);
        self.frontier(space, session)?;
        self.learn_frontier(space, session)?;
        self.moved(space, session);
        session.resend.retain(|_, at| *at > self.now.mono);
        transfer::pump(space, session, self.now, self.conn, self.snapshot, self.out)?;
        remembered |= self.have(space, session);
        self.probes(space, session)?;
        if !session.refusals.is_empty() {
            let mut refusals = std::mem::take(&mut session.refusals);
            refusals.truncate(REFUSALS_MAX);
            self.send(Frame::Refused(space.id, refusals));
        }
        Ok(remembered)
    }

    /// Whether both are equal, by what the peer has stated last. Says so if the peer cannot know.
    fn compare(&mut self, space: &mut Space, session: &mut Session) {
        let frontier = space.frontier_digest();
        if let Some((_, state)) = session.heard.filter(|(theirs, _)| *theirs == frontier) {
            let news = session.agreed != Some(frontier);
            session.agree(frontier, state != space.state_digest());
            if news {
                let journal = space.row.journal;
                space.memory.entry(self.peer).or_default().shared(frontier, journal);
            }
            if session.stated != Some(frontier) || session.stated_state != Some(space.state_digest()) {
                session.have_at.get_or_insert(self.now.mono + self.have_wait);
            }
        }
        session.diverged &= session.equal(frontier);
        self.audit(space, session);
    }

    /// Where both have settled the same and hold different states, the entities that differ are looked for.
    fn audit(&mut self, space: &mut Space, session: &Session) {
        if session.diverged {
            let frontier = space.frontier_digest();
            space.care.audit.ask(self.peer, frontier, self.now.mono);
            space.care.hurry();
        } else {
            space.care.agreed(self.peer);
        }
        for frame in space.care.audit.outgoing(self.peer) {
            self.send(frame);
        }
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
        let (state, journal) = (space.state_digest(), space.row.journal);
        let poisoned = space.care.frozen().len() as u64;
        let memory = space.memory.entry(self.peer).or_default();
        let common = memory.common().map(|(digest, _)| digest);
        memory.told(frontier, journal);
        session.told = Some(frontier);
        session.stated = Some(frontier);
        session.stated_state = Some(state);
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
            if defect::is(Defect::EqualUnknown) {
                session.known = Some(BTreeMap::new());
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

    /// Feeds that moved after a journal position, as they are now. One of which that cannot be read is told too: it costs
    /// some bytes, no more.
    fn moved_since(&self, space: &Space, journal: u64) -> Result<Vec<Position>, StoreError> {
        let mut moved = Vec::new();
        for position in space.frontier.positions() {
            let at = match self.snapshot.entry_journal(position.feed, position.seq) {
                Err(StoreError::Corrupt { .. }) => Some(u64::MAX),
                at => at?,
            };
            if at.is_some_and(|at| at > journal) {
                moved.push(position);
            }
        }
        Ok(moved)
    }

    /// Positions of all feeds when the frontier had this digest, if it is remembered.
    fn positions_at(&self, space: &Space, digest: Digest) -> Result<Option<BTreeMap<FeedId, u64>>, StoreError> {
        if digest == space.frontier_digest() {
            return Ok(Some(space.frontier.positions().map(|position| (position.feed, position.seq)).collect()));
        }
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
            if ours >= position.seq && !self.same_chain(space, position)? {
                self.forked(space, session, position);
            }
        }
        if let Some(before) = &session.known {
            for (feed, seq) in before {
                let at = known.entry(*feed).or_default();
                *at = (*at).max(*seq);
            }
        }
        if defect::is(Defect::FrontierUnread) {
            known.clear();
        }
        session.known = Some(known);
        session.lag = lagging(space, session);
        Ok(())
    }

    fn same_chain(&self, space: &Space, position: &Position) -> Result<bool, StoreError> {
        let Some(feed) = space.feeds.get(&position.feed) else { return Ok(true) };
        if position.seq == 0 || feed.row.seq == position.seq {
            return Ok(position.seq == 0 || feed.row.chain == position.chain);
        }
        // Where nothing tells, ranges will.
        Ok(has_chain(self.snapshot, position.feed, position.seq, position.chain)?.unwrap_or(true))
    }

    /// The peer holds another chain: the feed rests in this session, and the place where the two part is looked for.
    fn forked(&mut self, space: &Space, session: &mut Session, position: &Position) {
        // The word of one peer, and not signed: it binds this session only. Ranges that prove it bind the feed.
        if session.probes.len() < PROBES_MAX {
            session.probes.insert(position.feed, (0, position.seq));
            self.ask(space, position.feed, (0, position.seq));
        }
    }

    /// Asks for the chain in the middle between where both agree and where they do not.
    fn ask(&mut self, space: &Space, feed: FeedId, (same, other): (u64, u64)) {
        if other - same > 1 {
            let seq = same + (other - same) / 2;
            self.send(Frame::Probe(Probe { space: space.id, feed, seq, chain: None }));
        }
    }

    /// Answers the peer's questions about chains, and goes on with ours.
    fn probes(&mut self, space: &Space, session: &mut Session) -> Result<(), StoreError> {
        for Probe { feed, seq, chain, .. } in std::mem::take(&mut session.asked) {
            let settled = space.feeds.get(&feed).is_some_and(|known| known.row.seq >= seq && seq > 0);
            let Some(theirs) = chain else {
                let ours = if settled { unless_damaged(self.snapshot.entry_chain(feed, seq))? } else { None };
                self.send(Frame::Probe(Probe { space: space.id, feed, seq, chain: Some(ours) }));
                continue;
            };
            let Some((same, other)) = session.probes.get(&feed).copied() else { continue };
            if seq <= same || seq >= other {
                continue;
            }
            let agrees = match theirs.filter(|_| settled) {
                Some(theirs) => has_chain(self.snapshot, feed, seq, theirs)? == Some(true),
                None => false,
            };
            let bounds = if agrees { (seq, other) } else { (same, seq) };
            session.probes.insert(feed, bounds);
            self.ask(space, feed, bounds);
        }
        Ok(())
    }

    /// Feeds moved here: the peer may lack them, and is told that we hold them.
    fn moved(&mut self, space: &Space, session: &mut Session) {
        let mut heard_of = session.heard_of;
        for Moved { feed, at, wall_millis } in space.news.hear(&mut heard_of) {
            let own = feed == space.own_data_feed || feed == space.own_rules_feed;
            if !own {
                session.have_due.insert(feed);
                session.have_at.get_or_insert(at + self.have_wait);
            }
            if session.known.is_some() && !session.probes.contains_key(&feed) && behind(space, session, feed) {
                if session.lag.insert(feed) && !own {
                    session.relay.insert(feed, at + session.relay_wait(feed, self.have_wait));
                }
                session.behind_since.get_or_insert(wall_millis);
            }
        }
        session.heard_of = heard_of;
    }

    /// Acknowledges what has become durable.
    fn have(&mut self, space: &mut Space, session: &mut Session) -> bool {
        let due = session.answer_due || session.have_at.is_some_and(|at| at <= self.now.mono);
        if session.summary.is_none() || !due {
            return false;
        }
        session.answer_due = false;
        session.have_at = None;
        let due = std::mem::take(&mut session.have_due);
        if session.taken > 16 && defect::is(Defect::AcknowledgementLost) {
            return false;
        }
        let feeds: Vec<FeedHave> = due
            .into_iter()
            .map(|feed| {
                // Naming fewer runs than are held costs bytes, nothing else.
                let mut held = space.held.runs(feed);
                held.truncate(HELD_RUNS_MAX);
                FeedHave { feed, settled: space.frontier.seq(feed), held }
            })
            .collect();
        let (frontier, state) = (space.frontier_digest(), space.state_digest());
        let journal = space.row.journal;
        space.memory.entry(self.peer).or_default().told(frontier, journal);
        session.stated = Some(frontier);
        session.stated_state = Some(state);
        let (space, number) = (space.id, session.taken);
        // The number goes with the last frame: it says that all it carried is accounted for.
        let mut rest = feeds.chunks(HAVE_FEEDS_MAX).peekable();
        while let Some(feeds) = rest.next() {
            let number = if rest.peek().is_some() { 0 } else { number };
            self.send(Frame::Have(Have { space, number, feeds: feeds.to_vec(), frontier, state }));
        }
        if feeds.is_empty() {
            self.send(Frame::Have(Have { space, number, feeds, frontier, state }));
        }
        true
    }
}

/// Feeds of which the peer lacks something that can be sent.
fn lagging(space: &Space, session: &Session) -> BTreeSet<FeedId> {
    let lacking = space.lacking(&|feed| session.reached(feed)).into_iter().map(|(feed, _)| feed);
    lacking.filter(|feed| !session.probes.contains_key(feed)).collect()
}

/// Whether the peer lacks something of a feed that does not fork.
fn behind(space: &Space, session: &Session, feed: FeedId) -> bool {
    let sound = space.feeds.get(&feed).is_some_and(|known| known.fork.is_none());
    sound && space.frontier.seq(feed) > session.reached(feed)
}
