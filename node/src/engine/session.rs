//! Connections and what is known, per space, of the peer at the other end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_crdt::feed::VerifiedRange;
use tombolo_crdt::{Digest, FeedId, NodeId, SpaceId};
use tombolo_transport::frame::{FrontierPage, Hello, Probe, Summary};

/// Transfer frames on their way to a peer that it has not acknowledged (each at most 512 KiB or one entry).
pub(super) const IN_FLIGHT_MAX: usize = 32;
/// Pages of a frontier kept until the last has come: 262,144 feeds, 15 MB.
pub(super) const PAGES_MAX: usize = 64;

/// First wait before something dropped by the peer is sent again; doubles up to [`RESEND_WAIT_MAX`].
const RESEND_WAIT_MIN: Duration = Duration::from_millis(200);
/// Longest such wait.
const RESEND_WAIT_MAX: Duration = Duration::from_secs(30);

/// Entries of others are relayed after this long, so that a peer that has them from their author can say so first.
const RELAY_WAIT_MIN: Duration = Duration::from_millis(5);
/// Longest such wait: what a peer may be late whose other connections have just broken. Twice the longest that its own word
/// takes (see `HAVE_WAIT_MAX`), so that this comes first.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(2);

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: NodeId,
    pub(super) dialled: bool,
    pub(super) address: String,
    pub(super) since_millis: u64,
    /// Counter of the dial, if we dialled.
    pub(super) counter: u64,
    pub(super) hello: Option<Hello>,
    pub(super) clock_skew: i64,
    /// Spaces the peer has named, and those we have.
    pub(super) theirs: BTreeSet<SpaceId>,
    pub(super) ours: BTreeSet<SpaceId>,
    /// The peer has named all it has.
    pub(super) named_all: bool,
    /// We have.
    pub(super) done_named: bool,
    pub(super) offered: BTreeSet<SpaceId>,
    pub(super) asked_to_join: BTreeSet<SpaceId>,
    /// Rules offered to us, until the last frame.
    pub(super) offer: BTreeMap<SpaceId, Vec<VerifiedRange>>,
    pub(super) sessions: BTreeMap<SpaceId, Session>,
    /// Room on transfer streams that were announced before their session began.
    pub(super) room: BTreeMap<SpaceId, usize>,
}

impl Conn {
    pub(super) fn new(peer: NodeId, dialled: bool, address: String, since_millis: u64, counter: u64) -> Self {
        Self {
            peer,
            dialled,
            address,
            since_millis,
            counter,
            hello: None,
            clock_skew: 0,
            theirs: BTreeSet::new(),
            ours: BTreeSet::new(),
            named_all: false,
            done_named: false,
            offered: BTreeSet::new(),
            asked_to_join: BTreeSet::new(),
            offer: BTreeMap::new(),
            sessions: BTreeMap::new(),
            room: BTreeMap::new(),
        }
    }
}

/// A transfer frame on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: u64,
    /// The last entry it carries of each feed.
    pub(super) carried: Vec<(FeedId, u64)>,
    /// Entries of others are in it, and it is not known yet whether the peer needed them.
    pub(super) relayed: bool,
}

