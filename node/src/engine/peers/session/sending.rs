//! What a peer is sent: which feeds it lacks, what is on its way to it, what is sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};

use crate::engine::peers::session::Session;
use crate::engine::space::Space;
use crate::outgoing::{Loaded, Portion};
use crate::store::StoreError;

/// Transfer frames on their way to a peer that it has not acknowledged (each at most 512 KiB and a run): no more is
/// read while there are so many.
pub(in crate::engine) const IN_FLIGHT_MAX: usize = 32;
/// First wait before something dropped by the peer is sent again; doubles up to [`RESEND_WAIT_MAX`].
const RESEND_WAIT_MIN: Duration = Duration::from_millis(200);
/// Longest wait before something dropped by the peer is sent again.
const RESEND_WAIT_MAX: Duration = Duration::from_secs(30);

/// A transfer frame that the peer has not accounted for.
#[derive(Debug)]
pub(in crate::engine) struct Flight {
    pub(in crate::engine) number: u64,
    pub(in crate::engine) sent: Duration,
    /// The last entry it carried of each feed.
    pub(in crate::engine) carried: Vec<(FeedId, u64)>,
}

/// What a peer is sent.
#[derive(Debug, Default)]
pub(in crate::engine) struct Sending {
    /// Feeds of which the peer may lack something that could be sent.
    pub(in crate::engine) lag: BTreeSet<FeedId>,
    /// Sent on this connection beyond what the peer is known to have.
    pub(in crate::engine) cursor: BTreeMap<FeedId, u64>,
    /// Room on the transfer stream, in bytes.
    pub(in crate::engine) room: usize,
    /// Frames sent.
    pub(in crate::engine) count: u64,
    pub(in crate::engine) in_flight: VecDeque<Flight>,
    /// Feeds of which something was dropped there, and when it may be sent again.
    pub(in crate::engine) resend: BTreeMap<FeedId, Duration>,
    /// How what is to be sent is read.
    pub(in crate::engine) loading: Loading,
    /// How long to wait the next time.
    pub(in crate::engine) resend_wait: Duration,
}

/// How what is to be sent is read, beside the engine.
#[derive(Debug, Default)]
pub(in crate::engine) enum Loading {
    /// Nothing is.
    #[default]
    Idle,
    /// There is more than the step could read.
    Hungry,
    /// The session waits for its turn.
    Queued,
    /// A load is under way: its number, and the feeds of which something has happened since it began.
    UnderWay(u64, BTreeSet<FeedId>),
    /// What was read, and the feeds of which something has happened since.
    Read(Result<Portion, StoreError>, BTreeSet<FeedId>),
}

impl Loading {
    pub(in crate::engine) const fn under_way(number: u64) -> Self {
        Self::UnderWay(number, BTreeSet::new())
    }

    pub(in crate::engine) const fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(in crate::engine) const fn is_queued(&self) -> bool {
        matches!(self, Self::Queued)
    }

    /// Whether the session has to be queued, which is noted.
    pub(in crate::engine) fn queue(&mut self) -> bool {
        let hungry = matches!(self, Self::Hungry);
        if hungry {
            *self = Self::Queued;
        }
        hungry
    }

    /// Takes the answer to a load. Whether it was waited for.
    pub(in crate::engine) fn done(&mut self, loaded: Loaded) -> bool {
        match self {
            Self::UnderWay(number, stirred) if *number == loaded.number => {
                *self = Self::Read(loaded.read, std::mem::take(stirred));
                true
            }
            _ => false,
        }
    }

    /// What was read, if something was.
    pub(in crate::engine) fn take(&mut self) -> Option<(Result<Portion, StoreError>, BTreeSet<FeedId>)> {
        match std::mem::take(self) {
            Self::Read(read, stirred) => Some((read, stirred)),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Sending {
    /// Bytes that may be read to be sent now.
    pub(in crate::engine) fn may_send(&self) -> usize {
        match defect::is(Defect::RoomIgnored) {
            true => usize::MAX,
            false if self.in_flight.len() >= IN_FLIGHT_MAX => 0,
            false => self.room,
        }
    }

    /// The peer may lack something of a feed that could be sent. Whether that is new.
    pub(in crate::engine) fn lags(&mut self, feed: FeedId) -> bool {
        if let Loading::UnderWay(_, stirred) | Loading::Read(_, stirred) = &mut self.loading {
            stirred.insert(feed);
        }
        self.lag.insert(feed)
    }

    /// The peer has a feed up to `seq`: how far it was sent is of no interest any more.
    pub(super) fn arrived(&mut self, feed: FeedId, seq: u64) {
        if self.cursor.get(&feed).is_some_and(|sent| *sent <= seq) {
            self.cursor.remove(&feed);
        }
    }

    /// Sends a feed again from behind `kept`, after a while.
    pub(in crate::engine) fn again(&mut self, feed: FeedId, kept: u64, now: Duration) {
        self.cursor.insert(feed, kept);
        self.lags(feed);
        if !self.resend.contains_key(&feed) {
            self.resend_wait = (self.resend_wait * 2).clamp(RESEND_WAIT_MIN, RESEND_WAIT_MAX);
            assert!(self.resend_wait >= RESEND_WAIT_MIN, "what was dropped is not sent again at once");
            self.resend.insert(feed, now + self.resend_wait);
        }
    }

    /// Whether something is on its way, or could be.
    pub(in crate::engine) fn is_moving(&self) -> bool {
        !self.lag.is_empty() || !self.in_flight.is_empty() || !self.resend.is_empty()
    }
}

/// Whether the peer lacks something of a feed that does not fork.
pub(super) fn lacks(space: &Space, session: &Session, feed: FeedId) -> bool {
    let sound = space.feeds.get(&feed).is_some_and(|known| known.fork.is_none());
    sound && space.frontier.seq(feed) > session.reached(space, feed)
}

/// Feeds of which the peer lacks something that can be sent. O(feeds in which it differs).
pub(super) fn lagging(space: &Space, session: &Session) -> BTreeSet<FeedId> {
    let differs = session.known().into_iter().flat_map(|known| known.iter().map(|(feed, _)| feed));
    differs.filter(|feed| !session.probing.rests(*feed) && lacks(space, session, *feed)).collect()
}
