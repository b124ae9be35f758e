//! Tombolo's data model.

pub mod hash;
mod hlc;
mod ids;

pub use hlc::Hlc;
pub use ids::{ChainHash, ChangeHash, Digest, FeedId, NodeId, ParseIdError, Receipt, Revision, SpaceId};
