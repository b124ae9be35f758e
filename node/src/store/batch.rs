//! Writing: everything a step writes, in one durable commit or not at all.

use std::ops::Deref;

use redb::WriteTransaction;

use super::Store;
use super::codec::with_sum;
use super::error::StoreError;
use super::layout::Table;
use super::reading::{Overlay, Reading};

/// Writes to be committed together. Reads through it (it is a [`Reading`]) see them. Dropping it forgets them.
///
/// Writes are buffered, so a batch holds no lock and costs the file nothing before [`Batch::commit`]; keep it to what a
/// step takes (4 MiB of entries).
#[derive(Debug)]
#[must_use]
pub struct Batch<'s> {
    store: &'s Store,
    reading: Reading,
    /// Number of commits made when it was begun.
    begun: u64,
    /// Of the next entry, once there was one.
    pub(super) next_number: Option<u64>,
}

impl Deref for Batch<'_> {
    type Target = Reading;

    fn deref(&self) -> &Reading {
        &self.reading
    }
}

impl<'s> Batch<'s> {
    pub(super) const fn new(store: &'s Store, reading: Reading, begun: u64) -> Self {
        Self { store, reading, begun, next_number: None }
    }

    /// Writes bytes as they are.
    pub(super) fn put_raw(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.reading.overlay.set(table, key, Some(value));
    }

    /// Writes a value under its sum.
    pub(super) fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, body: Vec<u8>) {
        let key = key.into();
        let value = with_sum(&key, body);
        self.put_raw(table, key, value);
    }

    pub(super) fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.reading.overlay.set(table, key.into(), None);
    }

    /// Whether anything was written: without it a commit does nothing.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.reading.overlay.is_empty()
    }

    /// Makes everything durable, in one two-phase commit. An empty batch costs nothing.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Full`] with `latched: false`: more than half of the reserve is used up; nothing was written and
    ///   reading goes on. [`Store::full`] says so before that.
    /// - [`StoreError::Full`] with `latched: true`, [`StoreError::Io`]: the disk refused. The store must be reopened;
    ///   whether the batch is there, whole, or not at all, only reading after that tells.
    /// - [`StoreError::Latched`], [`StoreError::Closed`]: an earlier failure; nothing was written.
    /// - [`StoreError::Corrupt`]: the file's structure is damaged; nothing was written.
    /// - [`StoreError::Defect`]: another batch was committed since this one was begun; nothing was written.
    pub fn commit(self) -> Result<(), StoreError> {
        let Self { store, reading, begun, .. } = self;
        // Lets go of the state beneath, so that this commit may use the pages freed since.
        let overlay = reading.into_overlay();
        if overlay.is_empty() {
            return Ok(());
        }
        store.check_floor()?;
        store.shared.commit(begun, |transaction| write_all(transaction, &overlay))
    }
}

fn write_all(transaction: &WriteTransaction, overlay: &Overlay) -> Result<(), StoreError> {
    for table in Table::ALL {
        let writes = overlay.of(table);
        if writes.is_empty() {
            continue;
        }
        let mut open = transaction.open_table(table.definition())?;
        for (key, value) in writes {
            match value {
                Some(value) => drop(open.insert(key.as_slice(), value.as_slice())?),
                None => drop(open.remove(key.as_slice())?),
            }
        }
    }
    Ok(())
}
