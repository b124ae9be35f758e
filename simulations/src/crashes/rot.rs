//! Damage to a cold file: a node that is started on it refuses, or says what it cannot read, and never shows anything
//! that nobody wrote.

use std::fmt;
use std::time::Duration;

use super::check::{NEVER_WRITTEN, shown_before, shows, verified};
use super::pair::{Node, Pair};
use super::run::{A_PANIC, Runner, caught};
use super::{Side, Step, Workload, Wrong};
use crate::Dice;
use crate::disk::Disk;

/// Number of the processes that are started on damaged files.
const PROCESS: u64 = 3;

/// What was done to a cold file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// So many bits are flipped.
    Flips(u32),
    /// A block lies where another belongs.
    Misdirected,
    /// The file is cut off somewhere.
    Truncated,
    /// There are zeros behind it.
    Extended,
}

impl Damage {
    /// All kinds of damage.
    pub const ALL: [Self; 5] = [Self::Flips(1), Self::Flips(64), Self::Misdirected, Self::Truncated, Self::Extended];

    fn inflict(self, disk: &Disk, seed: u64) {
        match self {
            Self::Flips(count) => disk.flip_bits(count, seed),
            Self::Misdirected => drop(disk.misdirect(seed)),
            Self::Truncated => disk.set_size(Dice::new(seed).below(disk.size())),
            Self::Extended => disk.set_size(disk.size() + 1 + Dice::new(seed).below(100_000)),
        }
    }
}

/// What came of damaged files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotReport {
    /// Files that a node was started on.
    pub images: u64,
    /// The node did not start.
    pub refused: u64,
    /// How often the store opened, and said when asked that something cannot be read or does not verify.
    pub told: u64,
    /// How often the store opened, verified, and showed everything: the damage was where nothing is.
    pub unharmed: u64,
    /// Panics: during what, and what was said. redb does that at pages that no tree could have.
    pub panics: Vec<(Damage, u64, String)>,
    /// What is not as it must be: a view that was never written, or one that is missing although everything verifies.
    pub failures: Vec<(Damage, u64, Wrong)>,
}

impl RotReport {
    fn add(&mut self, damage: Damage, seed: u64, outcome: Outcome) {
        self.images += 1;
        match outcome {
            Outcome::Refused => self.refused += 1,
            Outcome::Told => self.told += 1,
            Outcome::Unharmed => self.unharmed += 1,
            Outcome::Panicked(what) => self.panics.push((damage, seed, what)),
            Outcome::Failed(wrong) => self.failures.push((damage, seed, wrong)),
        }
    }
}

impl fmt::Display for RotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, refused, told, unharmed, panics, failures } = self;
        write!(f, "{images} images, {refused} refused, {told} told, {unharmed} unharmed")?;
        write!(f, ", {} panicked", panics.len())?;
        panics.iter().try_for_each(|(damage, seed, what)| write!(f, "\n{damage:?} (seed {seed}) panicked, {what}"))?;
        failures.iter().try_for_each(|(damage, seed, wrong)| write!(f, "\n{damage:?} (seed {seed}): {wrong}"))
    }
}

/// Damages the file that the workload leaves, in every way `seeds` times.
///
/// redb may not only panic at damaged pages but panic again while it unwinds, which ends the process: 2 of 2,400 images
/// did (64 flips, seeds 331 and 387 of `Workload::founder(8)`). Large numbers of seeds are for a process of their own.
///
/// # Errors
/// [`Wrong`]: the workload fails without any damage.
pub fn exhaust_rot(workload: &Workload, seeds: u64) -> Result<RotReport, Wrong> {
    let runner = Runner::new(workload)?;
    let (steps, pair) = runner.end();
    let [tested, peer] = [&pair.nodes[0].disk, &pair.nodes[1].disk];
    let mut report = RotReport::default();
    for damage in Damage::ALL {
        for seed in 0..seeds {
            let image = tested.image();
            damage.inflict(&image, seed);
            let outcome = live(workload.seed, steps, image, peer.image()).unwrap_or_else(|early| early);
            report.add(damage, seed, outcome);
        }
    }
    Ok(report)
}

/// What a node did with a damaged file.
enum Outcome {
    Refused,
    Told,
    Unharmed,
    Panicked(String),
    Failed(Wrong),
}

/// Lets a node live on damaged content. `Err`: what became of it before the end.
fn live(seed: u64, steps: &[Step], tested: Disk, peer: Disk) -> Result<Outcome, Outcome> {
    let panicked = |during: &str, wrong: &Wrong| {
        let what = || Outcome::Panicked(format!("{during}: {}", wrong.detail));
        if wrong.place == A_PANIC { Err(what()) } else { Ok(()) }
    };
    let mut node = None;
    let started = caught(|| {
        node = Some(Node::start(Side::Tested, seed, tested, PROCESS)?);
        Ok(())
    });
    if let Err(wrong) = &started {
        panicked("starting", wrong)?;
    }
    let Some(node) = node else { return Ok(Outcome::Refused) };
    let mut told = false;
    let verify = || caught(|| verified(&node));
    for (during, done) in [("reading", caught(|| shown_before(&node, steps))), ("verifying", verify())] {
        if let Err(wrong) = done {
            panicked(during, &wrong)?;
            if wrong.place == NEVER_WRITTEN {
                return Err(Outcome::Failed(wrong));
            }
            told = true;
        }
    }
    let whole = caught(|| shows(&node, steps));
    // It goes on as well as it can. Whatever it answers, it must not panic.
    let gone_on = caught(|| {
        let peer = Node::start(Side::Peer, seed, peer, PROCESS)?;
        let mut pair = Pair::new([node, peer], Dice::new(seed), Duration::ZERO);
        let write = Step::Write { side: Side::Tested, no: 1_000, entities: vec!["a", "rot"], bytes: 100 };
        for step in [write, Step::Exchange] {
            drop(pair.carry_out(&step));
        }
        Ok(())
    });
    if let Err(wrong) = &gone_on {
        panicked("going on", wrong)?;
    }
    Ok(match whole {
        _ if told => Outcome::Told,
        Ok(()) => Outcome::Unharmed,
        Err(wrong) => Outcome::Failed(wrong),
    })
}
