//! The change stream of a space: every change once and in order, from any cursor on.
//!
//! A [`Feed`] reads the journal in turns of bounded work; an event is what its reader is told. HTTP
//! sends them as CloudEvents; [`ChangeReader`] gives them to programs without HTTP, as simulations are.

mod cursor;
mod event;
mod feed;
mod reader;
mod walk;

use serde_json::Value;

use crate::store::StoreError;

pub(crate) use cursor::{Cursor, Mark};
pub(crate) use event::Event;
pub(crate) use feed::{Feed, Turn};
pub use reader::{ChangeReader, Told};
pub(crate) use walk::Walk;

/// Why a stream cannot go on. Its reader is where it was, and may try again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The store cannot be read at present, or a row of its journal is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entity's row is damaged on this node. The engine builds it anew once it is told.
    #[error("{collection}/{id} is damaged on this node: {reason}")]
    Damaged {
        /// Collection of the entity.
        collection: String,
        /// Id of the entity.
        id: String,
        /// What is wrong with the row.
        reason: String,
    },
}

/// Text as JSON.
fn quote(text: &str) -> String {
    Value::from(text).to_string()
}
