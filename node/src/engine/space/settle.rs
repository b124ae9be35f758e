//! Settling: entries of other nodes get their verdict, or are held until they can.

use std::collections::BTreeSet;

use tombolo_crdt::entity::{Change, ChangeError, Provenance};
use tombolo_crdt::entry::{Body, Content, EntityChange, Entry};
use tombolo_crdt::feed::{Signature, VerifiedEntry, VerifiedRange};
use tombolo_crdt::verdict::{Ready, Verdict, Wait};
use tombolo_crdt::{ChainHash, FeedId, Hlc};

use crate::engine::Work;
use crate::engine::space::append::{Settled, seal, store};
use crate::engine::space::rows::RowFault;
use crate::engine::space::{Feed, Space};
use crate::store::{ChangeLink, QuarantineRow, StoreError};

/// What became of a range.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Taken {
    /// Entries refused: feed, position, verdict.
    pub(in crate::engine) refused: Vec<(FeedId, u64, Verdict)>,
    /// Rules entries among the settled.
    pub(in crate::engine) rules: bool,
    /// Feeds of which entries were settled or held, or sealed that were not.
    pub(in crate::engine) moved: BTreeSet<FeedId>,
}

/// An entry that may be settled now.
pub(in crate::engine) struct Candidate {
    pub(in crate::engine) feed: FeedId,
    pub(in crate::engine) seq: u64,
    pub(in crate::engine) chain: ChainHash,
    pub(in crate::engine) bytes: Vec<u8>,
    pub(in crate::engine) content: Content,
    /// The changes as far as they were read before the step: one for each, or none.
    pub(in crate::engine) changes: Vec<Result<Change, ChangeError>>,
    pub(in crate::engine) seal: Option<Signature>,
}

