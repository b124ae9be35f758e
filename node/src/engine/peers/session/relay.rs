//! Entries of others: when they are relayed to a peer that may get them from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::FeedId;

/// An entry is relayed after this long to a peer that gets its feed through us alone.
const RELAY_DELAY: Duration = Duration::from_millis(5);
/// Longest wait for a peer to say that it has an entry from elsewhere.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(4);
/// After so many relays it is tried again whether the peer gets the feed from elsewhere.
const RELY_CHECK: u32 = 64;

const _: () = assert!(RELAY_DELAY.as_millis() < RELAY_WAIT_MAX.as_millis(), "who relies on this node waits least");

/// What is relayed, and when.
#[derive(Debug, Default)]
pub(in crate::engine) struct Relaying {
    /// When the peer is sent what it has not got from elsewhere by then.
    due: BTreeMap<FeedId, Duration>,
    /// Feeds that the peer gets through us alone, as far as is known; how often it was so.
    relied: BTreeMap<FeedId, u32>,
    /// How long the peer takes to acknowledge, smoothed.
    ack_time: Duration,
}

impl Relaying {
    /// A feed of somebody else moved at `at`. The peer is thought to wait for `have_wait` before it says that it has
    /// it.
    pub(super) fn moved(&mut self, feed: FeedId, at: Duration, have_wait: Duration) {
        self.due.insert(feed, at + self.wait(feed, have_wait));
    }

    /// How long to wait before an entry of somebody else is relayed: hardly, if the peer gets them through us alone;
    /// else until it should have said that it has it. That is tried again, at first often: an entry that was merely
    /// late must not make everything else go twice.
    fn wait(&self, feed: FeedId, have_wait: Duration) -> Duration {
        match self.relied.get(&feed) {
            Some(times) if !times.is_power_of_two() && times % RELY_CHECK != 0 => RELAY_DELAY,
            _ => (2 * (have_wait + self.ack_time)).min(RELAY_WAIT_MAX),
        }
    }

    /// Notes how long an acknowledgement took (RFC 6298, without the variance).
    pub(in crate::engine) fn acknowledged(&mut self, took: Duration) {
        self.ack_time = if self.ack_time.is_zero() { took } else { (self.ack_time * 7 + took) / 8 };
    }

    /// Feeds whose time has come are relayed; those that the peer no longer lacks (`lag`) it has from elsewhere.
    pub(in crate::engine) fn release(&mut self, lag: &BTreeSet<FeedId>, now: Duration) {
        let Self { due, relied, .. } = self;
        due.retain(|feed, at| {
            if !lag.contains(feed) {
                relied.remove(feed);
                return false;
            }
            if *at <= now {
                *relied.entry(*feed).or_default() += 1;
                return false;
            }
            true
        });
    }

    /// Whether a feed waits to be relayed.
    pub(in crate::engine) fn waits(&self, feed: FeedId) -> bool {
        self.due.contains_key(&feed)
    }

    /// Whether the peer gets some feed through us alone: it waits for what moves.
    pub(in crate::engine) fn is_relied_on(&self) -> bool {
        !self.relied.is_empty()
    }

    /// The first moment at which something is to be relayed.
    pub(super) fn first(&self) -> Option<Duration> {
        self.due.values().min().copied()
    }
}
