//! A Tombolo node: a deterministic engine over a redb store, and the runtime and HTTP API around it.
//!
//! [`engine`] decides everything and does no IO but through the [`store`] it owns; [`runtime`] reads clocks, draws
//! randomness and moves bytes; [`api`] serves HTTP. None of them parses arguments or writes to a terminal.
//!
//! # Where to start
//! * [`engine::Engine::step`] is the whole behaviour of a node.
//! * [`store`] is what it keeps; [`chain`] and [`history`] are the past of an entity; [`verify`] checks both offline.
//! * [`runtime::Node::start`] brings a node up in a process.

pub mod api;
pub mod chain;
pub mod engine;
pub mod history;
pub mod runtime;
pub mod store;
pub mod ticket;
pub mod verify;
