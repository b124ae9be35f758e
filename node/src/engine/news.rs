//! Feeds of a space that have moved and of which not every session has heard: so that an entry costs the sessions it
//! concerns at once, and the others together, a while later.

use std::collections::VecDeque;
use std::time::Duration;

use tombolo_crdt::FeedId;

use super::io::Now;

/// Moves kept until all sessions hear of them at the latest.
pub(super) const NEWS_MAX: usize = 1024;

/// A feed that moved, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) feed: FeedId,
    pub(super) at: Duration,
    pub(super) wall_millis: u64,
}

/// What has moved, in order. A session remembers how far it has heard.
#[derive(Debug, Default)]
pub(super) struct News {
    moved: VecDeque<Moved>,
    /// How many there have been before the first.
    gone: u64,
}

impl News {
    pub(super) fn add(&mut self, feed: FeedId, now: Now) {
        self.moved.push_back(Moved { feed, at: now.mono, wall_millis: now.wall_millis });
    }

    pub(super) fn len(&self) -> usize {
        self.moved.len()
    }

    /// When the oldest of them moved.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.moved.front().map(|moved| moved.at)
    }

    /// What a session has not heard that has heard `heard` of all there ever were; and that it has heard all now.
    pub(super) fn hear(&self, heard: &mut u64) -> impl Iterator<Item = Moved> + '_ {
        let skip = usize::try_from(heard.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        *heard = self.gone + self.moved.len() as u64;
        self.moved.iter().skip(skip).copied()
    }

    /// Every session has heard all.
    pub(super) fn clear(&mut self) {
        self.gone += self.moved.len() as u64;
        self.moved.clear();
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
        let heard = |news: &News, by: &mut u64| news.hear(by).map(|moved| moved.feed).collect::<Vec<_>>();
        news.add(feed(1), now(5));
        assert_eq!(heard(&news, &mut early), vec![feed(1)]);
        news.add(feed(2), now(6));
        assert_eq!((heard(&news, &mut early), heard(&news, &mut late)), (vec![feed(2)], vec![feed(1), feed(2)]));
        assert_eq!((news.len(), news.oldest()), (2, Some(Duration::from_millis(5))));
        news.clear();
        assert_eq!((heard(&news, &mut early), news.oldest()), (Vec::new(), None));
        news.add(feed(3), now(7));
        let mut new = 0;
        assert_eq!((heard(&news, &mut late), heard(&news, &mut new)), (vec![feed(3)], vec![feed(3)]));
    }
}
