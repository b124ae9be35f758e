//! What a test's thread has read and written: growth is shown in these, not in time.

use std::cell::Cell;

/// Work of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Lookups, scans, and values that scans visited.
    pub(crate) reads: usize,
    /// Values written or removed.
    pub(crate) writes: usize,
    /// Bytes of their keys and values.
    pub(crate) bytes: usize,
}

thread_local! {
    static COUNTED: Cell<Counted> = const { Cell::new(Counted { reads: 0, writes: 0, bytes: 0 }) };
}

pub(super) fn read() {
    let counted = COUNTED.get();
    COUNTED.set(Counted { reads: counted.reads + 1, ..counted });
}

pub(super) fn written(bytes: usize) {
    let counted = COUNTED.get();
    COUNTED.set(Counted { writes: counted.writes + 1, bytes: counted.bytes + bytes, ..counted });
}

/// What `run` took.
pub(crate) fn of<T>(run: impl FnOnce() -> T) -> (T, Counted) {
    let before = COUNTED.get();
    let done = run();
    let after = COUNTED.get();
    let counted = Counted {
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
        bytes: after.bytes - before.bytes,
    };
    (done, counted)
}
