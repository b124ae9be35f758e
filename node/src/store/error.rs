//! What can go wrong with the store: when, whose fault, what is left.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};

use redb::{CommitError, StorageError, TableError, TransactionError};

use super::open::OpenError;

/// Why a read or a commit failed. A batch that failed left nothing behind, except where its variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room: the operator's business. `latched: false`: a commit was refused before anything was written, because
    /// the reserve is nearly used up; the store goes on working. `latched: true`: the file system refused a write in
    /// the middle of a commit; see [`StoreError::needs_reopen`].
    #[error("the disk is full: {detail}")]
    Full {
        /// Figures, or the words of the operating system.
        detail: String,
        /// Whether redb met it and must be reopened.
        latched: bool,
    },
    /// The file was deleted or moved while it is open: the operator's business. Nothing was written; reading goes on
    /// until the process ends.
    #[error("the store {path} is gone: it was deleted or moved while the node runs; stop the node and put it back")]
    Gone {
        /// Where it was.
        path: String,
    },
    /// The operating system failed a read, a write or a sync: the disk's fault. The store refuses everything from
    /// here on until it is reopened.
    #[error("the store's file cannot be read or written: {detail}")]
    Io {
        /// Kind of the error.
        kind: ErrorKind,
        /// Words of the operating system.
        detail: String,
    },
    /// An earlier failure still stands: reopen. Nothing was tried.
    #[error("the store failed before and must be reopened")]
    Latched,
    /// A stored value is not what was written: the disk's fault, or a defect. The value is not given out; everything
    /// else stays readable.
    #[error("damaged value in table `{table}`{}: {detail}", hex_key(key))]
    Corrupt {
        /// Table of the value; `redb` for the file's own structure.
        table: &'static str,
        /// Its key; empty where it is not known.
        key: Vec<u8>,
        /// What is wrong with it.
        detail: String,
    },
    /// The store is closed: a reopen failed, it was shut down, or this reading is older than a reopen. Take a new
    /// reading; if that fails as well, reopen.
    #[error("the store is closed")]
    Closed,
    /// The store could not be opened again and stays closed: see the cause, then reopen once more.
    #[error("the store cannot be reopened: {0}")]
    Reopen(#[from] OpenError),
    /// redb panicked: the file is damaged where it has no error for it. The store refuses everything until it is
    /// reopened.
    #[error("the store's file is damaged so that redb gives up; verify it, restore it or join the spaces again")]
    Panicked,
    /// A defect of this program. Nothing was written.
    #[error("defect in the use of the store: {0}")]
    Defect(String),
}

impl StoreError {
    /// A damaged value whose key is not at hand.
    #[must_use]
    pub fn corrupt(table: &'static str, detail: impl Into<String>) -> Self {
        Self::corrupt_at(table, &[], detail)
    }

    /// A damaged value.
    #[must_use]
    pub fn corrupt_at(table: &'static str, key: &[u8], detail: impl Into<String>) -> Self {
        Self::Corrupt { table, key: key.to_vec(), detail: detail.into() }
    }

    /// Whether nothing works any more until [`super::Store::reopen`].
    ///
    /// If the error came from a commit, whether its batch is there is only known by reading after the reopen: the
    /// disk may have taken all of it before it failed. It is there whole or not at all.
    #[must_use]
    pub const fn needs_reopen(&self) -> bool {
        match self {
            Self::Full { latched, .. } => *latched,
            Self::Io { .. } | Self::Latched | Self::Closed | Self::Panicked | Self::Reopen(_) => true,
            Self::Gone { .. } | Self::Corrupt { .. } | Self::Defect(_) => false,
        }
    }
}

fn hex_key(key: &[u8]) -> String {
    let mut out = String::new();
    if !key.is_empty() {
        out.push_str(" at key ");
    }
    for byte in key {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Whether an error says that there is no room.
pub(super) fn says_full(error: &io::Error) -> bool {
    let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    kinds.contains(&error.kind())
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        let detail = error.to_string();
        if says_full(&error) {
            return Self::Full { detail, latched: true };
        }
        Self::Io { kind: error.kind(), detail }
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::PreviousIo => Self::Latched,
            StorageError::DatabaseClosed => Self::Closed,
            StorageError::Corrupted(detail) => Self::corrupt("redb", detail),
            other => Self::Defect(other.to_string()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            TableError::TableDoesNotExist(_) => Self::corrupt("redb", error.to_string()),
            other => Self::Defect(other.to_string()),
        }
    }
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Defect(other.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Defect(other.to_string()),
        }
    }
}
