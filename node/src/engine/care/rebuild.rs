//! Building a row anew: its newest change is looked for, its chain is walked and folded.

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::entry::{Body, Entry};

use super::{Care, Doubt, NAMED_MAX, Name};
use crate::chain::{self, EntityKey, FOLD_BYTES_MAX, Link};
use crate::engine::Work;
use crate::engine::space::Space;
use crate::store::{JournalKind, JournalRow, StoreError};

/// Journal positions looked at per slice: some three milliseconds.
const SLICE_POSITIONS: u64 = 1_024;

impl Care {
    /// Goes on with the search, and builds the row of one that is found. Whether a row has changed.
    pub(super) fn rebuild(&mut self, work: &mut Work<'_>, space: &mut Space) -> Result<bool, StoreError> {
        if self.search.is_none() {
            self.searched_from = space.row.journal;
        }
        let from = self.search.unwrap_or(self.searched_from);
        let until = from.saturating_sub(SLICE_POSITIONS);
        let mut position = from;
        let mut missing = self.suspects.values().filter(|suspect| suspect.newest.is_none()).count();
        while position > until && missing > 0 {
            match names_at(work, space, position) {
                Ok(names) => missing -= self.found(names, position),
                Err(StoreError::Corrupt { detail, .. }) => {
                    // Whether it changed one of those that are looked for cannot be known any more.
                    let reason = format!("journal position {position} cannot be read: {detail}");
                    let lost = self.suspects.iter().filter(|(_, suspect)| suspect.newest.is_none());
                    let lost: Vec<Name> = lost.map(|(name, _)| name.clone()).collect();
                    lost.into_iter().for_each(|name| self.freeze(name, reason.clone()));
                    missing = 0;
                }
                Err(error) => return Err(error),
            }
            position -= 1;
        }
        self.search = Some(position);
        let all = position == 0;
        let ready = self.suspects.iter().filter(|(_, suspect)| suspect.newest.is_some() || all);
        // One per slice: a long history takes long.
        let Some((name, newest, doubt)) =
            ready.map(|(name, suspect)| (name.clone(), suspect.newest, suspect.doubt)).next()
        else {
            return Ok(false);
        };
        self.suspects.remove(&name);
        if self.suspects.is_empty() {
            self.search = None;
        }
        match refold(work, space, &name, newest) {
            Ok(state) => self.settle(work, space, name, doubt, state),
            Err(StoreError::Corrupt { detail, .. }) => {
                self.freeze(name, detail);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes note of the newest change of those among `names` that are looked for. How many these are.
    fn found(&mut self, names: Vec<Name>, position: u64) -> usize {
        let mut found = 0;
        for name in names {
            if let Some(suspect) = self.suspects.get_mut(&name).filter(|suspect| suspect.newest.is_none()) {
                suspect.newest = Some(position);
                found += 1;
            }
        }
        found
    }

    /// Puts what the chain gives in the place of the row, unless it is there already. `state` is none where nothing ever
    /// wrote the entity. Whether it has changed the row.
    fn settle(
        &mut self,
        work: &mut Work<'_>,
        space: &mut Space,
        name: Name,
        doubt: Doubt,
        state: Option<EntityState>,
    ) -> Result<bool, StoreError> {
        let (collection, id) = (name.0.as_str(), name.1.as_str());
        let stored = work.batch.row(space.row.no, collection, id)?;
        let row = state.as_ref().map(EntityState::encode);
        if stored == row {
            if let Doubt::Differs(peer) = doubt
                && self.disputed.len() < NAMED_MAX
            {
                tracing::warn!(%collection, %id, %peer, "an entity differs from a peer's and is what its entries give here");
                self.disputed.insert(name, peer);
            }
            return Ok(false);
        }
        // A damaged row had its part in the sums when it was sound: they stay as they are. An audit checks them.
        if doubt != Doubt::Damaged {
            let old = stored.as_deref().and_then(|row| EntityState::decode(row).ok());
            if old.as_ref().is_some_and(|old| old.journal() > self.searched_from) {
                // It was written while its newest change was looked for. The next audit looks again.
                return Ok(false);
            }
            self.audit.mended();
            if let Some(old) = old {
                space.row.sums.rows.remove(&old.contribution(collection, id));
                space.row.entities -= u64::from(old.is_present());
            }
            if let Some(state) = &state {
                space.row.sums.rows.add(&state.contribution(collection, id));
                space.row.entities += u64::from(state.is_present());
            }
        }
        match row {
            Some(row) => work.batch.put_row(space.row.no, collection, id, row)?,
            None => work.batch.remove_row(space.row.no, collection, id)?,
        }
        space.held.anew(collection, id);
        tracing::warn!(%collection, %id, ?doubt, "a row was built anew from its entries");
        let position = space.row.journal + 1;
        let none = FeedId::from_bytes([0; 16]);
        let journal = JournalRow::next(&space.row.running, position, JournalKind::Repaired, none, 0, vec![name]);
        work.batch.put_journal(space.row.no, position, &journal)?;
        space.row.journal = position;
        space.row.running = journal.running;
        space.dirty = true;
        self.counters.repaired += 1;
        Ok(true)
    }
}

/// The entities that the entry at a journal position has changed.
fn names_at(work: &Work<'_>, space: &Space, position: u64) -> Result<Vec<Name>, StoreError> {
    let lost = || StoreError::corrupt("journal", "it is not there");
    let at = work.batch.journal(space.row.no, position)?.ok_or_else(lost)?;
    if at.kind != JournalKind::Applied {
        return Ok(Vec::new());
    }
    let row = work.batch.entry(at.feed, at.seq)?.ok_or_else(lost)?;
    let entry = Entry::decode(&row.bytes).map_err(|error| StoreError::corrupt("entries", error.to_string()))?;
    let Body::Data(changes) = entry.body else { return Ok(Vec::new()) };
    Ok(changes.into_iter().map(|change| (change.collection, change.id)).collect())
}

/// The entity as its changes give it.
fn refold(
    work: &Work<'_>,
    space: &Space,
    (collection, id): &Name,
    newest: Option<u64>,
) -> Result<Option<EntityState>, StoreError> {
    let Some(newest) = newest else { return Ok(None) };
    let key = EntityKey { space_no: space.row.no, collection, id };
    let (mut links, mut bytes): (Vec<Link>, usize) = (Vec::new(), 0);
    for link in chain::chain(&work.batch, key, newest) {
        let link = link?;
        bytes += link.change.len();
        if bytes > FOLD_BYTES_MAX {
            let detail = format!("its history has more than {FOLD_BYTES_MAX} bytes");
            return Err(StoreError::corrupt("entries", detail));
        }
        links.push(link);
    }
    if links.len() > 1 && defect::is(Defect::RebuiltShort) {
        links.remove(0);
    }
    let after = links.first().map(|link| link.after);
    links.reverse();
    let state = chain::fold(&work.batch, &links)?;
    if after != Some(state.heads_hash()) {
        return Err(StoreError::corrupt("entries", "its changes do not give the heads they are said to give"));
    }
    Ok(Some(state))
}
