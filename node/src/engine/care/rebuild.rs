//! Building a row anew: its chain is walked and folded from its newest change, and the row is replaced, or frozen.

use std::ops::ControlFlow;

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::entity::{EntityState, RowError};
use tombolo_crdt::{FeedId, NodeId};

use super::suspects::{Doubt, Suspect};
use super::{Care, DISPUTED_MAX, Name};
use crate::chain::{EntityKey, Entries, Past, PastError, Until};
use crate::engine::Work;
use crate::engine::space::Space;
use crate::store::{JournalKind, JournalRow, StoreError};

/// Steps of a fold per slice: enough for short histories, some ten milliseconds of a long one.
const SLICE_STEPS: usize = 2;
/// How often a fold is begun anew because the entity was written meanwhile, if its row is not damaged. The next audit tells
/// of it again.
const BEGUN_MAX: u32 = 8;

/// A fold under way.
#[derive(Debug)]
pub(super) struct Folding {
    name: Name,
    newest: u64,
    /// How often it was begun.
    begun: u32,
    /// Hash of the heads that it has to come to.
    after: [u8; 16],
    past: Past,
}

impl Care {
    /// Goes on with the search, or builds the row of one that is found. Whether a row has changed.
    pub(super) fn rebuild(&mut self, work: &mut Work<'_>, space: &mut Space) -> Result<bool, StoreError> {
        self.look(work, space)?;
        if self.suspects.is_empty() || !self.suspects.search(&work.batch, space.row.no, space.row.journal)? {
            return Ok(false);
        }
        let under_way = self.folding.as_ref().map(|folding| folding.name.clone());
        let Some(name) = under_way.or_else(|| self.suspects.ready()) else { return Ok(false) };
        let Some(suspect) = self.suspects.get(&name) else {
            self.folding = None;
            return Ok(false);
        };
        let grown = |folding: &Folding| folding.begun >= BEGUN_MAX && Some(folding.newest) != suspect.newest;
        if let (Doubt::Differs(_), true) = (suspect.doubt, self.folding.as_ref().is_some_and(grown)) {
            self.folding = None;
            self.suspects.remove(&name);
            return Ok(false);
        }
        if work.rows.peek(space.row.no, &name.0, &name.1).is_some() {
            // This step works on it.
            return Ok(false);
        }
        let state = match suspect.newest.map(|newest| self.fold(work, space, &name, newest)).transpose() {
            Ok(None) => None,
            Ok(Some(ControlFlow::Break(state))) => Some(state),
            Ok(Some(ControlFlow::Continue(()))) => return Ok(false),
            Err(PastError::Store(StoreError::Corrupt { detail, .. })) => {
                return self.freeze(work, space, name, detail);
            }
            Err(PastError::Store(error)) => return Err(error),
            Err(error) => return self.undecided(work, space, name, suspect.doubt, error.to_string()),
        };
        let stored = work.batch.row(space.row.no, &name.0, &name.1)?;
        if let Some((position, detail)) = self.suspects.unread_behind(suspect.newest)
            && !confirmed(stored.as_deref(), state.as_ref())
        {
            let reason = format!("journal position {position} cannot be read: {detail}");
            return self.freeze(work, space, name, reason);
        }
        self.suspects.remove(&name);
        self.settle(work, space, name, suspect, (stored, state))
    }

    /// Looks at the rows of new suspects: what a newer version wrote is not damaged, and stays as it is.
    fn look(&mut self, work: &mut Work<'_>, space: &Space) -> Result<(), StoreError> {
        for name in self.suspects.not_looked_at() {
            let reason = match work.batch.row(space.row.no, &name.0, &name.1) {
                Ok(row) => match row.as_deref().map(EntityState::check) {
                    Some(Err(error @ RowError::Version { .. })) => error.to_string(),
                    _ => continue,
                },
                // The table itself is damaged here.
                Err(StoreError::Corrupt { detail, .. }) => detail,
                Err(error) => return Err(error),
            };
            self.frozen_as_it_is(name, reason);
        }
        Ok(())
    }

    /// Goes on with the fold of an entity from its newest change, for a slice.
    fn fold(
        &mut self,
        work: &Work<'_>,
        space: &Space,
        name: &Name,
        newest: u64,
    ) -> Result<ControlFlow<EntityState>, PastError> {
        let mut folding = match self.folding.take() {
            Some(folding) if folding.newest == newest => folding,
            other => {
                let begun = other.map_or(0, |folding| folding.begun);
                Folding { begun: begun + 1, ..begin(work, space, name, newest)? }
            }
        };
        for _ in 0..SLICE_STEPS {
            match folding.past.step(&work.batch)? {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(state) if state.heads_hash() == folding.after => {
                    return Ok(ControlFlow::Break(state));
                }
                ControlFlow::Break(_) => {
                    let detail = "its changes do not give the heads they are said to give";
                    return Err(StoreError::corrupt("entries", detail).into());
                }
            }
        }
        self.folding = Some(folding);
        Ok(ControlFlow::Continue(()))
    }

