//! Authenticated connections between Tombolo nodes: keys, TLS, QUIC, dialling, discovery.
//!
//! This crate moves length-prefixed frames between two nodes that have proven their keys to each other. It knows no
//! entities, feeds, rules or members, opens no store, and decides nothing about who may do what: every holder of an
//! Ed25519 key can connect, and membership is judged above. Only `frame` knows what is inside a frame.
//!
//! `docs/architecture.md` has the map of all crates.
//!
//! # Where to start
//! * [`Identity`] is a node's key and its file; its public half is the [`NodeId`](tombolo_crdt::NodeId).
//! * [`Endpoint`] listens and dials; both yield a [`Connection`].
//! * [`Connection::split`] gives a [`ConnectionHandle`], which sends and never blocks, and [`Events`], which receives.
//! * [`Standing`] is how far a peer is trusted: it begins as a stranger, and [`ConnectionHandle::set_standing`] raises
//!   it.
//! * [`dial::Dialler`] says when to dial whom, [`keep()`] which of two connections stays.
//!
//! # Promises
//! * Everything is bounded, whatever the peer does: [`limits`] has every bound with its reason.
//! * Data never blocks control frames, no transfer blocks another, reading never waits for writing.
//! * Nothing from a peer makes this crate panic; it closes the connection with a reason.

mod attempt;
pub mod config;
pub mod connection;
pub mod dial;
pub mod discovery;
mod doors;
mod endpoint;
mod error;
pub mod frame;
mod identity;
mod keep;
pub mod limits;
mod places;
mod standing;
pub mod tls;

pub use config::Settings;
pub use connection::{Channel, Connection, ConnectionHandle, Counts, Event, Events};
pub use endpoint::{Accepting, Endpoint};
pub use error::{BindError, CloseCode, ConnectError, Lost, SendError};
pub use identity::{Identity, IdentityError};
pub use keep::{Link, Which, keep};
pub use places::{Bound, PlaceLimits};
pub use standing::Standing;
