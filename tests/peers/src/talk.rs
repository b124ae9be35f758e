//! What the driver says to a peer's process and hears from it: one line of JSON each way on standard input and output.
//! `pouchdb/peer.js` speaks it too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::work::Items;

/// Names that a system gives to entities, by id.
pub(crate) type Names = BTreeMap<String, String>;

/// Items in one line: a bigger line would show in the peer's peak memory.
pub(crate) const ITEMS_MAX: usize = 500;

/// A line to a peer. Each is answered by one [`Answer`], in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Writes them, each as a change of its own; answers the names of new ones where the system makes its own.
    Put { items: Items },
    /// Where others reach it: an object with `address` (a socket, for a relay) or `ticket` (opaque).
    Address,
    /// Names of the entities that there are.
    Names { names: Names },
    /// Opens what the store holds, as an application does that shows it. Not connected as yet.
    Open,
    /// Connects; answers at once.
    Connect { to: String },
    /// From here on [`Request::Shown`] waits for these and for so many entities altogether.
    Expect { items: Items, entities: u64 },
    /// Answers when everything that was expected shows.
    Shown,
    /// Answers when the system itself says that nothing is missing.
    Settled,
    /// Bytes sent and received since the start, if the system counts them; else null.
    Traffic,
    /// A [`crate::work::Shown`] of everything it shows.
    Sum,
    /// Closes the store, answers, ends.
    Stop,
}

/// A line from a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// What was asked for.
    Ok(Value),
    /// Why not.
    Error(String),
}
