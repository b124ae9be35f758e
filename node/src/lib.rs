//! A Tombolo node: a deterministic engine over a redb store, and the runtime and HTTP API around it.
//!
//! [`engine`] decides everything and does no IO but through the [`store`] it owns; [`handle`] is the way to it;
//! [`runtime`] reads clocks and moves bytes; [`api`] serves HTTP; [`process`] starts both. None of them parses
//! arguments or writes to a terminal.
//!
//! `docs/architecture.md` has the map, the walks of an entry through these modules, and the invariants.
//!
//! # Where to start
//! * [`engine::Engine::step`] is the whole behaviour of a node.
//! * [`store`] is what it keeps; [`chain`] and [`history`] are the past of an entity; [`verify`] checks both offline;
//!   [`stream`] is what readers of changes are told.
//! * [`process::Node::start`] brings a node up in a process.

mod acks;
pub mod api;
pub mod chain;
pub mod engine;
pub mod handle;
pub mod history;
mod moment;
pub mod outgoing;
pub mod process;
pub mod runtime;
pub mod store;
pub mod stream;
pub mod ticket;
pub mod verify;
