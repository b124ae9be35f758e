//! Comparing: digests first, then frontiers as far as they may differ.
//!
//! A frontier is told on top of a state that both remember if that takes one page; else all of it, page by page, each
//! when the peer has taken the one before and asks for the next. So a frontier never fills a control stream, and of one
//! that is read only the difference to our own is kept.

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::feed::Position;
use tombolo_crdt::{Digest, FeedId};
use tombolo_transport::frame::{FRONTIER_PAGE_MAX, Frame, FrontierPage, Summary};

use crate::engine::peers::session::sending::lagging;
use crate::engine::peers::session::talk::Talk;
use crate::engine::peers::session::{Comparing, Phase, Session};
use crate::engine::space::Space;
use crate::engine::space::known::Known;
use crate::store::StoreError;

/// How far our frontier has been told.
#[derive(Debug, Default)]
pub(in crate::engine) enum Telling {
    /// Not at all.
    #[default]
    Untold,
    /// All of it, page by page.
    Pages {
        /// The last feed that was told.
        last: Option<FeedId>,
        /// The next page is asked for.
        asked: bool,
    },
    /// To its end.
    Told,
}

impl Telling {
    /// The peer asks for the next page, or for all of a frontier that was told otherwise.
    pub(in crate::engine) fn ask(&mut self) {
        match self {
            Self::Pages { asked, .. } => *asked = true,
            Self::Untold | Self::Told => *self = Self::Pages { last: None, asked: true },
        }
    }
}

/// How far a peer is that has a certain frontier.
enum Stand {
    Known(Known),
    /// This frontier is not remembered.
    Unknown,
    /// The step has looked at enough: the next one tells.
    Later,
}

/// A whole frontier that is being read: the peer's, as difference to ours, up to a feed.
#[derive(Debug, Default)]
pub(in crate::engine) struct Learning {
    /// Feeds up to this one have been read.
    upto: Option<FeedId>,
    known: Known,
}

impl Learning {
    /// The peer said meanwhile that it has `feed` up to `seq`. What has not been read yet will tell it.
    pub(super) fn learn(&mut self, feed: FeedId, seq: u64, ours: u64) {
        if Some(feed) <= self.upto && seq > self.known.of(feed).unwrap_or(ours) {
            self.known.set(feed, seq, ours);
        }
    }

    /// A feed moved here meanwhile, from `from` on.
    pub(super) fn moved_here(&mut self, feed: FeedId, from: u64) {
        if Some(feed) <= self.upto {
            self.known.moved_here(feed, from);
        }
    }

    /// How many feeds are kept.
    pub(in crate::engine) fn len(&self) -> usize {
        self.known.len()
    }

    /// Reads a page: whatever of ours lies in it and is not named, the peer has not. Whether its feeds ascend.
    fn read(&mut self, space: &Space, page: &FrontierPage) -> bool {
        let ascends = page.positions.is_sorted_by(|one, next| one.feed < next.feed);
        let after = page.positions.first().is_none_or(|first| Some(first.feed) > self.upto);
        if !ascends || !after || (page.positions.is_empty() && !page.last) {
            return false;
        }
        let end = page.positions.last().map(|last| last.feed).filter(|_| !page.last);
        let ours = space.frontier.positions_after(self.upto);
        for position in ours.take_while(|position| end.is_none_or(|end| position.feed <= end)) {
            self.known.set(position.feed, 0, position.seq);
        }
        for position in &page.positions {
            note(&mut self.known, space, position);
        }
        self.upto = end;
        true
    }
}

/// Notes where the peer is in a feed, if the feed is known here.
fn note(known: &mut Known, space: &Space, position: &Position) {
    if space.feeds.contains_key(&position.feed) {
        known.set(position.feed, position.seq, space.frontier.seq(position.feed));
    }
}

