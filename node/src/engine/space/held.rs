//! Held entries: above the frontier, on disk, until what they wait for has come. Dropping them is always allowed.
//!
//! Each feed with held entries waits for one thing, what its first held entry waits for, and is found by it. When that
//! comes the feed is on the work list, and nobody else is looked at. Everything here is O(log held).

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::verdict::Wait;
use tombolo_crdt::{ChainHash, ChangeHash, FeedId};

/// Most held entries of a space.
pub(in crate::engine) const HELD_ENTRIES_MAX: usize = 16_384;
/// Most bytes of held entries of a space (16 MiB), together with the openings of feeds of which nothing is settled.
pub(in crate::engine) const HELD_BYTES_MAX: usize = 16 << 20;

/// The held entries of a feed.
#[derive(Debug, Default)]
struct HeldFeed {
    /// Bytes by position.
    entries: BTreeMap<u64, usize>,
    /// Bytes of all of them, and of the opening if nothing of the feed is settled.
    bytes: usize,
    /// What the first of them waits for; none: the feed is on the work list, or in work.
    wait: Option<Wait>,
}

/// Index of the held entries of one space; their bytes are in the store.
#[derive(Debug, Default)]
pub(in crate::engine) struct Held {
    feeds: BTreeMap<FeedId, HeldFeed>,
    entries: usize,
    bytes: usize,
    /// Feeds by what they wait for.
    waiting: BTreeMap<Wait, BTreeSet<FeedId>>,
    /// The work list: feeds whose first held entry may be settled now.
    ready: BTreeSet<FeedId>,
    /// All feeds: those that wait come after the others, and among each the largest last.
    sizes: BTreeSet<(bool, usize, FeedId)>,
}

impl Held {
    /// Takes note of a held entry. `opening`: bytes of its feed's opening if nothing of the feed is settled. A feed
    /// that is new here is in work until [`Held::block`] or [`Held::wake`].
    pub(in crate::engine) fn insert(&mut self, feed: FeedId, seq: u64, bytes: usize, opening: usize) {
        let is_new = !self.feeds.contains_key(&feed);
        let bytes_before = self.unplace(feed);
        let held = self.feeds.entry(feed).or_default();
        if is_new {
            held.bytes = opening;
        }
        if held.entries.insert(seq, bytes).is_none() {
            held.bytes += bytes;
            self.entries += 1;
        }
        self.bytes = self.bytes - bytes_before + held.bytes;
        self.sized(feed);
    }

    /// Forgets a held entry. Whether that was the last of its feed.
    pub(in crate::engine) fn remove(&mut self, feed: FeedId, seq: u64) -> bool {
        let bytes_before = self.unplace(feed);
        let Some(held) = self.feeds.get_mut(&feed) else { return false };
        if let Some(bytes) = held.entries.remove(&seq) {
            held.bytes -= bytes;
            self.entries -= 1;
        }
        if !held.entries.is_empty() {
            self.bytes = self.bytes - bytes_before + held.bytes;
            self.sized(feed);
            return false;
        }
        self.bytes -= bytes_before;
        let wait = held.wait.take();
        self.feeds.remove(&feed);
        self.ready.remove(&feed);
        self.forget_wait(feed, wait);
        true
    }

    /// Takes a feed out of the order of sizes. Its bytes.
    fn unplace(&mut self, feed: FeedId) -> usize {
        let Some(held) = self.feeds.get(&feed) else { return 0 };
        self.sizes.remove(&(held.wait.is_some(), held.bytes, feed));
        held.bytes
    }

    fn sized(&mut self, feed: FeedId) {
        if let Some(held) = self.feeds.get(&feed) {
            self.sizes.insert((held.wait.is_some(), held.bytes, feed));
        }
        debug_assert_eq!(self.sizes.len(), self.feeds.len(), "every feed has its place by size");
    }

    fn forget_wait(&mut self, feed: FeedId, wait: Option<Wait>) {
        let Some(wait) = wait else { return };
        if let Some(feeds) = self.waiting.get_mut(&wait) {
            feeds.remove(&feed);
            if feeds.is_empty() {
                self.waiting.remove(&wait);
            }
        }
    }

