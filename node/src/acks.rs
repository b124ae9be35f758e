//! Who waits for receipts and joins: each is woken by what it waits for, and by nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tombolo_crdt::{FeedId, SpaceId};

use crate::engine::Acks;

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// How far others have a feed.
    Feed(FeedId),
    /// Members of a space, joins, and any feed of it.
    Space(SpaceId),
}

#[derive(Debug, Default)]
struct Board {
    waiting: BTreeMap<Topic, BTreeMap<u64, Arc<Notify>>>,
    /// Numbers the waiters.
    count: u64,
}

/// Where waiters are entered. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AckBoard(Arc<Mutex<Board>>);

impl AckBoard {
    fn lock(&self) -> MutexGuard<'_, Board> {
        // Nothing is left half done where it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters somebody who waits for any of `topics`. O(topics × log waiters); 100 bytes each, until it is dropped.
    pub(crate) fn waiter(&self, topics: &[Topic]) -> Waiter {
        assert!(!topics.is_empty(), "who waits for nothing is never woken");
        let mut board = self.lock();
        board.count += 1;
        let (id, woken) = (board.count, Arc::new(Notify::new()));
        for topic in topics {
            board.waiting.entry(*topic).or_default().insert(id, Arc::clone(&woken));
        }
        Waiter { board: self.clone(), id, topics: topics.to_vec(), woken }
    }

    /// Wakes those who wait for what was found. O(what was found × log topics + those woken).
    pub(crate) fn tell(&self, acks: &Acks) {
        let board = self.lock();
        let feeds = acks.feeds.iter().map(|feed| Topic::Feed(*feed));
        let spaces = acks.spaces.iter().map(|space| Topic::Space(*space));
        let waiters = feeds.chain(spaces).filter_map(|topic| board.waiting.get(&topic));
        waiters.flat_map(BTreeMap::values).for_each(|woken| woken.notify_one());
    }

    /// Wakes everybody: nothing more will be found.
    pub(crate) fn close(&self) {
        self.lock().waiting.values().flat_map(BTreeMap::values).for_each(|woken| woken.notify_one());
    }
}

/// Somebody who waits. What is told between two waits is not missed.
#[derive(Debug)]
pub struct Waiter {
    board: AckBoard,
    id: u64,
    topics: Vec<Topic>,
    woken: Arc<Notify>,
}

impl Waiter {
    /// Returns once something was told of what this waits for, since the last time or since it was entered.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut board = self.board.lock();
        for topic in &self.topics {
            if let Some(waiting) = board.waiting.get_mut(topic) {
                waiting.remove(&self.id);
                if waiting.is_empty() {
                    board.waiting.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_woken(waiter: &Waiter) -> bool {
        pin!(waiter.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn whoever_waits_is_woken_by_what_it_waits_for_alone() {
        let board = AckBoard::default();
        let feed = |n| FeedId::from_bytes([n; 16]);
        let space = SpaceId::from_bytes([0; 32]);
        let waiters = [1, 2, 3].map(|n| board.waiter(&[Topic::Feed(feed(n)), Topic::Space(space)]));
        assert_eq!([0, 1, 2].map(|n| is_woken(&waiters[n])), [false; 3]);
        board.tell(&Acks { feeds: [feed(2), feed(9)].into(), ..Acks::default() });
        assert_eq!([0, 1, 2].map(|n| is_woken(&waiters[n])), [false, true, false]);
        assert_eq!([0, 1, 2].map(|n| is_woken(&waiters[n])), [false; 3], "once");
        board.tell(&Acks { spaces: [space].into(), ..Acks::default() });
        assert_eq!([0, 1, 2].map(|n| is_woken(&waiters[n])), [true; 3]);
        board.close();
        assert_eq!([0, 1, 2].map(|n| is_woken(&waiters[n])), [true; 3]);
        drop(waiters);
        assert!(board.lock().waiting.is_empty(), "who waits no more leaves nothing");
    }
}
