//! The oracles against a few real engines.
