//! The language of fault schedules: `at 2h cut berlin from *; at 50h heal`.
//!
//! ```text
//! schedule   = [ statement ] { (";" | newline) [ statement ] }      "#" begins a comment
//! statement  = "at" TIME [ ".." TIME ] fault { option }
//! TIME       = 2h | 1h30m | 2h~10m (from 2h to 2h10m, drawn per seed)
//! who        = "*" | "any" | NAME { "," NAME }                      names of nodes and zones
//! ```
//! The faults and their options are the table [`VERBS`](parse::VERBS). `docs/scenarios.md` explains each.

mod parse;
mod words;

use std::time::Duration;

use super::model::Who;
use super::place::{Place, Problem, Source};
use super::units::When;
use crate::plan::Unsynced;
#[cfg(test)]
pub(super) use parse::VERBS;

/// A fault of a schedule.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where it was written.
    pub place: Place,
    /// When it begins.
    pub begin: When,
    /// When it ends.
    pub end: End,
    /// What it is.
    pub what: What,
}

/// When a fault ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The fault happens at once, or has an end of its own.
    Once,
    /// At the next `heal`, or with the scenario.
    Open,
    /// Then.
    At(When),
    /// After that.
    For(When),
}

/// What goes wrong. Some are one [`Fault`](crate::plan::Fault), some are patterns of several.
#[derive(Clone, Debug)]
pub enum What {
    /// Ends what is open.
    Heal,
    /// Nothing passes between two sides, or from the first to the second.
    Cut {
        /// One side.
        a: Who,
        /// The other side; `All`: all others.
        b: Who,
        /// Only from `a` to `b`.
        one_way: bool,
    },
    /// Nothing passes between each of these and anybody else.
    Isolate(Who),
    /// So many random parts that do not see each other.
    Split(usize),
    /// Two random halves that see only this node, not each other.
    Bridge(Who),
    /// Each sees only its two neighbours, in the order of the nodes.
    Ring,
    /// Cut and healed again and again.
    Flap {
        /// One side.
        a: Who,
        /// The other side.
        b: Who,
        /// How long it is cut each time.
        down: When,
        /// How long not.
        up: When,
    },
    /// Clogged one by one, unclogged one by one in another order.
    Swizzle(Who),
    /// What is sent waits.
    Clog {
        /// Senders.
        a: Who,
        /// Receivers.
        b: Who,
        /// Only from `a` to `b`.
        one_way: bool,
    },
    /// Latency grows.
    Slow {
        /// One side.
        a: Who,
        /// The other side.
        b: Who,
        /// How many times.
        factor: u32,
    },
    /// Packets are lost.
    Lossy {
        /// One side.
        a: Who,
        /// The other side.
        b: Who,
        /// Of a million.
        loss_ppm: u32,
    },
    /// Connections break.
    Reset {
        /// One side.
        a: Who,
        /// The other side.
        b: Who,
    },
    /// Old frames come again.
    Replay {
        /// One side.
        a: Who,
        /// The other side.
        b: Who,
    },
    /// All connections break at the same moment.
    MassReconnect,
    /// A node forgets its connections.
    HalfOpen(Who),
    /// A node gets another address.
    Readdress(Who),
    /// A node reads slowly.
    SlowReader {
        /// Who.
        who: Who,
        /// How slowly; 0: nothing at all.
        bytes_per_second: u64,
    },
    /// The process is killed.
    Crash {
        /// Who.
        who: Who,
        /// What becomes of unsynced writes; else drawn per seed.
        unsynced: Option<Unsynced>,
        /// After so many operations of the next commit.
        in_commit: Option<u32>,
        /// Again, after so many operations of the repair.
        in_repair: Option<u32>,
    },
    /// One after the other is killed and started again.
    RollingRestart {
        /// Who.
        who: Who,
        /// From one to the next.
        every: Duration,
        /// How long each is away.
        down: When,
        /// See [`What::Crash`].
        unsynced: Option<Unsynced>,
    },
    /// The process stands still.
    Pause(Who),
    /// The wall clock jumps.
    Clock {
        /// Whose.
        who: Who,
        /// By how many milliseconds.
        by_ms: i64,
    },
    /// No room on the disk.
    DiskFull(Who),
    /// One operation of the disk fails.
    DiskError {
        /// Whose.
        who: Who,
        /// After so many that succeed.
        after: u32,
    },
    /// Commits take longer.
    DiskSlow {
        /// Whose.
        who: Who,
        /// How many times.
        factor: u32,
    },
    /// Bits of the file flip.
    BitFlips {
        /// Whose.
        who: Who,
        /// How many.
        count: u32,
        /// Each in a row of the entity table, instead of anywhere.
        in_rows: bool,
    },
    /// The data directory is what it was.
    Restore {
        /// Whose.
        who: Who,
        /// When the backup was made.
        taken: When,
    },
    /// A second process with the same data.
    Clone(Who),
    /// Its key is in other hands as well.
    GoneBad(Who),
}

/// Reads a schedule that stands in a text from `offset` on, or anywhere at a place if it has none.
pub(super) fn read(text: &str, source: Option<(&Source, usize)>, place: &Place) -> (Vec<Statement>, Vec<Problem>) {
    let at = |offset: usize| source.map_or_else(|| place.clone(), |(source, start)| source.place(start + offset));
    let (mut statements, mut problems) = (Vec::new(), Vec::new());
    for words in words::statements(text) {
        match parse::statement(&words, at(words.first().map_or(0, |word| word.at))) {
            Ok(statement) => statements.push(statement),
            Err((offset, message)) => problems.push(Problem::new(&at(offset), message)),
        }
    }
    (statements, problems)
}

#[cfg(test)]
mod tests;
