//! Crashes at every single operation of a disk, for a small workload.
//!
//! The workload is carried out once, to count. Then, for every write, change of length and sync of the node under test,
//! it is carried out again up to there and the power is cut. What the disk may hold then is drawn in every way (all,
//! none, some writes, some sectors of what was not synced), and the node is started on each of these images. It must
//!
//! * open, with its invariants, and verify: every chain, seal, hash and row;
//! * hold exactly what it held before or after the step that was cut, so nothing that was acknowledged is missing and
//!   nothing is there half;
//! * carry out the rest of the workload, clients asking again for what they got no answer to, in a new epoch; and
//! * end with the same views as its peer: those of the writes.
//!
//! Starting repairs the store, which is cut again at every one of its operations. And instead of the power, a single
//! operation may fail, or the disk be full for a while: then the same process must go on, and what it says it holds
//! must be what a loss of power leaves. And a cold file is damaged in several ways.

mod check;
mod pair;
mod rot;
mod run;

use std::fmt;

use crate::plan::Unsynced;
pub use rot::{Damage, RotReport, exhaust_rot};

/// Most failures that are kept in a report; beyond it they are counted.
pub const FAILURES_MAX: usize = 16;

/// Which of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The one whose disk is under test.
    Tested = 0,
    /// The other one, whose disk never fails.
    Peer = 1,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Tested => Self::Peer,
            Self::Peer => Self::Tested,
        }
    }
}

/// One step of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Founds the space. Needed once, before anything else.
    Found(Side),
    /// This side, which has the space, makes the other one a member.
    Admit(Side),
    /// A PUT to each of the entities, in one entry. Sides must not write to each other's entities.
    Write {
        /// Where.
        side: Side,
        /// The number of the write, unique and growing.
        no: u32,
        /// Ids.
        entities: Vec<&'static str>,
        /// Bytes that each of them holds.
        bytes: usize,
    },
    /// Connects the two.
    Connect,
    /// Cuts the connection; what is on its way is lost.
    Disconnect,
    /// Connects the two if they are not, and lets them talk until nothing more is said.
    Exchange,
}

/// What is carried out, and how thoroughly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// All keys and choices come from it.
    pub seed: u64,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Images drawn per crash point and random way of losing what was not synced. `Kept` and `Lost` have one each.
    pub draws: u64,
    /// Every how many crash points the repair after it is cut as well, at each of its operations; 0: never.
    pub repairs_every: u64,
    /// Every how many operations one is chosen; 1: all of them.
    pub every: u64,
    /// The disk says that it synced and did not: a defect that must be noticed.
    pub lying: bool,
}

impl Workload {
    /// The node under test founds the space, writes, exchanges with its peer and writes again, large things too. About
    /// ten commits.
    #[must_use]
    pub fn founder(seed: u64) -> Self {
        Self::with(seed, Side::Tested)
    }

    /// The node under test is a member of its peer's space.
    #[must_use]
    pub fn member(seed: u64) -> Self {
        Self::with(seed, Side::Peer)
    }

    /// The node under test writes and is sent so much that its file grows, again and again.
    #[must_use]
    pub fn growing(seed: u64) -> Self {
        let mut workload = Self::founder(seed);
        let large = |no, side, id| Step::Write { side, no, entities: vec![id], bytes: 200_000 };
        workload.steps.extend([
            large(8, Side::Tested, "a"),
            large(9, Side::Peer, "p"),
            Step::Exchange,
            large(10, Side::Tested, "e"),
        ]);
        workload
    }

