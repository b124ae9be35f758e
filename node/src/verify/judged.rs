//! Verdicts: every entry is judged again, through the same door as when it came.
//!
//! Whether what an applied change names lies in its past is looked at where its entity is folded, with the same check.

use tombolo_crdt::entity::{Change, Mark};
use tombolo_crdt::entry::{Content, Dep, EntityChange};
use tombolo_crdt::feed::{FeedKind, Opening};
use tombolo_crdt::verdict::{Base, Known, Past, RulesOnly, Situation, Verdict, Wait, in_force, judge};
use tombolo_crdt::{ChainHash, ChangeHash, FeedId};

use super::feeds::place;
use super::{Check, pages};
use crate::chain::{Budget, ClockAt, EntityKey, Entries, clock_at, walk};
use crate::store::{EntryRow, FeedRow, Reading, SpaceRow, StoreError};

/// What is known of a feed's author as its entries are judged one after the other.
#[derive(Debug, Default)]
pub(super) struct Author {
    /// Rules heads in force.
    before: Vec<ChainHash>,
    /// An entry could not be read: the heads in force are not known any more.
    lost: bool,
}

impl Author {
    pub(super) fn lost(&mut self) {
        self.lost = true;
    }
}

impl Check<'_, '_> {
    /// Judges all rules entries of a space again, in the order of the journal. O(rules entries) memory.
    pub(super) fn judge_rules(&mut self, feeds: &[(FeedId, FeedRow)]) -> Result<(), StoreError> {
        let mut all = Vec::new();
        for (id, feed) in feeds {
            let Ok(opening) = Opening::decode(&feed.opening) else { continue };
            let mut next = 1;
            while opening.kind == FeedKind::Rules && next <= feed.seq {
                let page = pages::entries(self.reading, *id, next, feed.seq)?;
                let Some((last, _)) = page.last() else { break };
                next = last + 1;
                let read = page.into_iter().filter_map(|(seq, row)| Some((seq, row.ok()?)));
                all.extend(read.map(|(seq, row)| (row.journal, *id, opening.node, seq, row)));
            }
        }
        all.sort_unstable_by_key(|(journal, ..)| *journal);
        let mut before: std::collections::BTreeMap<FeedId, Vec<ChainHash>> = std::collections::BTreeMap::new();
        for (_, feed, author, seq, row) in all {
            let Ok(Content::Known(entry)) = Content::decode(&row.bytes, FeedKind::Rules, seq) else { continue };
            let last = before.entry(feed).or_default();
            let situation = Situation { feed, author, rules: &self.rules, before: last };
            let Ok(judgement) = judge(&entry, &situation, &mut RulesOnly);
            let heads = in_force(&entry, &situation).to_vec();
            let again = judgement.settled().map(|(verdict, _)| verdict);
            if let Ok(verdict) = again
                && !self.rules.knows(row.chain)
            {
                self.rules.insert(row.chain, &heads, &entry, verdict);
            }
            *last = heads;
            self.compare((feed, seq), again, row.verdict);
        }
        Ok(())
    }

    /// Judges a data entry again, after those before it in its feed.
    pub(super) fn judge(
        &mut self,
        space: &SpaceRow,
        (opening, seq): (&Opening, u64),
        row: &EntryRow,
        author: &mut Author,
    ) -> Result<(), StoreError> {
        let (feed, kind) = (opening.feed(), opening.kind);
        let (FeedKind::Data, false) = (kind, author.lost) else { return Ok(()) };
        let Ok(Content::Known(entry)) = Content::decode(&row.bytes, kind, seq) else {
            author.lost();
            return Ok(());
        };
        let situation = Situation { feed, author: opening.node, rules: &self.rules, before: &author.before };
        let applied = Verdict::from_code(row.verdict) == Some(Verdict::Applied);
        let mut stored = Stored {
            reading: self.reading,
            entries: &mut self.entries,
            space_no: space.space_no,
            at: (feed, seq),
            applied,
        };
        let again = judge(&entry, &situation, &mut stored)?.settled().map(|(verdict, _)| verdict);
        author.before = in_force(&entry, &situation).to_vec();
        self.compare((feed, seq), again, row.verdict);
        Ok(())
    }

