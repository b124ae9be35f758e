//! Attacks by entries. None of them may be applied but those of a writer that change nothing, or entities of its own.

use tombolo_crdt::entity::{EntityState, Provenance, Write, Writer};
use tombolo_crdt::entry::{Dep, ENTRY_DEPS_MAX, EntityChange, Entry, Ext};
use tombolo_crdt::feed::{FeedKind, Position, Range};
use tombolo_crdt::json::Json;
use tombolo_crdt::rules::{Contact, Grant, Record, Role, rules_entry};
use tombolo_crdt::{ChainHash, ChangeHash, FeedId, Hlc, NodeId};
use tombolo_transport::frame::Frame;

use super::hand::{Hand, own_change};
use crate::pen::{Pen, forged_change};
use crate::plan::GONE_BAD_COLLECTION;

/// Entries of a feed in which many are refused, and feeds of which each has one.
const MANY: u64 = 40;
const FEEDS: u64 = 8;
/// Feeds whose openings are nearly as large as they may be, and the feeds that each says to close (some 50 bytes each).
const FAT_FEEDS: u64 = 6;
const CLOSES: u64 = 1_100;
/// Operations that a change of some 64 bytes would stand for.
const OPERATIONS: u32 = 65_536;
/// A number that the operations of no entity come near: whoever begins with it is refused.
const TOO_FAR: u64 = 1 << 30;
/// Changes of an entity of its own: more than a step looks back.
const HISTORY: u64 = 136;
/// Entries that look at a past.
const LOOKS: u64 = 4;
/// Feeds that are there to be named, and entries that name them.
const NAMED: u64 = 24;
const NAMING: u64 = 4;
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

