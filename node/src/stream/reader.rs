//! The change stream without HTTP around it: what clients are told, straight from a store. For simulations.

use std::collections::VecDeque;

use tombolo_crdt::{Receipt, SpaceId};

use super::StreamError;
use super::cursor::{Cursor, Mark};
use super::event::{Event, Kind};
use super::feed::{Feed, Turn};
use crate::store::Reader;

/// An event as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An entity is now as in these canonical bytes; `None`: it is gone.
    Entity {
        /// Collection and id.
        entity: (String, String),
        /// Its view.
        view: Option<Vec<u8>>,
        /// The entry it comes from.
        receipt: Option<Receipt>,
    },
    /// An entry was refused, or rules changed.
    Other(Option<Receipt>),
    /// Everything told so far is void; a listing follows.
    Reset,
}

/// A client of the change stream of one space. It keeps its cursor between calls, and over restarts of the node as
/// text.
#[derive(Debug)]
pub struct ChangeReader {
    feed: Feed,
    cursor: String,
    /// Events that are made and not yet taken.
    ready: VecDeque<Event>,
}

impl ChangeReader {
    /// Begins behind a cursor; an empty one is the beginning. `None`: the text is no cursor.
    #[must_use]
    pub fn new(space: SpaceId, space_no: u32, cursor: &str) -> Option<Self> {
        let at = if cursor.is_empty() { Cursor::At(Mark::default(), 0) } else { cursor.parse().ok()? };
        Some(Self { feed: Feed::new(space, space_no, None, at), cursor: cursor.to_owned(), ready: VecDeque::new() })
    }

    /// The cursor of the last event taken.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The next event; `None`: nothing more for now.
    ///
    /// # Errors
    /// [`StreamError`]: the store or a row cannot be read. The reader is where it was.
    pub fn next(&mut self, reader: &Reader) -> Result<Option<Told>, StreamError> {
        let event = loop {
            if let Some(event) = self.ready.pop_front() {
                break event;
            }
            match self.feed.turn(reader)? {
                Turn::Events(events) => {
                    debug_assert!(!events.is_empty(), "a turn that made events has one to tell");
                    self.ready.extend(events);
                }
                Turn::Nothing => {}
                Turn::Present => return Ok(None),
            }
        };
        self.cursor = event.cursor.to_string();
        let receipt = event.entry();
        Ok(Some(match (event.kind, event.about()) {
            (Kind::Reset, _) => Told::Reset,
            (_, Some((collection, id, view))) => {
                Told::Entity { entity: (collection.to_owned(), id.to_owned()), view: view.map(<[u8]>::to_vec), receipt }
            }
            _ => Told::Other(receipt),
        }))
    }
}
