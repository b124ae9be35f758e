//! Faults made up per seed.

use std::time::Duration;

use super::language::What;
use super::model::{Draft, Random, RandomKind, Who};
use super::units::When;
use crate::Dice;

/// Of so many seeds with a swarm, one has no random faults at all.
const CALM: usize = 16;
/// What a swarm multiplies rates by, in quarters.
const SCALES: [u64; 5] = [1, 2, 4, 8, 16];

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// A kind of random fault, with random nodes and sizes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// The kind's name in scenarios.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Two parts.
    Split = "split",
    /// One cannot send to some, but hears them.
    OneWay = "one-way",
    /// One alone.
    Isolate = "isolate",
    /// Two parts and one between.
    Bridge = "bridge",
    /// Each sees two.
    Ring = "ring",
    /// One is there and gone, again and again.
    Flap = "flap",
    /// All are clogged one by one.
    Swizzle = "swizzle",
    /// What one sends waits.
    Clog = "clog",
    /// One is 2 to 50 times slower.
    Slow = "slow",
    /// One loses 1 to 40 %.
    Lossy = "lossy",
    /// Connections of one break.
    Reset = "reset",
    /// Old frames of one come again.
    Replay = "replay",
    /// All connections break.
    MassReconnect = "mass-reconnect",
    /// One forgets its connections.
    HalfOpen = "half-open",
    /// One moves.
    Readdress = "readdress",
    /// One reads at 0 to 20,000 bytes per second.
    SlowReader = "slow-reader",
    /// One is killed, a third of the time in a commit.
    Crash = "crash",
    /// All are restarted one after the other.
    RollingRestart = "rolling-restart",
    /// One stands still.
    Pause = "pause",
    /// One's clock is up to a year wrong.
    Clock = "clock",
    /// One has no room.
    DiskFull = "disk-full",
    /// One operation of a disk fails.
    DiskError = "disk-error",
    /// One commits 2 to 100 times slower.
    DiskSlow = "disk-slow",
    /// One file is damaged.
    BitFlips = "bit-flips",
    /// One is restored from a backup.
    Restore = "restore",
    /// One runs twice.
    Clone = "clone",
    /// One is in other hands as well.
    GoneBad = "gone-bad",
}

/// Takes a fault, its span and its own choices.
pub(super) type Take<'t> = &'t mut dyn FnMut(&What, (Duration, Duration), &mut Dice);

