//! Tombolo's data model.

pub mod hash;
pub mod verdict;
pub mod rules;
pub mod names;
pub mod frontier;
pub mod feed;
pub mod entry;
pub mod digest;
mod hlc;
mod ids;

pub use hlc::Hlc;
pub use ids::{ChainHash, ChangeHash, Digest, FeedId, NodeId, ParseIdError, Receipt, Revision, SpaceId};
