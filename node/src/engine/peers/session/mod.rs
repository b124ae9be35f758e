//! One space with one peer on one connection: what is known of the peer, and what was said to it.
//!
//! A session goes through phases ([`Phase`]): both tell their digests, where these differ they compare frontiers, then
//! each streams what the other lacks, for as long as the connection lives. Frames that arrive only change what is noted
//! here (`exchange.rs`); what has to be said follows from that and from what is durable ([`talk::Talk`]): digests and
//! frontiers ([`compare`]), entries (`transfer.rs`), acknowledgements ([`acknowledge`]), questions about chains that
//! part ([`probe`]).

pub(in crate::engine) mod acknowledge;
pub(in crate::engine) mod compare;
pub(in crate::engine) mod probe;
pub(in crate::engine) mod relay;
pub(in crate::engine) mod sending;
pub(in crate::engine) mod since;
pub(in crate::engine) mod talk;

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::{Digest, FeedId};
use tombolo_transport::frame::{FrontierPage, Summary};

use crate::engine::space::Space;
use crate::engine::space::known::Known;
use acknowledge::Answering;
use compare::{Learning, Telling};
use probe::Probing;
use relay::Relaying;
use sending::Sending;
use since::Since;

/// Pages of a frontier taken in one step; the peer sends the next when it is asked. 4,096 feeds each.
pub(in crate::engine) const PAGES_MAX: usize = 64;

/// How far a session has come.
#[derive(Debug, Default)]
pub(in crate::engine) enum Phase {
    /// The peer has not told its digests.
    #[default]
    Greeting,
    /// The peer's frontier is being read.
    Comparing(Comparing),
    /// How far the peer is, is known. It is sent what it lacks; in step when that is nothing.
    Streaming(Known),
}

/// A frontier that is being read.
#[derive(Debug, Default)]
pub(in crate::engine) struct Comparing {
    /// The peer was asked for all of it: its base is not known here.
    pub(in crate::engine) asked_all: bool,
    /// What has been read of it.
    pub(in crate::engine) learning: Learning,
}

/// What was told.
#[derive(Debug, Default)]
pub(in crate::engine) struct Said {
    /// The frontier in our summary.
    pub(in crate::engine) summary: Option<Digest>,
    /// The last frontier stated, and the state with it.
    pub(in crate::engine) stated: Option<(Digest, Digest)>,
    /// How far our frontier has been told.
    pub(in crate::engine) telling: Telling,
}

/// What was heard.
#[derive(Debug, Default)]
pub(in crate::engine) struct Heard {
    pub(in crate::engine) summary: Option<Summary>,
    /// The last frontier that the peer has stated, and the state with it.
    pub(in crate::engine) stated: Option<(Digest, Digest)>,
    /// That has come since it was compared.
    pub(in crate::engine) fresh: bool,
    /// Pages of the peer's frontier that came in this step.
    pub(in crate::engine) pages: Vec<FrontierPage>,
    /// Entries of ours that the peer refused.
    pub(in crate::engine) refused: u64,
}

/// One space with one peer on one connection.
#[derive(Debug, Default)]
pub(in crate::engine) struct Session {
    pub(in crate::engine) phase: Phase,
    pub(in crate::engine) said: Said,
    pub(in crate::engine) heard: Heard,
    pub(in crate::engine) sending: Sending,
    pub(in crate::engine) relaying: Relaying,
    pub(in crate::engine) answering: Answering,
    pub(in crate::engine) probing: Probing,
    /// What is being looked at to compare.
    pub(in crate::engine) since: Option<Since>,
    /// When the session was visited last, if it had to stop there: it goes on in the next step.
    pub(in crate::engine) goes_on: Option<Duration>,
    /// The last frontier that both have said to have.
    agreed: Option<Digest>,
    /// Both have the same frontier and different states.
    pub(in crate::engine) diverged: bool,
    /// How many news of the space the session has heard: what is known of the peer is relative to the frontier then.
    pub(in crate::engine) heard_of: u64,
    /// Since when there has been something that the peer does not have, milliseconds since 1970.
    pub(in crate::engine) behind_since: Option<u64>,
    /// When a session that neither moves nor agrees is begun anew.
    pub(in crate::engine) stalled_at: Option<Duration>,
    /// What the agenda has of it.
    pub(in crate::engine) entered: Option<(Duration, &'static str)>,
}

impl Session {
    /// A session whose transfer stream has room for so many bytes.
    pub(in crate::engine) fn with_room(room: usize) -> Self {
        Self { sending: Sending { room, ..Sending::default() }, ..Self::default() }
    }

    /// What is known of the peer, once its frontier has been read.
    pub(in crate::engine) fn known(&self) -> Option<&Known> {
        match &self.phase {
            Phase::Streaming(known) => Some(known),
            Phase::Greeting | Phase::Comparing(_) => None,
        }
    }

    /// How far the peer is settled in `feed`; 0 until that is known.
    pub(in crate::engine) fn settled(&self, space: &Space, feed: FeedId) -> u64 {
        let as_here = || space.settled_when(feed, self.heard_of);
        self.known().map_or(0, |known| known.of(feed).unwrap_or_else(as_here))
    }

    /// The last entry of `feed` that the peer has or that is on its way to it.
    pub(in crate::engine) fn reached(&self, space: &Space, feed: FeedId) -> u64 {
        self.settled(space, feed).max(self.sending.cursor.get(&feed).copied().unwrap_or(0))
    }

