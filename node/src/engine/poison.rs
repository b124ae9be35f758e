//! Poison: a change over which the program panics stops its entity alone.
//!
//! Nothing that arrives should make reading, judging or applying a change panic. What does is a defect. The step is
//! void then, as after a commit that failed, and the entity it was at is left alone until the process ends: what others
//! wrote to it waits, and `status` says so. A panic anywhere else ends the engine, as ever.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tombolo_crdt::SpaceId;

use crate::store::StoreError;

/// Entities left alone. One panic more ends the engine: something else is wrong.
const POISONED_MAX: usize = 64;

/// What is said of such an entity.
pub(super) const REASON: &str = "the program failed over a change to it: a defect, please report it";

/// Which entity a step is at, and those that are left alone.
#[derive(Debug, Default)]
pub(super) struct Poison {
    at: Option<SpaceId>,
    collection: String,
    id: String,
    poisoned: BTreeSet<(SpaceId, String, String)>,
    #[cfg(test)]
    pub(super) trap: Option<String>,
}

impl Poison {
    /// From here on a panic is this entity's.
    pub(super) fn begin(&mut self, space: SpaceId, collection: &str, id: &str) {
        self.at = Some(space);
        // What is allocated is used again: this is called for every change.
        self.collection.clear();
        self.collection.push_str(collection);
        self.id.clear();
        self.id.push_str(id);
        #[cfg(test)]
        assert_ne!(self.trap.as_deref(), Some(id), "the trap");
    }

    /// From here on it is nobody's.
    pub(super) fn end(&mut self) {
        self.at = None;
    }

    /// Whether nothing may be done with an entity.
    pub(super) fn holds(&self, space: SpaceId, collection: &str, id: &str) -> bool {
        !self.poisoned.is_empty() && self.poisoned.contains(&(space, collection.to_owned(), id.to_owned()))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(SpaceId, String, String)> {
        self.poisoned.iter()
    }

    /// Takes note of the entity that a panic was about. `None`: it was about none, or there are too many.
    fn caught(&mut self) -> Option<String> {
        assert!(self.poisoned.len() <= POISONED_MAX, "entities that are left alone are bounded");
        let name = (self.at.take()?, self.collection.clone(), self.id.clone());
        let shown = format!("{}/{}", name.1, name.2);
        (self.poisoned.len() < POISONED_MAX && self.poisoned.insert(name)).then_some(shown)
    }
}

/// Runs the work of a step. A panic over an entity becomes an error, and what the work was done on is void.
pub(super) fn contained<T>(
    engine: &mut T,
    poison: impl FnOnce(&mut T) -> &mut Poison,
    work: impl FnOnce(&mut T) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| work(engine))).unwrap_or_else(|panic| match poison(engine).caught() {
        Some(entity) => Err(StoreError::Defect(format!("the program failed over a change to {entity}"))),
        None => resume_unwind(panic),
    })
}
