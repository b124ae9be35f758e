//! Care: rows that are damaged or wrong are found and built anew from the entries they came from.
//!
//! Three ways lead here. A *scrub* goes through all rows slowly and checks their hashes and what they add up to.
//! Whoever meets a damaged row, a step or a reader, reports it. And where a peer with the same frontier has another
//! state, an *audit* ([`audit`]) finds the entities that differ. What is found becomes a *suspect*: its newest entry is
//! looked for, backwards through the journal ([`rebuild`]), its chain is folded, and the row is replaced if it is not
//! what the fold gives.
//!
//! An entity whose chain cannot be folded is *frozen*: never served, never written, with the reason in `status`. So
//! that this holds for readers beside the engine and after a restart too, its row is stored wrapped
//! ([`EntityState::freeze`]) unless it is unreadable anyway. One that differs from a peer's and is what its own chain
//! gives, or whose history is too wide to tell (see [`PastError::TooLong`]), is *disputed*: both nodes keep theirs and
//! say so. A row of a newer version is no damage: it is frozen as it is. So is an entity with a sound row of whose
//! history a judge needed what is damaged: it is served and written on what the row shows, however often its history is
//! looked at again; entries that need more of it for their verdict are held, and what comes after them in their feeds.
//!
//! [`PastError::TooLong`]: crate::chain::PastError::TooLong
//! [`EntityState::freeze`]: tombolo_crdt::entity::EntityState::freeze
//!
//! Everything is done in slices, one per space and step, so that nobody waits long for a step.

pub(in crate::engine) mod audit;
mod frozen;
mod rebuild;
mod scrub;
mod sizes;
mod suspects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_crdt::NodeId;
use tombolo_crdt::defect::{self, Defect};

use self::frozen::Frozen;
use self::rebuild::Progress;
use self::suspects::{Doubt, Suspects};
use crate::chain::Found;
use crate::engine::Work;
use crate::engine::space::Space;
use crate::store::StoreError;

/// Disputed entities remembered. More are the same defect, and the next audit tells of them.
const DISPUTED_MAX: usize = 1_024;
/// Spaces tended in one step, one slice of some milliseconds each; the others are tended in the next.
pub(in crate::engine) const TENDED_AT_ONCE: usize = 4;
/// Time between two slices of what somebody waits for.
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// When care looks after a look of its own that has not come back: its answer comes before.
const LOOK_PAUSE: Duration = Duration::from_secs(60);
/// How long nothing is searched for that a peer alone tells of, after a search in vain: such a search reads the journal
/// to its beginning.
const IN_VAIN: Duration = Duration::from_secs(24 * 3600);
/// Such peers. Of more each costs a search per audit.
const IN_VAIN_MAX: usize = 1_024;

/// Collection and id.
pub(in crate::engine) type Name = (String, String);

/// What has been done for a space since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CareCounters {
    /// Rows that were built anew.
    pub repaired: u64,
    /// Passes over all rows that were completed.
    pub scrubs: u64,
    /// Sums that were not those of the rows, and were corrected.
    pub sums_corrected: u64,
}

/// The care of a space.
#[derive(Debug, Default)]
pub(in crate::engine) struct Care {
    suspects: Suspects,
    /// The look that is being made for it, and what that has found.
    asked: Option<rebuild::Asked>,
    answer: Option<Result<Found, StoreError>>,
    frozen: Frozen,
    /// And with whom.
    disputed: BTreeMap<Name, NodeId>,
    /// Peers that told of what was never written here, and until when they are not believed in that.
    in_vain: BTreeMap<NodeId, Duration>,
    pub(in crate::engine) scrub: scrub::Scrub,
    pub(in crate::engine) audit: audit::Audit,
    pub(in crate::engine) counters: CareCounters,
    /// When the next slice is due; none: not decided yet.
    next: Option<Duration>,
}

impl Care {
    /// Takes note of a row whose hash does not fit.
    pub(in crate::engine) fn damaged(&mut self, collection: &str, id: &str) {
        self.suspect((collection.to_owned(), id.to_owned()), Doubt::Damaged);
    }

    /// Takes an entity under suspicion. Whether it will be looked at.
    fn suspect(&mut self, name: Name, doubt: Doubt) -> bool {
        !self.frozen.full() && !self.frozen.contains(&name) && self.look_at(name, doubt)
    }

    /// Takes an entity under suspicion, also one that is frozen. Whether it will be looked at.
    fn look_at(&mut self, name: Name, doubt: Doubt) -> bool {
        if self.frozen.is_for_good(&name) || (doubt == Doubt::Damaged && defect::is(Defect::DamageLeft)) {
            return false;
        }
        if self.suspects.insert(&name, doubt) {
            tracing::warn!(collection = %name.0, id = %name.1, ?doubt, "a row is to be built anew");
            self.next = Some(Duration::ZERO);
        }
        self.suspects.get(&name).is_some()
    }

