//! Acknowledging: what has become durable is told the peer, at once if it sent it, else a while later together with
//! what comes until then.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_transport::frame::{FeedHave, Frame, Have};
use tombolo_transport::limits::CONTROL_FRAME_BYTES_MAX;

use crate::engine::peers::session::Session;
use crate::engine::peers::session::talk::Talk;
use crate::engine::space::Space;

/// Entries that came from elsewhere are acknowledged to a peer after this long, together with those that come until
/// then: whoever sent them hears at once. See [`have_wait`].
const HAVE_WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest time that an acknowledgement waits which nobody waits for.
const HAVE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Such a wait per connection: a node makes at most 100 of these acknowledgements a second, however many peers it has.
const HAVE_WAIT_PER_PEER: Duration = Duration::from_millis(10);
/// Feeds named in one acknowledgement (with their runs at most 700 bytes each).
const HAVE_FEEDS_MAX: usize = 1024;
/// Runs of held entries named per feed (at most 20 bytes each).
const HELD_RUNS_MAX: usize = 32;
/// Most refusals reported in one frame.
const REFUSALS_MAX: usize = 4096;

const _: () = assert!(HAVE_FEEDS_MAX * 700 <= CONTROL_FRAME_BYTES_MAX, "an acknowledgement fits a frame");
const _: () = assert!(REFUSALS_MAX * 27 + 64 <= CONTROL_FRAME_BYTES_MAX, "refusals fit a frame");

/// How long a node with so many connections keeps back an acknowledgement that nobody waits for.
pub(in crate::engine) fn have_wait(conns: usize) -> Duration {
    let wait = HAVE_WAIT_PER_PEER.saturating_mul(u32::try_from(conns).unwrap_or(u32::MAX));
    wait.clamp(HAVE_WAIT_MIN, HAVE_WAIT_MAX)
}

/// What the peer is to be told of what became of its entries, and of those from elsewhere.
#[derive(Debug, Default)]
pub(in crate::engine) struct Answering {
    /// Number of the last transfer frame taken.
    pub(super) taken: u64,
    /// Feeds to be acknowledged.
    pub(super) feeds: BTreeSet<FeedId>,
    /// An acknowledgement is due at once, even if no feed moved: the peer has sent something.
    pub(super) due: bool,
    /// When what came from elsewhere is told, together with what comes until then.
    pub(super) at: Option<Duration>,
    /// Entries of the peer to report as refused.
    refusals: Vec<(FeedId, u64, u8)>,
}

impl Answering {
    /// Takes a transfer frame of the peer. It hears at once what became of it.
    pub(in crate::engine) fn take(&mut self, number: u64) {
        self.taken = number;
        self.due = true;
    }

    /// A feed came with that frame.
    pub(in crate::engine) fn carried(&mut self, feed: FeedId) {
        self.feeds.insert(feed);
    }

    /// Something is to be acknowledged at once.
    pub(in crate::engine) fn hurry(&mut self) {
        self.due = true;
    }

    /// Entries of the peer were refused.
    pub(in crate::engine) fn refused(&mut self, refusals: impl Iterator<Item = (FeedId, u64, u8)>) {
        let room = REFUSALS_MAX.saturating_sub(self.refusals.len());
        self.refusals.extend(refusals.take(room));
        assert!(self.refusals.len() <= REFUSALS_MAX, "refusals that wait are bounded");
    }

    /// How many frames the peer has sent.
    pub(in crate::engine) fn taken(&self) -> u64 {
        self.taken
    }

    /// A feed moved at `at`, which the peer is told in a while.
    pub(super) fn moved(&mut self, feed: FeedId, at: Duration, have_wait: Duration) {
        self.feeds.insert(feed);
        self.at.get_or_insert(at + have_wait);
    }
}

impl Talk<'_> {
    /// Acknowledges what has become durable; whether it did.
    pub(super) fn have(&mut self, space: &mut Space, session: &mut Session) -> bool {
        let answering = &mut session.answering;
        let due = answering.due || answering.at.is_some_and(|at| at <= self.now.mono);
        if session.heard.summary.is_none() || !due {
            return false;
        }
        answering.due = false;
        answering.at = None;
        let due = std::mem::take(&mut answering.feeds);
        let number = answering.taken;
        if number > 16 && defect::is(Defect::AcknowledgementLost) {
            return false;
        }
        let feeds: Vec<FeedHave> = due
            .into_iter()
            .map(|feed| {
                // Naming fewer runs than are held costs bytes, nothing else.
                let mut held = space.held.runs(feed);
                held.truncate(HELD_RUNS_MAX);
                FeedHave { feed, settled: space.frontier.seq(feed), held }
            })
            .collect();
        let (frontier, state) = (space.frontier_digest(), space.state_digest());
        let journal = space.row.journal;
        space.memory.entry(self.peer).or_default().told(frontier, journal);
        session.said.stated = Some((frontier, state));
        let space = space.id;
        // The number goes with the last frame: it says that all it carried is accounted for.
        let mut rest = feeds.chunks(HAVE_FEEDS_MAX).peekable();
        while let Some(feeds) = rest.next() {
            let number = if rest.peek().is_some() { 0 } else { number };
            self.send(Frame::Have(Have { space, number, feeds: feeds.to_vec(), frontier, state }));
        }
        if feeds.is_empty() {
            self.send(Frame::Have(Have { space, number, feeds, frontier, state }));
        }
        true
    }

    /// Tells the peer which of its entries were refused.
    pub(super) fn refusals(&mut self, space: &Space, session: &mut Session) {
        let refusals = std::mem::take(&mut session.answering.refusals);
        if !refusals.is_empty() {
            self.send(Frame::Refused(space.id, refusals));
        }
    }
}
