//! Entries that wait: kept above the frontier on disk, and tried again when what they wait for may have come.

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entry::Content;
use tombolo_crdt::feed::{Position, chain};

use super::Work;
use super::held::Blocker;
use super::settle::{Candidate, Taken};
use super::space::Space;
use crate::store::{HeldRow, StoreError};

impl Work<'_> {
    /// Tries every feed with held entries whose obstacle may have gone, until nothing more can be settled.
    pub(super) fn drain_held(&mut self, space: &mut Space, taken: &mut Taken) -> Result<(), StoreError> {
        loop {
            let mut progress = false;
            for id in space.held.feeds() {
                if space.held.blocker(id).is_some_and(|blocker| !resolved(space, blocker)) {
                    continue;
                }
                while let Some(mut candidate) = self.next_held(space, id)? {
                    let seq = candidate.seq;
                    match self.settle(space, &mut candidate, taken)? {
                        Some(blocker) => {
                            space.held.block(id, blocker);
                            break;
                        }
                        None => {
                            self.drop_held(space, id, seq)?;
                            progress = true;
                        }
                    }
                }
            }
            if !progress {
                return Ok(());
            }
        }
    }

    /// The held entry right after the settled ones of a feed. Entries that do not continue the chain, or that have
    /// been settled meanwhile, are dropped.
    fn next_held(&mut self, space: &mut Space, id: FeedId) -> Result<Option<Candidate>, StoreError> {
        space.held.unblock(id);
        while let Some((seq, _)) = space.held.of(id) {
            let next = space.frontier.seq(id) + 1;
            if seq > next {
                space.held.block(id, Blocker::Dep(id, seq - 1));
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

    pub(super) fn hold(&mut self, space: &mut Space, candidate: Candidate, blocker: Blocker) -> Result<(), StoreError> {
        let Candidate { feed, seq, chain, bytes, seal, .. } = candidate;
        // What the first of a feed waits for is what the feed waits for; a gap before a later one is not.
        if space.held.of(feed).is_none_or(|(first, _)| seq < first) {
            space.held.block(feed, blocker);
        }
        space.held.insert(feed, seq, bytes.len());
        if !defect::is(Defect::HeldNotStored) {
            self.batch.put_held(feed, seq, &HeldRow { bytes, chain, seal })?;
        }
        if seq == space.frontier.seq(feed) + 1 && defect::is(Defect::HeldCounted) {
            space.frontier.advance(Position { feed, seq, chain });
        }
        self.counters.held += 1;
        space.feed_changed(feed); // an unknown feed's opening must be there after a restart
        while let Some((feed, seq)) = space.held.surplus() {
            self.drop_held(space, feed, seq)?;
            self.counters.dropped += 1;
        }
        Ok(())
    }

    fn drop_held(&mut self, space: &mut Space, feed: FeedId, seq: u64) -> Result<(), StoreError> {
        space.held.remove(feed, seq);
        self.batch.remove_held(feed, seq)
    }
}

/// Whether what a feed waits for may have come.
fn resolved(space: &Space, blocker: &Blocker) -> bool {
    match blocker {
        Blocker::Dep(feed, seq) => space.frontier.seq(*feed) >= *seq,
        Blocker::Rules(hash) => space.rules.knows(*hash),
        Blocker::Damaged(collection, id) => !space.care.rests(collection, id),
        // Whoever waits for a change or a look is told when it comes; what is damaged stays so until the store is opened again.
        Blocker::Change(..) | Blocker::Looked(..) | Blocker::Fork(..) | Blocker::Later | Blocker::Rotten(..) => false,
    }
}
