//! A disk in memory: it survives its process, loses what was not synced when the power goes, fails, fills up and rots.
//!
//! # What it promises, and what it does not
//! * A write is there for reads at once. It is durable after the next [`sync_data`](StorageBackend::sync_data) that
//!   succeeds; before that a crash may lose any part of it, sector by sector of 512 bytes, in any order, and any change
//!   of length, independently of each other.
//! * A sync that fails drops what it should have made durable, without a word, as Linux does: reads still see it, later
//!   syncs succeed and do not write it, and a crash at any later time loses it. Only writing a sector again makes it
//!   durable again. A change of length is not dropped, only delayed.
//! * A write that fails has stored its first half.
//! * Once the power is cut, nothing works for the process that had it, reads included.

mod content;
mod damage;
mod log;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use tombolo_node::store::{SpaceProbe, Volume};

use crate::Dice;
use crate::plan::Unsynced;
use content::Content;
use log::Log;

/// Size of every disk: 1 GiB.
const DISK_BYTES: u64 = 1 << 30;
/// Most bytes that are left of a full volume: 1 MiB.
const FULL_BYTES: u64 = 1 << 20;
const _: () = assert!(FULL_BYTES < DISK_BYTES / 100, "a full volume has less room than a store keeps in reserve");

/// A disk; clones are the same disk. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

/// What was done to a disk so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Writes, changes of length and syncs, whether they succeeded or not.
    pub operations: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// How often the file grew, and how often it shrank.
    pub grown: u64,
    /// See `grown`.
    pub shrunk: u64,
    /// Bytes written.
    pub written: u64,
    /// Operations that failed on a disk that had power.
    pub errors: u64,
}

/// Whether there is power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// Goes after so many more operations.
    Ends(u64),
    /// Gone; the operation that failed first, counted as in [`Usage::operations`] from 0.
    Cut(u64),
}

#[derive(Debug)]
struct State {
    content: Content,
    log: Log,
    usage: Usage,
    power: Power,
    /// Operations that succeed before one fails.
    error_in: Option<u64>,
    failing: bool,
    lying: bool,
    free: u64,
    /// Bytes that may still be stored where nothing was before.
    room: Option<u64>,
}

/// What is done to the file.
#[derive(Clone, Copy)]
enum Operation<'a> {
    Write(u64, &'a [u8]),
    Length(u64),
    Sync,
}

impl State {
    fn holding(content: Content) -> Self {
        Self {
            content,
            log: Log::default(),
            usage: Usage::default(),
            power: Power::On,
            error_in: None,
            failing: false,
            lying: false,
            free: DISK_BYTES,
            room: None,
        }
    }

    fn check_power(&self) -> io::Result<()> {
        match self.power {
            Power::Cut(_) => Err(io::Error::new(ErrorKind::NotConnected, "the power is cut")),
            Power::On | Power::Ends(_) => Ok(()),
        }
    }

    fn cut(&mut self) {
        if self.check_power().is_ok() {
            self.power = Power::Cut(self.usage.operations);
        }
    }

    fn operate(&mut self, operation: Operation<'_>) -> io::Result<()> {
        self.check_power()?;
        match &mut self.power {
            Power::Ends(0) => {
                self.power = Power::Cut(self.usage.operations);
                return self.check_power();
            }
            Power::Ends(left) => *left -= 1,
            Power::On | Power::Cut(_) => {}
        }
        self.usage.operations += 1;
        let done = match self.error_in {
            _ if self.failing => Err(io::Error::other("the disk fails")),
            Some(0) => {
                self.error_in = None;
                self.fail(operation)
            }
            left => {
                self.error_in = left.map(|left| left - 1);
                self.succeed(operation)
            }
        };
        self.usage.errors += u64::from(done.is_err());
        assert!(self.usage.errors <= self.usage.operations, "what fails was asked for");
        done
    }