impl Work<'_> {
    /// Takes a verified range: settles what can be settled, holds the rest, drops what is known already. Ends early
    /// when the work of the step is spent: what is left of the range is to be taken again.
    pub(in crate::engine) fn take_range(
        &mut self,
        space: &mut Space,
        range: &mut VerifiedRange,
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let id = range.feed();
        if !self.begin_range(space, range, taken)? {
            while range.pop_front().is_some() {}
        }
        let end = range.end();
        let seal = range.seal();
        let mut is_first = true;
        while !range.entries().is_empty() && !self.budget.is_spent() {
            self.budget.begin();
            if std::mem::take(&mut is_first) {
                self.budget.feed();
            }
            let Some(VerifiedEntry { seq, chain, bytes, content, changes }) = range.pop_front() else { break };
            let seal = (seq == end).then_some(seal);
            if seq <= space.frontier.seq(id) || space.held.contains(id, seq) {
                continue;
            }
            taken.moved.insert(id);
            let mut candidate = Candidate { feed: id, seq, chain, bytes, content, changes, seal };
            let wait = if seq == space.frontier.seq(id) + 1 {
                self.settle(space, &mut candidate, taken)?
            } else {
                Some(Wait::Entry(id, seq - 1))
            };
            if let Some(wait) = wait {
                self.hold(space, candidate, wait)?;
            }
        }
        if range.entries().is_empty() {
            self.forget_empty(space, id);
        }
        Ok(())
    }

    /// Whether a range continues the chain that is settled here, or repeats it. Seals what it vouches for.
    fn begin_range(&mut self, space: &mut Space, range: &VerifiedRange, taken: &mut Taken) -> Result<bool, StoreError> {
        let space_no = space.row.space_no;
        let Some(first) = range.entries().first().map(|entry| entry.seq) else { return Ok(false) };
        let id = range.feed();
        let feed = space.feeds.entry(id).or_insert_with(|| Feed::new(range.opening().clone(), space_no));
        // Only a range from the beginning proves the opening's hash; until then it is hearsay.
        if feed.row.seq == 0 && first == 1 && feed.opening != *range.opening() {
            *feed = Feed::new(range.opening().clone(), space_no);
        }
        let settled = feed.row.seq;
        if feed.fork.is_some() {
            return Ok(false);
        }
        let theirs = match range.entries().iter().find(|entry| entry.seq == settled) {
            Some(entry) => Some(entry.chain),
            None if first == settled + 1 => Some(range.previous()),
            None => None,
        };
        if theirs.is_some_and(|theirs| theirs != feed.row.chain) {
            feed.fork = Some(settled);
            space.forks.insert(id);
            return Ok(false);
        }
        if range.end() == settled && feed.sealed_seq() < settled && theirs.is_some() {
            // All of it is settled, and nothing vouched for it so far.
            seal(space, id, &mut self.batch, range.seal())?;
            taken.moved.insert(id);
        }
        Ok(true)
    }

    /// Gives an entry its verdict and stores it; or says what it waits for.
    pub(in crate::engine) fn settle(
        &mut self,
        space: &mut Space,
        candidate: &mut Candidate,
        taken: &mut Taken,
    ) -> Result<Option<Wait>, StoreError> {
        let read = std::mem::take(&mut candidate.changes);
        let candidate = &*candidate;
        let Content::Known(entry) = &candidate.content else { return Ok(Some(Wait::Later)) };
        let judged = self.judge(space, candidate.feed, entry, read)?.settled();
        let operations = match &judged {
            Ok((_, ready)) if !ready.is_empty() => ready.iter().map(|ready| ready.change.operations()).sum(),
            // Its changes were read: they stand for at most an operation per byte.
            Ok((Verdict::Structure | Verdict::Depends, _))
            | Err(Wait::Change(..) | Wait::Damaged(..) | Wait::Looked(..)) => candidate.bytes.len(),
            Ok(_) | Err(_) => 0,
        };
        self.budget.entry(candidate.bytes.len(), operations);
        let states = entry.rules.is_some() || matches!(entry.body, Body::Rules(_));
        self.budget.named(entry.deps.len(), if states { space.rules.len() } else { 0 });
        self.charge_reads();
        let (verdict, ready) = match judged {
            Ok(settled) => settled,
            Err(wait) => return Ok(Some(wait)),
        };
        taken.moved.insert(candidate.feed);
        let applied = verdict == Verdict::Applied;
        let links = if applied {
            self.apply(space, candidate, entry, ready)?
        } else {
            taken.refused.push((candidate.feed, candidate.seq, verdict));
            self.quarantine(space, candidate, entry, verdict)?;
            Vec::new()
        };
        taken.rules |= matches!(entry.body, Body::Rules(_));
        let Candidate { feed, seq, chain, bytes, seal: signature, .. } = candidate;
        let settled = Settled { feed: *feed, seq: *seq, chain: *chain, bytes: bytes.clone(), entry, verdict, links };
        store(space, &mut self.batch, settled)?;
        self.counters.entries += 1;
        *self.counters.settled.entry(verdict.name()).or_default() += 1;
        if applied {
            self.follow_clock(space, entry.hlc);
        }
        if let Some(signature) = signature {
            seal(space, *feed, &mut self.batch, *signature)?;
        }
        Ok(None)
    }

    fn quarantine(
        &mut self,
        space: &mut Space,
        candidate: &Candidate,
        entry: &Entry,
        verdict: Verdict,
    ) -> Result<(), StoreError> {
        let space_no = space.row.space_no;
        let reason = format!("{} ({} by {})", verdict.name(), candidate.seq, candidate.feed);
        let row = QuarantineRow { verdict: verdict.code(), reason, hlc: entry.hlc.raw() };
        self.batch.put_quarantine(space_no, candidate.feed, candidate.seq, &row)?;
        let Body::Data(changes) = &entry.body else { return Ok(()) };
        for change in changes {
            // By its hash alone: a change that is refused unread stays unread.
            let Some(hash) = Change::hash_of(&change.change) else { continue };
            let (collection, id) = (change.collection.as_str(), change.id.as_str());
            if matches!(self.batch.refused_change(space_no, collection, id, hash), Ok(None)) {
                self.batch.put_refused_change(space_no, collection, id, hash, (candidate.feed, candidate.seq))?;
            }
            space.held.came(collection, id, hash);
        }
        Ok(())
    }

    /// Applies the changes of an entry; all of them have passed.
    fn apply(
        &mut self,
        space: &mut Space,
        candidate: &Candidate,
        entry: &Entry,
        ready: Vec<Ready>,
    ) -> Result<Vec<ChangeLink>, StoreError> {
        let Body::Data(changes) = &entry.body else { return Ok(Vec::new()) };
        let position = space.row.journal + 1;
        let stated_at = space.feeds.get(&candidate.feed).map_or(0, |feed| feed.rules_at(candidate.seq).0);
        let rules_seq = if entry.rules.is_some() { candidate.seq } else { stated_at };
        let provenance = Provenance { entry_seq: candidate.seq, hlc: entry.hlc, rules_seq };
        let mut links = Vec::with_capacity(changes.len());
        for (EntityChange { collection, id, .. }, Ready { change, past }) in changes.iter().zip(ready) {
            let row = match self.rows.get(&mut self.batch, space.row.space_no, collection, id) {
                Ok(row) => row,
                Err(RowFault::Store(error)) => return Err(error),
                Err(RowFault::Damaged(_)) => return Err(StoreError::corrupt("entities", "a row changed under a step")),
            };
            let previous = row.state.journal();
            let concurrent = change.deps() != row.state.heads();
            let state = row.change(collection, id);
            self.poison.begin(space.id, collection, id);
            state.apply(&change, &past, &provenance, position);
            self.poison.end();
            links.push(ChangeLink { previous, after: state.heads_hash() });
            space.held.came(collection, id, change.hash());
            if concurrent || state.heads().len() > 1 {
                self.pasts.insert((space.row.space_no, collection, id), change.hash(), past.with(&change));
            }
            self.rows.make_room(&mut self.batch, space, self.poison)?;
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