    fn compare(&mut self, (feed, seq): (FeedId, u64), again: Result<Verdict, Wait>, stored: u8) {
        match again {
            Ok(verdict) if verdict.code() == stored => {}
            Ok(verdict) => {
                let said = Verdict::from_code(stored).map_or("unknown", Verdict::name);
                let detail = format!("its verdict is {said} and should be {}", verdict.name());
                self.finding(place(feed, seq), detail);
            }
            // What is damaged is a finding of its own.
            Err(Wait::Damaged(..) | Wait::Unreadable(..)) => {}
            Err(_) if self.unread => {}
            Err(wait) => self.finding(place(feed, seq), format!("it is settled although it {wait}")),
        }
    }
}

/// The past of a settled entry, in a store.
struct Stored<'s> {
    reading: &'s Reading,
    entries: &'s mut Entries,
    space_no: u32,
    at: (FeedId, u64),
    /// Whether it was applied.
    applied: bool,
}

impl Past for Stored<'_> {
    type Fault = StoreError;

    fn dep(&mut self, dep: &Dep) -> Result<Option<Wait>, StoreError> {
        match self.reading.entry_chain(dep.feed, dep.seq) {
            Ok(Some(chain)) if chain == dep.chain => Ok(None),
            Ok(Some(_)) => Ok(Some(Wait::Fork(dep.feed, dep.seq))),
            Ok(None) => Ok(Some(Wait::Entry(dep.feed, dep.seq))),
            Err(StoreError::Corrupt { .. }) => Ok(Some(Wait::Unreadable(dep.feed, dep.seq))),
            Err(error) => Err(error),
        }
    }

    fn refused(&mut self, entity: &EntityChange, hash: ChangeHash) -> Result<Known<bool>, StoreError> {
        match self.reading.refused_change(self.space_no, &entity.collection, &entity.id, hash) {
            // An entry is not refused for what it carries itself.
            Ok(refused) => Ok(Known::Is(refused.is_some_and(|(feed, seq)| feed != self.at.0 || seq < self.at.1))),
            Err(error) => damaged(entity, error),
        }
    }

    fn base(&mut self, entity: &EntityChange, change: &Change) -> Result<Known<Base>, StoreError> {
        if self.applied {
            return Ok(Known::Is(Base::Elsewhere));
        }
        match self.found(entity, change) {
            Err(error) => damaged(entity, error),
            base => base.map(Known::Is),
        }
    }
}

impl Stored<'_> {
    /// Where a refused change was made: the history of its entity is walked back.
    fn found(&mut self, entity: &EntityChange, change: &Change) -> Result<Base, StoreError> {
        let key = EntityKey { space_no: self.space_no, collection: &entity.collection, id: &entity.id };
        let row = self.reading.row(self.space_no, &entity.collection, &entity.id)?;
        let state = row.as_deref().map(tombolo_crdt::entity::EntityState::decode).transpose();
        let state = state.map_err(|error| StoreError::corrupt("entities", error.to_string()))?.unwrap_or_default();
        let at = (state.clock(), state.journal());
        let all = Budget::UNBOUNDED;
        let past = match clock_at((self.reading, self.entries), key, at, change.deps(), &|_| None, all)? {
            ClockAt::Known(past) => past,
            ClockAt::Unknown(absent) => return Ok(Base::Absent(absent)),
            ClockAt::NotYet => {
                return Err(StoreError::corrupt("journal", "a walk without a bound ended before its end"));
            }
        };
        // What its feed had done to the entity before.
        let mut here = Mark::default();
        for link in walk(self.reading, self.entries, key, state.journal(), all) {
            let link = link?;
            if link.feed == self.at.0 && link.seq < self.at.1 {
                let before = link.parse()?;
                here = Mark { seq: before.seq(), counter: before.max_op() };
                break;
            }
        }
        Ok(Base::At { here, past })
    }
}

fn damaged<T>(entity: &EntityChange, error: StoreError) -> Result<Known<T>, StoreError> {
    match error {
        StoreError::Corrupt { .. } => Ok(Known::Wait(Wait::Damaged(entity.collection.clone(), entity.id.clone()))),
        error => Err(error),
    }
}
