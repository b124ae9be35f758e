//! Simulation: several real engines over real stores in one process, talking through the real frame codec, in virtual
//! time, fully determined by a scenario and a seed.
//!
//! It holds no product logic: it drives `tombolo_node::engine` and looks at what comes of it.
//!
//! ```text
//! scenario (TOML or Rust) + seed  ->  plan  ->  lane: world | quic  ->  outcome: verdict, events, numbers
//!                                      ^            | oracles watch
//!                                      +-- capsule: minimise, replay
//! ```
//!
//! `docs/architecture.md` has the invariants, each with the oracle that checks it.
//!
//! # Where to start
//! * [`scenario`] is what a user writes; [`plan`] is what it becomes with a seed.
//! * [`world`] carries a plan out over a model network; [`quic`] does it over real QUIC on simulated UDP.
//! * [`oracle`] watches; [`outcome`] is what comes of it.
//! * [`campaign`] runs many seeds; [`capsule`] keeps and minimises a failure; [`report`] draws and tells.
//! * [`crashes`] cuts the power at every operation of a disk.
//! * [`hand`] is a world driven by hand, for tests that need one particular order of events.
//! * [`pen`] writes by hand what no engine would: for such tests, and for members gone bad.

pub mod campaign;
pub mod capsule;
pub mod crashes;
mod dice;
pub mod disk;
pub mod hand;
mod luck;
pub mod oracle;
pub mod outcome;
mod panics;
pub mod pen;
pub mod plan;
pub mod quic;
pub mod report;
mod rot;
pub mod scenario;
pub mod trace;
pub mod world;

pub use dice::Dice;