    fn succeed(&mut self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            Operation::Write(offset, data) => {
                let range = self.content.span(offset, data.len())?;
                if let Some(room) = &mut self.room {
                    let taken = self.content.holes(range.clone());
                    *room = room.checked_sub(taken).ok_or(ErrorKind::StorageFull)?;
                }
                self.log.write(&self.content, range.clone());
                self.content.write(range.start, data);
                self.usage.written += data.len() as u64;
            }
            Operation::Length(len) => {
                let len = usize::try_from(len).map_err(|_| ErrorKind::FileTooLarge)?;
                let growth = len.saturating_sub(self.content.len()) as u64;
                if self.room.is_some_and(|room| room < growth) {
                    return Err(ErrorKind::StorageFull.into());
                }
                self.usage.grown += u64::from(growth > 0);
                self.usage.shrunk += u64::from(len < self.content.len());
                self.log.length(&self.content, len);
                self.content.set_len(len);
            }
            Operation::Sync => {
                if !self.lying {
                    self.log.synced();
                }
                self.usage.syncs += 1;
            }
        }
        Ok(())
    }

    /// An operation that fails, and what it does all the same.
    fn fail(&mut self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            Operation::Write(offset, data) => {
                let (half, _) = data.split_at(data.len() / 2);
                self.succeed(Operation::Write(offset, half))?;
            }
            Operation::Length(_) => {}
            Operation::Sync => self.log.sync_failed(&self.content),
        }
        Err(io::Error::other("an input/output error"))
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::of(State::holding(Content::default()))
    }

    fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here stops half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same content, all of it synced: what a process finds that is started after a kill, or
    /// beside the first, or on this as a backup. Cheap: blocks are shared until one of the two writes to them.
    #[must_use]
    pub fn image(&self) -> Self {
        Self::of(State::holding(self.state().content.clone()))
    }

    /// Another disk with what a loss of power at this moment would leave, drawn from `seed`. This one goes on.
    #[must_use]
    pub fn crash_image(&self, unsynced: Unsynced, seed: u64) -> Self {
        let state = self.state();
        Self::of(State::holding(state.log.left(&state.content, unsynced, &mut Dice::new(seed))))
    }

    /// Kills the process: this disk and its clones are dead for it from now on, and the disk that is returned holds
    /// what is left, drawn from `seed`. Its counters go on, and it is as full as this one; faults that were to come are
    /// gone. Throw the process away after this, not before: an orderly end would write to the disk.
    #[must_use]
    pub fn crash(&self, unsynced: Unsynced, seed: u64) -> Self {
        let mut state = self.state();
        let left = state.log.left(&state.content, unsynced, &mut Dice::new(seed));
        state.cut();
        assert!(state.check_power().is_err(), "the process that had the disk can do nothing with it any more");
        (state.content, state.log) = (Content::default(), Log::default());
        Self::of(State { usage: state.usage, free: state.free, room: state.room, ..State::holding(left) })
    }

    /// The power goes after `operations` more: the next one after these fails and changes nothing, and so does
    /// everything else from then on. Then see [`Disk::tripped`], throw away what the step gave, and [`Disk::crash`].
    pub fn cut_power_after(&self, operations: u64) {
        self.state().power = Power::Ends(operations);
    }

    /// The power goes now, if it is there.
    pub fn cut_power(&self) {
        self.state().cut();
    }

    /// The power is not going to go after all. Does nothing when it is gone: [`Disk::crash`] gives a disk that has
    /// power.
    pub fn power(&self) {
        let mut state = self.state();
        if let Power::Ends(_) = state.power {
            state.power = Power::On;
        }
    }

    /// If the power was cut, the number of the operation that failed first, of all that were ever asked of this disk,
    /// from 0.
    #[must_use]
    pub fn tripped(&self) -> Option<u64> {
        match self.state().power {
            Power::Cut(at) => Some(at),
            Power::On | Power::Ends(_) => None,
        }
    }

    /// Whether the power was cut.
    #[must_use]
    pub fn has_tripped(&self) -> bool {
        self.tripped().is_some()
    }

    /// One operation fails, after so many that succeed; then the disk works. See the module's documentation for what it
    /// does all the same. Whether it has: [`Usage::errors`].
    pub fn fail_once_after(&self, operations: u64) {
        self.state().error_in = Some(operations);
    }

    /// No single operation is going to fail after all.
    pub fn spare(&self) {
        self.state().error_in = None;
    }

    /// Lets every operation fail and change nothing from now on, or work again. Reads go on.
    pub fn set_failing(&self, failing: bool) {
        self.state().failing = failing;
    }

    /// Lets syncs succeed and do nothing from now on, as some disks do, or work again. No store survives that: it is
    /// how a check shows that it would notice.
    pub fn set_lying(&self, lying: bool) {
        self.state().lying = lying;
    }

    /// Says how much is free from now on, to who asks before writing. `None`: all of it.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.state().free = bytes.unwrap_or(DISK_BYTES);
    }

    /// Fills the volume, in one of three ways drawn from `random`: who asks is told, or finds out by writing (a quota,
    /// which lets some commits through before it fails one in the middle), or both. [`Disk::make_room`] ends it.
    pub fn fill(&self, random: u64) {
        let left = FULL_BYTES >> (random / 3 % 8);
        assert!(left > 0 && left <= FULL_BYTES, "a full volume has a little room, and no more");
        if !random.is_multiple_of(3) {
            self.set_room(Some(left));
        }
        if random % 3 != 1 {
            self.set_free(Some(left));
        }
    }

    /// There is room again.
    pub fn make_room(&self) {
        self.set_room(None);
        self.set_free(None);
    }

    /// So many bytes can be stored where there was nothing, and who asks is not told: a quota. Beyond it writing into
    /// holes and growing fail with `StorageFull`. `None`: no limit.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// What was done to it so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.state().usage
    }

    /// Whether a crash now could lose something.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.state().log.is_empty()
    }

    /// Bytes of the file, holes included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.state().content.len()
    }

    /// Hash over what reads see. Reads everything.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.state().content.digest()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let state = self.state();
        state.check_power()?;
        Ok(state.content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        state.check_power()?;
        let range = state.content.span(offset, out.len())?;
        state.content.read(range.start, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().operate(Operation::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state().operate(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state().operate(Operation::Write(offset, data))
    }
}

impl SpaceProbe for Disk {
    fn volume(&self) -> io::Result<Volume> {
        Ok(Volume { free: self.state().free, total: DISK_BYTES })
    }
}
