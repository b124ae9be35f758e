//! Groups: maps that are shown as one. See the view.
//!
//! What a key of a group holds is spread over its maps, and merging makes as many of these as it likes: whoever goes
//! over all keys must not ask every map for each.

use std::collections::{BTreeMap, BTreeSet};

use super::doc::Doc;
use super::id::OpId;
use super::view::{Slot, shown_key};

impl Doc {
    /// What the maps of a group hold at a stored key, in the group's order. O(the maps).
    pub(super) fn slots<'a>(&'a self, group: &[OpId], key: &str) -> Vec<Slot<'a>> {
        self.visits.add(group.len());
        let slot = |holder: &OpId| Some(Slot { holder: *holder, ops: self.map(*holder)?.get(key)? });
        group.iter().filter_map(slot).collect()
    }

    /// The stored keys of a group that are the user's, once each, in byte order.
    pub(super) fn keys<'a>(&'a self, group: &[OpId]) -> BTreeSet<&'a str> {
        let keys = group.iter().filter_map(|id| self.map(*id)).flat_map(|keys| keys.keys().map(String::as_str));
        keys.inspect(|_| self.visits.add(1)).filter(|key| shown_key(group, key).is_some()).collect()
    }

    /// Whether a group has any of these.
    pub(super) fn has_keys(&self, group: &[OpId]) -> bool {
        let mut keys = group.iter().filter_map(|id| self.map(*id)).flat_map(|keys| keys.keys());
        keys.any(|key| shown_key(group, key).is_some())
    }

    /// All of these with what [`Doc::slots`] says of each, in one pass over the maps.
    pub(super) fn all_slots<'a>(&'a self, group: &[OpId]) -> BTreeMap<&'a str, Vec<Slot<'a>>> {
        let mut all: BTreeMap<&str, Vec<Slot<'_>>> = BTreeMap::new();
        for holder in group {
            for (key, ops) in self.map(*holder).into_iter().flatten() {
                self.visits.add(1);
                debug_assert!(!ops.is_empty(), "no key is without an operation");
                if shown_key(group, key).is_some() {
                    all.entry(key).or_default().push(Slot { holder: *holder, ops });
                }
            }
        }
        all
    }

    /// Hands every user's key of a group, as the user calls it, and what the maps hold there to `visit`, by stored key.
    pub(super) fn each_key<'a>(&'a self, group: &[OpId], mut visit: impl FnMut(&'a str, &[Slot<'a>])) {
        let mut field = |key, slots: &[Slot<'a>]| {
            if let Some(shown) = shown_key(group, key) {
                visit(shown, slots);
            }
        };
        if let [holder] = group {
            for (key, ops) in self.map(*holder).into_iter().flatten() {
                self.visits.add(1);
                field(key, &[Slot { holder: *holder, ops }]);
            }
            return;
        }
        for (key, slots) in self.all_slots(group) {
            field(key, &slots);
        }
    }

    /// For the stored keys that are `wanted`, the maps of a group that have them.
    pub(super) fn holders<'g>(&self, group: &'g [OpId], wanted: impl Fn(&str) -> bool) -> Holders<'g> {
        let mut by_key: BTreeMap<String, Vec<OpId>> = BTreeMap::new();
        let greatest = group.iter().copied().max().unwrap_or(OpId::ROOT);
        if group.len() > 1 {
            for holder in group {
                for key in self.map(*holder).into_iter().flat_map(|keys| keys.keys()) {
                    self.visits.add(1);
                    if let Some(holders) = by_key.get_mut(key) {
                        holders.push(*holder);
                    } else if wanted(key) {
                        by_key.insert(key.clone(), vec![*holder]);
                    }
                }
            }
            for holders in by_key.values_mut().filter(|holders| !holders.contains(&greatest)) {
                holders.push(greatest);
            }
        }
        Holders { group, by_key, greatest: [greatest] }
    }
}

/// Who has which key, for writes that go over many: writing to one key of a group changes nothing at its others.
#[derive(Debug)]
pub(super) struct Holders<'g> {
    group: &'g [OpId],
    by_key: BTreeMap<String, Vec<OpId>>,
    greatest: [OpId; 1],
}

impl Holders<'_> {
    /// The maps that do for a key in the group's place: those that have it, in the same order, and the greatest, to
    /// which new values go.
    pub(super) fn of(&self, key: &str) -> &[OpId] {
        match self.by_key.get(key) {
            _ if self.group.len() < 2 => self.group,
            Some(holders) => holders,
            None => &self.greatest,
        }
    }
}
