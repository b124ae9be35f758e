//! Runs of a workload with trouble at one place, and what is started on what they leave.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::check::{acknowledged, finished, verified};
use super::pair::{Mark, Node, Pair, Stop, mark};
use super::{Point, Report, Side, Step, Trouble, Workload, Wrong, wrong};
use crate::Dice;
use crate::disk::{Disk, Usage};
use crate::plan::Unsynced;

/// Number of the processes that are started after the first.
const AFTER_CRASH: u64 = 1;
const AFTER_REPAIR: u64 = 2;
/// The place of a panic.
pub(super) const A_PANIC: &str = "a panic";
/// Steps after a failure, and before the end, after which it is looked at what a loss of power would leave.
const LOOKS_MAX: usize = 2;
/// Bytes by which quotas differ: one block.
const QUOTA_STEP: u64 = 4096;

/// Carries out a workload again and again.
pub(super) struct Runner<'w> {
    workload: &'w Workload,
    /// The steps, with one write and one exchange more at the end.
    steps: Vec<Step>,
    /// An empty store. The node makes one beside its place and moves it there, so a crash leaves a whole one or none.
    created: Disk,
    /// A run without trouble.
    whole: Whole,
    report: Report,
}

/// What a run without trouble gives.
struct Whole {
    marks: Vec<Option<Mark>>,
    pair: Pair,
}

/// A run that was cut.
struct Cut {
    /// What the process was writing to.
    disk: Disk,
    peer: Disk,
    /// Steps of the workload that were done.
    done: usize,
    marks: Vec<Option<Mark>>,
    acknowledged: BTreeSet<u32>,
    mono: Duration,
}

/// All ways of losing what was not synced.
fn ways(draws: u64) -> impl Iterator<Item = (Unsynced, u64)> {
    let random = (0..draws).flat_map(|seed| [(Unsynced::Subset, seed), (Unsynced::Torn, seed)]);
    [(Unsynced::Kept, 0), (Unsynced::Lost, 0)].into_iter().chain(random)
}

/// The different images that a crash of this disk may leave.
fn images(disk: &Disk, draws: u64, salt: u64) -> Vec<((Unsynced, u64), Disk)> {
    let mut seen = BTreeSet::new();
    let drawn = ways(draws).map(|(way, seed)| ((way, seed), disk.crash_image(way, seed ^ (salt << 16))));
    let images: Vec<_> = drawn.filter(|(_, image)| seen.insert(image.digest())).collect();
    assert!(!images.is_empty(), "a crash leaves something");
    images
}

pub(super) fn caught(run: impl FnOnce() -> Result<(), Wrong>) -> Result<(), Wrong> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(wrong(A_PANIC, text.unwrap_or_default()))
    })
}

fn uncut(stop: Stop) -> Wrong {
    match stop {
        Stop::Wrong(wrong) => wrong,
        Stop::Cut => wrong("the power was cut unasked", ""),
    }
}

impl<'w> Runner<'w> {
    /// Carries the workload out once, without trouble.
    pub(super) fn new(workload: &'w Workload) -> Result<Self, Wrong> {
        let mut steps = workload.steps.clone();
        let last = Step::Write { side: Side::Tested, no: u32::MAX, entities: vec!["last"], bytes: 1 };
        steps.extend([last, Step::Exchange]);
        let created = Disk::new();
        drop(Node::start(Side::Peer, 0, created.clone(), 0)?);
        let disk = created.image();
        let mut pair = Self::pair(workload, &created, &disk)?;
        let mut marks = Vec::new();
        let mut usage = Usage::default();
        for (no, step) in steps.iter().enumerate() {
            pair.carry_out(step).map_err(uncut)?;
            if no + 1 == workload.steps.len() {
                (marks, usage) = (pair.marks.clone(), disk.usage());
            }
        }
        finished(&pair, &steps)?;
        let report = Report { operations: usage.operations, grown: usage.grown, ..Report::default() };
        Ok(Self { workload, steps, created, whole: Whole { marks, pair }, report })
    }

    /// All steps, and the two at their end.
    pub(super) fn end(&self) -> (&[Step], &Pair) {
        (&self.steps, &self.whole.pair)
    }

