//! Rows that a step works on: each is read and decoded once and written once, however many changes it takes.

use std::collections::BTreeMap;

use tombolo_crdt::ChangeHash;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::{Clock, EntityState, RowError};
use tombolo_crdt::hash::Tagged;

use crate::engine::poison::Poison;
use crate::engine::space::Space;
use crate::engine::space::spaces::Spaces;
use crate::store::{Batch, Counted, StoreError};

/// Bytes of stored rows whose decoded states a step keeps in memory (32 MiB; the states take a few times as much). An
/// entry may change 4,096 rows of any size: beyond this they are written out, and read again if they are needed.
const KEPT_BYTES_MAX: usize = if cfg!(test) { 64 << 10 } else { 32 << 20 };
/// What a row that is only copied costs, of one that is decoded and encoded.
const COPIED: u64 = 8;
/// What a row that is only encoded costs, of one that is decoded and encoded.
const ENCODED: u64 = 2;
/// Clocks remembered for changes beside the heads.
const PASTS_MAX: usize = 8192;
/// Marks in all of them together, one per writer of each: some 60 bytes each, so 32 MB. An entity may have any number
/// of writers.
const PASTS_MARKS_MAX: usize = 1 << 19;

/// An entity in a step.
#[derive(Debug)]
pub(in crate::engine) struct Row {
    pub(in crate::engine) state: EntityState,
    /// Contribution to the state digest and presence as the space's row counts them; taken at the first change.
    counted: Option<Counted>,
    /// Bytes of the row as it is stored.
    size: usize,
    stored: bool,
    dirty: bool,
}

/// Key of an entity in a step.
type Key = (u32, String, String);

/// The rows a step has touched.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rows {
    rows: BTreeMap<Key, Row>,
    /// As they are stored, where they have been looked at and not been decoded.
    raw: BTreeMap<Key, Option<Vec<u8>>>,
    /// Bytes of those that were read.
    bytes: u64,
    /// Bytes of those that are kept decoded, as they were stored.
    kept: usize,
}

/// Why a row cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum RowFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Damaged(#[from] RowError),
}

impl Rows {
    /// The entity, read and decoded if this step has not yet.
    pub(in crate::engine) fn get(
        &mut self,
        batch: &mut Batch<'_>,
        space: u32,
        collection: &str,
        id: &str,
    ) -> Result<&mut Row, RowFault> {
        let key = (space, collection.to_owned(), id.to_owned());
        let raw = self.raw.remove(&key);
        match self.rows.entry(key) {
            std::collections::btree_map::Entry::Occupied(slot) => Ok(slot.into_mut()),
            std::collections::btree_map::Entry::Vacant(slot) => {
                let stored = raw.map_or_else(|| batch.row(space, collection, id), Ok)?;
                let size = stored.as_ref().map_or(0, Vec::len);
                self.bytes += size as u64;
                self.kept += size;
                let state = stored.as_deref().map(EntityState::decode).transpose()?;
                let stored = state.is_some();
                let state = state.unwrap_or_else(EntityState::new);
                Ok(slot.insert(Row { state, counted: None, size, stored, dirty: false }))
            }
        }
    }

    /// The row as it is stored, kept for [`Rows::get`].
    pub(in crate::engine) fn stored(
        &mut self,
        batch: &Batch<'_>,
        space: u32,
        collection: &str,
        id: &str,
    ) -> Result<Option<&[u8]>, StoreError> {
        let key = (space, collection.to_owned(), id.to_owned());
        let raw = match self.raw.entry(key) {
            std::collections::btree_map::Entry::Occupied(slot) => slot.into_mut(),
            std::collections::btree_map::Entry::Vacant(slot) => {
                let raw = slot.insert(batch.row(space, collection, id)?);
                self.bytes += raw.as_ref().map_or(0, Vec::len) as u64 / COPIED;
                raw
            }
        };
        Ok(raw.as_deref())
    }

    /// The row as it is stored, which is not kept.
    pub(in crate::engine) fn take_stored(
        &mut self,
        batch: &Batch<'_>,
        space: u32,
        collection: &str,
        id: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.stored(batch, space, collection, id)?;
        Ok(self.raw.remove(&(space, collection.to_owned(), id.to_owned())).flatten())
    }

