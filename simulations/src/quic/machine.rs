//! What is done to a machine's disk.

use super::sites::Site;
use crate::disk::Disk;
use crate::plan::Unsynced;
use crate::rot::{Row, flip_rows};

/// Whether the power was cut in the middle of what a disk was doing.
pub(super) fn has_tripped(disk: &Disk) -> bool {
    disk.has_tripped()
}

impl Site {
    /// The power will be cut after so many more disk operations.
    pub(super) fn cut_power_after(&self, operations: u32) {
        self.disk.cut_power_after(u64::from(operations));
    }

    /// The power is there, and will not be cut.
    pub(super) fn power(&mut self) {
        self.disk.power();
        self.trips = None;
    }

    /// The power is gone for whoever uses the disk; what was not synced has its fate. The process goes after this: an
    /// orderly end would write.
    pub(super) fn lose_power(&mut self, unsynced: Unsynced, seed: u64) {
        self.disk = self.disk.crash(unsynced, seed);
    }

    /// One operation will fail after so many that succeed.
    pub(super) fn fail_once_after(&self, operations: u32) {
        self.disk.fail_once_after(u64::from(operations));
    }

    /// The volume has room again.
    pub(super) fn make_room(&mut self) {
        self.full = false;
        self.disk.make_room();
    }

    /// Flips bits of the cold file.
    pub(super) fn flip_bits(&mut self, count: u32, seed: u64) {
        self.disk.flip_bits(count, seed);
        self.damaged = true;
    }

    /// Flips a bit in each of so many rows of the cold store; says in which.
    pub(super) fn flip_rows(&self, count: u32, seed: u64) -> Vec<Row> {
        flip_rows(&self.disk, count, seed)
    }

    /// Makes a backup for a fault.
    pub(super) fn back_up(&mut self, fault: u32) {
        self.backups.insert(fault, self.disk.image());
    }

    /// Puts the disk back to the backup made for a fault; `false`: there is none.
    pub(super) fn put_back(&mut self, fault: u32) -> bool {
        let Some(image) = self.backups.remove(&fault) else { return false };
        (self.disk, self.restored) = (image, true);
        true
    }
}
