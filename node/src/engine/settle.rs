//! Settling: entries of other nodes get their verdict, or are held until they can.

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::{Change, ChangeError, Clock, Provenance};
use tombolo_crdt::entry::Body;
use tombolo_crdt::entry::{CHANGE_BYTES_MAX, Content, ENTRY_CHANGES_MAX, ENTRY_DEPS_MAX, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Position, Signature, VerifiedEntry, VerifiedRange, chain};
use tombolo_crdt::names::{check_collection, check_id};
use tombolo_crdt::rules::Hold;
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, ChangeHash, FeedId, Hlc, NodeId};

use super::append::{Settled, seal, store};
use super::held::Blocker;
use super::rows::RowFault;
use super::space::{Feed, Space};
use super::{Work, past};
use crate::store::{ChangeLink, HeldRow, QuarantineRow, StoreError};

/// What became of a range.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Entries refused: (seq, verdict).
    pub(super) refused: Vec<(u64, Verdict)>,
    /// Rules entries among the settled.
    pub(super) rules: bool,
    /// Entries settled or held, or sealed that were not.
    pub(super) any: bool,
}

/// An entry that may be settled now.
struct Candidate {
    feed: FeedId,
    seq: u64,
    chain: ChainHash,
    bytes: Vec<u8>,
    content: Content,
    seal: Option<Signature>,
}

/// A change ready to be applied.
struct Ready {
    change: Change,
    past: Clock,
}

