//! Harness for black-box tests: real `tombolo` processes in temporary directories, talked to over their HTTP API and
//! their command line.
//!
//! Nothing here but [`attack`] knows the inside of a node: attackers speak its protocol. Nothing waits for a time to
//! pass: [`eventually`] polls a condition until a deadline. Every process is ended when its handle is dropped.

#![expect(clippy::panic, reason = "a harness fails tests by panicking")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real processes are in real time")]

pub mod attack;
pub mod http;
pub mod process;

use std::time::{Duration, Instant};

pub use http::{Answer, Api};
pub use process::{Node, NodeDir, binary, run_cli};

/// How long a condition may take before a test fails. Generous: the machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Polls `condition` until it gives a value.
///
/// # Panics
/// When the deadline passes; says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::park_timeout(POLL);
    }
}

/// Waits until all nodes report equal frontier and state digests for a space, and have nothing held.
#[track_caller]
pub fn converge(space: &str, nodes: &[&Node]) -> String {
    eventually("equal digests", || {
        let digests: Vec<String> = nodes.iter().map(|node| node.digests(space)).collect::<Option<_>>()?;
        let first = digests.first()?;
        digests.iter().all(|digest| digest == first).then(|| first.clone())
    })
}