    fn pair(workload: &Workload, created: &Disk, disk: &Disk) -> Result<Pair, Wrong> {
        let seed = workload.seed;
        let nodes =
            [Node::start(Side::Tested, seed, disk.clone(), 0)?, Node::start(Side::Peer, seed, created.image(), 0)?];
        Ok(Pair::new(nodes, Dice::new(seed), Duration::ZERO))
    }

    fn chosen(&self, end: u64, step: u64) -> impl Iterator<Item = u64> + use<> {
        let every = usize::try_from(self.workload.every.max(1) * step).unwrap_or(usize::MAX);
        (0..=end).step_by(every)
    }

    /// Cuts the power everywhere.
    pub(super) fn cuts(mut self) -> Result<Report, Wrong> {
        for after in self.chosen(self.report.operations, 1) {
            self.report.points += 1;
            let point = Point { trouble: Trouble::Cut(after), unsynced: None, repair: None };
            let cut = match self.cut(after) {
                Ok(cut) => cut,
                Err(wrong) => {
                    self.report.add(point, Err(wrong));
                    continue;
                }
            };
            for (unsynced, image) in images(&cut.disk, self.workload.draws, after) {
                let point = Point { unsynced: Some(unsynced), ..point };
                self.report.images += 1;
                let mut landed = false;
                let done = caught(|| self.start_again(&cut, image.image(), &mut landed));
                self.report.landed += u64::from(landed);
                self.report.add(point, done);
                if self.workload.repairs_every > 0 && after % self.workload.repairs_every == 0 {
                    self.repairs(&cut, &image, point);
                }
            }
        }
        Ok(self.report)
    }

    /// Carries the workload out until the power goes.
    fn cut(&self, after: u64) -> Result<Cut, Wrong> {
        let disk = self.created.image();
        disk.set_lying(self.workload.lying);
        disk.cut_power_after(after);
        let mut pair = match Self::pair(self.workload, &self.created, &disk) {
            Ok(pair) => pair,
            Err(_) if disk.has_tripped() => {
                let (peer, marks) = (self.created.image(), vec![None]);
                return Ok(Cut { disk, peer, done: 0, marks, acknowledged: BTreeSet::new(), mono: Duration::ZERO });
            }
            Err(wrong) => return Err(wrong),
        };
        let mut done = 0;
        for step in &self.workload.steps {
            match pair.carry_out(step) {
                Ok(()) => done += 1,
                Err(Stop::Cut) => break,
                Err(Stop::Wrong(wrong)) => return Err(wrong),
            }
        }
        let peer = pair.nodes[1].disk.image();
        let (marks, mono) = (std::mem::take(&mut pair.marks), pair.mono());
        if self.whole.marks.get(..marks.len()) != Some(marks.as_slice()) {
            return Err(wrong("the run is not the same as before", marks.len()));
        }
        assert!(done <= self.workload.steps.len(), "no more is done than was asked for");
        // If it came to its end it is cut there, before the process ends in order.
        disk.cut_power();
        let acknowledged = std::mem::take(&mut pair.acknowledged);
        Ok(Cut { disk, peer, done, marks, acknowledged, mono })
    }

    /// Starts a node on what a crash left and carries out the rest.
    fn start_again(&self, cut: &Cut, image: Disk, landed: &mut bool) -> Result<(), Wrong> {
        let tested = Node::start(Side::Tested, self.workload.seed, image, AFTER_CRASH)?;
        let found = mark(&tested.engine);
        let before = cut.marks.last().cloned().flatten();
        let after = self.whole.marks.get(cut.marks.len()).cloned().flatten();
        *landed = found != before;
        if found != before && found != after {
            return Err(wrong("it is neither what it was before the step nor after it", (before, found, after)));
        }
        acknowledged(&tested, &self.steps, |no| cut.acknowledged.contains(&no))?;
        verified(&tested)?;
        let peer = Node::start(Side::Peer, self.workload.seed, cut.peer.image(), AFTER_CRASH)?;
        let dice = Dice::new(self.workload.seed ^ u64::MAX);
        let mut pair = Pair::new([tested, peer], dice, cut.mono);
        for step in self.steps.iter().skip(cut.done) {
            pair.carry_out(step).map_err(uncut)?;
        }
        if let Some(feed) = pair.feeds.intersection(&self.whole.pair.feeds).next() {
            return Err(wrong("it goes on in a feed of the process before", feed));
        }
        // What the peer wrote was not undone by the crash, so all of it must be there.
        finished(&pair, &self.steps)
    }

