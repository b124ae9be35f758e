//! The second lane: the same plans with the runtime's own connections and dialling, over real quinn endpoints on
//! simulated UDP, in virtual time.
//!
//! Everything runs on one thread under tokio's stopped clock, which moves on by itself when all tasks wait. Of the
//! product only the socket, the disk and the clocks are replaced: engine, queues, connections, TLS, QUIC and dialling
//! are what a node runs. What TLS draws is beyond any seed, so packets differ in their bytes from run to run, but not
//! in number, length class or order; the hash of an outcome is over the final states.
//!
//! Start with [`run`], then `play.rs` (what happens when), `watch.rs` (steps under the eyes of the oracles), `air.rs`
//! and `flight.rs` (the network), `faults.rs`.
//!
//! Not carried out here, and counted as skipped: replays (QUIC knows none), clones. A paused process stands still but
//! its monotonic clock goes on, as on systems that count suspended time.

mod air;
mod clients;
mod ending;
mod faults;
mod flight;
mod letters;
mod machine;
mod play;
mod process;
mod sites;
mod socket;
mod watch;

use crate::outcome::{Oracle, Outcome, RunOptions, Stats, Verdict, Violation};
use crate::panics;
use crate::plan::Plan;
use play::Play;

/// What is drawn for what; the first part of each question.
mod about {
    use crate::plan::NodeNo;

    pub(super) const LATENCY: u64 = 101;
    pub(super) const LOSS: u64 = 102;
    pub(super) const DOUBLE: u64 = 103;
    pub(super) const CORRUPT: u64 = 104;
    pub(super) const FLIPS: u64 = 105;
    pub(super) const ENGINE: u64 = 106;
    pub(super) const ENDPOINT: u64 = 107;
    pub(super) const BACKOFF: u64 = 108;
    pub(super) const COMMIT: u64 = 109;
    pub(super) const CRASH: u64 = 110;
    pub(super) const DISK_FLIPS: u64 = 111;
    pub(super) const FULL: u64 = 112;
    pub(super) const PATH: u64 = 113;
    pub(super) const FATE: u64 = 114;

    /// A direction as a number.
    pub(super) const fn way((from, to): (NodeNo, NodeNo)) -> u64 {
        (from as u64) << 32 | to as u64
    }
}

/// Carries a plan out. Equal plans give equal final states.
#[must_use]
pub fn run(plan: &Plan, options: RunOptions) -> Outcome {
    let played = panics::catch(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime of one thread without IO needs nothing of the system");
        let (outcome, caught) = runtime.block_on(async {
            let outcome = Play::new(plan, options).finish().await;
            (outcome, panics::caught())
        });
        // Tasks that are still there end with the runtime.
        drop(runtime);
        (outcome, caught)
    });
    match played {
        // A task that panicked is gone without a word; whatever came of it came of that.
        Ok((mut outcome, Some(caught))) => {
            let at = std::time::Duration::from_micros(outcome.stats.virtual_us);
            outcome.verdict = Verdict::Violated(Violation { at, ..caught.into() });
            outcome
        }
        Ok((outcome, None)) => outcome,
        Err(caught) => {
            let verdict = Verdict::Violated(Violation { oracle: Oracle::Panic, ..caught.into() });
            Outcome { verdict, hash: [0; 32], stats: Stats::default(), trace: None }
        }
    }
}
