//! Attacks by what is said of oneself.

use tombolo_crdt::digest::BUCKETS;
use tombolo_crdt::feed::Position;
use tombolo_crdt::{Digest, FeedId};
use tombolo_transport::frame::{Audit, FeedHave, Frame, FrontierPage, Have, Probe, RowSum, Summary, Sums};

use super::hand::Hand;

/// How often the whole frontier is asked for.
const ASKED: usize = 1_500;
/// Feeds that do not exist, in each lie.
const FEEDS: u64 = 200;
/// Feeds of the peer that something false is said of.
const THEIRS: usize = 16;
/// Chains that are asked for.
const PROBES: u64 = 300;

impl Hand<'_> {
    pub(super) fn asking(&self) -> Vec<Frame> {
        vec![Frame::FrontierRequest(self.space); ASKED]
    }

    pub(super) fn lies(&self) -> Vec<Frame> {
        let Some(frontier) = self.peer.frontier(self.space) else { return Vec::new() };
        let (digest, space) = (frontier.digest(), self.space);
        let theirs: Vec<Position> = frontier.positions().take(THEIRS).collect();
        let (one, other) = (self.digest(10, 0), self.digest(10, 1));
        let summary = |frontier: Digest| {
            Frame::Summary(Summary { space, frontier, state: other, frozen: u64::MAX, common: Some(one) })
        };
        let mut frames = vec![summary(one), summary(digest)];
        frames.extend(self.frontiers(&theirs));
        frames.extend([(0, one), (u64::MAX, other), (1, digest)].map(|(number, frontier)| {
            let feeds = self.had(&theirs);
            Frame::Have(Have { space, number, feeds, frontier, state: other })
        }));
        let feed = |n: u64| {
            theirs.get(usize::try_from(n).unwrap_or(0) % THEIRS).map_or(FeedId::from_bytes([0; 16]), |at| at.feed)
        };
        frames.extend((0..PROBES).map(|n| {
            let feed = if n.is_multiple_of(3) { feed(n) } else { self.no_feed(11, n) };
            let seq = [0, 1, 2, u64::MAX][usize::try_from(self.draw(11, n) % 4).unwrap_or(0)];
            let chain = n.is_multiple_of(2).then(|| Some(self.chain(11, n)));
            Frame::Probe(Probe { space, feed, seq, chain })
        }));
        frames.push(Frame::Refused(space, (0..FEEDS).map(|n| (self.no_feed(12, n), n, 1)).collect()));
        frames.extend(self.audits(digest));
        frames
    }

    /// Frontiers that nobody has: of feeds that do not exist, of other chains, on top of what nobody remembers.
    fn frontiers(&self, theirs: &[Position]) -> Vec<Frame> {
        let mut lies: Vec<Position> = (0..FEEDS)
            .map(|n| Position { feed: self.no_feed(13, n), seq: self.draw(13, n), chain: self.chain(13, n) })
            .collect();
        lies.extend(theirs.iter().zip(0..).map(|(position, n)| Position { chain: self.chain(14, n), ..*position }));
        lies.sort_unstable_by_key(|position| position.feed);
        let page = |base, positions: Vec<Position>, last| {
            Frame::Frontier(FrontierPage { space: self.space, base, positions, last })
        };
        let falling = lies.iter().rev().copied().collect();
        vec![
            page(Some(self.digest(15, 0)), lies.clone(), true),
            page(Some(self.digest(15, 1)), Vec::new(), false),
            page(None, lies.clone(), false),
            page(None, falling, true),
            page(None, Vec::new(), false),
            page(None, lies, true),
        ]
    }

    /// All of everything, and runs that are none.
    fn had(&self, theirs: &[Position]) -> Vec<FeedHave> {
        let all = theirs.iter().map(|position| position.feed).chain((0..FEEDS).map(|n| self.no_feed(16, n)));
        let have = |(n, feed)| FeedHave {
            feed,
            settled: if self.draw(16, n).is_multiple_of(2) { u64::MAX } else { self.draw(17, n) % 8 },
            held: vec![(2, u64::MAX), (u64::MAX, 1), (0, 0)],
        };
        (0..).zip(all).map(have).collect()
    }

    /// Sums of other rows than it has, at the frontier that the peer has.
    fn audits(&self, frontier: Digest) -> Vec<Frame> {
        let half = |what, n| {
            let mut half = [0; 16];
            half.copy_from_slice(self.bytes(what, n).split_at(16).0);
            half
        };
        let row = |n: u64| RowSum { collection: "x".to_owned(), id: format!("{n}"), sum: half(18, n) };
        let buckets = (0..BUCKETS as u64).map(|n| half(19, n)).collect();
        let sums = [Sums::Buckets(buckets), Sums::Rows((0..64).collect(), (0..FEEDS).map(row).collect())];
        sums.into_iter().map(|sums| Frame::Audit(Audit { space: self.space, frontier, sums })).collect()
    }
}
