//! All data entries of a space as one store holds them, each with its past: what its signed dependencies say.

use std::collections::BTreeMap;

use tombolo_crdt::entry::{Body, Content, Entry};
use tombolo_crdt::feed::{FeedKind, Opening};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, FeedId, NodeId, SpaceId};
use tombolo_node::store::Reading;

use super::fault::Fault;
use super::model::Cut;
use super::writes;
use crate::outcome::Oracle;

/// A data feed.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) id: FeedId,
    pub(super) author: NodeId,
    /// Positions at which it stated rules heads.
    pub(super) rules: Vec<u64>,
    /// How many entries of the feed are settled.
    pub(super) seq: u64,
}

/// A settled data entry.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Index in [`Ledger::feeds`].
    pub(super) feed: usize,
    pub(super) seq: u64,
    pub(super) chain: ChainHash,
    pub(super) verdict: Verdict,
    pub(super) entry: Entry,
    /// The write it comes from.
    pub(super) write: Option<u32>,
    /// What its author had seen, itself not included.
    pub(super) past: Cut,
}

impl Record {
    /// Names of the entities it changes.
    pub(super) fn entities(&self) -> impl Iterator<Item = (&str, &str)> {
        let changes = match &self.entry.body {
            Body::Data(changes) => changes.as_slice(),
            Body::Rules(_) => &[],
        };
        changes.iter().map(|change| (change.collection.as_str(), change.id.as_str()))
    }
}

/// The entries of a space, in the order of one node's journal: each after its past.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) feeds: Vec<Feed>,
    pub(super) records: Vec<Record>,
    index: BTreeMap<FeedId, usize>,
    places: BTreeMap<(usize, u64), usize>,
}

impl Ledger {
    /// Reads a store. O(entries × feeds).
    pub(super) fn read(reading: &Reading, space: SpaceId) -> Result<Self, Fault> {
        let mut ledger = Self::default();
        let unreadable = |error| Fault::unreadable(&error);
        let Some(row) = reading.space(space).map_err(unreadable)? else { return Ok(ledger) };
        let mut found = Vec::new();
        for (id, feed) in reading.feeds(row.space_no).map_err(unreadable)? {
            let Ok(opening) = Opening::decode(&feed.opening) else {
                return Err(Fault::new(Oracle::Frontier, "an opening does not decode", id.to_string()));
            };
            if opening.kind != FeedKind::Data {
                continue;
            }
            let number = ledger.feeds.len();
            ledger.index.insert(id, number);
            let rules = feed.rules.iter().map(|(seq, _)| *seq).collect();
            ledger.feeds.push(Feed { id, author: opening.node, rules, seq: feed.seq });
            for (seq, row) in reading.entries(id, 1..=feed.seq, usize::MAX).map_err(unreadable)? {
                let known = (Content::decode(&row.bytes, FeedKind::Data, seq), Verdict::from_code(row.verdict));
                let (Ok(Content::Known(entry)), Some(verdict)) = known else {
                    return Err(Fault::new(Oracle::Frontier, "an entry does not decode", format!("{id}-{seq}")));
                };
                let write = writes::of_entry(&entry);
                let record =
                    Record { feed: number, seq, chain: row.chain, verdict, entry: *entry, write, past: Cut::new() };
                found.push((row.journal, record));
            }
        }
        found.sort_by_key(|(journal, _)| *journal);
        for (_, record) in found {
            ledger.push(record)?;
        }
        Ok(ledger)
    }

    /// Takes the next entry, whose past is known.
    fn push(&mut self, mut record: Record) -> Result<(), Fault> {
        let mut past = vec![0; self.feeds.len()];
        let own = (record.seq > 1).then(|| (record.feed, record.seq - 1));
        let deps = record.entry.deps.iter().map(|dep| self.index.get(&dep.feed).map(|feed| (*feed, dep.seq)));
        for dep in own.map(Some).into_iter().chain(deps) {
            let known = dep.and_then(|(feed, seq)| {
                let at = self.places.get(&(feed, seq))?;
                Some((feed, seq, self.records.get(*at)?))
            });
            let Some((feed, seq, known)) = known else {
                let detail = format!("{}-{} came before what it depends on", self.id(record.feed), record.seq);
                return Err(Fault::new(Oracle::Causality, "an entry before its past", detail));
            };
            for (mine, theirs) in past.iter_mut().zip(&known.past) {
                *mine = (*mine).max(*theirs);
            }
            if let Some(mine) = past.get_mut(feed) {
                *mine = seq.max(*mine);
            }
        }
        let own = past.get(record.feed).copied();
        assert_eq!(own, Some(record.seq - 1), "an entry comes right after the one before it in its feed");
        record.past = past;
        self.places.insert((record.feed, record.seq), self.records.len());
        self.records.push(record);
        Ok(())
    }

    fn id(&self, feed: usize) -> FeedId {
        self.feeds.get(feed).map_or(FeedId::from_bytes([0; 16]), |feed| feed.id)
    }

    /// An entry's name, for people.
    pub(super) fn name(&self, record: &Record) -> String {
        format!("entry {}-{}", self.id(record.feed), record.seq)
    }

    /// An entry.
    pub(super) fn find(&self, feed: FeedId, seq: u64) -> Option<&Record> {
        let feed = *self.index.get(&feed)?;
        self.records.get(*self.places.get(&(feed, seq))?)
    }

    /// Everything.
    pub(super) fn whole(&self) -> Cut {
        self.feeds.iter().map(|feed| feed.seq).collect()
    }

    /// A cut without the refused entries at the ends of its feeds, which nobody names. O(refused).
    pub(super) fn applied(&self, cut: &[u64]) -> Cut {
        assert_eq!(cut.len(), self.feeds.len(), "a cut says of each feed how far it goes");
        let refused = |feed: usize, seq: u64| {
            let at = self.places.get(&(feed, seq)).and_then(|at| self.records.get(*at));
            at.is_some_and(|record| record.verdict != Verdict::Applied)
        };
        let end = |(feed, seq): (usize, &u64)| (0..=*seq).rev().find(|seq| !refused(feed, *seq)).unwrap_or(0);
        cut.iter().enumerate().map(end).collect()
    }

    /// What a frontier holds of the feeds here.
    pub(super) fn cut(&self, frontier: &Frontier) -> Cut {
        self.feeds.iter().map(|feed| frontier.seq(feed.id)).collect()
    }
}
