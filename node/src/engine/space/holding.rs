//! Entries that wait: kept above the frontier on disk, and tried again when what they wait for may have come.

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entry::Content;
use tombolo_crdt::feed::{Position, chain};
use tombolo_crdt::verdict::Wait;

use crate::engine::Work;
use crate::engine::space::settle::{Candidate, Taken};
use crate::engine::space::{Feed, Space};
use crate::store::{HeldRow, StoreError};

/// What a feed of which nothing is settled takes beside its opening, in memory and in the store: some 400 bytes.
const FEED_BYTES: usize = 400;

impl Work<'_> {
    /// Settles what was held and can be settled now, and what that sets free, as long as the step has work left. What
    /// is left over stays on the work list.
    pub(in crate::engine) fn drain_held(&mut self, space: &mut Space, taken: &mut Taken) -> Result<(), StoreError> {
        while let Some(id) = space.held.next() {
            if self.budget.is_spent() {
                space.held.wake(id);
                break;
            }
            self.budget.begin();
            self.budget.feed();
            while let Some(mut candidate) = self.next_held(space, id)? {
                let seq = candidate.seq;
                match self.settle(space, &mut candidate, taken)? {
                    Some(wait) => {
                        space.held.block(id, wait);
                        break;
                    }
                    None => self.drop_held(space, id, seq)?,
                }
                if self.budget.is_spent() {
                    space.held.wake(id);
                    break;
                }
                self.budget.begin();
            }
        }
        self.undrained |= !space.held.is_idle();
        Ok(())
    }

    /// The held entry right after the settled ones of a feed. Entries that do not continue the chain, or that have
    /// been settled meanwhile, are dropped.
    fn next_held(&mut self, space: &mut Space, id: FeedId) -> Result<Option<Candidate>, StoreError> {
        while let Some((seq, _)) = space.held.of(id) {
            let next = space.frontier.seq(id) + 1;
            if seq > next {
                space.held.block(id, Wait::Entry(id, seq - 1));
                return Ok(None);
            }
            let row = match self.batch.held_entry(id, seq) {
                // Dropping is always allowed: it comes again.
                Err(StoreError::Corrupt { .. }) => None,
                row => row?,
            };
            let Some((row, feed)) = row.filter(|_| seq == next).zip(space.feeds.get(&id)) else {
                self.drop_held(space, id, seq)?;
                continue;
            };
            if chain(id, seq, feed.row.chain, &row.bytes) != row.chain {
                self.drop_held(space, id, seq)?;
                continue;
            }
            let Ok(content) = Content::decode(&row.bytes, feed.opening.kind, seq) else {
                self.drop_held(space, id, seq)?;
                continue;
            };
            let HeldRow { bytes, chain, seal } = row;
            return Ok(Some(Candidate { feed: id, seq, chain, bytes, content, changes: Vec::new(), seal }));
        }
        Ok(None)
    }

    /// Keeps an entry that waits. If there is no room for all that wait, what [`surplus`] says is dropped.
    ///
    /// [`surplus`]: crate::engine::space::held::Held::surplus
    pub(in crate::engine) fn hold(
        &mut self,
        space: &mut Space,
        candidate: Candidate,
        wait: Wait,
    ) -> Result<(), StoreError> {
        let Candidate { feed: id, seq, chain, bytes, seal, .. } = candidate;
        self.budget.held(bytes.len());
        let Some(feed) = space.feeds.get(&id) else { return Ok(()) };
        let is_first = space.held.of(id).is_none_or(|(first, _)| seq < first);
        space.held.insert(id, seq, bytes.len(), opening_bytes(feed));
        space.feed_changed(id); // an unknown feed's opening must be there after a restart
        if is_first {
            // What the first of a feed waits for is what the feed waits for; a gap before a later one is not.
            space.held.block(id, wait);
        }
        if !defect::is(Defect::HeldNotStored) {
            self.batch.put_held(id, seq, &HeldRow { bytes, chain, seal })?;
        }
        if seq == space.frontier.seq(id) + 1 && defect::is(Defect::HeldCounted) {
            space.frontier.advance(Position { feed: id, seq, chain });
        }
        self.counters.held += 1;
        while let Some((feed, seq)) = space.held.surplus() {
            self.drop_held(space, feed, seq)?;
            self.counters.dropped += 1;
        }
        Ok(())
    }

    /// Drops a held entry, and its feed if nothing of that is left.
    pub(in crate::engine) fn drop_held(&mut self, space: &mut Space, feed: FeedId, seq: u64) -> Result<(), StoreError> {
        self.batch.remove_held(feed, seq)?;
        if space.held.remove(feed, seq) {
            self.forget_empty(space, feed);
        }
        Ok(())
    }

    /// Forgets a feed of which nothing is settled and nothing held: its opening may be anybody's.
    pub(in crate::engine) fn forget_empty(&mut self, space: &mut Space, id: FeedId) {
        let is_own = id == space.own_data_feed || id == space.own_rules_feed;
        let is_empty = space.feeds.get(&id).is_some_and(|feed| feed.row.seq == 0 && feed.fork.is_none());
        if is_empty && space.frontier.seq(id) == 0 && !is_own && space.held.of(id).is_none() {
            space.forget_feed(id);
            self.batch.remove_feed(id);
        }
    }
}

/// What the opening of a feed counts among what is held: nothing, once an entry of the feed is settled.
pub(in crate::engine) fn opening_bytes(feed: &Feed) -> usize {
    if feed.row.seq == 0 { feed.row.opening.len() + FEED_BYTES } else { 0 }
}