    /// Bytes of the row as it is stored. One that has at most `most` is kept for [`Rows::get`]; a larger one counts as
    /// read.
    pub(in crate::engine) fn size(
        &mut self,
        batch: &Batch<'_>,
        (space, collection, id): EntityOf<'_>,
        most: usize,
    ) -> Result<usize, StoreError> {
        let key = (space, collection.to_owned(), id.to_owned());
        if let Some(row) = self.rows.get(&key) {
            return Ok(row.size);
        }
        if let Some(raw) = self.raw.get(&key) {
            return Ok(raw.as_ref().map_or(0, Vec::len));
        }
        let raw = match batch.row_within(space, collection, id, most)? {
            Some(Err(size)) => {
                self.bytes += size as u64;
                return Ok(size);
            }
            Some(Ok(raw)) => Some(raw),
            None => None,
        };
        let size = raw.as_ref().map_or(0, Vec::len);
        self.raw.insert(key, raw);
        Ok(size)
    }

    /// Takes an entity that was read and decoded elsewhere, as it is stored. This step must not have read it yet.
    pub(in crate::engine) fn adopt(
        &mut self,
        (space, collection, id): EntityOf<'_>,
        state: EntityState,
        counted: Option<Counted>,
    ) {
        let stored = counted.is_some();
        let key = (space, collection.to_owned(), id.to_owned());
        let size = self.raw.remove(&key).flatten().map_or(0, |raw| raw.len());
        self.bytes += size as u64 / ENCODED;
        self.kept += size;
        let row = Row { state, counted, size, stored, dirty: false };
        let before = self.rows.insert(key, row);
        assert!(before.is_none(), "an entity is read once in a step");
    }

    /// Bytes of those whose states are kept, as they were stored.
    #[cfg(test)]
    pub(in crate::engine) fn kept(&self) -> usize {
        assert_eq!(self.kept, self.rows.values().map(|row| row.size).sum::<usize>(), "what is counted is kept");
        self.kept
    }

    /// Bytes of the rows that have been read.
    pub(in crate::engine) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entity, if this step has read it.
    pub(in crate::engine) fn peek(&self, space: u32, collection: &str, id: &str) -> Option<&Row> {
        self.rows.get(&(space, collection.to_owned(), id.to_owned()))
    }

    /// Writes the changed rows and moves the sums of their spaces along.
    pub(in crate::engine) fn flush(
        self,
        batch: &mut Batch<'_>,
        spaces: &mut Spaces,
        poison: &mut Poison,
    ) -> Result<(), StoreError> {
        let mut second = false;
        let half = defect::is(Defect::HalfTransaction) && self.rows.values().filter(|row| row.dirty).count() == 2;
        for ((space_no, collection, id), row) in self.rows {
            if !row.dirty {
                continue;
            }
            let left_out = std::mem::replace(&mut second, true) && half;
            let Some(space) = spaces.by_no_mut(space_no) else { continue };
            let bytes = row.written(space, (&collection, &id), poison);
            if !left_out {
                batch.put_row(space_no, &collection, &id, bytes)?;
            }
        }
        Ok(())
    }

    /// Makes room where the states of too many large rows are kept: those of `space` are written if they have changed,
    /// and forgotten. They are read again when they are needed.
    pub(in crate::engine) fn make_room(
        &mut self,
        batch: &mut Batch<'_>,
        space: &mut Space,
        poison: &mut Poison,
    ) -> Result<(), StoreError> {
        if self.kept <= KEPT_BYTES_MAX {
            return Ok(());
        }
        let space_no = space.row.space_no;
        let first = |no: u32| (no, String::new(), String::new());
        let mut of_space = self.rows.split_off(&first(space_no));
        self.rows.append(&mut of_space.split_off(&first(space_no.saturating_add(1))));
        for ((_, collection, id), row) in of_space.into_iter().filter(|(_, row)| row.dirty) {
            let bytes = row.written(space, (&collection, &id), poison);
            batch.put_row(space_no, &collection, &id, bytes)?;
        }
        self.kept = self.rows.values().map(|row| row.size).sum();
        Ok(())
    }

    /// As [`Rows::make_room`], of rows that have not changed.
    pub(in crate::engine) fn make_room_of_unchanged(&mut self) {
        if self.kept > KEPT_BYTES_MAX {
            self.rows.retain(|_, row| row.dirty);
            self.kept = self.rows.values().map(|row| row.size).sum();
        }
    }
}

