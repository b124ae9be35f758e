//! Two chains of one feed: where they part is looked for by halving.

use std::collections::BTreeMap;

use tombolo_crdt::FeedId;
use tombolo_crdt::feed::Position;
use tombolo_transport::frame::{Frame, Probe};

use crate::chain::has_chain;
use crate::engine::peers::session::Session;
use crate::engine::peers::session::talk::Talk;
use crate::engine::space::Space;
use crate::outgoing::unless_damaged;
use crate::store::StoreError;

/// Chains that are probed at once in one session; more forks than that are one defect.
const PROBES_MAX: usize = 16;
/// Questions and answers about chains that are kept until the step ends.
const ASKED_MAX: usize = 256;

/// Chains that part.
#[derive(Debug, Default)]
pub(in crate::engine) struct Probing {
    /// By feed: the last position known to agree, the first known not to.
    bounds: BTreeMap<FeedId, (u64, u64)>,
    /// Questions and answers that have come.
    asked: Vec<Probe>,
}

impl Probing {
    /// Takes a question or an answer, if there is room for it.
    pub(in crate::engine) fn note(&mut self, probe: Probe) {
        if self.asked.len() < ASKED_MAX {
            self.asked.push(probe);
        }
    }

    /// Whether a feed rests in this session because its chains part.
    pub(in crate::engine) fn rests(&self, feed: FeedId) -> bool {
        self.bounds.contains_key(&feed)
    }

    /// Begins to look for where a feed parts, between two positions. Returns whether there is room for it.
    pub(in crate::engine) fn begin(&mut self, feed: FeedId, bounds: (u64, u64)) -> bool {
        debug_assert!(bounds.0 < bounds.1, "what agrees lies before what does not");
        let room = self.bounds.len() < PROBES_MAX;
        if room {
            self.bounds.insert(feed, bounds);
        }
        room
    }

    /// Where a feed is known to agree last and not to agree first.
    pub(in crate::engine) fn bounds(&self, feed: FeedId) -> Option<(u64, u64)> {
        self.bounds.get(&feed).copied()
    }

    /// Panics if more is kept than may be.
    pub(super) fn check_bounds(&self) {
        assert!(self.bounds.len() <= PROBES_MAX, "probes are bounded");
        assert!(self.asked.len() <= ASKED_MAX, "questions about chains are bounded");
    }
}

impl Talk<'_> {
    pub(super) fn same_chain(&self, space: &Space, position: &Position) -> Result<bool, StoreError> {
        let Some(feed) = space.feeds.get(&position.feed) else { return Ok(true) };
        if position.seq == 0 || feed.row.seq == position.seq {
            return Ok(position.seq == 0 || feed.row.chain == position.chain);
        }
        // Where nothing tells, ranges will.
        Ok(has_chain(self.reading, position.feed, position.seq, position.chain)?.unwrap_or(true))
    }

    /// The peer holds another chain: the feed rests in this session, and the place where the two part is looked for.
    pub(super) fn forked(&mut self, space: &Space, session: &mut Session, position: &Position) {
        // The word of one peer, and not signed: it binds this session only. Ranges that prove it bind the feed.
        if session.probing.begin(position.feed, (0, position.seq)) {
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
    pub(super) fn probes(&mut self, space: &Space, session: &mut Session) -> Result<(), StoreError> {
        for Probe { feed, seq, chain, .. } in std::mem::take(&mut session.probing.asked) {
            let settled = space.feeds.get(&feed).is_some_and(|known| known.row.seq >= seq && seq > 0);
            let Some(theirs) = chain else {
                let ours = if settled { unless_damaged(self.reading.entry_chain(feed, seq))? } else { None };
                self.send(Frame::Probe(Probe { space: space.id, feed, seq, chain: Some(ours) }));
                continue;
            };
            let Some((same, other)) = session.probing.bounds(feed) else { continue };
            if seq <= same || seq >= other {
                continue;
            }
            let agrees = match theirs.filter(|_| settled) {
                Some(theirs) => has_chain(self.reading, feed, seq, theirs)? == Some(true),
                None => false,
            };
            let bounds = if agrees { (seq, other) } else { (same, seq) };
            assert!(bounds.1 - bounds.0 < other - same, "each answer brings the place nearer where chains part");
            session.probing.bounds.insert(feed, bounds);
            self.ask(space, feed, bounds);
        }
        Ok(())
    }
}