    pub(in crate::engine) fn contains(&self, feed: FeedId, seq: u64) -> bool {
        self.feeds.get(&feed).is_some_and(|held| held.entries.contains_key(&seq))
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.entries
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Feeds with held entries. O(these).
    pub(in crate::engine) fn feeds(&self) -> Vec<FeedId> {
        self.feeds.keys().copied().collect()
    }

    /// How many these are, and the first of them. O(what is asked for).
    pub(in crate::engine) fn first_feeds(&self, most: usize) -> (usize, Vec<FeedId>) {
        (self.feeds.len(), self.feeds.keys().take(most).copied().collect())
    }

    /// First held position and count of a feed.
    pub(in crate::engine) fn of(&self, feed: FeedId) -> Option<(u64, usize)> {
        let held = &self.feeds.get(&feed)?.entries;
        Some((*held.keys().next()?, held.len()))
    }

    /// Runs of held positions of a feed: (first, last).
    pub(in crate::engine) fn runs(&self, feed: FeedId) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for seq in self.feeds.get(&feed).into_iter().flat_map(|held| held.entries.keys()) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *seq => *last = *seq,
                _ => runs.push((*seq, *seq)),
            }
        }
        runs
    }

    /// What the first held entry of a feed waits for.
    pub(in crate::engine) fn blocker(&self, feed: FeedId) -> Option<&Wait> {
        self.feeds.get(&feed)?.wait.as_ref()
    }

    /// A feed with held entries waits for this from now on.
    pub(in crate::engine) fn block(&mut self, feed: FeedId, wait: Wait) {
        self.unplace(feed);
        let Some(held) = self.feeds.get_mut(&feed) else { return };
        let before = held.wait.replace(wait.clone());
        self.ready.remove(&feed);
        self.forget_wait(feed, before);
        self.waiting.entry(wait).or_default().insert(feed);
        self.sized(feed);
    }

    /// Puts a feed on the work list, if it has held entries.
    pub(in crate::engine) fn wake(&mut self, feed: FeedId) {
        self.unplace(feed);
        let Some(held) = self.feeds.get_mut(&feed) else { return };
        let before = held.wait.take();
        self.ready.insert(feed);
        self.forget_wait(feed, before);
        self.sized(feed);
    }

    fn wake_those(&mut self, waits: Vec<Wait>) {
        for wait in waits {
            for feed in self.waiting.remove(&wait).unwrap_or_default() {
                self.wake(feed);
            }
        }
    }

    /// Puts every feed on the work list. O(feeds).
    pub(in crate::engine) fn wake_all(&mut self) {
        self.feeds().into_iter().for_each(|feed| self.wake(feed));
    }

    /// The next feed of the work list; it is in work then.
    pub(in crate::engine) fn next(&mut self) -> Option<FeedId> {
        self.ready.pop_first()
    }

    /// Whether the work list is empty.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// An entry has been settled.
    pub(in crate::engine) fn settled(&mut self, feed: FeedId, seq: u64) {
        if !self.waiting.is_empty() {
            let waits = self.waiting.range(Wait::Entry(feed, 0)..=Wait::Entry(feed, seq));
            let waits = waits.map(|(wait, _)| wait.clone()).collect();
            self.wake_those(waits);
        }
    }

    /// A rules entry has been settled.
    pub(in crate::engine) fn rules_came(&mut self, entry: ChainHash) {
        self.wake_those(vec![Wait::Rules(entry)]);
    }

    /// A change of an entity has been applied or refused.
    pub(in crate::engine) fn came(&mut self, collection: &str, id: &str, change: ChangeHash) {
        if !self.waiting.is_empty() {
            self.wake_those(vec![Wait::Change(collection.to_owned(), id.to_owned(), change)]);
        }
    }

    /// An entity was built anew and may hold changes that it did not.
    pub(in crate::engine) fn anew(&mut self, collection: &str, id: &str) {
        let of = |byte| Wait::Change(collection.to_owned(), id.to_owned(), ChangeHash::from_bytes([byte; 32]));
        let mut waits: Vec<Wait> = self.waiting.range(of(0)..=of(0xff)).map(|(wait, _)| wait.clone()).collect();
        waits.push(Wait::Damaged(collection.to_owned(), id.to_owned()));
        self.wake_those(waits);
    }

    /// Entities that were damaged may be whole: those of which `rests` says that they are not go on waiting. O(entities
    /// waited for).
    pub(in crate::engine) fn healed(&mut self, rests: impl Fn(&str, &str) -> bool) {
        let (first, last) = (Wait::Damaged(String::new(), String::new()), Wait::Looked(String::new(), String::new()));
        let damaged = self.waiting.range(first..last).map(|(wait, _)| wait);
        let whole = |wait: &&Wait| matches!(wait, Wait::Damaged(collection, id) if !rests(collection, id));
        let waits = damaged.filter(whole).cloned().collect();
        self.wake_those(waits);
    }

    /// What has to go so that the buffer is within its bound: the highest entry of the largest feed that waits, again
    /// and again. Never an entry that may be settled now, unless there are no others.
    pub(in crate::engine) fn surplus(&self) -> Option<(FeedId, u64)> {
        if self.entries <= HELD_ENTRIES_MAX && self.bytes <= HELD_BYTES_MAX {
            return None;
        }
        let (_, _, feed) = self.sizes.last()?;
        Some((*feed, *self.feeds.get(feed)?.entries.keys().next_back()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(byte: u8) -> FeedId {
        FeedId::from_bytes([byte; 16])
    }

    #[test]
    fn runs_and_bounds() {
        let (a, b, c) = (feed(1), feed(2), feed(3));
        let mut held = Held::default();
        for seq in [3, 4, 5, 9] {
            held.insert(a, seq, 10, 7);
        }
        assert_eq!(held.runs(a), vec![(3, 5), (9, 9)]);
        assert_eq!((held.len(), held.bytes(), held.surplus()), (4, 47, None), "the opening counts once");
        held.block(a, Wait::Entry(a, 2));
        held.insert(b, 1, HELD_BYTES_MAX, 0);
        assert_eq!(held.surplus(), Some((a, 9)), "the larger one may be settled now");
        held.insert(c, 8, 100, 0);
        held.block(c, Wait::Later);
        assert_eq!(held.surplus(), Some((c, 8)), "of those that wait the largest");
        held.block(b, Wait::Later);
        assert_eq!(held.surplus(), Some((b, 1)));
        assert!(held.remove(b, 1) && held.remove(c, 8) && !held.remove(a, 9));
        assert_eq!((held.surplus(), held.bytes(), held.len()), (None, 37, 3));
        assert!(!held.remove(a, 3) && !held.remove(a, 4) && held.remove(a, 5));
        assert_eq!((held.bytes(), held.len()), (0, 0));
        assert!(held.waiting.is_empty() && held.sizes.is_empty() && held.ready.is_empty(), "{held:?}");
    }

    #[test]
    fn who_waits_is_on_the_work_list_when_that_comes_and_not_before() {
        let (a, b, c) = (feed(1), feed(2), feed(3));
        let (one, other) = (ChangeHash::from_bytes([1; 32]), ChangeHash::from_bytes([2; 32]));
        let change = |id: &str, hash| Wait::Change("x".to_owned(), id.to_owned(), hash);
        let damaged = |id: &str| Wait::Damaged("x".to_owned(), id.to_owned());
        let mut held = Held::default();
        for (feed, wait) in [(a, change("e", one)), (b, change("e", one)), (c, change("e", other))] {
            held.insert(feed, 1, 10, 0);
            held.block(feed, wait);
        }
        let list = |held: &mut Held| std::iter::from_fn(|| held.next()).collect::<Vec<_>>();
        held.came("x", "other", one);
        held.came("x", "e", ChangeHash::from_bytes([9; 32]));
        assert_eq!(list(&mut held), []);
        // Who waits for something else by now does not wait for this.
        held.block(b, Wait::Later);
        held.came("x", "e", one);
        assert_eq!(list(&mut held), [a]);
        held.anew("x", "e");
        assert_eq!(list(&mut held), [c]);
        held.block(a, Wait::Entry(feed(9), 5));
        held.block(b, Wait::Entry(feed(9), 7));
        held.block(c, Wait::Rules(ChainHash::from_bytes([4; 32])));
        held.settled(feed(9), 4);
        held.settled(feed(8), 100);
        held.rules_came(ChainHash::from_bytes([5; 32]));
        assert_eq!(list(&mut held), []);
        held.settled(feed(9), 6);
        assert_eq!(list(&mut held), [a]);
        held.rules_came(ChainHash::from_bytes([4; 32]));
        assert_eq!(list(&mut held), [c]);
        held.block(a, damaged("e"));
        held.block(c, damaged("f"));
        held.healed(|_, id| id == "f");
        assert_eq!(list(&mut held), [a]);
        held.anew("x", "f");
        assert_eq!(list(&mut held), [c]);
        held.wake_all();
        assert_eq!((held.is_idle(), list(&mut held)), (false, vec![a, b, c]));
        [a, b, c].into_iter().for_each(|feed| assert!(held.remove(feed, 1)));
        assert!(held.waiting.is_empty() && held.sizes.is_empty(), "{held:?}");
    }
}