impl Work<'_> {
    /// Takes a verified range: settles what can be settled, holds the rest, drops what is known already.
    pub(super) fn take_range(&mut self, space: &mut Space, range: VerifiedRange) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        let id = range.feed();
        let no = space.row.no;
        let feed = space.feeds.entry(id).or_insert_with(|| Feed::new(range.opening().clone(), no));
        if feed.row.seq == 0 && range.entries().first().is_some_and(|entry| entry.seq == 1) {
            // Only a range from the beginning proves the opening's hash; until then it is hearsay.
            if feed.opening != *range.opening() {
                *feed = Feed::new(range.opening().clone(), no);
            }
        }
        let settled = feed.row.seq;
        let Some(first) = range.entries().first().map(|entry| entry.seq) else { return Ok(taken) };
        if feed.fork.is_some() {
            return Ok(taken);
        }
        // The range must continue the chain that is settled here, or repeat it.
        let ours = match range.entries().iter().find(|entry| entry.seq == settled) {
            Some(entry) => Some((entry.chain, feed.row.chain)),
            None if first == settled + 1 => Some((range.previous(), feed.row.chain)),
            None => None,
        };
        if ours.is_some_and(|(theirs, ours)| theirs != ours) {
            feed.fork = Some(settled);
            return Ok(taken);
        }
        let seal_of_range = range.seal();
        let end = first + range.entries().len() as u64 - 1;
        if end == settled && feed.sealed_seq() < settled && ours.is_some() {
            // All of it is settled, and nothing vouched for it so far.
            seal(feed, &mut self.batch, seal_of_range)?;
            taken.any = true;
        }
        let seal = seal_of_range;
        for entry in range.into_entries() {
            let VerifiedEntry { seq, chain, bytes, content } = entry;
            let seal = (seq == end).then_some(seal);
            if seq <= space.frontier.seq(id) || space.held.contains(id, seq) {
                continue;
            }
            taken.any = true;
            let candidate = Candidate { feed: id, seq, chain, bytes, content, seal };
            let blocker = if seq == space.frontier.seq(id) + 1 {
                self.settle(space, &candidate, &mut taken)?
            } else {
                Some(Blocker::Dep(id, seq - 1))
            };
            if let Some(blocker) = blocker {
                self.hold(space, candidate, blocker)?;
            }
        }
        Ok(taken)
    }

    /// Tries every feed with held entries whose obstacle may have gone, until nothing more can be settled.
    pub(super) fn drain_held(&mut self, space: &mut Space, taken: &mut Taken) -> Result<(), StoreError> {
        loop {
            let mut progress = false;
            for id in space.held.feeds() {
                if space.held.blocker(id).is_some_and(|blocker| !resolved(space, blocker)) {
                    continue;
                }
                while let Some(candidate) = self.next_held(space, id)? {
                    let seq = candidate.seq;
                    match self.settle(space, &candidate, taken)? {
                        Some(blocker) => {
                            space.held.block(id, blocker);
                            break;
                        }
                        None => {
                            self.drop_held(space, id, seq)?;
                            progress = true;
                        }
                    }
                }
            }
            if !progress {
                return Ok(());
            }
        }
    }

    /// The held entry right after the settled ones of a feed. Entries that do not continue the chain, or that have
    /// been settled meanwhile, are dropped.
    fn next_held(&mut self, space: &mut Space, id: FeedId) -> Result<Option<Candidate>, StoreError> {
        space.held.unblock(id);
        while let Some((seq, _)) = space.held.of(id) {
            let next = space.frontier.seq(id) + 1;
            if seq > next {
                space.held.block(id, Blocker::Dep(id, seq - 1));
                return Ok(None);
            }
            let row = self.batch.held_entry(id, seq)?;
            let Some((row, feed)) = row.filter(|_| seq == next).zip(space.feeds.get(&id)) else {
                self.drop_held(space, id, seq)?;
                continue;
            };
            if chain(id, seq, feed.row.chain, &row.bytes) != row.chain {
                self.drop_held(space, id, seq)?;
                continue;
            }
            let content = Content::decode(&row.bytes, feed.opening.kind, seq)
                .map_err(|_| StoreError::corrupt("held", "a held entry does not decode"))?;
            return Ok(Some(Candidate { feed: id, seq, chain: row.chain, bytes: row.bytes, content, seal: row.seal }));
        }
        Ok(None)
    }

    fn hold(&mut self, space: &mut Space, candidate: Candidate, blocker: Blocker) -> Result<(), StoreError> {
        let Candidate { feed, seq, chain, bytes, seal, .. } = candidate;
        // What the first of a feed waits for is what the feed waits for; a gap before a later one is not.
        if space.held.of(feed).is_none_or(|(first, _)| seq < first) {
            space.held.block(feed, blocker);
        }
        space.held.insert(feed, seq, bytes.len());
        if !defect::is(Defect::HeldNotStored) {
            self.batch.put_held(feed, seq, &HeldRow { bytes, chain, seal })?;
        }
        if seq == space.frontier.seq(feed) + 1 && defect::is(Defect::HeldCounted) {
            space.frontier.advance(Position { feed, seq, chain });
        }
        self.counters.held += 1;
        if let Some(feed) = space.feeds.get_mut(&feed) {
            feed.dirty = true; // an unknown feed's opening must be there after a restart
        }
        while let Some((feed, seq)) = space.held.surplus() {
            self.drop_held(space, feed, seq)?;
            self.counters.dropped += 1;
        }
        Ok(())
    }

    fn drop_held(&mut self, space: &mut Space, feed: FeedId, seq: u64) -> Result<(), StoreError> {
        space.held.remove(feed, seq);
        self.batch.remove_held(feed, seq)
    }

    /// Gives an entry its verdict and stores it; or says what it waits for.
    fn settle(
        &mut self,
        space: &mut Space,
        candidate: &Candidate,
        taken: &mut Taken,
    ) -> Result<Option<Blocker>, StoreError> {
        let Content::Known(entry) = &candidate.content else { return Ok(Some(Blocker::Later)) };
        let Some(feed) = space.feeds.get(&candidate.feed) else { return Ok(None) };
        let author = feed.opening.node;
        let kind = feed.opening.kind;
        if let Some(blocker) = self.missing_dep(space, entry)? {
            return Ok(Some(blocker));
        }
        let (_, before) = feed.rules_at(candidate.seq - 1);
        let heads = entry.rules.as_deref().unwrap_or(before).to_vec();
        if let Some(head) = space.rules.missing(&heads) {
            return Ok(Some(Blocker::Rules(head)));
        }
        let mut links = Vec::new();
        let verdict = match kind {
            FeedKind::Rules => match space.rules.judge_rules(entry, author, &heads, before) {
                Ok(verdict) => verdict,
                Err(Hold::Parent(parent)) => return Ok(Some(Blocker::Rules(parent))),
                Err(Hold::Later(_)) => return Ok(Some(Blocker::Later)),
            },
            FeedKind::Data => match self.judge_data(space, candidate, entry, author, &heads)? {
                Ok(Judged::Refused(verdict)) => verdict,
                Ok(Judged::Apply(ready)) => {
                    links = self.apply(space, candidate, entry, ready)?;
                    Verdict::Applied
                }
                Err(blocker) => return Ok(Some(blocker)),
            },
        };
        self.finish(space, candidate, entry, verdict, links, kind == FeedKind::Rules)?;
        if kind == FeedKind::Rules {
            space.rules.insert(candidate.chain, heads, entry, verdict);
            taken.rules = true;
        }
        if verdict != Verdict::Applied {
            taken.refused.push((candidate.seq, verdict));
        }
        Ok(None)
    }

    fn finish(
        &mut self,
        space: &mut Space,
        candidate: &Candidate,
        entry: &Entry,
        verdict: Verdict,
        mut links: Vec<ChangeLink>,
        rules: bool,
    ) -> Result<(), StoreError> {
        let Candidate { feed, seq, chain, bytes, seal: signature, .. } = candidate;
        if verdict != Verdict::Applied {
            links.clear();
            self.quarantine(space, candidate, entry, verdict)?;
        }
        let settled =
            Settled { feed: *feed, seq: *seq, chain: *chain, bytes: bytes.clone(), entry, verdict, rules, links };
        store(space, &mut self.batch, settled)?;
        self.counters.entries += 1;
        *self.counters.settled.entry(verdict.name()).or_default() += 1;
        self.follow_clock(space, entry.hlc);
        if let (Some(signature), Some(feed)) = (signature, space.feeds.get_mut(feed)) {
            seal(feed, &mut self.batch, *signature)?;
        }
        Ok(())
    }

    fn quarantine(
        &mut self,
        space: &Space,
        candidate: &Candidate,
        entry: &Entry,
        verdict: Verdict,
    ) -> Result<(), StoreError> {
        let no = space.row.no;
        let reason = format!("{} ({} by {})", verdict.name(), candidate.seq, candidate.feed);
        let row = QuarantineRow { verdict: verdict.code(), reason, hlc: entry.hlc.raw() };
        self.batch.put_quarantine(no, candidate.feed, candidate.seq, &row)?;
        let Body::Data(changes) = &entry.body else { return Ok(()) };
        for change in changes {
            if let Ok(parsed) = Change::parse(&change.change, candidate.feed) {
                let at = (candidate.feed, candidate.seq);
                self.batch.put_refused_change(no, &change.collection, &change.id, parsed.hash(), at)?;
            }
        }
        Ok(())
    }

    /// The first dependency that is not settled here.
    fn missing_dep(&mut self, space: &Space, entry: &Entry) -> Result<Option<Blocker>, StoreError> {
        for dep in entry.deps.iter().filter(|_| !defect::is(Defect::DepsIgnored)) {
            let Some(feed) = space.feeds.get(&dep.feed).filter(|feed| feed.row.seq >= dep.seq) else {
                return Ok(Some(Blocker::Dep(dep.feed, dep.seq)));
            };
            let chain = if feed.row.seq == dep.seq {
                Some(feed.row.chain)
            } else {
                self.batch.entry_chain(dep.feed, dep.seq)?
            };
            if chain != Some(dep.chain) || feed.opening.kind != FeedKind::Data {
                return Ok(Some(Blocker::Fork(dep.feed, dep.seq)));
            }
        }
        Ok(None)
    }

    /// The verdict of a data entry; `Err`: what it waits for.
    fn judge_data(
        &mut self,
        space: &mut Space,
        candidate: &Candidate,
        entry: &Entry,
        author: NodeId,
        heads: &[ChainHash],
    ) -> Result<Result<Judged, Blocker>, StoreError> {
        let Body::Data(changes) = &entry.body else { return Ok(Ok(Judged::Refused(Verdict::Structure))) };
        let mut verdict = None;
        let mut ready = Vec::with_capacity(changes.len());
        if fits(entry, changes) {
            for change in changes {
                match self.prepare(space, candidate.feed, change)? {
                    Prepared::Ready(change) => ready.push(change),
                    Prepared::Refused(code) => verdict = Some(verdict.map_or(code, |v: Verdict| v.min(code))),
                    Prepared::Blocked(blocker) => return Ok(Err(blocker)),
                }
            }
        } else {
            verdict = Some(Verdict::Structure);
        }
        if verdict != Some(Verdict::Structure) {
            let before = self.rules_before(space, candidate, entry);
            verdict = space.rules.judge_author(author, heads, &before).or(verdict);
        }
        Ok(Ok(verdict.map_or(Judged::Apply(ready), Judged::Refused)))
    }

    /// Rules heads of the predecessor and of every dependency.
    fn rules_before(&self, space: &Space, candidate: &Candidate, entry: &Entry) -> Vec<Vec<ChainHash>> {
        let own = (candidate.feed, candidate.seq - 1);
        let all = std::iter::once(own).chain(entry.deps.iter().map(|dep| (dep.feed, dep.seq)));
        all.filter_map(|(feed, seq)| Some(space.feeds.get(&feed)?.rules_at(seq).1.to_vec())).collect()
    }

    /// Looks at one change: the gate, and its dependencies in its own entity.
    fn prepare(&mut self, space: &Space, feed: FeedId, change: &EntityChange) -> Result<Prepared, StoreError> {
        let parsed = match Change::parse(&change.change, feed) {
            Ok(parsed) => parsed,
            Err(ChangeError::Unknown) => return Ok(Prepared::Blocked(Blocker::Later)),
            Err(_) => return Ok(Prepared::Refused(Verdict::Structure)),
        };
        let (collection, id) = (change.collection.as_str(), change.id.as_str());
        let no = space.row.no;
        // A change that was refused in an earlier entry of its feed stays refused: whoever depends on it must get the
        // same answer everywhere, whichever of the two entries has arrived.
        if self.batch.refused_change(no, collection, id, parsed.hash())?.is_some() {
            return Ok(Prepared::Refused(Verdict::Structure));
        }
        let row = match self.rows.get(&mut self.batch, no, collection, id) {
            Ok(row) => row,
            Err(RowFault::Store(error)) => return Err(error),
            Err(RowFault::Damaged(_)) => {
                return Ok(Prepared::Blocked(Blocker::Damaged(collection.to_owned(), id.to_owned())));
            }
        };
        let past = if parsed.deps() == row.state.heads() {
            row.state.clock().clone()
        } else {
            match past::clock_at(&self.batch, self.pasts, (no, collection, id), &row.state, parsed.deps())? {
                Ok(clock) => clock,
                Err(missing) => return self.absent(no, collection, id, missing),
            }
        };
        match row.state.gate(&parsed, &past) {
            Ok(()) => Ok(Prepared::Ready(Ready { change: parsed, past })),
            Err(_) => Ok(Prepared::Refused(Verdict::Structure)),
        }
    }

    /// A dependency that is not applied in its entity: refused, or not here yet.
    fn absent(&mut self, no: u32, collection: &str, id: &str, hash: ChangeHash) -> Result<Prepared, StoreError> {
        Ok(match self.batch.refused_change(no, collection, id, hash)? {
            Some(_) => Prepared::Refused(Verdict::Depends),
            None => Prepared::Blocked(Blocker::Change(collection.to_owned(), id.to_owned(), hash)),
        })
    }

    /// Applies the changes of an entry; all of them have passed.
    fn apply(
        &mut self,
        space: &Space,
        candidate: &Candidate,
        entry: &Entry,
        ready: Vec<Ready>,
    ) -> Result<Vec<ChangeLink>, StoreError> {
        let Body::Data(changes) = &entry.body else { return Ok(Vec::new()) };
        let position = space.row.journal + 1;
        let rules_seq = match &entry.rules {
            Some(_) => candidate.seq,
            None => space.feeds.get(&candidate.feed).map_or(0, |feed| feed.rules_at(candidate.seq).0),
        };
        let provenance = Provenance { entry_seq: candidate.seq, hlc: entry.hlc, rules_seq };
        let mut links = Vec::with_capacity(changes.len());
        for (EntityChange { collection, id, .. }, Ready { change, past }) in changes.iter().zip(ready) {
            let row = match self.rows.get(&mut self.batch, space.row.no, collection, id) {
                Ok(row) => row,
                Err(RowFault::Store(error)) => return Err(error),
                Err(RowFault::Damaged(_)) => return Err(StoreError::corrupt("entities", "a row changed under a step")),
            };
            let previous = row.state.journal();
            let concurrent = change.deps() != row.state.heads();
            let state = row.change(collection, id);
            state.apply(&change, &past, &provenance, position);
            links.push(ChangeLink { previous, after: state.heads_hash() });
            if concurrent || state.heads().len() > 1 {
                self.pasts.insert((space.row.no, collection, id), change.hash(), past.with(&change));
            }
        }
        Ok(links)
    }

    fn follow_clock(&mut self, space: &mut Space, hlc: Hlc) {
        if hlc.may_follow(self.now.wall_millis) {
            *self.hlc_seen = (*self.hlc_seen).max(hlc);
        } else {
            space.clock_ahead = space.clock_ahead.max(Some(hlc.millis()));
        }
    }
}

