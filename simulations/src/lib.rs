//! Simulation: several real engines over real stores in one process, talking through the real frame codec, in virtual
//! time, fully determined by a seed.
//!
//! This is the smallest world that can find something: every frame is bytes between two engines, streams are delivered
//! in an order the seed chooses (in order within a stream, as QUIC promises), connections break at any moment, and when
//! all is quiet the nodes are compared. It holds no product logic: it drives `tombolo_node::engine`.
//!
//! Start with [`World`]; `tests/` shows how it is used.

#![expect(clippy::panic, reason = "a world that cannot go on fails its test by panicking")]

mod dice;
mod disk;
mod pen;
mod wire;
mod world;

pub use dice::Dice;
pub use pen::Pen;
pub use world::{Image, NodeNo, World};
