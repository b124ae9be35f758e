//! What goes into a step and what comes out of it: the whole interface of the engine.

mod command;
mod input;
mod output;
mod reply;

use std::time::Duration;

pub use command::{Command, EntityWrite, Expect, Idempotency, JoinRequest, WriteCommand};
pub use input::Input;
pub use output::{Left, Output, Outputs, StepCost, Target};
pub use reply::{JoinState, ReceiptState, Refusal, Reply, WriteOutcome, Written};

/// The two clocks a step is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment of this process; never goes backwards.
    pub mono: Duration,
    /// Milliseconds since 1970; may jump.
    pub wall_millis: u64,
}

/// A connection, numbered by the runtime and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Where a reply goes, numbered by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);