    fn with(seed: u64, founder: Side) -> Self {
        use Side::{Peer, Tested};
        let write =
            |side, no, entities: &[&'static str], bytes| Step::Write { side, no, entities: entities.to_vec(), bytes };
        let steps = vec![
            Step::Found(founder),
            Step::Admit(founder),
            Step::Disconnect,
            write(Tested, 1, &["a", "b"], 10),
            write(Peer, 2, &["p"], 10),
            write(Peer, 3, &["p", "q", "r"], 3_000),
            Step::Exchange,
            write(Tested, 4, &["b", "c"], 6_000),
            Step::Disconnect,
            write(Tested, 5, &["a"], 20),
            write(Peer, 6, &["s"], 20_000),
            Step::Exchange,
            write(Tested, 7, &["d", "a"], 40_000),
        ];
        Self { seed, steps, draws: 1, repairs_every: 0, every: 1, lying: false }
    }
}

/// What goes wrong with the disk under test, counted from the moment the node is first started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The power is cut after so many operations.
    Cut(u64),
    /// One operation fails, after so many that succeed.
    Error(u64),
    /// Only so many bytes can be stored, and the node is not told; until three operations have failed.
    Quota(u64),
}

/// Where something was not as it must be: enough to see it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What went wrong with the disk.
    pub trouble: Trouble,
    /// What became of unsynced writes, and the seed of these choices.
    pub unsynced: Option<(Unsynced, u64)>,
    /// The repair was cut too: after how many operations, what became of its unsynced writes, and the seed of that.
    pub repair: Option<(u64, Unsynced, u64)>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.trouble)?;
        if let Some((unsynced, seed)) = self.unsynced {
            write!(f, ", {unsynced:?} (seed {seed})")?;
        }
        if let Some((after, unsynced, seed)) = self.repair {
            write!(f, ", repair cut after {after}, {unsynced:?} (seed {seed})")?;
        }
        Ok(())
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {detail}")]
pub struct Wrong {
    /// What, always the same words for the same thing.
    pub place: &'static str,
    /// More of it.
    pub detail: String,
}

fn wrong(place: &'static str, detail: impl fmt::Debug) -> Wrong {
    Wrong { place, detail: format!("{detail:?}") }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Operations of the disk under test in a run without trouble, repairs included.
    pub operations: u64,
    /// How often the file grew in it.
    pub grown: u64,
    /// Crash points, or places of trouble, that were tried.
    pub points: u64,
    /// Different images that a node was started on.
    pub images: u64,
    /// Images that held the step that was being committed.
    pub landed: u64,
    /// Crash points within repairs.
    pub repair_points: u64,
    /// Different images after these.
    pub repair_images: u64,
    /// Runs in which an operation really failed.
    pub failed: u64,
    /// What is not as it must be, the first [`FAILURES_MAX`].
    pub failures: Vec<(Point, Wrong)>,
    /// How often something was not.
    pub failed_points: u64,
}

impl Report {
    fn add(&mut self, point: Point, done: Result<(), Wrong>) {
        if let Err(wrong) = done {
            self.failed_points += 1;
            if self.failures.len() < FAILURES_MAX {
                self.failures.push((point, wrong));
            }
            assert!(self.failures.len() as u64 <= self.failed_points, "what is listed is counted");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations ({} made the file grow), {} points ({} with an error), {} images ({} with the step that was cut), \
             {} points in repairs, {} images after them, {} failures",
            self.operations,
            self.grown,
            self.points,
            self.failed,
            self.images,
            self.landed,
            self.repair_points,
            self.repair_images,
            self.failed_points
        )?;
        self.failures.iter().try_for_each(|(point, wrong)| write!(f, "\n{point}: {wrong}"))
    }
}

/// Cuts the power at every operation. Cost: one run of the workload per operation and per different image; the workload
/// of [`Workload::founder`] takes seconds.
///
/// # Errors
/// [`Wrong`]: the workload fails without any trouble. What fails with trouble is in the report.
pub fn exhaust(workload: &Workload) -> Result<Report, Wrong> {
    run::Runner::new(workload)?.cuts()
}

/// Lets every single operation fail once, and goes on in the same process.
///
/// # Errors
/// As [`exhaust`].
pub fn exhaust_errors(workload: &Workload) -> Result<Report, Wrong> {
    run::Runner::new(workload)?.errors()
}

/// Fills the disk at every block that is stored in it, and goes on in the same process.
///
/// # Errors
/// As [`exhaust`].
pub fn exhaust_quotas(workload: &Workload) -> Result<Report, Wrong> {
    run::Runner::new(workload)?.quotas()
}
