//! Getting rows from a file or pipe into a collection.
//!
//! [`mod@exported`] brings an export back; all else goes through [`mod@upload`]. [`Source`] turns whatever comes in
//! (JSON array or NDJSON, gzip or not) into one JSON text per line; [`mod@upload`] streams these lines to the node and
//! hears which are durable; [`Ledger`] knows to which place of the source each line belongs; [`Resume`] keeps the last
//! durable place on disk.

mod elements;
mod exported;
mod ledger;
mod resume;
mod source;
mod upload;

pub(crate) use exported::{Restore, is_exported, restore};
pub(crate) use ledger::Ledger;
pub(crate) use resume::Resume;
pub(crate) use source::{Place, Source, SourceError};
pub(crate) use upload::{Counts, Event, Job, Key, upload};
