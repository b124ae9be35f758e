//! Rules entries that a node takes from who is no member: an offer, judged page by page on a copy of the rules. Nothing
//! is stored before the last page, and nothing if the offer is not good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tombolo_crdt::entry::{Body, Content};
use tombolo_crdt::feed::{FeedKind, VerifiedRange};
use tombolo_crdt::rules::{Found, Record, RulesDag};
use tombolo_crdt::verdict::{RulesOnly, Situation, Verdict, Wait, in_force, judge};
use tombolo_crdt::{ChainHash, FeedId, NodeId, SpaceId};

use crate::engine::space::Space;

/// Bytes of all pages of one offer from who is no member (8 MiB): some 20,000 admissions.
pub(in crate::engine) const OFFER_BYTES_MAX: usize = 8 << 20;
/// Bytes of entries whose parents have not come yet, in one offer (1 MiB). A page is sent in the order in which its
/// sender settled the ranges, so few wait, and not for long.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Bytes that a range counts beside its entries, and one position that its opening closes.
const RANGE_BYTES: usize = 512;
const CLOSED_BYTES: usize = 64;

/// Why an offer is not taken. Its sender's fault, or its sender's past; nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine) enum OfferError {
    #[error("the rules offered have more than {OFFER_BYTES_MAX} bytes")]
    TooLong,
    #[error("rules entries were offered whose parents did not come")]
    Orphans,
    #[error("a rules entry of {0}, who is no member, was offered")]
    Stranger(NodeId),
}

/// An offer under way.
#[derive(Debug)]
pub(in crate::engine) struct Offer {
    dag: RulesDag,
    /// The rules heads that each feed has stated so far.
    before: BTreeMap<FeedId, Vec<ChainHash>>,
    ranges: Vec<VerifiedRange>,
    open: Open,
    /// Entries that were looked at to be judged, each as often as it was.
    judged: usize,
    bytes: usize,
    found: Option<Found>,
}

/// An entry of an offer: the number of its range, and its own number in the range.
type At = (usize, usize);

/// Entries that are not judged yet. The first of a feed is on the work list, or waits for one rules head and is found
/// by it; those behind it wait for it. O(log open entries) each.
#[derive(Debug, Default)]
struct Open {
    /// In the order in which they came.
    feeds: BTreeMap<FeedId, VecDeque<At>>,
    /// The work list, first come first.
    ready: BTreeMap<At, FeedId>,
    waiting: BTreeMap<ChainHash, BTreeSet<FeedId>>,
    /// How many entries of each range are open.
    ranges: BTreeMap<usize, usize>,
    /// Bytes of these ranges.
    bytes: usize,
}

impl Open {
    /// Adds a range, of which these entries are not known yet.
    fn add(&mut self, no: usize, range: &VerifiedRange, entries: impl Iterator<Item = usize>) {
        let queue = self.feeds.entry(range.feed()).or_default();
        let before = queue.len();
        queue.extend(entries.map(|index| (no, index)));
        let added = queue.len() - before;
        if added > 0 {
            self.ranges.insert(no, added);
            self.bytes += weight(range);
        }
        if before == 0 {
            self.wake(range.feed());
        }
    }

    /// The first entry of a feed may be judged, if there is one.
    fn wake(&mut self, feed: FeedId) {
        match self.feeds.get(&feed).map(VecDeque::front) {
            Some(Some(first)) => drop(self.ready.insert(*first, feed)),
            Some(None) => drop(self.feeds.remove(&feed)),
            None => {}
        }
    }

    /// The next feed of the work list, and its first entry.
    fn next(&mut self) -> Option<(At, FeedId)> {
        self.ready.pop_first()
    }

    /// The first entry of a feed waits for a head.
    fn wait(&mut self, feed: FeedId, head: ChainHash) {
        self.waiting.entry(head).or_default().insert(feed);
    }

    /// The first entry of a feed, which lies in this range, is judged: who waited for it may be.
    fn judged(&mut self, feed: FeedId, range: &VerifiedRange, (no, index): At) {
        let first = self.feeds.get_mut(&feed).and_then(VecDeque::pop_front);
        debug_assert_eq!(first, Some((no, index)), "entries of a feed are judged in their order");
        if let Some(left) = self.ranges.get_mut(&no) {
            *left -= 1;
            if *left == 0 {
                self.ranges.remove(&no);
                self.bytes -= weight(range);
            }
        }
        self.wake(feed);
        let head = range.entries().get(index).map(|entry| entry.chain);
        for feed in head.and_then(|head| self.waiting.remove(&head)).into_iter().flatten() {
            self.wake(feed);
        }
    }
}

