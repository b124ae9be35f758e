//! Feeds of a space that have moved and of which not every session has heard: so that an entry costs the sessions it
//! concerns at once, and the others together, a while later.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_crdt::FeedId;

use crate::engine::interface::Now;

/// Moves kept until all sessions hear of them at the latest.
pub(in crate::engine) const NEWS_MAX: usize = 1024;

/// A feed that moved, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Moved {
    pub(in crate::engine) feed: FeedId,
    /// How far it was before.
    pub(in crate::engine) from: u64,
    pub(in crate::engine) at: Duration,
    pub(in crate::engine) wall_millis: u64,
}

/// What has moved, in order. A session remembers how far it has heard.
#[derive(Debug, Default)]
pub(in crate::engine) struct News {
    moved: VecDeque<Moved>,
    /// The number of each of them, by feed.
    by_feed: BTreeSet<(FeedId, u64)>,
    /// How many there have been before the first.
    gone: u64,
}

impl News {
    /// A feed has moved from `from` on.
    pub(in crate::engine) fn add(&mut self, feed: FeedId, from: u64, now: Now) {
        self.by_feed.insert((feed, self.total()));
        self.moved.push_back(Moved { feed, from, at: now.mono, wall_millis: now.wall_millis });
        assert_eq!(self.by_feed.len(), self.moved.len(), "each move is filed once under its feed");
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.moved.len()
    }

    /// How many there have been.
    pub(in crate::engine) fn total(&self) -> u64 {
        self.gone + self.moved.len() as u64
    }

    /// When the oldest of them moved.
    pub(in crate::engine) fn oldest(&self) -> Option<Duration> {
        self.moved.front().map(|moved| moved.at)
    }

    /// What is new to a session that has heard `heard` of all there have been.
    pub(in crate::engine) fn since(&self, heard: u64) -> impl Iterator<Item = Moved> + '_ {
        debug_assert!(heard <= self.total(), "nobody has heard what did not happen");
        let skip = usize::try_from(heard.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        self.moved.iter().skip(skip).copied()
    }

    /// How far a feed was when `heard` were all there had been, if it has moved since. O(log news).
    pub(in crate::engine) fn was(&self, feed: FeedId, heard: u64) -> Option<u64> {
        let (_, number) = self.by_feed.range((feed, heard)..=(feed, u64::MAX)).next()?;
        let index = usize::try_from(number.checked_sub(self.gone)?).ok()?;
        self.moved.get(index).map(|moved| moved.from)
    }

    /// Every session has heard all.
    pub(in crate::engine) fn clear(&mut self) {
        self.gone = self.total();
        self.moved.clear();
        self.by_feed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_everything_once() {
        let (mut news, mut early, mut late) = (News::default(), 0, 0);
        let feed = |n| FeedId::from_bytes([n; 16]);
        let now = |millis| Now { mono: Duration::from_millis(millis), wall_millis: millis };
        let heard = |news: &News, by: &mut u64| {
            let heard: Vec<_> = news.since(*by).map(|moved| moved.feed).collect();
            *by = news.total();
            heard
        };
        news.add(feed(1), 0, now(5));
        assert_eq!(heard(&news, &mut early), vec![feed(1)]);
        news.add(feed(2), 3, now(6));
        assert_eq!((heard(&news, &mut early), heard(&news, &mut late)), (vec![feed(2)], vec![feed(1), feed(2)]));
        assert_eq!((news.len(), news.oldest()), (2, Some(Duration::from_millis(5))));
        news.clear();
        assert_eq!((heard(&news, &mut early), news.oldest()), (Vec::new(), None));
        news.add(feed(3), 0, now(7));
        let mut new = 0;
        assert_eq!((heard(&news, &mut late), heard(&news, &mut new)), (vec![feed(3)], vec![feed(3)]));
    }

    #[test]
    fn how_far_a_feed_was_depends_on_what_was_heard() {
        let mut news = News::default();
        let feed = |n| FeedId::from_bytes([n; 16]);
        let now = Now { mono: Duration::ZERO, wall_millis: 0 };
        news.add(feed(1), 3, now);
        news.clear();
        for (n, from) in [(1, 4), (2, 7), (1, 6)] {
            news.add(feed(n), from, now);
        }
        let was = |n| [1, 2, 3, 4].map(|heard| news.was(feed(n), heard));
        assert_eq!(was(1), [Some(4), Some(6), Some(6), None]);
        assert_eq!(was(2), [Some(7), Some(7), None, None]);
        assert_eq!(was(3), [None; 4]);
    }
}