impl Row {
    /// The row as it is to be stored; the sums of the space move along.
    fn written(&self, space: &mut Space, (collection, id): (&str, &str), poison: &mut Poison) -> Vec<u8> {
        poison.begin(space.id, collection, id);
        let counted = (self.state.contribution(collection, id), self.state.is_present());
        space.care.scrub.moved((collection, id), self.counted.as_ref(), Some(&counted));
        space.care.scrub.written((collection, id), &self.state);
        space.row.count(self.counted.as_ref(), Some(&counted));
        space.dirty = true;
        let bytes = self.state.encode();
        debug_assert!(
            EntityState::decode(&bytes).is_ok_and(|again| again.heads() == self.state.heads()),
            "a row survives being stored"
        );
        poison.end();
        bytes
    }

    /// The state, to be changed.
    pub(in crate::engine) fn change(&mut self, collection: &str, id: &str) -> &mut EntityState {
        if !self.dirty {
            self.dirty = true;
            if self.stored && self.counted.is_none() {
                self.counted = Some((self.state.contribution(collection, id), self.state.is_present()));
            }
        }
        &mut self.state
    }
}

/// Clocks of changes: what lies in the past of a change, itself included. Spares walking the chain again. The oldest go
/// when there are too many; one that is too large alone is not kept.
#[derive(Debug, Default)]
pub(in crate::engine) struct Pasts {
    clocks: BTreeMap<[u8; 16], Clock>,
    marks: usize,
    order: std::collections::VecDeque<[u8; 16]>,
}

/// A change in an entity. Equal writes to two entities are one change by Automerge's hash, and two here.
fn past_key((space, collection, id): EntityOf<'_>, hash: ChangeHash) -> [u8; 16] {
    let entity = Tagged::new("tombolo/1 past").number(u64::from(space)).sized(collection.as_bytes());
    entity.sized(id.as_bytes()).bytes(hash.as_bytes()).finish16()
}

/// Local number of the space, collection, id.
pub(in crate::engine) type EntityOf<'a> = (u32, &'a str, &'a str);

impl Pasts {
    pub(in crate::engine) fn get(&self, entity: EntityOf<'_>, hash: ChangeHash) -> Option<&Clock> {
        self.clocks.get(&past_key(entity, hash))
    }

    pub(in crate::engine) fn insert(&mut self, entity: EntityOf<'_>, hash: ChangeHash, clock: Clock) {
        if clock.len() > PASTS_MARKS_MAX {
            return;
        }
        let key = past_key(entity, hash);
        self.marks += clock.len();
        match self.clocks.insert(key, clock) {
            Some(before) => self.marks -= before.len(),
            None => self.order.push_back(key),
        }
        while self.order.len() > PASTS_MAX || self.marks > PASTS_MARKS_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.marks -= self.clocks.remove(&oldest).map_or(0, |clock| clock.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::FeedId;
    use tombolo_crdt::entity::Mark;

    use super::*;

    fn clock(writers: u64) -> Clock {
        let feed = |n: u64| FeedId::from_bytes(u128::from(n).to_be_bytes());
        (0..writers).map(|n| (feed(n), Mark { seq: 1, counter: 1 })).collect()
    }

    fn hash(n: usize) -> ChangeHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        ChangeHash::from_bytes(bytes)
    }

    #[test]
    fn clocks_are_bounded_by_what_they_hold() {
        let entity = (1, "x", "e");
        let mut pasts = Pasts::default();
        let large = clock(1 << 14);
        for n in 0..100 {
            pasts.insert(entity, hash(n), large.clone());
        }
        let kept = (0..100).filter(|n| pasts.get(entity, hash(*n)).is_some()).collect::<Vec<_>>();
        assert_eq!(kept, (100 - PASTS_MARKS_MAX / (1 << 14)..100).collect::<Vec<_>>(), "the newest");
        // The same again takes no more.
        pasts.insert(entity, hash(99), large);
        assert_eq!((pasts.clocks.len(), pasts.marks), (kept.len(), PASTS_MARKS_MAX));
        let too_large = PASTS_MARKS_MAX as u64 + 1;
        pasts.insert(entity, hash(100), clock(too_large));
        assert!(pasts.get(entity, hash(100)).is_none() && pasts.get(entity, hash(99)).is_some());
        for n in 200..200 + 2 * PASTS_MAX {
            pasts.insert(entity, hash(n), clock(1));
        }
        assert_eq!((pasts.clocks.len(), pasts.order.len(), pasts.marks), (PASTS_MAX, PASTS_MAX, PASTS_MAX));
    }
}
