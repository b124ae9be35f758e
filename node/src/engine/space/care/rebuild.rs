//! Building a row anew: its chain is folded up to its newest change, and the row is replaced, or frozen. Searching and
//! folding are looks; a step only takes what they have found.

use std::collections::BTreeSet;

use tombolo_crdt::entity::{EntityState, RowError};
use tombolo_crdt::{FeedId, NodeId};

use crate::chain::{Found, PastError, Unread, What};
use crate::engine::Work;
use crate::engine::space::Space;
use crate::engine::space::care::suspects::{Doubt, Suspect};
use crate::engine::space::care::{Care, DISPUTED_MAX, Name};
use crate::store::{JournalKind, StoreError};

/// How often an entity is folded in vain because it was written meanwhile, if its row is not damaged. The next audit
/// tells of it again.
const OUTGROWN_MAX: u32 = 8;

/// What care has asked for: a look (`looks.rs`) at what takes longer than a step may.
#[derive(Debug)]
pub(super) enum Asked {
    /// Where the newest changes of these are.
    Search(BTreeSet<Name>),
    /// What an entity's changes come to, up to the one at a journal position.
    Fold(Name, u64),
}

/// How far building rows anew has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A row has changed.
    Rebuilt,
    /// There is more to do in the next step.
    Goes,
    /// A look is being made.
    Waits,
}

impl Care {
    /// Has the newest changes of the suspects searched for, then folds one after the other and sets its row right.
    pub(super) fn rebuild(&mut self, work: &mut Work<'_>, space: &mut Space) -> Result<Progress, StoreError> {
        self.look(work, space)?;
        if self.suspects.is_empty() {
            return Ok(Progress::Goes);
        }
        if !self.suspects.read_on(&work.batch, space.row.space_no, space.row.journal)? {
            return Ok(Progress::Goes);
        }
        match (self.asked.take(), self.answer.take()) {
            (Some(asked), None) => {
                self.asked = Some(asked);
                return Ok(Progress::Waits);
            }
            (Some(Asked::Search(names)), Some(Ok(Found::Search(search)))) => self.suspects.searched(&names, &search),
            (Some(Asked::Search(names)), Some(Err(StoreError::Corrupt { detail, .. }))) => {
                for name in names {
                    self.freeze(work, space, name, detail.clone())?;
                }
                return Ok(Progress::Goes);
            }
            (Some(Asked::Fold(name, newest)), Some(Ok(Found::Fold(folded)))) => {
                return self.folded(work, space, name, Some((newest, *folded)));
            }
            (Some(Asked::Fold(name, newest)), Some(Err(error @ StoreError::Corrupt { .. }))) => {
                return self.folded(work, space, name, Some((newest, Err(error.into()))));
            }
            // It was not asked for, or could not be made: it is asked for again.
            _ => {}
        }
        if let Some((names, from)) = self.suspects.to_search() {
            work.looks.ask_for_care(space.row.space_no, What::Search { names: names.clone(), from });
            self.asked = Some(Asked::Search(names));
            return Ok(Progress::Waits);
        }
        let Some(name) = self.suspects.ready() else { return Ok(Progress::Goes) };
        match self.suspects.get(&name).and_then(|suspect| suspect.newest) {
            None => self.folded(work, space, name, None),
            Some(newest) => {
                work.looks.ask_for_care(space.row.space_no, What::Fold { name: name.clone(), newest });
                self.asked = Some(Asked::Fold(name, newest));
                Ok(Progress::Waits)
            }
        }
    }

    /// A look that was asked for has been made.
    pub(in crate::engine) fn answered(&mut self, found: Result<Found, StoreError>) {
        self.answer = Some(found);
        self.hurry();
    }

    /// What the changes of a suspect come to up to a journal position; none: nothing ever wrote it.
    fn folded(
        &mut self,
        work: &mut Work<'_>,
        space: &mut Space,
        name: Name,
        folded: Option<(u64, Result<EntityState, PastError>)>,
    ) -> Result<Progress, StoreError> {
        let Some(suspect) = self.suspects.get(&name) else { return Ok(Progress::Goes) };
        let (newest, state) = match folded {
            None => (None, None),
            Some((newest, folded)) => (Some(newest), Some(folded)),
        };
        if newest != suspect.newest {
            // Whoever says that it differs cannot keep the others from being built anew by writing to it.
            if self.suspects.outgrown(&name) >= OUTGROWN_MAX
                && let Doubt::Differs(_) = suspect.doubt
            {
                self.suspects.remove(&name);
            }
            return Ok(Progress::Goes);
        }
        if work.rows.peek(space.row.space_no, &name.0, &name.1).is_some() {
            // This step works on it.
            return Ok(Progress::Goes);
        }
        let state = match state.transpose() {
            Ok(state) => state,
            Err(PastError::Store(StoreError::Corrupt { detail, .. })) => {
                return self.freeze(work, space, name, detail);
            }
            Err(PastError::Store(error)) => return Err(error),
            Err(error) => return self.undecided(work, space, name, suspect.doubt, error.to_string()),
        };
        let stored = work.batch.row(space.row.space_no, &name.0, &name.1)?;
        if let Some(Unread { position, error, .. }) = self.suspects.unread_behind(suspect.newest)
            && !confirmed(stored.as_deref(), state.as_ref())
        {
            let reason = format!("journal position {position} cannot be read: {error}");
            return self.freeze(work, space, name, reason);
        }
        assert_eq!(newest.is_some(), state.is_some(), "what has changes comes to a state");
        self.suspects.remove(&name);
        self.settle(work, space, name, suspect, (stored, state))
    }

