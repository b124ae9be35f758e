//! What a step found others to have: so that only those are woken who wait for it.

use std::collections::BTreeSet;

use tombolo_crdt::{FeedId, SpaceId};

/// Feeds and spaces about which there is something new for who waits for receipts or joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// Feeds of which a member was found to have more, or that moved here.
    pub feeds: BTreeSet<FeedId>,
    /// Spaces in which this may be so of any feed, or whose members or joins changed.
    pub spaces: BTreeSet<SpaceId>,
}

impl Acks {
    /// Somebody has more of these feeds.
    pub(in crate::engine) fn feeds(&mut self, feeds: impl IntoIterator<Item = FeedId>) {
        self.feeds.extend(feeds);
    }

    /// Whatever is waited for in this space may have come.
    pub(in crate::engine) fn space(&mut self, space: SpaceId) {
        self.spaces.insert(space);
    }

    /// Whether there is nothing new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.spaces.is_empty()
    }
}