impl Talk<'_> {
    /// Tells our digests, once; whether it did.
    pub(super) fn summary(&mut self, space: &mut Space, session: &mut Session) -> bool {
        if session.said.summary.is_some() {
            return false;
        }
        let frontier = space.frontier_digest();
        let (state, journal) = (space.state_digest(), space.row.journal);
        let frozen = space.care.frozen().len() as u64;
        let memory = space.memory.entry(self.peer).or_default();
        let common = memory.common().map(|(digest, _)| digest);
        memory.told(frontier, journal);
        session.said.summary = Some(frontier);
        session.said.stated = Some((frontier, state));
        self.send(Frame::Summary(Summary { space: space.id, frontier, state, frozen, common }));
        true
    }

    /// Whether both are equal, by what the peer has stated last. Says so if the peer cannot know. The frontier is
    /// hashed only where it may be equal: the peer has stated another since, or is not known to differ.
    pub(super) fn compare(&mut self, space: &mut Space, session: &mut Session) {
        let may_be = session.heard.fresh || session.may_be_equal(space);
        session.heard.fresh = false;
        let frontier = match session.heard.stated {
            Some((theirs, state)) if may_be => Some((theirs, state)).filter(|_| theirs == space.frontier_digest()),
            _ => None,
        };
        if let Some((frontier, state)) = frontier {
            let ours = space.state_digest();
            if session.agreed != Some(frontier) {
                let journal = space.row.journal;
                space.memory.entry(self.peer).or_default().shared(frontier, journal);
            }
            self.agree(space, session, frontier, state != ours);
            if session.said.stated != Some((frontier, ours)) {
                session.answering.at.get_or_insert(self.now.mono + self.have_wait);
            }
        }
        session.diverged &= frontier.is_some();
        self.audit(space, session);
    }

    /// Both have one frontier: what the peer was not known to have it has.
    fn agree(&mut self, space: &Space, session: &mut Session, frontier: Digest, diverged: bool) {
        match session.agree(frontier, diverged) {
            Some(known) => self.acks.feeds(known.iter().map(|(feed, _)| feed)),
            None => self.acks.space(space.id),
        }
        let lag = &mut session.sending.lag;
        lag.clear();
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

    /// Tells our frontier where the summaries differ: on top of the newest state that the peer is known to remember, or
    /// the page of it that is asked for.
    pub(super) fn tell_frontier(&mut self, space: &mut Space, session: &mut Session) -> Result<(), StoreError> {
        let Some(theirs) = session.heard.summary.clone() else { return Ok(()) };
        if matches!(session.said.telling, Telling::Untold) {
            if session.said.summary == Some(theirs.frontier) {
                return self.begin_equal(space, session, &theirs);
            }
            let memory = space.memory.entry(self.peer).or_default();
            let known = |digest: Digest| memory.journal_of(digest).map(|journal| (digest, journal));
            match known(theirs.frontier).or_else(|| theirs.common.and_then(known)) {
                Some((digest, journal)) => {
                    let Some(moved) = self.moved_since(space, session, journal)? else { return Ok(()) };
                    session.said.telling = Telling::Told;
                    if moved.len() <= FRONTIER_PAGE_MAX {
                        let positions = moved.into_keys().filter_map(|feed| space.frontier.position(feed)).collect();
                        let base = Some(digest);
                        self.send(Frame::Frontier(FrontierPage { space: space.id, base, positions, last: true }));
                        return Ok(());
                    }
                    session.said.telling.ask();
                }
                None => session.said.telling.ask(),
            }
        }
        if let Telling::Pages { last, asked: true } = session.said.telling {
            let mut rest = space.frontier.positions_after(last);
            let positions: Vec<Position> = rest.by_ref().take(FRONTIER_PAGE_MAX).collect();
            *self.looked += positions.len() as u64;
            let end = positions.last().map(|position| position.feed);
            let over = rest.next().is_none();
            session.said.telling = if over { Telling::Told } else { Telling::Pages { last: end, asked: false } };
            self.send(Frame::Frontier(FrontierPage { space: space.id, base: None, positions, last: over }));
        }
        Ok(())
    }

    /// The summaries were equal: the peer lacks what moved since ours was told.
    fn begin_equal(&mut self, space: &mut Space, session: &mut Session, theirs: &Summary) -> Result<(), StoreError> {
        let (digest, state) = (theirs.frontier, space.state_digest());
        if session.known().is_some() && digest != space.frontier_digest() {
            // What is known came later than the summaries.
            session.said.telling = Telling::Told;
            return Ok(());
        }
        let mut known = match self.known_at(space, session, digest)? {
            Stand::Known(known) => known,
            Stand::Unknown => Known::nothing(&space.frontier),
            Stand::Later => return Ok(()),
        };
        session.said.telling = Telling::Told;
        if defect::is(Defect::EqualUnknown) {
            known = Known::nothing(&space.frontier);
        }
        let is_equal = digest == space.frontier_digest();
        self.begin_streaming(space, session, known);
        if is_equal && !defect::is(Defect::EqualUnknown) {
            self.agree(space, session, digest, theirs.state != state);
            let journal = space.row.journal;
            space.memory.entry(self.peer).or_default().shared(digest, journal);
        }
        Ok(())
    }

    /// How far a peer is that has the frontier `digest`.
    fn known_at(&mut self, space: &Space, session: &mut Session, digest: Digest) -> Result<Stand, StoreError> {
        if digest == space.frontier_digest() {
            return Ok(Stand::Known(Known::default()));
        }
        let Some(journal) = space.memory.get(&self.peer).and_then(|memory| memory.journal_of(digest)) else {
            return Ok(Stand::Unknown);
        };
        let Some(mut moved) = self.moved_since(space, session, journal)? else { return Ok(Stand::Later) };
        moved.retain(|feed, then| *then != space.frontier.seq(*feed));
        Ok(Stand::Known(Known::differing(moved)))
    }

    /// Reads the pages of the peer's frontier that have come.
    pub(super) fn learn_frontier(&mut self, space: &Space, session: &mut Session) -> Result<(), StoreError> {
        let mut pages = std::mem::take(&mut session.heard.pages).into_iter();
        while let Some(page) = pages.next() {
            if matches!(session.phase, Phase::Streaming(_)) {
                // What is known came later than this frontier was asked for.
                return Ok(());
            }
            if matches!(session.phase, Phase::Greeting) {
                session.phase = Phase::Comparing(Comparing::default());
            }
            self.learn_page(space, session, &page)?;
            if session.goes_on.is_some() {
                session.heard.pages = std::iter::once(page).chain(pages).collect();
                return Ok(());
            }
            *self.looked += page.positions.len() as u64;
        }
        Ok(())
    }

    /// Reads a page, unless the step has looked at enough.
    fn learn_page(&mut self, space: &Space, session: &mut Session, page: &FrontierPage) -> Result<(), StoreError> {
        let mut known = match page.base {
            // What is on top of a base takes one page.
            Some(_) if !page.last => return Ok(()),
            Some(digest) => match self.known_at(space, session, digest)? {
                Stand::Known(mut known) => {
                    page.positions.iter().for_each(|position| note(&mut known, space, position));
                    known
                }
                Stand::Unknown => {
                    self.ask_all(space, session);
                    return Ok(());
                }
                Stand::Later => return Ok(()),
            },
            None => {
                let Phase::Comparing(comparing) = &mut session.phase else { return Ok(()) };
                if !comparing.learning.read(space, page) {
                    comparing.learning = Learning::default();
                    return Ok(());
                }
                if !page.last {
                    self.send(Frame::FrontierRequest(space.id));
                }
                std::mem::take(&mut comparing.learning.known)
            }
        };
        for position in &page.positions {
            let ours = space.feeds.get(&position.feed).map_or(0, |feed| feed.row.seq);
            if ours >= position.seq && !self.same_chain(space, position)? {
                self.forked(space, session, position);
            }
        }
        if !page.last {
            if let Phase::Comparing(comparing) = &mut session.phase {
                comparing.learning.known = known;
            }
            return Ok(());
        }
        if defect::is(Defect::FrontierUnread) {
            known = Known::nothing(&space.frontier);
        }
        known.settle_all(&space.frontier);
        self.begin_streaming(space, session, known);
        Ok(())
    }

    /// Asks, once, for all of a frontier whose base is not known here.
    fn ask_all(&mut self, space: &Space, session: &mut Session) {
        if let Phase::Comparing(comparing) = &mut session.phase
            && !std::mem::replace(&mut comparing.asked_all, true)
        {
            self.send(Frame::FrontierRequest(space.id));
        }
    }

    /// How far the peer is, is known from now on.
    fn begin_streaming(&mut self, space: &Space, session: &mut Session, known: Known) {
        session.phase = Phase::Streaming(known);
        session.sending.lag.clear();
        for feed in lagging(space, session) {
            session.sending.lags(feed);
        }
        if !session.sending.lag.is_empty() {
            session.behind_since.get_or_insert(self.now.wall_millis);
        }
        self.acks.space(space.id);
    }
}
