//! The events of a run: hashed always, kept if asked for.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::{NodeNo, micros};

/// Everything that happened, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The events.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in virtual time.
    #[serde(with = "micros")]
    pub at: Duration,
    /// Where; none for what concerns no single node.
    pub node: Option<NodeNo>,
    /// What.
    pub what: What,
}

/// What happened. Messages are numbered: a `Sent` and the `Received` or `Lost` that belongs to it have the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A client asked for a write of the plan.
    Asked {
        /// The number of the write in the plan.
        write: u32,
    },
    /// A client's write was answered.
    Answered {
        /// The number of the write in the plan.
        write: u32,
        /// `None`: acknowledged; else why not.
        refused: Option<String>,
    },
    /// The engine made a step.
    Stepped {
        /// Inputs it took.
        inputs: u32,
        /// Entries it settled, its own included.
        entries: u32,
        /// Whether it committed.
        committed: bool,
        /// How long it took.
        #[serde(with = "micros")]
        took: Duration,
    },
    /// A frame left the node.
    Sent {
        /// The message.
        message: u64,
        /// To whom.
        to: NodeNo,
        /// The frame's kind.
        frame: Cow<'static, str>,
        /// The length of the frame in bytes.
        bytes: u32,
    },
    /// A frame arrived and was given to the engine.
    Received {
        /// The message.
        message: u64,
        /// From whom.
        from: NodeNo,
    },
    /// A frame was lost with its connection.
    Lost {
        /// The message.
        message: u64,
    },
    /// A connection stands.
    Connected {
        /// The peer.
        peer: NodeNo,
    },
    /// A connection is gone.
    Closed {
        /// The peer.
        peer: NodeNo,
        /// Why.
        reason: String,
    },
    /// A timer of the engine fired.
    Woke,
    /// A fault of the plan begins.
    FaultBegan {
        /// The number of the fault in the plan.
        fault: u32,
    },
    /// A fault ends.
    FaultEnded {
        /// The number of the fault in the plan.
        fault: u32,
    },
    /// The process died.
    Died,
    /// The process was started.
    Started {
        /// Digest of the state it found on its disk, of all spaces, as hexadecimal digits.
        state: String,
    },
    /// The process could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// Faults are over; the survivors are healed.
    Healed,
    /// The survivors are equal and silent.
    Quiet,
    /// An oracle has spoken.
    Violated {
        /// Which.
        oracle: String,
        /// What it said.
        detail: String,
    },
}

/// Takes events in.
#[derive(Debug)]
pub(crate) struct Recorder {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    trace: Option<Trace>,
}

impl Recorder {
    pub(crate) fn new(record: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), buffer: Vec::new(), trace: record.then(Trace::default) }
    }

    pub(crate) fn event(&mut self, at: Duration, node: Option<NodeNo>, what: What) {
        let event = Event { at, node, what };
        self.buffer.clear();
        let buffer = std::mem::take(&mut self.buffer);
        // Writing into memory does not fail.
        self.buffer = postcard::to_extend(&event, buffer).unwrap_or_default();
        assert!(!self.buffer.is_empty(), "every event is part of the hash");
        self.hasher.update(&self.buffer);
        if let Some(trace) = &mut self.trace {
            trace.events.push(event);
        }
    }

    pub(crate) fn finish(self) -> ([u8; 32], Option<Trace>) {
        (*self.hasher.finalize().as_bytes(), self.trace)
    }
}

impl Event {
    /// Hash over the events up to each: where two runs part.
    #[must_use]
    pub fn first_difference(a: &[Self], b: &[Self]) -> Option<usize> {
        let common = a.iter().zip(b).position(|(a, b)| a != b);
        common.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
    }
}
