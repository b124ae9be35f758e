//! Tombolo.