impl Offer {
    /// Of a space of which nothing is known.
    pub(in crate::engine) fn of(space: SpaceId) -> Self {
        Self {
            dag: RulesDag::new(space),
            before: BTreeMap::new(),
            ranges: Vec::new(),
            open: Open::default(),
            judged: 0,
            bytes: 0,
            found: None,
        }
    }

    /// On top of what is held. O(rules entries).
    pub(in crate::engine) fn onto(space: &Space) -> Self {
        let before = space.feeds.iter().map(|(id, feed)| (*id, feed.rules_at(feed.row.seq).1.to_vec())).collect();
        Self { dag: space.rules.clone(), before, ..Self::of(space.id) }
    }

    /// Takes a page: judges what is new in it. Refused entries are let pass if their author is a member, since its
    /// later ones build on them; they count.
    ///
    /// # Errors
    /// [`OfferError`]: the offer is over.
    pub(in crate::engine) fn page(&mut self, ranges: Vec<VerifiedRange>) -> Result<(), OfferError> {
        let space = self.dag.space();
        for range in ranges.into_iter().filter(|range| belongs(range, space)) {
            self.bytes += weight(&range);
            if self.bytes > OFFER_BYTES_MAX {
                return Err(OfferError::TooLong);
            }
            let no = self.ranges.len();
            let unknown = range.entries().iter().enumerate().filter(|(_, entry)| !self.dag.knows(entry.chain));
            self.open.add(no, &range, unknown.map(|(index, _)| index));
            self.ranges.push(range);
        }
        while let Some((at, feed)) = self.open.next() {
            self.judged += 1;
            match self.judge(at)? {
                None => self.ranges.get(at.0).into_iter().for_each(|range| self.open.judged(feed, range, at)),
                Some(Wait::Rules(head)) => self.open.wait(feed, head),
                // What it waits for is not in an offer: it stays, and all behind it.
                Some(_) => {}
            }
        }
        if self.open.bytes > WAITING_BYTES_MAX { Err(OfferError::Orphans) } else { Ok(()) }
    }

    /// Judges an entry. What it waits for, if it cannot be judged yet.
    fn judge(&mut self, (no, index): At) -> Result<Option<Wait>, OfferError> {
        let Self { dag, before, ranges, found, .. } = self;
        let Some(range) = ranges.get(no) else { return Ok(None) };
        let Some(entry) = range.entries().get(index) else { return Ok(None) };
        if dag.knows(entry.chain) {
            // It came twice.
            return Ok(None);
        }
        let Content::Known(content) = &entry.content else { return Ok(Some(Wait::Later)) };
        let author = range.opening().node;
        let last = before.entry(range.feed()).or_default();
        let situation = Situation { feed: range.feed(), author, rules: dag, before: last };
        let Ok(judgement) = judge(content, &situation, &mut RulesOnly);
        let verdict = match judgement.settled() {
            Ok((verdict, _)) => verdict,
            Err(wait) => return Ok(Some(wait)),
        };
        let heads = in_force(content, &situation).to_vec();
        if verdict == Verdict::Applied {
            if let Body::Rules(records) = &content.body
                && let Some(Ok(Record::Found(record))) = records.first().map(Record::from_raw)
            {
                found.get_or_insert(record);
            }
        } else if dag.roster().member(author).is_none() {
            return Err(OfferError::Stranger(author));
        }
        dag.insert(entry.chain, &heads, content, verdict);
        *last = heads;
        Ok(None)
    }

    /// How often an entry was looked at to be judged since this was asked last.
    pub(in crate::engine) fn take_judged(&mut self) -> usize {
        std::mem::take(&mut self.judged)
    }

    /// Rules entries judged so far, those on which the offer was put included.
    pub(in crate::engine) fn len(&self) -> usize {
        self.dag.len()
    }

    /// Whether these rules make a node a member.
    pub(in crate::engine) fn admits(&self, node: NodeId) -> bool {
        self.dag.roster().member(node).is_some()
    }

    /// The founding record, if the offer has it, and all ranges.
    pub(in crate::engine) fn into_parts(self) -> (Option<Found>, Vec<VerifiedRange>) {
        (self.found, self.ranges)
    }
}

/// Whether a range is of the rules of a space. Others are passed over.
pub(in crate::engine) fn belongs(range: &VerifiedRange, space: SpaceId) -> bool {
    range.opening().space == space && range.opening().kind == FeedKind::Rules
}

/// Bytes that a range counts.
fn weight(range: &VerifiedRange) -> usize {
    let entries: usize = range.entries().iter().map(|entry| entry.bytes.len()).sum();
    entries + RANGE_BYTES + range.opening().closes.len() * CLOSED_BYTES
}
