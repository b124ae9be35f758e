//! Judging: what [`judge`] asks of an entry's past is answered from the rows of the step and the store.
//!
//! Entries of others and own ones go through [`Work::judge`], and nothing else gives a verdict here.

use std::collections::BTreeMap;

use tombolo_crdt::entity::{Change, ChangeError};
use tombolo_crdt::entry::{Dep, EntityChange, Entry};
use tombolo_crdt::feed::FeedKind;
use tombolo_crdt::verdict::{Base, Judgement, Known, Past, Situation, Wait, judge};
use tombolo_crdt::{ChangeHash, FeedId, SpaceId};

use crate::chain::has_chain;
use crate::engine::Work;
use crate::engine::space::care::Care;
use crate::engine::space::looks::Asker;
use crate::engine::space::past;
use crate::engine::space::past::ClockAt;
use crate::engine::space::rows::RowFault;
use crate::engine::space::{Feed, Space};
use crate::store::StoreError;

impl Work<'_> {
    /// Judges the entry that comes next in `feed`. `read`: its changes, as far as they have been read. What it costs is
    /// said at [`judge`] and [`past::clock_at`].
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot be read. Nothing is decided.
    pub(in crate::engine) fn judge(
        &mut self,
        space: &mut Space,
        feed: FeedId,
        entry: &Entry,
        read: Vec<Result<Change, ChangeError>>,
    ) -> Result<Judgement, StoreError> {
        let Space { id, rules, feeds, care, row, own_data_feed, .. } = space;
        // A feed of which nothing is settled goes with what is held of it, and may do so while a range of it is taken.
        let Some(of) = feeds.get(&feed) else { return Ok(Judgement::Wait(Wait::Entry(feed, entry.seq - 1))) };
        assert_eq!(of.row.seq + 1, entry.seq, "the predecessor is settled");
        let (_, before) = of.rules_at(entry.seq - 1);
        let situation = Situation { feed, author: of.opening.node, rules, before };
        let read = read.into_iter().map(Some).collect();
        let asker = Asker { author: of.opening.node, feed };
        let refusals = row.refused > 0;
        // Rows of an own write are shown to whoever made it, and are few.
        let makes_room = feed != *own_data_feed;
        let mut here = Here { work: self, space: (*id, row.space_no), asker, refusals, feeds, care, read, makes_room };
        let judgement = judge(entry, &situation, &mut here);
        self.poison.end();
        judgement
    }
}

/// The past as this node holds it.
struct Here<'h, 'w> {
    work: &'h mut Work<'w>,
    /// Id and local number.
    space: (SpaceId, u32),
    /// For whom an entity's past is looked at.
    asker: Asker,
    /// Whether anything was ever refused here.
    refusals: bool,
    feeds: &'h BTreeMap<FeedId, Feed>,
    care: &'h mut Care,
    /// Changes that have been read already, by number.
    read: Vec<Option<Result<Change, ChangeError>>>,
    /// Whether rows that have not changed may be forgotten where there are many.
    makes_room: bool,
}

impl Past for Here<'_, '_> {
    type Fault = StoreError;

    fn dep(&mut self, dep: &Dep) -> Result<Option<Wait>, StoreError> {
        let Some(feed) = self.feeds.get(&dep.feed).filter(|feed| feed.row.seq >= dep.seq) else {
            return Ok(Some(Wait::Entry(dep.feed, dep.seq)));
        };
        let same = if feed.row.seq == dep.seq {
            Some(feed.row.chain == dep.chain)
        } else {
            has_chain(&self.work.batch, dep.feed, dep.seq, dep.chain)?
        };
        let Some(same) = same else { return Ok(Some(Wait::Unreadable(dep.feed, dep.seq))) };
        let is_data = feed.opening.kind == FeedKind::Data;
        Ok((!same || !is_data).then_some(Wait::Fork(dep.feed, dep.seq)))
    }

    fn turn(&mut self, change: &EntityChange) -> Option<Wait> {
        let EntityChange { collection, id, .. } = change;
        if self.work.poison.holds(self.space.0, collection, id) {
            return Some(Wait::Damaged(collection.clone(), id.clone()));
        }
        self.work.poison.begin(self.space.0, collection, id);
        None
    }

    fn read(&mut self, feed: FeedId, number: usize, change: &EntityChange) -> Result<Change, ChangeError> {
        let read = self.read.get_mut(number).and_then(Option::take);
        read.unwrap_or_else(|| Change::parse(&change.change, feed))
    }

    fn refused(&mut self, entity: &EntityChange, hash: ChangeHash) -> Result<Known<bool>, StoreError> {
        if !self.refusals {
            return Ok(Known::Is(false));
        }
        match self.work.batch.refused_change(self.space.1, &entity.collection, &entity.id, hash) {
            Ok(refused) => Ok(Known::Is(refused.is_some())),
            Err(error) => self.damaged(entity, error),
        }
    }

    fn base(&mut self, entity: &EntityChange, change: &Change) -> Result<Known<Base>, StoreError> {
        let (collection, id) = (entity.collection.as_str(), entity.id.as_str());
        let space_no = self.space.1;
        let Work { rows, batch, entries, pasts, looks, .. } = &mut *self.work;
        if self.makes_room {
            rows.make_room_of_unchanged();
        }
        let row = match rows.get(batch, space_no, collection, id) {
            Ok(row) => row,
            Err(RowFault::Store(error)) => return Err(error),
            Err(RowFault::Damaged(_)) => {
                self.care.damaged(collection, id);
                return Ok(Known::Wait(Wait::Damaged(collection.to_owned(), id.to_owned())));
            }
        };
        let here = row.state.clock().get(&change.actor());
        if change.deps() == row.state.heads() {
            return Ok(Known::Is(Base::At { here, past: row.state.clock().clone() }));
        }
        // What is damaged is not looked at again and again.
        let asker = (!self.care.rests(collection, id)).then_some(self.asker);
        match past::clock_at(
            (&*batch, entries),
            (pasts, looks),
            (space_no, collection, id),
            &row.state,
            change.deps(),
            asker,
        ) {
            Ok(ClockAt::Known(past)) => Ok(Known::Is(Base::At { here, past })),
            Ok(ClockAt::Unknown(absent)) => Ok(Known::Is(Base::Absent(absent))),
            Ok(ClockAt::NotYet) => {
                let wait = if asker.is_some() { Wait::Looked } else { Wait::Damaged };
                Ok(Known::Wait(wait(collection.to_owned(), id.to_owned())))
            }
            Err(error) => self.damaged(entity, error),
        }
    }
}

impl Here<'_, '_> {
    /// What is known of an entity's changes is damaged where this one needs it. That is this entity's matter alone: it
    /// is frozen, and the entry waits. Changes that need nothing of what is damaged go on.
    fn damaged<T>(&mut self, change: &EntityChange, error: StoreError) -> Result<Known<T>, StoreError> {
        let StoreError::Corrupt { .. } = error else { return Err(error) };
        let (collection, id) = (change.collection.clone(), change.id.clone());
        self.care.history_damaged((collection.clone(), id.clone()), error.to_string());
        Ok(Known::Wait(Wait::Damaged(collection, id)))
    }
}