    /// Puts what the chain gives in the place of the row, unless it is there already. The state is none where nothing
    /// ever wrote the entity. Whether it has changed the row.
    fn settle(
        &mut self,
        work: &mut Work<'_>,
        space: &mut Space,
        name: Name,
        suspect: Suspect,
        (stored, state): (Option<Vec<u8>>, Option<EntityState>),
    ) -> Result<bool, StoreError> {
        let (collection, id) = (name.0.as_str(), name.1.as_str());
        let row = state.as_ref().map(EntityState::encode);
        if stored == row {
            self.frozen.remove(&name);
            // Of what is not here and was never written nobody is told, whatever a peer says.
            if let (Doubt::Differs(peer), true) = (suspect.doubt, stored.is_some()) {
                tracing::warn!(%collection, %id, %peer, "an entity differs from a peer's and is what its entries give here");
                self.dispute(name, peer);
            }
            return Ok(false);
        }
        let old = stored.as_deref().map(|row| EntityState::thaw(row).unwrap_or(row)).filter(|row| !row.is_empty());
        let count = |state: &EntityState| (state.contribution(collection, id), state.is_present());
        let new = state.as_ref().map(count);
        match old.map(EntityState::decode) {
            // A damaged row had its part in the sums when it was sound: they stay as they are. An audit checks them.
            Some(Err(_)) => self.scrub.unsure(),
            old => {
                let old = old.and_then(Result::ok).as_ref().map(count);
                self.scrub.moved((collection, id), old.as_ref(), new.as_ref());
                if let Some((contribution, present)) = old {
                    space.row.sums.rows.remove(&contribution);
                    space.row.entities -= u64::from(present);
                }
                if let Some((contribution, present)) = new {
                    space.row.sums.rows.add(&contribution);
                    space.row.entities += u64::from(present);
                }
            }
        }
        match row {
            Some(row) => work.batch.put_row(space.row.no, collection, id, row)?,
            None => work.batch.remove_row(space.row.no, collection, id)?,
        }
        space.held.anew(collection, id);
        tracing::warn!(%collection, %id, doubt = ?suspect.doubt, "a row was built anew from its entries");
        self.audit.mended();
        self.frozen.remove(&name);
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

    fn dispute(&mut self, name: Name, peer: NodeId) {
        if self.disputed.len() < DISPUTED_MAX {
            self.disputed.insert(name, peer);
        }
    }

    /// Folding the history would take more memory than there is for it. A sound row stays, whatever a peer says; a damaged
    /// one cannot be built anew.
    fn undecided(
        &mut self,
        work: &mut Work<'_>,
        space: &Space,
        name: Name,
        doubt: Doubt,
        reason: String,
    ) -> Result<bool, StoreError> {
        let stored = work.batch.row(space.row.no, &name.0, &name.1)?;
        let sound = stored.as_deref().is_some_and(|row| EntityState::decode(row).is_ok());
        let (Doubt::Differs(peer), true) = (doubt, sound) else { return self.freeze(work, space, name, reason) };
        tracing::warn!(collection = %name.0, id = %name.1, %peer, %reason, "an entity differs from a peer's; who is right is not known");
        self.suspects.remove(&name);
        self.dispute(name, peer);
        Ok(false)
    }

    /// Freezes an entity: what is there of its row is kept where no reader or writer takes it for one, unless it is sound
    /// and nobody says that it is wrong. `false`: it has not been built anew.
    fn freeze(&mut self, work: &mut Work<'_>, space: &Space, name: Name, reason: String) -> Result<bool, StoreError> {
        let suspect = self.suspects.get(&name);
        let (no, newest) = (space.row.no, suspect.and_then(|suspect| suspect.newest));
        let stored = work.batch.row(no, &name.0, &name.1)?;
        match stored.as_deref().map(EntityState::decode) {
            // A peer says that there is such an entity. Nothing here does.
            None if newest.is_none() => {
                self.suspects.remove(&name);
                return Ok(false);
            }
            // It was frozen as it is, and looked at again.
            Some(Ok(_)) if suspect.is_some_and(|suspect| suspect.doubt == Doubt::Damaged) => {}
            None | Some(Ok(_)) => work.batch.put_row(no, &name.0, &name.1, EntityState::freeze(stored.as_deref()))?,
            Some(Err(_)) => {}
        }
        self.frozen_as_it_is(name, reason);
        Ok(false)
    }

    /// Takes note that an entity is frozen; what is stored of it is not touched.
    pub(super) fn frozen_as_it_is(&mut self, name: Name, reason: String) {
        tracing::error!(collection = %name.0, id = %name.1, %reason, "an entity is frozen");
        self.suspects.remove(&name);
        self.frozen.insert(name, reason);
    }
}

fn begin(work: &Work<'_>, space: &Space, name: &Name, newest: u64) -> Result<Folding, StoreError> {
    let key = EntityKey { space_no: space.row.no, collection: &name.0, id: &name.1 };
    let mut entries = Entries::passing();
    let mut link = entries.link(&work.batch, key, newest)?;
    if link.previous > 0 && defect::is(Defect::RebuiltShort) {
        link = entries.link(&work.batch, key, link.previous)?;
    }
    let past = Past::new(key, link.journal, Until::Present).patient();
    Ok(Folding { name: name.clone(), newest, begun: 0, after: link.after, past })
}

/// Whether a row, damaged or not, was that of this state: it names its heads.
fn confirmed(stored: Option<&[u8]>, state: Option<&EntityState>) -> bool {
    let (Some(stored), Some(state)) = (stored, state) else { return false };
    let stored = EntityState::thaw(stored).unwrap_or(stored);
    EntityState::heads_named(stored).is_some_and(|heads| heads == state.heads())
}