    /// Cuts the power at every operation of the repair of an image.
    fn repairs(&mut self, cut: &Cut, image: &Disk, point: Point) {
        let (first, seed) = (image.image(), self.workload.seed);
        let Ok(node) = Node::start(Side::Tested, seed, first.clone(), AFTER_CRASH) else { return };
        let found = mark(&node.engine);
        let operations = first.usage().operations;
        for after in 0..operations {
            self.report.repair_points += 1;
            let disk = image.image();
            disk.cut_power_after(after);
            let refused = Node::start(Side::Tested, seed, disk.clone(), AFTER_CRASH).is_err();
            let point = Point { repair: Some((after, Unsynced::Kept, 0)), ..point };
            if !refused && !disk.has_tripped() {
                self.report.add(point, Err(wrong("the repair is not the same as before", operations)));
            }
            for ((way, draw), again) in images(&disk, self.workload.draws, after) {
                let point = Point { repair: Some((after, way, draw)), ..point };
                self.report.repair_images += 1;
                let done = caught(|| {
                    let node = Node::start(Side::Tested, seed, again, AFTER_REPAIR)?;
                    if mark(&node.engine) != found {
                        return Err(wrong("the second repair gives something else", (&found, mark(&node.engine))));
                    }
                    acknowledged(&node, &self.steps, |no| cut.acknowledged.contains(&no))?;
                    verified(&node)
                });
                self.report.add(point, done);
            }
        }
    }

    /// Lets every operation fail once.
    pub(super) fn errors(mut self) -> Result<Report, Wrong> {
        for after in self.chosen(self.report.operations, 1) {
            self.troubled(Trouble::Error(after));
        }
        Ok(self.report)
    }

    /// Fills the disk at every block.
    pub(super) fn quotas(mut self) -> Result<Report, Wrong> {
        let size = self.whole.pair.nodes[0].disk.size() as u64;
        for room in self.chosen(size, QUOTA_STEP) {
            self.troubled(Trouble::Quota(room));
        }
        Ok(self.report)
    }

    fn troubled(&mut self, trouble: Trouble) {
        self.report.points += 1;
        let disk = self.created.image();
        match trouble {
            Trouble::Cut(after) => disk.cut_power_after(after),
            Trouble::Error(after) => disk.fail_once_after(after),
            Trouble::Quota(room) => disk.set_room(Some(room)),
        }
        let mut at = Point { trouble, unsynced: None, repair: None };
        let mut images = 0;
        let done = caught(|| self.go_on(&disk, &mut at, &mut images));
        self.report.images += images;
        self.report.failed += u64::from(disk.usage().errors > 0);
        self.report.add(at, done);
    }

    /// Carries everything out in one process, and looks after each step at what a loss of power would leave.
    fn go_on(&self, disk: &Disk, at: &mut Point, count: &mut u64) -> Result<(), Wrong> {
        let mut opened = Self::pair(self.workload, &self.created, disk);
        if opened.is_err() {
            // Whoever runs it starts it again, with room.
            disk.set_room(None);
            opened = Self::pair(self.workload, &self.created, disk);
        }
        let mut pair = opened?;
        let (mut seen, mut failed) = (BTreeSet::new(), None);
        for (no, step) in self.steps.iter().enumerate() {
            pair.carry_out(step).map_err(uncut)?;
            if disk.usage().errors == 0 {
                continue;
            }
            let failed = *failed.get_or_insert(no);
            if no >= failed + LOOKS_MAX && no + LOOKS_MAX < self.steps.len() {
                continue;
            }
            for (unsynced, image) in images(disk, 1, 0) {
                if !seen.insert(image.digest()) {
                    continue;
                }
                *count += 1;
                at.unsynced = Some(unsynced);
                let node = Node::start(Side::Tested, self.workload.seed, image, AFTER_CRASH)?;
                let (told, found) = (mark(&pair.nodes[0].engine), mark(&node.engine));
                if told != found {
                    return Err(wrong("what it says it holds would be lost", (told, found)));
                }
                acknowledged(&node, &self.steps, |no| pair.acknowledged.contains(&no))?;
                verified(&node)?;
            }
            at.unsynced = None;
        }
        finished(&pair, &self.steps)
    }
}
