//! Tombolo.

pub mod store;