    /// Looks at the rows of new suspects: what a newer version wrote is not damaged, and stays as it is.
    fn look(&mut self, work: &mut Work<'_>, space: &Space) -> Result<(), StoreError> {
        for name in self.suspects.not_looked_at() {
            let reason = match work.batch.row(space.row.space_no, &name.0, &name.1) {
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

    /// Puts what the chain gives in the place of the row, unless it is there already. The state is none where nothing
    /// ever wrote the entity.
    fn settle(
        &mut self,
        work: &mut Work<'_>,
        space: &mut Space,
        name: Name,
        suspect: Suspect,
        (stored, state): (Option<Vec<u8>>, Option<EntityState>),
    ) -> Result<Progress, StoreError> {
        let (collection, id) = (name.0.as_str(), name.1.as_str());
        let row = state.as_ref().map(EntityState::encode);
        if stored == row {
            self.frozen.remove(&name);
            if let Doubt::Differs(peer) = suspect.doubt {
                if stored.is_some() {
                    tracing::warn!(%collection, %id, %peer, "an entity differs from a peer's and is what its entries give here");
                    self.dispute(name, peer);
                } else {
                    // Of what is not here and was never written nobody is told, whatever a peer says.
                    self.searched_in_vain(peer, work.now.mono);
                }
            }
            return Ok(Progress::Goes);
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
                space.row.count(old.as_ref(), new.as_ref());
            }
        }
        match row {
            Some(row) => work.batch.put_row(space.row.space_no, collection, id, row)?,
            None => work.batch.remove_row(space.row.space_no, collection, id)?,
        }
        space.held.anew(collection, id);
        tracing::warn!(%collection, %id, doubt = ?suspect.doubt, "a row was built anew from its entries");
        self.audit.mended();
        self.frozen.remove(&name);
        let none = FeedId::from_bytes([0; 16]);
        space.journal(&mut work.batch, JournalKind::Repaired, (none, 0), vec![name])?;
        self.counters.repaired += 1;
        Ok(Progress::Rebuilt)
    }

    fn dispute(&mut self, name: Name, peer: NodeId) {
        if self.disputed.len() < DISPUTED_MAX {
            self.disputed.insert(name, peer);
        }
    }

    /// Folding the history would take more memory than there is for it. A sound row stays, whatever a peer says; a
    /// damaged one cannot be built anew.
    fn undecided(
        &mut self,
        work: &mut Work<'_>,
        space: &Space,
        name: Name,
        doubt: Doubt,
        reason: String,
    ) -> Result<Progress, StoreError> {
        let stored = work.batch.row(space.row.space_no, &name.0, &name.1)?;
        let sound = stored.as_deref().is_some_and(|row| EntityState::decode(row).is_ok());
        let (Doubt::Differs(peer), true) = (doubt, sound) else { return self.freeze(work, space, name, reason) };
        tracing::warn!(collection = %name.0, id = %name.1, %peer, %reason, "an entity differs from a peer's; who is right is not known");
        self.suspects.remove(&name);
        self.dispute(name, peer);
        Ok(Progress::Goes)
    }

    /// Freezes an entity: what is there of its row is kept where no reader or writer takes it for one, unless it is
    /// sound and nobody says that it is wrong.
    fn freeze(
        &mut self,
        work: &mut Work<'_>,
        space: &Space,
        name: Name,
        reason: String,
    ) -> Result<Progress, StoreError> {
        let suspect = self.suspects.get(&name);
        let (space_no, newest) = (space.row.space_no, suspect.and_then(|suspect| suspect.newest));
        let stored = work.batch.row(space_no, &name.0, &name.1)?;
        match stored.as_deref().map(EntityState::decode) {
            // A peer says that there is such an entity. Nothing here does.
            None if newest.is_none() => {
                self.suspects.remove(&name);
                return Ok(Progress::Goes);
            }
            // It was frozen as it is, and looked at again.
            Some(Ok(_)) if suspect.is_some_and(|suspect| suspect.doubt == Doubt::Damaged) => {}
            None | Some(Ok(_)) => {
                work.batch.put_row(space_no, &name.0, &name.1, EntityState::freeze(stored.as_deref()))?;
            }
            Some(Err(_)) => {}
        }
        self.frozen_as_it_is(name, reason);
        Ok(Progress::Goes)
    }

    /// Takes note that an entity is frozen; what is stored of it is not touched.
    pub(super) fn frozen_as_it_is(&mut self, name: Name, reason: String) {
        tracing::error!(collection = %name.0, id = %name.1, %reason, "an entity is frozen");
        self.suspects.remove(&name);
        self.frozen.insert(name, reason);
    }
}

/// Whether a row, damaged or not, was that of this state: it names its heads.
fn confirmed(stored: Option<&[u8]>, state: Option<&EntityState>) -> bool {
    let (Some(stored), Some(state)) = (stored, state) else { return false };
    let stored = EntityState::thaw(stored).unwrap_or(stored);
    EntityState::heads_named(stored).is_some_and(|heads| heads == state.heads())
}