/// One space with one peer on one connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Our summary as told.
    pub(super) told: Option<Digest>,
    /// Theirs.
    pub(super) summary: Option<Summary>,
    pub(super) frontier_told: bool,
    /// The peer does not know our base: send everything.
    pub(super) want_all: bool,
    pub(super) asked_all: bool,
    /// Pages of their frontier, until the last has come.
    pub(super) pages: Vec<FrontierPage>,
    pub(super) pages_done: bool,
    /// Settled at the peer, as far as it has said. `None`: not known yet.
    pub(super) known: Option<BTreeMap<FeedId, u64>>,
    /// Sent beyond that on this connection.
    pub(super) cursor: BTreeMap<FeedId, u64>,
    /// Feeds of which the peer may lack something that we could send.
    pub(super) lag: BTreeSet<FeedId>,
    /// Room on the transfer stream, in bytes.
    pub(super) room: usize,
    /// Frames sent and received.
    pub(super) sent: u64,
    pub(super) taken: u64,
    pub(super) in_flight: VecDeque<Sent>,
    /// Feeds to be acknowledged.
    pub(super) have_due: BTreeSet<FeedId>,
    /// Feeds of which something came that was here before: the sender is told so, and relays later.
    pub(super) in_vain: BTreeSet<FeedId>,
    /// An acknowledgement is due even if no feed moved.
    pub(super) answer_due: bool,
    /// When feeds that came from elsewhere, or agreement, are acknowledged although nobody waits for it.
    pub(super) have_at: Option<Duration>,
    /// Feeds of others that wait to be relayed, and until when; how long the next ones wait.
    pub(super) relay: BTreeMap<FeedId, Duration>,
    pub(super) relay_wait: RelayWait,
    /// Feeds of which something was dropped there, and when it may be sent again; how long to wait the next time.
    pub(super) resend: BTreeMap<FeedId, Duration>,
    pub(super) resend_wait: Duration,
    /// When a session that neither moves nor agrees is begun anew.
    pub(super) stalled_at: Option<Duration>,
    /// Per feed whose chain forks: the last position known to agree, the first known not to.
    pub(super) probes: BTreeMap<FeedId, (u64, u64)>,
    /// Questions and answers about chains that have come.
    pub(super) asked: Vec<Probe>,
    /// The last frontier we have stated, and the last they have, with their state.
    pub(super) stated: Option<Digest>,
    pub(super) heard: Option<(Digest, Digest)>,
    /// The last frontier that both have said to have; it is ours now: `equal`.
    pub(super) agreed: Option<Digest>,
    pub(super) equal: bool,
    pub(super) diverged: bool,
    pub(super) behind_since: Option<u64>,
    pub(super) refused_there: u64,
    /// Entries of theirs to report as refused.
    pub(super) refusals: Vec<(FeedId, u64, u8)>,
    /// What the agenda has of it.
    pub(super) entered: Option<(Duration, &'static str)>,
}

/// How long relaying waits for word that the peer has the entries already. Each relay that turns out to have been in vain
/// doubles it, and one that was needed takes it back: where peers are connected with each other, next to nothing is
/// relayed; along a line nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelayWait(Duration);

impl RelayWait {
    /// The wait.
    pub(super) const fn get(self) -> Duration {
        self.0
    }

    /// A relay was needed.
    pub(super) fn needed(&mut self) {
        *self = Self::default();
    }

    /// A relay was in vain.
    pub(super) fn in_vain(&mut self) {
        self.0 = (self.0 * 2).min(RELAY_WAIT_MAX);
    }
}

impl Default for RelayWait {
    fn default() -> Self {
        Self(RELAY_WAIT_MIN)
    }
}

impl Session {
    /// How far the peer is settled in `feed`.
    pub(super) fn known(&self, feed: FeedId) -> u64 {
        self.known.as_ref().and_then(|known| known.get(&feed)).copied().unwrap_or(0)
    }

    /// The last entry of `feed` that the peer has or that is on its way to it.
    pub(super) fn reached(&self, feed: FeedId) -> u64 {
        self.known(feed).max(self.cursor.get(&feed).copied().unwrap_or(0))
    }

    /// Sends a feed again from behind `kept`, after a while.
    pub(super) fn send_again(&mut self, feed: FeedId, kept: u64, now: Duration) {
        self.cursor.insert(feed, kept);
        self.lag.insert(feed);
        if !self.resend.contains_key(&feed) {
            self.resend_wait = (self.resend_wait * 2).clamp(RESEND_WAIT_MIN, RESEND_WAIT_MAX);
            self.resend.insert(feed, now + self.resend_wait);
        }
    }

    /// When it has to be looked at although nothing happens in it, and why.
    pub(super) fn next_moment(&self) -> Option<(Duration, &'static str)> {
        let have = self.have_at.map(|at| (at, "have"));
        let relay = self.relay.values().min().map(|at| (*at, "relay"));
        let resend = self.resend.values().min().map(|at| (*at, "resend"));
        let stalled = self.stalled_at.map(|at| (at, "stalled"));
        [have, relay, resend, stalled].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Notes that both have the frontier `digest`.
    pub(super) fn agree(&mut self, digest: Digest, diverged: bool) {
        self.agreed = Some(digest);
        self.equal = true;
        self.diverged = diverged;
        self.behind_since = None;
    }

    /// Nothing more of a feed is to be sent.
    pub(super) fn caught_up(&mut self, feed: FeedId) {
        self.lag.remove(&feed);
        self.relay.remove(&feed);
    }

    /// Notes that the peer has `feed` up to `seq`.
    pub(super) fn learn(&mut self, feed: FeedId, seq: u64) {
        if let Some(known) = &mut self.known {
            let at = known.entry(feed).or_default();
            *at = (*at).max(seq);
        }
    }
}
