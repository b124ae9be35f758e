//! The parts of the node's answers that commands read. Fields they do not know are let through; missing ones are empty.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    /// Bytes of frames by peer and kind, `sent` and `received`; where it is missing, `counters` has them.
    pub(crate) traffic: Value,
    pub(crate) full: Option<String>,
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
    pub(crate) refused: u64,
    pub(crate) poisoned: u64,
    pub(crate) members: Vec<MemberStatus>,
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

/// Since the node's process started: bytes of frames. The shape below these (by peer, by kind of frame) does not matter
/// here: only the sum does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    sent: Value,
    received: Value,
}

impl Status {
    /// A space by name or id.
    pub(crate) fn space(&self, name: &str) -> Option<&SpaceStatus> {
        self.spaces.iter().find(|space| space.name == name || space.space == name)
    }

    /// Bytes of frames in both directions since the node's process started.
    pub(crate) fn frame_bytes(&self) -> u64 {
        match sum(&self.traffic) {
            0 => sum(&self.counters.sent) + sum(&self.counters.received),
            bytes => bytes,
        }
    }
}

impl MemberStatus {
    /// For how long something has been missing there.
    pub(crate) fn behind_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.behind_since?);
        SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(since)
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
}

/// The numbers in a JSON document, added up.
fn sum(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or_default(),
        Value::Array(items) => items.iter().map(sum).sum(),
        Value::Object(fields) => fields.values().map(sum).sum(),
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_bytes_are_summed_in_any_shape() {
        let nested = r#"{"counters":{"sent":{"ab":{"Hello":100,"Have":20}},"received":[{"kind":"Have","bytes":30}]}}"#;
        let status: Status = serde_json::from_str(nested).expect("parses");
        assert_eq!(status.frame_bytes(), 150);
        let listed = r#"{"traffic":[{"peer":"ab","kind":"Have","sent":3,"received":4}],"counters":{"sent":{"ab":9}}}"#;
        let status: Status = serde_json::from_str(listed).expect("parses");
        assert_eq!(status.frame_bytes(), 7);
    }
}
