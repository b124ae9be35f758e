//! Rules entries that a node takes from who is no member: an offer, judged page by page on a copy of the rules. Nothing
//! is stored before the last page, and nothing if the offer is not good.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::entry::{Body, Content};
use tombolo_crdt::feed::{FeedKind, VerifiedRange};
use tombolo_crdt::rules::{Found, Record, RulesDag};
use tombolo_crdt::verdict::{RulesOnly, Situation, Verdict, in_force, judge};
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
    /// Entries that cannot be judged yet: the number of the range, the number of the entry in it.
    open: Vec<(usize, usize)>,
    bytes: usize,
    found: Option<Found>,
}

impl Offer {
    /// Of a space of which nothing is known.
    pub(in crate::engine) fn of(space: SpaceId) -> Self {
        Self {
            dag: RulesDag::new(space),
            before: BTreeMap::new(),
            ranges: Vec::new(),
            open: Vec::new(),
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
            self.open.extend(unknown.map(|(index, _)| (no, index)));
            self.ranges.push(range);
        }
        self.judge()?;
        let waiting: BTreeSet<usize> = self.open.iter().map(|(no, _)| *no).collect();
        let bytes: usize = waiting.iter().filter_map(|no| self.ranges.get(*no)).map(weight).sum();
        if bytes > WAITING_BYTES_MAX { Err(OfferError::Orphans) } else { Ok(()) }
    }

    /// Judges what can be judged. Entries of several feeds build on each other: goes round until nothing more can be.
    fn judge(&mut self) -> Result<(), OfferError> {
        loop {
            let (mut rest, mut stuck) = (Vec::new(), BTreeSet::new());
            let waiting = self.open.len();
            for at in std::mem::take(&mut self.open) {
                let feed = self.ranges.get(at.0).map(VerifiedRange::feed);
                // What follows an entry that waits waits too.
                if stuck.contains(&feed) || !self.judge_one(at)? {
                    stuck.insert(feed);
                    rest.push(at);
                }
            }
            self.open = rest;
            if self.open.is_empty() || self.open.len() == waiting {
                return Ok(());
            }
        }
    }

    /// Whether the entry could be judged.
    fn judge_one(&mut self, (no, index): (usize, usize)) -> Result<bool, OfferError> {
        let Self { dag, before, ranges, found, .. } = self;
        let Some(range) = ranges.get(no) else { return Ok(true) };
        let Some(entry) = range.entries().get(index) else { return Ok(true) };
        if dag.knows(entry.chain) {
            // It came twice.
            return Ok(true);
        }
        let Content::Known(content) = &entry.content else { return Ok(false) };
        let author = range.opening().node;
        let last = before.entry(range.feed()).or_default();
        let situation = Situation { feed: range.feed(), author, rules: dag, before: last };
        let Ok(judgement) = judge(content, &situation, &mut RulesOnly);
        let Ok((verdict, _)) = judgement.settled() else { return Ok(false) };
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
        Ok(true)
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
