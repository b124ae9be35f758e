//! Entities that grow: the largest rows, and those whose numbers run out. The scrub meets every row and collects them.

use tombolo_crdt::entity::EntityState;

use crate::engine::status::{LargeRow, NAMED_MAX, RunningOut, Sizes};

/// Bytes of the smallest row that is told. A few such rows make no write slow; a row of 1 MiB takes milliseconds.
const LARGE_ROW_BYTES: usize = 1 << 16;
/// Rows that are told: the largest.
const LARGEST_MAX: usize = 5;

impl Sizes {
    /// Takes note of an entity that has been written, if its numbers run out.
    pub(super) fn written(&mut self, name: (&str, &str), state: &EntityState) {
        // Whether one that is not named is counted already is not known; the next pass tells.
        if self.running_out.len() < NAMED_MAX || self.named(name).is_some() {
            self.ends(name, state);
        }
    }

    fn named(&self, (collection, id): (&str, &str)) -> Option<usize> {
        self.running_out.iter().position(|one| (one.collection.as_str(), one.id.as_str()) == (collection, id))
    }

    /// Takes note of an entity if its numbers run out.
    fn ends(&mut self, name: (&str, &str), state: &EntityState) {
        if !state.is_running_out() {
            return;
        }
        if let Some(at) = self.named(name) {
            self.running_out.remove(at);
            self.running_out_entities -= 1;
        }
        // One that is deleted takes no more numbers.
        if !state.is_present() {
            return;
        }
        let (collection, id) = (name.0.to_owned(), name.1.to_owned());
        let one = RunningOut { collection, id, numbers_left: state.numbers_left() };
        self.running_out_entities += 1;
        let at = self.running_out.partition_point(|other| other.numbers_left <= one.numbers_left);
        self.running_out.insert(at, one);
        self.running_out.truncate(NAMED_MAX);
    }

    /// Takes note of a row. O(1) for most; what was removed is counted only in those that are told.
    pub(super) fn note(&mut self, (collection, id): (&str, &str), row_bytes: usize, state: &EntityState) {
        self.ends((collection, id), state);
        let bytes = row_bytes as u64;
        let at = self.largest.partition_point(|other| other.row_bytes >= bytes);
        if row_bytes >= LARGE_ROW_BYTES && at < LARGEST_MAX {
            let (collection, id, removed) = (collection.to_owned(), id.to_owned(), state.removed());
            self.largest.insert(at, LargeRow { collection, id, row_bytes: bytes, removed });
            self.largest.truncate(LARGEST_MAX);
        }
        debug_assert!(
            self.largest.len() <= LARGEST_MAX && self.running_out.len() <= NAMED_MAX,
            "what is told is bounded"
        );
    }
}
