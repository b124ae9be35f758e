//! Judging: what an entry waits for, or its verdict. Depends on the entry, what it rests on, and the rules; on nothing else.

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::{Change, ChangeError, Clock};
use tombolo_crdt::entry::{Body, CHANGE_BYTES_MAX, Content, ENTRY_CHANGES_MAX, ENTRY_DEPS_MAX, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, chain};
use tombolo_crdt::names::{check_collection, check_id};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{ChainHash, ChangeHash, FeedId, NodeId};

use super::held::Blocker;
use super::looks::Asker;
use super::past::ClockAt;
use super::rows::RowFault;
use super::settle::Candidate;
use super::space::Space;
use super::{Work, past};
use crate::store::{Snapshot, StoreError};

/// A change ready to be applied.
pub(super) struct Ready {
    pub(super) change: Change,
    pub(super) past: Clock,
}

pub(super) enum Judged {
    Apply(Vec<Ready>),
    Refused(Verdict),
}

enum Prepared {
    Ready(Ready),
    Refused(Verdict),
    Blocked(Blocker),
}

impl Work<'_> {
    /// The first dependency that is not settled here.
    pub(super) fn missing_dep(&mut self, space: &Space, entry: &Entry) -> Result<Option<Blocker>, StoreError> {
        for dep in entry.deps.iter().filter(|_| !defect::is(Defect::DepsIgnored)) {
            let Some(feed) = space.feeds.get(&dep.feed).filter(|feed| feed.row.seq >= dep.seq) else {
                return Ok(Some(Blocker::Dep(dep.feed, dep.seq)));
            };
            let same = if feed.row.seq == dep.seq {
                Some(feed.row.chain == dep.chain)
            } else {
                has_chain(&self.batch, dep.feed, dep.seq, dep.chain)?
            };
            let Some(same) = same else { return Ok(Some(Blocker::Rotten(dep.feed, dep.seq))) };
            if !same || feed.opening.kind != FeedKind::Data {
                return Ok(Some(Blocker::Fork(dep.feed, dep.seq)));
            }
        }
        Ok(None)
    }

    /// The verdict of a data entry; `Err`: what it waits for.
    pub(super) fn judge_data(
        &mut self,
        space: &mut Space,
        candidate: &Candidate,
        read: Vec<Result<Change, ChangeError>>,
        author: NodeId,
        heads: &[ChainHash],
    ) -> Result<Result<Judged, Blocker>, StoreError> {
        let structure = Ok(Ok(Judged::Refused(Verdict::Structure)));
        let Content::Known(entry) = &candidate.content else { return structure };
        let Body::Data(changes) = &entry.body else { return structure };
        let (mut verdict, mut damaged, mut looked) = (None, None, None);
        let asker = Asker { author, feed: candidate.feed };
        let mut ready = Vec::with_capacity(changes.len());
        if fits(entry, changes) {
            let read = read.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            for (change, read) in changes.iter().zip(read) {
                match self.prepare(space, read, asker, change)? {
                    Prepared::Ready(change) => ready.push(change),
                    Prepared::Refused(code) => verdict = Some(verdict.map_or(code, |v: Verdict| v.min(code))),
                    // The others are looked at all the same, so that what is damaged is built anew together, and the
                    // entry waits for the last of them: they are built in this order.
                    Prepared::Blocked(blocker @ Blocker::Damaged(..)) => {
                        if damaged.is_none() || space.care.rests(&change.collection, &change.id) {
                            damaged = Some(blocker);
                        }
                    }
                    // All of them are asked for at once.
                    Prepared::Blocked(blocker @ Blocker::Looked(..)) => looked = Some(blocker),
                    Prepared::Blocked(blocker) => return Ok(Err(blocker)),
                }
            }
        } else {
            verdict = Some(Verdict::Structure);
        }
        if let Some(blocker) = damaged.or(looked) {
            return Ok(Err(blocker));
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
    fn prepare(
        &mut self,
        space: &mut Space,
        parsed: Option<Result<Change, ChangeError>>,
        asker: Asker,
        change: &EntityChange,
    ) -> Result<Prepared, StoreError> {
        let EntityChange { collection, id, change: bytes, .. } = change;
        if self.poison.holds(space.id, collection, id) {
            return Ok(Prepared::Blocked(Blocker::Damaged(collection.clone(), id.clone())));
        }
        self.poison.begin(space.id, collection, id);
        let parsed = parsed.unwrap_or_else(|| Change::parse(bytes, asker.feed));
        let prepared = self.look_at(space, parsed, asker, change);
        self.poison.end();
        prepared
    }

    fn look_at(
        &mut self,
        space: &mut Space,
        parsed: Result<Change, ChangeError>,
        asker: Asker,
        change: &EntityChange,
    ) -> Result<Prepared, StoreError> {
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(ChangeError::Unknown) => return Ok(Prepared::Blocked(Blocker::Later)),
            Err(_) => return Ok(Prepared::Refused(Verdict::Structure)),
        };
        let (collection, id) = (change.collection.as_str(), change.id.as_str());
        let no = space.row.no;
        // A change that was refused in an earlier entry of its feed stays refused: whoever depends on it must get the
        // same answer everywhere, whichever of the two entries has arrived.
        match self.batch.refused_change(no, collection, id, parsed.hash()) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(Prepared::Refused(Verdict::Structure)),
            Err(error) => return damaged(space, change, error),
        }
        let row = match self.rows.get(&mut self.batch, no, collection, id) {
            Ok(row) => row,
            Err(RowFault::Store(error)) => return Err(error),
            Err(RowFault::Damaged(_)) => {
                space.care.damaged(collection, id);
                return Ok(Prepared::Blocked(Blocker::Damaged(collection.to_owned(), id.to_owned())));
            }
        };
        let past = if parsed.deps() == row.state.heads() {
            row.state.clock().clone()
        } else {
            let read = (&*self.batch, &mut self.entries);
            // What is damaged is not looked at again and again.
            let asker = (!space.care.rests(collection, id)).then_some(asker);
            let known = (&mut *self.pasts, &mut *self.looks);
            match past::clock_at(read, known, (no, collection, id), &row.state, parsed.deps(), asker) {
                Ok(ClockAt::Known(clock)) => clock,
                Ok(ClockAt::Unknown(missing)) => return self.absent(space, change, missing),
                Ok(ClockAt::NotYet) => {
                    let blocker = if asker.is_some() { Blocker::Looked } else { Blocker::Damaged };
                    return Ok(Prepared::Blocked(blocker(collection.to_owned(), id.to_owned())));
                }
                Err(error) => return damaged(space, change, error),
            }
        };
        match row.state.gate(&parsed, &past) {
            Ok(()) => Ok(Prepared::Ready(Ready { change: parsed, past })),
            Err(_) => Ok(Prepared::Refused(Verdict::Structure)),
        }
    }

    /// A dependency that is not applied in its entity: refused, or not here yet.
    fn absent(&self, space: &mut Space, change: &EntityChange, hash: ChangeHash) -> Result<Prepared, StoreError> {
        let (collection, id) = (&change.collection, &change.id);
        Ok(match self.batch.refused_change(space.row.no, collection, id, hash) {
            Ok(Some(_)) => Prepared::Refused(Verdict::Depends),
            Ok(None) => Prepared::Blocked(Blocker::Change(collection.clone(), id.clone(), hash)),
            Err(error) => return damaged(space, change, error),
        })
    }
}

/// Whether a settled entry that is not its feed's last has this chain hash. Of a damaged one the entry after it tells;
/// `None`: that is damaged too.
pub(super) fn has_chain(
    snapshot: &Snapshot,
    feed: FeedId,
    seq: u64,
    claimed: ChainHash,
) -> Result<Option<bool>, StoreError> {
    match snapshot.entry_chain(feed, seq) {
        Ok(Some(chain)) => return Ok(Some(chain == claimed)),
        Ok(None) | Err(StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    match snapshot.entry(feed, seq + 1) {
        Ok(Some(next)) => Ok(Some(chain(feed, seq + 1, claimed, &next.bytes) == next.chain)),
        Ok(None) | Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is known of an entity's changes is damaged where this one needs it. That is this entity's matter alone: it is
/// frozen, and the entry waits. Changes that need nothing of what is damaged go on.
fn damaged(space: &mut Space, change: &EntityChange, error: StoreError) -> Result<Prepared, StoreError> {
    let StoreError::Corrupt { .. } = error else { return Err(error) };
    let (collection, id) = (change.collection.clone(), change.id.clone());
    space.care.history_damaged((collection.clone(), id.clone()), error.to_string());
    Ok(Prepared::Blocked(Blocker::Damaged(collection, id)))
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
