//! redb panics at some damage that it has no error for. Here that becomes an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::StoreError;

/// Runs something of redb, and nothing of ours.
///
/// A second panic while the first unwinds still ends the process: redb does that on some files with dozens of flipped
/// bits.
pub(super) fn guarded<T, E: Into<StoreError>>(run: impl FnOnce() -> Result<T, E>) -> Result<T, StoreError> {
    attempt(run)?.map_err(Into::into)
}

/// Runs something of redb whose errors are of another kind. A panic becomes [`StoreError::Panicked`].
pub(super) fn attempt<T>(run: impl FnOnce() -> T) -> Result<T, StoreError> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(outer);
    result.map_err(|_| StoreError::Panicked)
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a call of redb, so that a panic now becomes [`StoreError::Panicked`] and is no defect of
/// the program: for panic hooks.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Closes a database. One whose memory is damaged cannot be closed in order; it is as good as crashed.
pub(super) fn close(database: Option<redb::Database>) {
    let closed = guarded(|| {
        drop(database);
        Ok::<_, StoreError>(())
    });
    if let Err(error) = closed {
        tracing::error!(%error, "the store could not be closed in order");
    }
}
