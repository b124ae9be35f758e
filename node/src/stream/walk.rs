//! Walks over the entities of a space, in order of collection and id: in turns of bounded work.

use std::ops::ControlFlow;

use tombolo_crdt::entity::EntityState;

use super::StreamError;
use super::feed::{TURN_READ_BYTES, TURN_ROWS};
use crate::store::Reading;

/// A walk over the entities of a space, or of one of its collections.
#[derive(Debug)]
pub(crate) struct Walk {
    space_no: u32,
    collection: Option<String>,
    prefix: String,
    /// The walk has come so far.
    after: Option<(String, String)>,
    most_rows: usize,
    most_bytes: usize,
}

impl Walk {
    /// Begins behind an entity; `None`: at the first.
    pub(crate) fn new(space_no: u32, collection: Option<String>, after: Option<(String, String)>) -> Self {
        let (most_rows, most_bytes) = (TURN_ROWS, TURN_READ_BYTES);
        Self { space_no, collection, prefix: String::new(), after, most_rows, most_bytes }
    }

    /// Walks only over ids that begin with `prefix`.
    pub(crate) fn with_prefix(self, prefix: String) -> Self {
        Self { prefix, ..self }
    }

    /// Turns look at so many rows and read so many bytes of rows.
    pub(crate) fn with_turn(self, most_rows: usize, most_bytes: usize) -> Self {
        assert!(most_rows > 0 && most_bytes > 0, "every turn gets somewhere");
        Self { most_rows, most_bytes, ..self }
    }

    /// The last entity that was walked over.
    pub(crate) fn into_place(self) -> Option<(String, String)> {
        self.after
    }

    /// The id of the last entity that was walked over.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.after.as_ref().map(|(_, id)| id.as_str())
    }

    /// Hands the next entities, deleted ones as well, to `take` with the bytes of their rows, until it answers that it
    /// wants no more or the turn has done its work. Answers whether there is more to walk over.
    ///
    /// # Errors
    /// The store or the next row cannot be read. The walk is before it, and the next turn tries again: what a turn
    /// comes to before such a row is handed over first.
    pub(crate) fn turn(
        &mut self,
        reading: &Reading,
        mut take: impl FnMut(&str, &str, EntityState, usize) -> bool,
    ) -> Result<bool, StreamError> {
        let (mut rows, mut bytes, mut wants_more, mut more) = (0, 0, true, false);
        let (mut last, mut fault) = (None, None);
        let behind = self.after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        let (within, prefix) = (self.collection.as_deref(), self.prefix.as_str());
        let visited = reading.visit_rows(self.space_no, within, prefix, behind, |collection, id, row| {
            if !wants_more || rows >= self.most_rows || bytes >= self.most_bytes {
                more = true;
                return ControlFlow::Break(());
            }
            rows += 1;
            bytes += row.len();
            match decode(collection, id, row) {
                Ok(state) => wants_more = take(collection, id, state, row.len()),
                Err(error) => {
                    fault = Some(error);
                    return ControlFlow::Break(());
                }
            }
            last = Some((collection.to_owned(), id.to_owned()));
            ControlFlow::Continue(())
        });
        let fault = fault.or(visited.err().map(StreamError::from));
        let is_first = last.is_none();
        self.after = last.or_else(|| self.after.take());
        match fault {
            Some(error) if is_first => Err(error),
            fault => Ok(more || fault.is_some()),
        }
    }
}

/// The state that a row holds.
pub(super) fn decode(collection: &str, id: &str, row: &[u8]) -> Result<EntityState, StreamError> {
    EntityState::decode(row).map_err(|error| StreamError::Damaged {
        collection: collection.to_owned(),
        id: id.to_owned(),
        reason: error.to_string(),
    })
}
