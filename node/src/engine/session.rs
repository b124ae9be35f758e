//! Connections and what is known, per space, of the peer at the other end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tombolo_crdt::{Digest, FeedId, NodeId, SpaceId};
use tombolo_transport::frame::{FrontierPage, Hello, Probe, Summary};

use super::strangers::Door;

/// Transfer frames on their way to a peer that it has not acknowledged (each at most 512 KiB or one entry).
pub(super) const IN_FLIGHT_MAX: usize = 32;
/// Pages of a frontier kept until the last has come: 262,144 feeds, 15 MB.
pub(super) const PAGES_MAX: usize = 64;

/// Chains that are probed at once in one session; more forks than that are one defect.
pub(super) const PROBES_MAX: usize = 16;
/// Questions and answers about chains that are kept until the step ends.
pub(super) const PROBES_ASKED_MAX: usize = 256;
/// Most spaces a peer may name.
pub(super) const SPACES_MAX: usize = 4096;

/// First wait before something dropped by the peer is sent again; doubles up to [`RESEND_WAIT_MAX`].
const RESEND_WAIT_MIN: Duration = Duration::from_millis(200);
/// Entries that came from elsewhere are acknowledged to a peer after this long, together with those that come until then:
/// whoever sent them hears at once. See [`have_wait`].
const HAVE_WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest such wait.
const HAVE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Such a wait per connection: a node makes at most 100 of these acknowledgements a second, however many peers it has.
const HAVE_WAIT_PER_PEER: Duration = Duration::from_millis(10);
/// An entry is relayed after this long to a peer that gets its feed through us alone.
pub(super) const RELAY_DELAY: Duration = Duration::from_millis(5);
/// Longest wait for a peer to say that it has an entry from elsewhere.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(4);
/// After so many relays it is tried again whether the peer gets the feed from elsewhere.
const RELY_CHECK: u32 = 64;

/// Longest such wait.
const RESEND_WAIT_MAX: Duration = Duration::from_secs(30);

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
    /// What matters until it is a member's.
    pub(super) door: Door,
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
            door: Door::default(),
            sessions: BTreeMap::new(),
            room: BTreeMap::new(),
        }
    }
}

impl Conn {
    /// Panics if something that grows with what the peer says is beyond its bound. O(spaces).
    pub(super) fn check_bounds(&self) {
        assert!(self.theirs.len() <= SPACES_MAX, "the spaces a peer names are bounded");
        for session in self.sessions.values() {
            assert!(session.pages.len() <= PAGES_MAX, "pages of a frontier are bounded");
            assert!(session.probes.len() <= PROBES_MAX, "probes are bounded");
            assert!(session.asked.len() <= PROBES_ASKED_MAX, "questions about chains are bounded");
        }
    }
}

/// How long a node with so many connections keeps back an acknowledgement that nobody waits for.
pub(super) fn have_wait(conns: usize) -> Duration {
    let wait = HAVE_WAIT_PER_PEER.saturating_mul(u32::try_from(conns).unwrap_or(u32::MAX));
    wait.clamp(HAVE_WAIT_MIN, HAVE_WAIT_MAX)
}

/// A transfer frame that the peer has not accounted for.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) sent: Duration,
    /// The last entry it carried of each feed.
    pub(super) carried: Vec<(FeedId, u64)>,
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
    pub(super) in_flight: VecDeque<Flight>,
    /// How long the peer takes to acknowledge, smoothed.
    pub(super) ack_time: Duration,
    /// How much it has heard of what moved in the space.
    pub(super) heard_of: u64,
    /// Feeds to be acknowledged.
    pub(super) have_due: BTreeSet<FeedId>,
    /// An acknowledgement is due at once, even if no feed moved: the peer has sent something.
    pub(super) answer_due: bool,
    /// When what came from elsewhere is told, together with what comes until then.
    pub(super) have_at: Option<Duration>,
    /// Feeds of others: when the peer is sent what it has not got from elsewhere by then.
    pub(super) relay: BTreeMap<FeedId, Duration>,
    /// Feeds of others that the peer gets through us alone, as far as is known; how often it was so.
    pub(super) relied: BTreeMap<FeedId, u32>,
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
    pub(super) stated_state: Option<Digest>,
    pub(super) heard: Option<(Digest, Digest)>,
    /// The last frontier that both have said to have.
    pub(super) agreed: Option<Digest>,
    pub(super) diverged: bool,
    pub(super) behind_since: Option<u64>,
    pub(super) refused_there: u64,
    /// Entries of theirs to report as refused.
    pub(super) refusals: Vec<(FeedId, u64, u8)>,
    /// What the agenda has of it.
    pub(super) entered: Option<(Duration, &'static str)>,
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

    /// How long to wait before an entry of somebody else is relayed: hardly, if the peer gets them through us alone; else
    /// until it should have said that it has it. That is tried again, at first often: an entry that was merely late must not
    /// make everything else go twice.
    /// `have_wait`: how long the peer is thought to wait before it says so.
    pub(super) fn relay_wait(&self, feed: FeedId, have_wait: Duration) -> Duration {
        match self.relied.get(&feed) {
            Some(times) if !times.is_power_of_two() && times % RELY_CHECK != 0 => RELAY_DELAY,
            _ => (2 * (have_wait + self.ack_time)).min(RELAY_WAIT_MAX),
        }
    }

    /// Notes how long an acknowledgement took (RFC 6298, without the variance).
    pub(super) fn acknowledged(&mut self, took: Duration) {
        self.ack_time = if self.ack_time.is_zero() { took } else { (self.ack_time * 7 + took) / 8 };
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
        let have = self.have_at.filter(|_| self.summary.is_some()).map(|at| (at, "have"));
        let relay = self.relay.values().min().map(|at| (*at, "relay"));
        let resend = self.resend.values().min().map(|at| (*at, "resend"));
        let stalled = self.stalled_at.map(|at| (at, "stalled"));
        [have, relay, resend, stalled].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether the peer has said to have what we have; `frontier`: digest of that.
    pub(super) fn equal(&self, frontier: Digest) -> bool {
        self.agreed == Some(frontier)
    }

    /// Notes that both have the frontier `digest`.
    pub(super) fn agree(&mut self, digest: Digest, diverged: bool) {
        self.agreed = Some(digest);
        self.diverged = diverged;
        self.behind_since = None;
    }

    /// Notes that the peer has `feed` up to `seq`.
    pub(super) fn learn(&mut self, feed: FeedId, seq: u64) {
        if let Some(known) = &mut self.known {
            let at = known.entry(feed).or_default();
            *at = (*at).max(seq);
        }
    }
}
