//! Tombolo's data model: entities that merge, entries that are chained and sealed, rules that say who may write.
//!
//! Everything here is a pure function of its arguments. The crate does no IO, reads no clock, starts no thread, draws
//! no randomness and iterates nothing unordered; time and random values come in from outside. It knows nothing of
//! redb, QUIC or HTTP.
//!
//! `docs/architecture.md` says how this crate and the ones above it fit together.
//!
//! # Where to start
//! * [`entity::EntityState`] is an entity as a row: changes in, views and conflicts out. [`entity::Writer`] turns
//!   writes into a change.
//! * [`entry::Entry`] is one record of a feed; [`feed::Range::verify`] is the only way from a peer's bytes to entries.
//! * [`rules::RulesDag`] says who is a member; [`verdict::Verdict`] what became of an entry.
//! * [`frontier::Frontier`] and [`digest::StateSums`] compare whole spaces with 64 bytes.
//!
//! # Automerge
//! Changes are Automerge's by format and by meaning, but they are read and written here: [`entity::Change`]. No byte
//! from outside reaches Automerge, whose decoder can be made to panic, to loop and to fill memory. It is called in
//! tests, as the reference of both the codec and the merge, and with the feature `reference`, where it must encode
//! every local change to the same bytes. The product is built without it.
//!
//! What is signed or sent is described byte by byte in `docs/formats.md`; golden files hold the code to it.

pub mod defect;
pub mod digest;
pub mod entity;
pub mod entry;
pub mod feed;
pub mod frontier;
pub mod hash;
mod hlc;
mod ids;
pub mod json;
pub mod names;
pub mod rules;
pub mod verdict;

pub use hlc::Hlc;
pub use ids::{ChainHash, ChangeHash, Digest, FeedId, NodeId, ParseIdError, Receipt, Revision, SpaceId};
