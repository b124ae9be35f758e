//! The parts of the node's answers that commands read. Fields they do not know are let through; missing ones are empty.

#[cfg(feature = "bench")]
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) addrs: Vec<String>,
    pub(crate) spaces: Vec<SpaceStatus>,
    pub(crate) joins: Vec<Value>,
    pub(crate) counters: Counters,
    pub(crate) dials: Vec<Dial>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) twins: Vec<Twin>,
    pub(crate) full: Option<String>,
}

/// A key that two processes run with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Twin {
    pub(crate) node: String,
    pub(crate) own: bool,
    pub(crate) address: String,
}

/// A space on the node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SpaceStatus {
    pub(crate) space: String,
    pub(crate) name: String,
    pub(crate) role: Option<String>,
    pub(crate) entities: u64,
    pub(crate) collections: Vec<String>,
    pub(crate) frontier: String,
    pub(crate) state: String,
    pub(crate) held: Vec<Held>,
    pub(crate) held_feeds: u64,
    pub(crate) refused: u64,
    pub(crate) frozen_entities: u64,
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) disputed: Vec<Disputed>,
    pub(crate) largest: Vec<LargeRow>,
    pub(crate) running_out_entities: u64,
    pub(crate) running_out: Vec<RunningOut>,
    pub(crate) repaired: u64,
    /// Greatest clock reading seen that is too far ahead to be followed, in milliseconds since 1970.
    pub(crate) clock_ahead: Option<u64>,
    pub(crate) members: Vec<MemberStatus>,
}

/// An entity that is frozen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Frozen {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) reason: String,
}

/// A row that is large.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LargeRow {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) row_bytes: u64,
    pub(crate) removed_objects: u64,
    pub(crate) removed_elements: u64,
}

/// An entity whose numbers run out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RunningOut {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) numbers_left: u64,
}

/// An entity that differs from a member's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Disputed {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) with: String,
}

/// Entries of one feed that wait.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Held {
    pub(crate) node: String,
    pub(crate) entries: u64,
    pub(crate) reason: String,
}

/// Another member as the node sees it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MemberStatus {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) role: Option<String>,
    pub(crate) connected: bool,
    pub(crate) behind: Option<u64>,
    pub(crate) behind_since: Option<u64>,
    pub(crate) in_step: bool,
    pub(crate) diverged: bool,
    pub(crate) refused_there: u64,
    pub(crate) reason: String,
}

/// Since the node's process started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    /// Steps that failed.
    pub(crate) failures: u64,
    /// Bytes of frames: by peer, by kind, `sent` and `received`.
    #[cfg(feature = "bench")]
    traffic: BTreeMap<String, BTreeMap<String, Traffic>>,
}

/// Bytes of one kind of frame.
#[cfg(feature = "bench")]
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Traffic {
    sent: u64,
    received: u64,
}

/// A connection that stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Connection {
    /// The peer.
    pub(crate) node: String,
    /// The name that its Hello gave.
    pub(crate) name: String,
    /// How far the peer's clock is ahead of this node's, in milliseconds, as its Hello said.
    pub(crate) clock_skew_ms: i64,
    /// When it was opened, in milliseconds since 1970.
    #[cfg(feature = "bench")]
    pub(crate) since: u64,
}

/// Somebody who could not be reached at the last try.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Dial {
    /// Who was expected; `None`: whoever answers.
    pub(crate) node: Option<String>,
    pub(crate) addrs: Vec<String>,
    pub(crate) error: String,
    pub(crate) failures: u64,
}

impl Status {
    /// A space by name or id.
    pub(crate) fn space(&self, name: &str) -> Option<&SpaceStatus> {
        self.spaces.iter().find(|space| space.name == name || space.space == name)
    }

    #[cfg(feature = "bench")]
    /// Bytes of frames in both directions since the node's process started.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.counters.traffic.values().flat_map(BTreeMap::values).map(|kind| kind.sent + kind.received).sum()
    }

    #[cfg(feature = "bench")]
    /// Since when the oldest connection has stood, in milliseconds since 1970.
    pub(crate) fn connected_since(&self) -> Option<u64> {
        self.connections.iter().map(|connection| connection.since).min()
    }
}

impl MemberStatus {
    /// For how long something has been missing there.
    pub(crate) fn behind_for(&self, now_ms: u64) -> Option<Duration> {
        now_ms.checked_sub(self.behind_since?).map(Duration::from_millis)
    }
}

/// What a write answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) revision: String,
    pub(crate) receipt: Option<String>,
    pub(crate) changed: bool,
    pub(crate) created: bool,
}

/// `POST /v1/spaces`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Created {
    pub(crate) space: String,
    pub(crate) name: String,
    pub(crate) founder_key: String,
}

/// `POST /v1/spaces/{space}/invites`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Invited {
    pub(crate) ticket: String,
}

/// `POST /v1/join`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Joined {
    pub(crate) space: String,
    pub(crate) name: String,
    pub(crate) state: String,
    /// Whether this node was a member before it asked.
    pub(crate) already: bool,
    /// When the ticket's time is over, in milliseconds since 1970.
    pub(crate) expires: u64,
}

#[cfg(all(test, feature = "bench"))]
mod tests {
    use super::*;

    #[test]
    fn frame_bytes_are_summed_over_peers_and_kinds() {
        let text = r#"{"counters":{"writes":5,"traffic":{"ab":{"hello":{"sent":1,"received":2},"have":{"sent":3,"received":4}},
            "cd":{"hello":{"sent":10,"received":0}}}}}"#;
        let status: Status = serde_json::from_str(text).expect("parses");
        assert_eq!(status.frame_bytes(), 20);
        assert_eq!(Status::default().frame_bytes(), 0);
    }
}