    /// How many entries settled here the peer has not acknowledged; `None`: not known yet. O(feeds that differ).
    pub(in crate::engine) fn behind(&self, space: &Space) -> Option<u64> {
        let known = self.known()?;
        let unheard: BTreeSet<FeedId> = space.news.since(self.heard_of).map(|news| news.feed).collect();
        let lacks = |feed| space.frontier.seq(feed).saturating_sub(self.settled(space, feed));
        let unheard = unheard.into_iter().filter(|feed| known.of(*feed).is_none()).map(lacks);
        Some(known.lacking(&space.frontier, |_| true) + unheard.sum::<u64>())
    }

    /// Notes that the peer has `feed` up to `seq`; whether that is more than was known. Of feeds that are not known
    /// here nothing could be sent: what the peer says of them takes no memory.
    pub(in crate::engine) fn learn(&mut self, space: &Space, feed: FeedId, seq: u64) -> bool {
        if !space.feeds.contains_key(&feed) {
            return false;
        }
        if let Phase::Comparing(comparing) = &mut self.phase {
            comparing.learning.learn(feed, seq, space.settled_when(feed, self.heard_of));
        }
        if seq <= self.settled(space, feed) {
            return false;
        }
        let Phase::Streaming(known) = &mut self.phase else { return false };
        let ours = space.settled_when(feed, self.heard_of);
        known.set(feed, seq, ours);
        self.sending.arrived(feed, seq);
        true
    }

    /// Hears which feeds have moved here, and returns them. O(news that it has not heard).
    pub(in crate::engine) fn hear(&mut self, space: &Space) -> BTreeSet<FeedId> {
        let mut moved = BTreeSet::new();
        for news in space.news.since(self.heard_of) {
            if let Some(since) = &mut self.since {
                since.moved_here(news.feed, news.from);
            }
            match &mut self.phase {
                Phase::Streaming(known) => known.moved_here(news.feed, news.from),
                Phase::Comparing(comparing) => comparing.learning.moved_here(news.feed, news.from),
                Phase::Greeting => {}
            }
            moved.insert(news.feed);
        }
        self.heard_of = space.news.total();
        if let Phase::Streaming(known) = &mut self.phase {
            moved.iter().for_each(|feed| known.settle(*feed, space.frontier.seq(*feed)));
        }
        moved
    }

    /// Forgets what is known of the peer: nothing is claimed of it and nothing sent until the connection ends.
    pub(in crate::engine) fn forget(&mut self, space: &Space) {
        let (entered, heard_of) = (self.entered, space.news.total());
        *self = Self { entered, heard_of, ..Self::default() };
    }

    /// Ends the session: what is known of the peer relative to the frontier of this moment.
    pub(in crate::engine) fn part(mut self, space: &Space) -> Option<Known> {
        debug_assert!(space.moves.is_empty(), "all that moved is told");
        self.hear(space);
        match self.phase {
            Phase::Streaming(known) => Some(known),
            Phase::Greeting | Phase::Comparing(_) => None,
        }
    }

    /// Notes that both have the frontier `digest`. The feeds that the peer was not known to have; `None`: nothing was
    /// known of it.
    pub(in crate::engine) fn agree(&mut self, digest: Digest, diverged: bool) -> Option<Known> {
        self.agreed = Some(digest);
        self.diverged = diverged;
        self.behind_since = None;
        match std::mem::replace(&mut self.phase, Phase::Streaming(Known::default())) {
            Phase::Streaming(known) => Some(known),
            Phase::Greeting | Phase::Comparing(_) => None,
        }
    }

    /// Whether the peer has said to have what this node has; it may be ahead by now. Hashes the frontier only if
    /// nothing else tells.
    pub(in crate::engine) fn is_in_step(&self, space: &Space) -> bool {
        self.known().is_some() && self.may_be_equal(space) && self.agreed == Some(space.frontier_digest())
    }

    /// Whether the peer may have what this node has: it is not known to lack anything. What it was sent, and what it
    /// sent, it may hold without having settled it. O(feeds that differ).
    fn may_be_equal(&self, space: &Space) -> bool {
        let ahead = |(feed, theirs): (FeedId, u64)| theirs > space.frontier.seq(feed);
        self.known().is_none_or(|known| known.iter().all(ahead))
    }

    /// When it has to be looked at although nothing happens in it, and why.
    pub(in crate::engine) fn next_moment(&self) -> Option<(Duration, &'static str)> {
        let have = self.answering.at.filter(|_| self.heard.summary.is_some()).map(|at| (at, "have"));
        let relay = self.relaying.first().map(|at| (at, "relay"));
        let resend = self.sending.resend.values().min().map(|at| (*at, "resend"));
        let stalled = self.stalled_at.map(|at| (at, "stalled"));
        let goes_on = self.goes_on.map(|at| (at, "comparing"));
        [have, relay, resend, stalled, goes_on].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Panics if something that grows with what the peer says is beyond its bound. O(1).
    pub(in crate::engine) fn check_bounds(&self, space: &Space) {
        let feeds = space.feeds.len();
        assert!(self.heard.pages.len() <= PAGES_MAX, "pages of a frontier that wait are bounded");
        assert!(self.known().is_none_or(|known| known.len() <= feeds), "only of feeds known here anything is kept");
        assert!(self.sending.cursor.len() <= feeds, "only feeds known here are sent");
        assert!(self.heard_of <= space.news.total(), "nobody hears what has not happened");
        self.probing.check_bounds();
        assert!(self.since.as_ref().is_none_or(|since| since.len() <= feeds), "only feeds known here have moved");
        if let Phase::Comparing(comparing) = &self.phase {
            assert!(comparing.learning.len() <= feeds, "only of feeds known here anything is learnt");
        }
    }
}