impl Hand<'_> {
    /// A name that is none, a change that is none: refused by structure where its role may write.
    fn refusable(&self, nth: u64) -> Vec<EntityChange> {
        let mut change = self.garbage(nth);
        if nth.is_multiple_of(2) {
            change.collection.clear();
        }
        vec![change]
    }

    pub(super) fn refused(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let run = self.run(&mut self.pen(0, FeedKind::Data), rules, MANY, |n| self.refusable(n));
        let one = |n| self.run(&mut self.pen(n, FeedKind::Data), rules, 1, |_| self.refusable(n));
        vec![self.frame((1..=FEEDS).map(one).chain([run]).collect())]
    }

    pub(super) fn waiting(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let closed = |n: u64| Position { feed: self.no_feed(3, n), seq: 1 + n, chain: self.chain(3, n) };
        let fat = |n: u64| {
            let closes = (0..CLOSES).map(|nth| closed(n * CLOSES + nth)).collect();
            let mut pen = Pen::closing(self.key, self.space, self.epoch(n), FeedKind::Data, closes);
            let entry = pen.data(self.hlc(), rules, vec![self.no_entry(4, n)], vec![self.garbage(n)]);
            pen.append(&entry)
        };
        let mut ranges: Vec<Range> = (0..FAT_FEEDS).map(fat).collect();
        // The first of the feed never comes.
        let mut pen = self.pen(FAT_FEEDS, FeedKind::Data);
        self.run(&mut pen, rules, 1, |n| vec![self.garbage(n)]);
        ranges.push(self.run(&mut pen, rules, MANY, |n| vec![self.garbage(n)]));
        // A version of the program that there will never be, and a rules entry.
        let mut pen = self.pen(FAT_FEEDS + 1, FeedKind::Data);
        let entry = pen.data(self.hlc(), rules, Vec::new(), Vec::new());
        let ext = vec![Ext { id: u16::MAX, must_understand: true, bytes: Vec::new() }];
        ranges.push(pen.append(&Entry { ext, ..entry }));
        let mut pen = self.pen(FAT_FEEDS + 2, FeedKind::Data);
        let entry = pen.data(self.hlc(), &[self.chain(5, 0)], Vec::new(), Vec::new());
        ranges.push(pen.append(&entry));
        vec![self.frame(ranges)]
    }

    pub(super) fn dense(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let mut pen = self.pen(0, FeedKind::Data);
        let feed = pen.opening().feed();
        let change = |n: u64| vec![own_change(&n.to_string(), forged_change(feed, (1, OPERATIONS), &[]))];
        vec![self.frame(vec![self.run(&mut pen, rules, MANY, change)])]
    }

    /// Entries of feeds of their own, each with one change that is made on a change. Refused once that is found, but
    /// for those of entities of its own.
    fn made_on(
        &self,
        rules: &[ChainHash],
        (collection, id): (&str, &str),
        from: u64,
        on: impl Fn(u64) -> ChangeHash,
    ) -> Vec<Range> {
        let one = |n: u64| {
            let mut pen = self.pen(n, FeedKind::Data);
            let start = if collection == GONE_BAD_COLLECTION { 1 } else { TOO_FAR };
            let change = forged_change(pen.opening().feed(), (start, 1), &[on(n)]);
            let (collection, id) = (collection.to_owned(), id.to_owned());
            let change = EntityChange { collection, id, origin: 0, change };
            self.run(&mut pen, rules, 1, |_| vec![change.clone()])
        };
        let ranges: Vec<Range> = (from..from + LOOKS).map(one).collect();
        assert!(ranges.iter().all(|range| range.entries.len() == 1), "each feed has one entry, which looks at a past");
        ranges
    }

    pub(super) fn unknown(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let ((collection, id), _) = self.longest().unwrap_or_else(|| (("x".to_owned(), "x".to_owned()), Vec::new()));
        let nobodys = |n| ChangeHash::from_bytes(self.bytes(6, n));
        vec![self.frame(self.made_on(rules, (&collection, &id), 0, nobodys))]
    }

    pub(super) fn old(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let mut pen = self.pen(0, FeedKind::Data);
        let (id, history) = (self.epoch(0).to_string(), self.history(pen.opening().feed()));
        let hashes: Vec<ChangeHash> = history.iter().map(|(hash, _)| *hash).collect();
        let mut changes = history.into_iter().map(|(_, change)| vec![own_change(&id, change)]);
        let written = self.run(&mut pen, rules, HISTORY, |_| changes.next().unwrap_or_default());
        let oldest = |all: &[ChangeHash], n: u64| {
            let at = usize::try_from(n).unwrap_or(0) % all.len().div_ceil(4).max(1);
            all.get(at).copied().unwrap_or_else(|| ChangeHash::from_bytes([0; 32]))
        };
        let mut ranges = vec![written];
        let own = (GONE_BAD_COLLECTION, id.as_str());
        ranges.extend(self.made_on(rules, own, 1, |n| oldest(&hashes, n)));
        if let Some(((collection, id), theirs)) = self.longest() {
            ranges.extend(self.made_on(rules, (&collection, &id), 1 + LOOKS, |n| oldest(&theirs, n)));
        }
        vec![self.frame(ranges)]
    }

    /// Changes of one entity, one after the other, as a writer makes them.
    fn history(&self, feed: FeedId) -> Vec<(ChangeHash, Vec<u8>)> {
        let mut state = EntityState::new();
        let mut changes = Vec::new();
        for n in 1..=HISTORY {
            let mut writer = Writer::new(&state, feed, self.hlc());
            let value = Json::parse(format!("{{\"n\":{n}}}").as_bytes()).expect("JSON");
            writer.write(&Write::Put { value, base: None }).expect("a small object");
            let provenance = Provenance { entry_seq: n, hlc: self.hlc(), ..Provenance::default() };
            let (change, next) = writer.finish(&provenance, n).expect("fits").expect("something changed");
            changes.push((change.hash(), change.bytes().to_vec()));
            state = next;
        }
        assert_eq!(changes.len() as u64, HISTORY, "every change is made on the one before it");
        changes
    }

    pub(super) fn naming(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let mut ranges = Vec::new();
        let mut known = self.ends();
        for n in 1..=NAMED {
            let mut pen = self.pen(n, FeedKind::Data);
            ranges.push(self.run(&mut pen, rules, 1, |_| self.refusable(n)));
            known.push(pen.dep());
        }
        known.truncate(ENTRY_DEPS_MAX);
        // The last feeds there can be: what is known is looked up before they are met.
        let last = |n: usize| {
            let mut id = *self.no_feed(7, n as u64).as_bytes();
            id[..4].fill(0xff);
            Dep { feed: FeedId::from_bytes(id), seq: 1, chain: self.chain(7, n as u64) }
        };
        let filled: Vec<Dep> = known.iter().copied().chain((known.len()..ENTRY_DEPS_MAX).map(last)).collect();
        let mut pen = self.pen(0, FeedKind::Data);
        for n in 0..NAMING {
            let deps = if n < NAMING / 2 { &known } else { &filled };
            let entry = pen.data(self.hlc(), rules, deps.clone(), Vec::new());
            ranges.push(pen.append(&entry));
        }
        vec![self.frame(ranges)]
    }

    pub(super) fn refused_rules(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let node = NodeId::from_bytes(self.key.verifying_key().to_bytes());
        let contact = Contact { name: "me".to_owned(), addrs: Vec::new() };
        let grant = [Record::Grant(Grant { node, role: Role::Admin, contact })];
        let mut pen = self.pen(0, FeedKind::Rules);
        let mut ranges = vec![pen.rule(rules.to_vec(), &[])];
        if self.role != Role::Admin {
            ranges.extend((0..MANY / 4).map(|_| pen.rule(rules.to_vec(), &grant)));
        }
        ranges.extend((1..=FEEDS).map(|n| {
            // Under no rules at all: nobody but a founder may do anything.
            let mut pen = self.pen(n, FeedKind::Rules);
            pen.append(&rules_entry(1, self.hlc(), Vec::new(), &grant))
        }));
        // The same heads are stated again and again.
        let mut pen = self.pen(FEEDS + 1, FeedKind::Data);
        for _ in 0..MANY / 4 {
            let entry = pen.data(self.hlc(), rules, Vec::new(), Vec::new());
            ranges.push(pen.append(&Entry { rules: Some(rules.to_vec()), ..entry }));
        }
        vec![self.frame(ranges)]
    }

    pub(super) fn clocks(&self, rules: &[ChainHash]) -> Vec<Frame> {
        let mut pen = self.pen(0, FeedKind::Data);
        let day = self.wall_millis + DAY;
        let times = (1..=8).map(|n| Hlc::from_millis(day - n * 1_000));
        let others = [Hlc::from_millis(day + DAY), Hlc::from_millis(0), Hlc::from_raw(u64::MAX)];
        let range = |(n, hlc)| {
            let entry = pen.data(hlc, rules, Vec::new(), self.refusable(n));
            pen.append(&entry)
        };
        vec![self.frame((0..).zip(times.chain(others)).map(range).collect())]
    }
}