/// Draws the random faults of a seed, each kind from choices of its own.
pub(super) fn draw(draft: &Draft, random: &Random, dice: &Dice, take: Take<'_>) {
    let mut swarm = dice.fork("swarm");
    if random.swarm && swarm.once_in(CALM) {
        return;
    }
    let (from, to) = random.during.unwrap_or((When::default(), draft.duration.into()));
    for kind in &random.kinds {
        let mut dice = dice.fork(&format!("random/{}", kind.kind.name()));
        let quarters = match random.swarm {
            false => 4,
            true if dice.once_in(2) => continue,
            true => dice.pick(&SCALES).copied().unwrap_or(4),
        };
        let (from, to) = (of(from, &mut dice), of(to, &mut dice).min(draft.duration));
        draw_kind(kind, quarters, random.stability, (from, to), &mut dice, take);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn of(when: When, dice: &mut Dice) -> Duration {
    when.base + Duration::from_micros(dice.range(0, micros(when.spread)))
}

fn draw_kind(
    kind: &RandomKind,
    quarters: u64,
    stability: Duration,
    (from, to): (Duration, Duration),
    dice: &mut Dice,
    take: Take<'_>,
) {
    let Some(gap) = kind.rate.gap().map(|gap| micros(gap).saturating_mul(4) / quarters) else { return };
    let mut at = from;
    for _ in 0..super::expand::DRAWN_MAX {
        at += Duration::from_micros(dice.range(1, gap.saturating_mul(2).max(1)));
        if at >= to {
            return;
        }
        let lasts = Duration::from_micros(dice.range(micros(kind.lasts.0), micros(kind.lasts.1)));
        let until = (at + lasts).min(to);
        assert!(at <= until && until <= to, "a fault ends after it begins, and within its time");
        take(&what(kind.kind, (at, until), dice), (at, until), dice);
        at = until + stability;
    }
}

/// How many single faults of a kind are to be expected among so many nodes in a time, without a swarm.
pub(super) fn expected(kind: &RandomKind, stability: Duration, span: Duration, nodes: u64) -> u64 {
    let Some(gap) = kind.rate.gap() else { return 0 };
    let lasts = micros(kind.lasts.0).midpoint(micros(kind.lasts.1));
    let each = micros(gap).saturating_add(lasts).saturating_add(micros(stability)).max(1);
    let single = match kind.kind {
        Kind::Swizzle => 2 * nodes,
        Kind::Ring => nodes,
        // Every half of the time: the second one ends in time, a third one does not.
        Kind::RollingRestart => nodes.min(2),
        // An eighth of the time down and an eighth up, on average.
        Kind::Flap => 4,
        _ => 1,
    };
    (micros(span) / each).saturating_mul(single)
}

/// A fault of a kind with random sizes.
fn what(kind: Kind, (at, until): (Duration, Duration), dice: &mut Dice) -> What {
    let (one, all) = (Who::Any, Who::All);
    let length = until - at;
    let number = |dice: &mut Dice, low, high| u32::try_from(dice.range(low, high)).unwrap_or(u32::MAX);
    match kind {
        Kind::Split => What::Split(if dice.once_in(4) { 3 } else { 2 }),
        Kind::OneWay => What::Cut { a: one, b: if dice.once_in(2) { all } else { Who::Any }, one_way: true },
        Kind::Isolate => What::Isolate(one),
        Kind::Bridge => What::Bridge(one),
        Kind::Ring => What::Ring,
        Kind::Flap => {
            let part = When { base: length / 16, spread: length / 8 };
            What::Flap { a: one, b: all, down: part, up: part }
        }
        Kind::Swizzle => What::Swizzle(all),
        Kind::Clog => What::Clog { a: one, b: all, one_way: dice.once_in(2) },
        Kind::Slow => What::Slow { a: one, b: all, factor: number(dice, 2, 50) },
        Kind::Lossy => What::Lossy { a: one, b: all, loss_ppm: number(dice, 10_000, 400_000) },
        Kind::Reset => What::Reset { a: one, b: all },
        Kind::Replay => What::Replay { a: one, b: all },
        Kind::MassReconnect => What::MassReconnect,
        Kind::HalfOpen => What::HalfOpen(one),
        Kind::Readdress => What::Readdress(one),
        Kind::SlowReader => {
            let bytes_per_second = if dice.once_in(4) { 0 } else { dice.range(10, 20_000) };
            What::SlowReader { who: one, bytes_per_second }
        }
        Kind::Crash => {
            let in_commit = dice.once_in(3).then(|| number(dice, 0, 40));
            let in_repair = dice.once_in(8).then(|| number(dice, 0, 20));
            What::Crash { who: one, unsynced: None, in_commit, in_repair }
        }
        Kind::RollingRestart => {
            let down = When::exactly(length / 4);
            What::RollingRestart { who: all, every: length / 2, down, unsynced: None }
        }
        Kind::Pause => What::Pause(one),
        Kind::Clock => {
            // Seconds, minutes, days or a year, either way.
            let scale = dice.pick(&[1_000, 60_000, 86_400_000, 31_536_000_000]).copied().unwrap_or(1_000_u64);
            let by = i64::try_from(dice.range(scale / 10, scale)).unwrap_or(i64::MAX);
            What::Clock { who: one, by_ms: if dice.once_in(2) { by } else { -by } }
        }
        Kind::DiskFull => What::DiskFull(one),
        Kind::DiskError => What::DiskError { who: one, after: number(dice, 0, 30) },
        Kind::DiskSlow => What::DiskSlow { who: one, factor: number(dice, 2, 100) },
        Kind::BitFlips => What::BitFlips { who: one, count: number(dice, 1, 4), in_rows: false },
        Kind::Restore => {
            let taken = When { base: Duration::ZERO, spread: at.saturating_sub(Duration::from_micros(1)) };
            What::Restore { who: one, taken }
        }
        Kind::Clone => What::Clone(one),
        Kind::GoneBad => What::GoneBad(one),
    }
}
