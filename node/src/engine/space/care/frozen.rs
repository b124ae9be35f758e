//! Frozen entities: those that cannot be built anew, and why.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::hash::Tagged;

use crate::engine::space::care::Name;

/// Frozen entities remembered with name and reason; of more only a hash is kept.
const NAMED_MAX: usize = 1_024;
/// Frozen entities beyond those: 24 MB. Once they are so many no more entities are taken under suspicion.
const MORE_MAX: usize = 1 << 20;

/// The frozen entities of a space.
#[derive(Debug, Default)]
pub(in crate::engine) struct Frozen {
    named: BTreeMap<Name, String>,
    /// Those of them that stay so until the process ends. Bounded by whoever says so.
    for_good: BTreeSet<Name>,
    more: BTreeSet<[u8; 16]>,
}

fn hash((collection, id): &Name) -> [u8; 16] {
    Tagged::new("tombolo/1 frozen").sized(collection.as_bytes()).sized(id.as_bytes()).finish16()
}

impl Frozen {
    /// Takes note of one; a new reason takes the place of the one before.
    pub(super) fn insert(&mut self, name: Name, reason: String) {
        if self.named.contains_key(&name) || (self.named.len() < NAMED_MAX && !self.more.contains(&hash(&name))) {
            self.named.insert(name, reason);
        } else if !self.full() {
            self.more.insert(hash(&name));
        }
    }

    /// Takes note of one that nothing is tried with before the process ends.
    pub(super) fn insert_for_good(&mut self, name: Name, reason: String) {
        self.for_good.insert(name.clone());
        self.insert(name, reason);
    }

    /// Whether it is one of those.
    pub(super) fn is_for_good(&self, name: &Name) -> bool {
        self.for_good.contains(name)
    }

    /// Forgets one that has been built anew after all.
    pub(super) fn remove(&mut self, name: &Name) {
        if self.named.remove(name).is_none() && !self.more.is_empty() {
            self.more.remove(&hash(name));
        }
    }

    /// Whether an entity is frozen.
    pub(super) fn contains(&self, name: &Name) -> bool {
        self.named.contains_key(name) || self.unnamed(name)
    }

    /// Whether it is one of those whose name is not kept.
    pub(super) fn unnamed(&self, name: &Name) -> bool {
        !self.more.is_empty() && self.more.contains(&hash(name))
    }

    /// Whether no more can be remembered.
    pub(super) fn full(&self) -> bool {
        self.more.len() >= MORE_MAX
    }

    /// How many there are.
    pub(in crate::engine) fn len(&self) -> usize {
        self.named.len() + self.more.len()
    }

    /// Those with names, and why.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&Name, &String)> {
        self.named.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_known_again_however_many_there_are() {
        let mut frozen = Frozen::default();
        let name = |space_no: usize| ("x".to_owned(), format!("e{space_no}"));
        for space_no in 0..NAMED_MAX + 100 {
            frozen.insert(name(space_no), "why".to_owned());
            frozen.insert(name(space_no), "why".to_owned());
        }
        assert_eq!((frozen.len(), frozen.iter().count()), (NAMED_MAX + 100, NAMED_MAX));
        assert!((0..NAMED_MAX + 100).all(|space_no| frozen.contains(&name(space_no))));
        assert!(frozen.unnamed(&name(NAMED_MAX)) && !frozen.unnamed(&name(0)) && !frozen.contains(&name(5_000)));
        for space_no in [0, NAMED_MAX] {
            frozen.remove(&name(space_no));
            assert!(!frozen.contains(&name(space_no)));
        }
        assert_eq!(frozen.len(), NAMED_MAX + 98);
    }
}
