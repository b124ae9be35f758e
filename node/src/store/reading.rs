//! Reading: one database state, with what a batch has buffered laid over it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::OnceLock;

use redb::{AccessGuard, ReadOnlyTable, ReadTransaction};

use super::codec::without_sum;
use super::error::StoreError;
use super::guard::guarded;
use super::layout::{Table, beyond};
use super::runs::LastRun;

type Open = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Writes of a batch: per table key → value, `None` = removed. Sorted, as redb likes it.
#[derive(Debug, Default)]
pub(super) struct Overlay([BTreeMap<Vec<u8>, Option<Vec<u8>>>; Table::COUNT]);

impl Overlay {
    pub(super) fn of(&self, table: Table) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let [entries, journal, entities, state, held, seals, quarantine, idempotency] = &self.0;
        match table {
            Table::Entries => entries,
            Table::Journal => journal,
            Table::Entities => entities,
            Table::State => state,
            Table::Held => held,
            Table::Seals => seals,
            Table::Quarantine => quarantine,
            Table::Idempotency => idempotency,
        }
    }

    pub(super) fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        #[cfg(test)]
        super::counted::written(key.len() + value.as_ref().map_or(0, Vec::len));
        if let Some(map) = self.0.get_mut(table.index()) {
            map.insert(key, value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }
}

/// One state of the store: what was committed when it was taken, and in a batch also what the batch has written.
///
/// The getters are documented with the rows they return. Keep it short: pages freed after it are not used again while
/// it lives, so the file grows with every commit.
///
/// # Errors
///
/// Every getter may return [`StoreError::Corrupt`] (that value only is lost), and [`StoreError::Io`],
/// [`StoreError::Latched`] or [`StoreError::Closed`] (the store must be reopened, or this reading outlived that).
pub struct Reading {
    read: ReadTransaction,
    tables: [OnceLock<Open>; Table::COUNT],
    pub(super) overlay: Overlay,
    /// The run that was asked for last.
    pub(super) last_run: LastRun,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("overlay", &self.overlay).finish_non_exhaustive()
    }
}

/// What a scan calls with every key and value.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

/// The bytes of a key or value: on a damaged page they may lie outside of it.
fn bytes<'g>(guard: &'g AccessGuard<'_, &'static [u8]>) -> Result<&'g [u8], StoreError> {
    guarded(|| Ok::<_, StoreError>(guard.value()))
}

impl Reading {
    pub(super) fn new(read: ReadTransaction) -> Self {
        Self {
            read,
            tables: [const { OnceLock::new() }; Table::COUNT],
            overlay: Overlay::default(),
            last_run: LastRun::default(),
        }
    }

    /// What the batch has written; the state beneath is let go.
    pub(super) fn into_overlay(self) -> Overlay {
        self.overlay
    }

    fn open(&self, table: Table) -> Result<&Open, StoreError> {
        let cell = self.tables.get(table.index()).ok_or_else(|| StoreError::Defect("no such table".to_owned()))?;
        if cell.get().is_none() {
            let opened = guarded(|| self.read.open_table(table.definition()))?;
            // Another thread may have been faster: then this one is dropped.
            let _ = cell.set(opened);
        }
        cell.get().ok_or_else(|| StoreError::Defect("a table that was opened is not there".to_owned()))
    }

    /// Hands the value of `key`, sum and all, to `read`.
    pub(super) fn get_raw<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        #[cfg(test)]
        super::counted::read();
        match self.overlay.of(table).get(key) {
            Some(Some(value)) => return read(value).map(Some),
            Some(None) => return Ok(None),
            None => {}
        }
        let open = self.open(table)?;
        match guarded(|| open.get(key))? {
            Some(value) => read(bytes(&value)?).map(Some),
            None => Ok(None),
        }
    }

    /// Hands the checked value of `key` to `read`.
    pub(super) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.get_raw(table, key, |value| read(without_sum(table, key, value)?))
    }

    /// Visits keys and values from `from` on, below `until` (`None`: to the table's end), in key order, sums unchecked.
    pub(super) fn scan_raw(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        let open = self.open(table)?;
        #[cfg(test)]
        super::counted::read();
        let bounds = (Bound::Included(from), until.map_or(Bound::Unbounded, Bound::Excluded));
        let mut stored = guarded(|| open.range::<&[u8]>(bounds))?;
        let mut laid = self.overlay.of(table).range::<[u8], _>(bounds).peekable();
        let mut next = guarded(|| stored.next().transpose())?;
        loop {
            // The batch's own value hides the stored one of the same key.
            let (own, hides) = match (laid.peek(), &next) {
                (None, None) => return Ok(()),
                (None, Some(_)) => (false, false),
                (Some(_), None) => (true, false),
                (Some((own, _)), Some((key, _))) => {
                    let key = bytes(key)?;
                    (own.as_slice() <= key, own.as_slice() == key)
                }
            };
            #[cfg(test)]
            super::counted::read();
            let flow = if own {
                match laid.next() {
                    Some((key, Some(value))) => visit(key, value)?,
                    _ => ControlFlow::Continue(()),
                }
            } else if let Some((key, value)) = &next {
                visit(bytes(key)?, bytes(value)?)?
            } else {
                ControlFlow::Continue(())
            };
            if flow.is_break() {
                return Ok(());
            }
            if hides || !own {
                next = guarded(|| stored.next().transpose())?;
            }
        }
    }

    /// Hands the last key from `from` up to `key` and its value, sum and all, to `read`. Not where values are removed.
    pub(super) fn floor<T>(
        &self,
        table: Table,
        from: &[u8],
        key: &[u8],
        read: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        #[cfg(test)]
        super::counted::read();
        let bounds = (Bound::Included(from), Bound::Included(key));
        let laid = self.overlay.of(table).range::<[u8], _>(bounds).next_back();
        let laid = laid.and_then(|(key, value)| Some((key.as_slice(), value.as_deref()?)));
        let open = self.open(table)?;
        let stored = guarded(|| open.range::<&[u8]>(bounds)?.next_back().transpose())?;
        let stored =
            stored.as_ref().map(|(key, value)| Ok::<_, StoreError>((bytes(key)?, bytes(value)?))).transpose()?;
        // The batch's own value hides the stored one of the same key.
        let found = match (laid, stored) {
            (Some(laid), Some(stored)) if laid.0 < stored.0 => Some(stored),
            (laid, stored) => laid.or(stored),
        };
        found.map(|(key, value)| read(key, value)).transpose()
    }

    /// Visits keys and checked values.
    pub(super) fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        self.scan_raw(table, from, until, &mut |key, value| visit(key, without_sum(table, key, value)?))
    }

    /// Reads everything whose key starts with `prefix`; `read` gets the rest of the key, the key and the value.
    pub(super) fn all<T>(
        &self,
        table: Table,
        prefix: &[u8],
        mut read: impl FnMut(&[u8], &[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut out = Vec::new();
        self.scan(table, prefix, beyond(prefix).as_deref(), &mut |key, body| {
            let rest = key.strip_prefix(prefix).unwrap_or_default();
            out.push(read(rest, key, body)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(out)
    }
}
