//! Rules entries on their way to who is not in step with the space: page by page, as its control stream takes them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tombolo_crdt::feed::{FeedKind, Range};
use tombolo_crdt::{FeedId, SpaceId};
use tombolo_transport::frame::{Frame, RULES_PAGE_BYTES, RulesRanges};
use tombolo_transport::limits::GUEST_FRAME_BYTES_MAX;

use crate::engine::peers::transfer::{range, want};
use crate::engine::space::Space;
use crate::outgoing::unless_damaged;
use crate::store::{Reading, StoreError};

/// Bytes around the entries and the opening of a range: hashes, seal, lengths.
const RANGE_BYTES: usize = 160;
/// Bytes of the length before an entry.
const LENGTH_BYTES: usize = 3;

const _: () =
    assert!(RULES_PAGE_BYTES + RANGE_BYTES <= GUEST_FRAME_BYTES_MAX, "a page is a frame that guests may send");

/// The pages of a space that are still to be sent: per rules feed the next entry, by the journal position it has here,
/// which is an order in which it can be judged.
///
/// Of each feed goes what lies before its last applied entry: later ones build on earlier ones. What was refused after
/// that is offered to nobody, or one member could keep out everybody.
#[derive(Debug)]
pub(in crate::engine) struct Pages {
    space: SpaceId,
    next: BinaryHeap<Reverse<(u64, FeedId, u64)>>,
}

impl Pages {
    /// All of a space. O(rules feeds).
    pub(in crate::engine) fn of(space: &Space, reading: &Reading) -> Result<Self, StoreError> {
        let mut next = BinaryHeap::new();
        let rules = space.feeds.iter().filter(|(_, feed)| feed.opening.kind == FeedKind::Rules && feed.applied > 0);
        for (id, _) in rules {
            if let Some(journal) = unless_damaged(reading.entry_journal(*id, 1))? {
                next.push(Reverse((journal, *id, 1)));
            }
        }
        Ok(Self { space: space.id, next })
    }

    /// The next page; the last one says so, and may be empty.
    pub(in crate::engine) fn page(&mut self, space: &Space, reading: &Reading) -> Result<(Frame, bool), StoreError> {
        let (mut ranges, mut bytes) = (Vec::new(), 0);
        while let Some(Reverse((journal, id, from))) = self.next.pop() {
            let Some(feed) = space.feeds.get(&id) else { continue };
            let Some(run) = unless_damaged(want(feed, from).run(reading))? else { continue };
            let (last, range) = (run.last, range(feed, run));
            let weight = weight(&range);
            if bytes + weight > RULES_PAGE_BYTES && !ranges.is_empty() {
                self.next.push(Reverse((journal, id, from)));
                break;
            }
            bytes += weight;
            ranges.push(range);
            if last < feed.applied
                && let Some(journal) = unless_damaged(reading.entry_journal(id, last + 1))?
            {
                self.next.push(Reverse((journal, id, last + 1)));
            }
        }
        let last = self.next.is_empty();
        Ok((Frame::RulesRanges(RulesRanges { space: self.space, ranges, last }), last))
    }
}

fn weight(range: &Range) -> usize {
    range.opening.len() + range.entry_bytes() + range.entries.len() * LENGTH_BYTES + RANGE_BYTES
}