enum Judged {
    Apply(Vec<Ready>),
    Refused(Verdict),
}

enum Prepared {
    Ready(Ready),
    Refused(Verdict),
    Blocked(Blocker),
}

/// Limits that are part of the verdict, and one change per entity.
fn fits(entry: &Entry, changes: &[EntityChange]) -> bool {
    let ascending =
        changes.windows(2).all(|pair| matches!(pair, [a, b] if (&a.collection, &a.id) < (&b.collection, &b.id)));
    let named = |change: &EntityChange| check_collection(&change.collection).is_ok() && check_id(&change.id).is_ok();
    entry.hlc.is_valid()
        && changes.len() <= ENTRY_CHANGES_MAX
        && entry.deps.len() <= ENTRY_DEPS_MAX
        && ascending
        && changes.iter().all(|c| c.origin == 0 && c.change.len() <= CHANGE_BYTES_MAX && named(c))
}

/// Whether what a feed waits for may have come.
fn resolved(space: &Space, blocker: &Blocker) -> bool {
    match blocker {
        Blocker::Dep(feed, seq) => space.frontier.seq(*feed) >= *seq,
        Blocker::Rules(hash) => space.rules.knows(*hash),
        Blocker::Change(..) => true,
        Blocker::Fork(..) | Blocker::Later | Blocker::Damaged(..) => false,
    }
}