    /// A verdict needs what is damaged of an entity's history.
    pub(in crate::engine) fn history_damaged(&mut self, name: Name, reason: String) {
        self.frozen_as_it_is(name, reason);
    }

    /// The program failed over it: nothing is done with it before the process ends.
    pub(in crate::engine) fn poisoned(&mut self, name: Name, reason: String) {
        self.suspects.remove(&name);
        self.frozen.insert_for_good(name, reason);
    }

    /// Whether nothing may be done with an entity now.
    pub(in crate::engine) fn rests(&self, collection: &str, id: &str) -> bool {
        let name = (collection.to_owned(), id.to_owned());
        self.frozen.contains(&name) || self.suspects.get(&name).is_some_and(|s| s.doubt == Doubt::Damaged)
    }

    /// Entities that cannot be built anew, and why.
    pub(in crate::engine) fn frozen(&self) -> &Frozen {
        &self.frozen
    }

    /// Entities that differ from a peer's although the row is what its own entries give.
    pub(in crate::engine) fn disputed(&self) -> &BTreeMap<Name, NodeId> {
        &self.disputed
    }

    /// The journal was searched to its beginning for what a peer told of.
    fn searched_in_vain(&mut self, peer: NodeId, now: Duration) {
        self.in_vain.retain(|_, until| *until > now);
        if self.in_vain.len() < IN_VAIN_MAX {
            self.in_vain.insert(peer, now + IN_VAIN);
        }
    }

    /// A peer has the same state, so nothing of it differs.
    pub(in crate::engine) fn agreed(&mut self, peer: NodeId) {
        self.disputed.retain(|_, with| *with != peer);
    }

    /// When it wants to be tended next.
    pub(in crate::engine) fn due(&self) -> Option<Duration> {
        self.next
    }

    /// Asks to be tended in the next step.
    pub(in crate::engine) fn hurry(&mut self) {
        self.next = Some(Duration::ZERO);
    }
}

impl Work<'_> {
    /// One slice of care for a space, if it is due. Whether peers or readers have to hear of it.
    pub(in crate::engine) fn tend(&mut self, space: &mut Space) -> Result<bool, StoreError> {
        let now = self.now.mono;
        if *space.care.next.get_or_insert(now + scrub::FIRST_PAUSE) > now {
            return Ok(false);
        }
        self.budget.slice();
        let mut care = std::mem::take(&mut space.care);
        let done = care.slice(self, space);
        if let Ok(Done { pause, .. }) = done {
            care.next = Some(now + pause);
        }
        space.care = care;
        done.map(|done| done.tell)
    }
}

/// What a slice leaves.
#[derive(Clone, Copy, Debug)]
struct Done {
    /// How long the next may wait.
    pause: Duration,
    /// Peers or readers have to hear of it.
    tell: bool,
}

impl Care {
    /// Does a piece of what is most urgent.
    fn slice(&mut self, work: &mut Work<'_>, space: &mut Space) -> Result<Done, StoreError> {
        if !self.suspects.is_empty() {
            let progress = self.rebuild(work, space)?;
            let pause = if progress == Progress::Waits { LOOK_PAUSE } else { SLICE_PAUSE };
            return Ok(Done { pause, tell: progress == Progress::Rebuilt });
        }
        if self.audit.wants(space) {
            let mut audit = std::mem::take(&mut self.audit);
            let found = audit.slice(work, space, &mut |name| self.suspect(name.clone(), Doubt::Damaged));
            self.audit = audit;
            let found = found?;
            self.counters.sums_corrected += u64::from(found.sums_corrected);
            if let Some((peer, names)) = found.differing {
                let barred = self.in_vain.get(&peer).is_some_and(|until| *until > work.now.mono);
                for name in names {
                    // What is not here is not searched for again and again because one says that it should be.
                    if barred && work.batch.row(space.row.space_no, &name.0, &name.1)?.is_none() {
                        continue;
                    }
                    self.suspect(name, Doubt::Differs(peer));
                }
            }
            return Ok(Done { pause: SLICE_PAUSE, tell: found.sums_corrected || self.audit.speaks() });
        }
        let (again, tell) = self.audit.look_again(work.now.mono);
        let (pause, corrected) = self.scrub(work, space)?;
        let pause = again.map_or(pause, |at| pause.min(at.saturating_sub(work.now.mono)));
        Ok(Done { pause, tell: tell || corrected })
    }
}
