//! The store: everything a node keeps, in one redb file, behind typed rows.
//!
//! One writer, many readers. The writer owns the [`Store`] and takes a [`Batch`] per step: it reads through it, writes
//! into it, and commits it as a whole, durably (two-phase commit, quick repair). Readers hold a [`Reader`] and take
//! [`Reading`]s, short ones, on any thread.
//!
//! redb is crash-safe, not bit-rot-safe: every value carries a checksum of ours that is checked on every read. And
//! redb refuses everything after a failed write or read: [`StoreError::needs_reopen`] tells, [`Store::reopen`] heals,
//! and readers go on with what was reopened. A reserve is kept free, so that a full disk is
//! told by [`Store::full`] and not by redb in the middle of a commit.
//!
//! The layout, byte by byte, is at the top of `layout.rs`.

mod batch;
mod codec;
#[cfg(test)]
pub(crate) mod counted;
mod entities;
mod entries;
mod error;
mod guard;
mod idempotency;
mod journal;
mod layout;
mod open;
mod probe;
mod quarantine;
mod reading;
mod resting;
mod runs;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Database, Durability, ReadableDatabase, StorageBackend, WriteTransaction};

use tombolo_crdt::defect::{self, Defect};

pub use batch::Batch;
pub use entries::{ChangeLink, EntryRow, HeldByFeed, HeldRow};
pub use error::StoreError;
use guard::guarded;
pub use guard::is_guarded;
pub use idempotency::{IDEMPOTENCY_MILLIS, IDEMPOTENCY_ROWS, IdempotencyRow};
pub use journal::{JournalKind, JournalRow};
pub use layout::FORMAT_VERSION;
pub use open::{CACHE_BYTES, OpenError, StoreOptions};
pub use probe::{Endless, RESERVE_BYTES_MAX, RESERVE_BYTES_MIN, RESERVE_DIVISOR, SpaceProbe, Volume};
pub use quarantine::QuarantineRow;
pub use reading::Reading;
pub use resting::Resting;
pub use state::{Counted, FeedRow, PeerRow, SpaceRow, StoredHead};

/// The database, which a reopen replaces under readers and writer alike.
struct Shared {
    /// `None`: closed.
    database: RwLock<Option<Database>>,
    /// Commits made by this process: two batches at once would lose one's writes unseen.
    commits: Mutex<u64>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn with<T>(&self, run: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        guarded(|| guard.as_ref().ok_or(StoreError::Closed).and_then(run))
    }

    fn reading(&self) -> Result<Reading, StoreError> {
        self.with(|database| Ok(Reading::new(database.begin_read()?)))
    }

    fn commits(&self) -> u64 {
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(
        &self,
        begun: u64,
        write: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if *commits != begun {
            return Err(StoreError::Defect("another batch was committed since this one was begun".to_owned()));
        }
        // A commit that fails may have reached the disk: what was begun before it is void either way.
        *commits += 1;
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            let lost = *commits % 4 == 3 && defect::is(Defect::ReplyBeforeDurable);
            let durability = if lost { Durability::None } else { Durability::Immediate };
            transaction.set_durability(durability).map_err(|error| StoreError::Defect(error.to_string()))?;
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            write(&transaction)?;
            Ok(transaction.commit()?)
        })
    }
}

/// Opens the same file or backend again; `true`: may create it.
type Opener = Box<dyn Fn(bool) -> Result<Database, OpenError> + Send + Sync>;

/// A store, open for its one writer. Dropping it closes the file, also for readers.
pub struct Store {
    shared: Arc<Shared>,
    opener: Opener,
    probe: Box<dyn SpaceProbe>,
    options: StoreOptions,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("options", &self.options).field("probe", &self.probe).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the file of `options`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: StoreOptions) -> Result<Self, OpenError> {
        let again = options.clone();
        let opener = move |create| open::file(&StoreOptions { create, ..again.clone() });
        let probe = probe::FileVolume(options.path.clone());
        Self::over(Box::new(opener), Box::new(probe), options)
    }

    /// Opens what a backend holds: for simulated disks. `backends` is called at once, and again at every
    /// [`Store::reopen`]; the one before it is closed by then.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with_backend<B: StorageBackend>(
        backends: impl Fn() -> io::Result<B> + Send + Sync + 'static,
        probe: impl SpaceProbe + 'static,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        let again = options.clone();
        let opener = move |create| {
            let refused = |error: io::Error| OpenError::Io {
                path: again.path.display().to_string(),
                kind: error.kind(),
                detail: error.to_string(),
            };
            open::backend(backends().map_err(refused)?, &StoreOptions { create, ..again.clone() })
        };
        Self::over(Box::new(opener), Box::new(probe), options)
    }

    fn over(opener: Opener, probe: Box<dyn SpaceProbe>, options: StoreOptions) -> Result<Self, OpenError> {
        let database = opener(options.create)?;
        if options.mend {
            runs::mend(&database).map_err(|error| open::At(&options.path).store(error))?;
        }
        let database = RwLock::new(Some(database));
        Ok(Self { shared: Arc::new(Shared { database, commits: Mutex::new(0) }), opener, probe, options })
    }

    /// A handle for readers on other threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.shared))
    }

    /// Whether too little room is left for new content, in words: less than the reserve is free. Ask before each step,
    /// and write nothing but small rows while it is so. At half the reserve [`Batch::commit`] refuses those as well.
    #[must_use]
    pub fn full(&self) -> Option<String> {
        match self.probe.volume() {
            Ok(volume) if volume.free >= self.reserve(volume) => None,
            Ok(volume) => Some(format!("the disk is full: {}", self.shortage(volume))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(self.gone().to_string()),
            Err(error) => Some(format!("the volume cannot be asked for its free space: {error}")),
        }
    }

    fn gone(&self) -> StoreError {
        StoreError::Gone { path: self.options.path.display().to_string() }
    }

    fn reserve(&self, volume: Volume) -> u64 {
        self.options.reserve_bytes.unwrap_or_else(|| volume.reserve())
    }

    fn shortage(&self, volume: Volume) -> String {
        format!("{} KiB are free, {} KiB are kept in reserve", volume.free >> 10, self.reserve(volume) >> 10)
    }

    /// Refuses what could meet the end of the volume in the middle of a commit.
    fn check_floor(&self) -> Result<(), StoreError> {
        let volume = self.probe.volume().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.gone(),
            _ => error.into(),
        })?;
        if volume.free < self.reserve(volume) / 2 {
            return Err(StoreError::Full { detail: self.shortage(volume), latched: false });
        }
        Ok(())
    }

    /// Begins a batch over the last committed state. Only one of the batches that are open at once can be committed.
    ///
    /// # Errors
    /// [`StoreError::Latched`], [`StoreError::Closed`], [`StoreError::Io`]: reopen.
    pub fn begin(&self) -> Result<Batch<'_>, StoreError> {
        let begun = self.shared.commits();
        Ok(Batch::new(self, self.shared.reading()?, begun))
    }

    /// Closes the file and opens it again, in this process: what a latched store needs. Snapshots taken before answer
    /// [`StoreError::Closed`] from here on; [`Reader`]s go on.
    ///
    /// Afterwards the last committed state is there, which may or may not include a batch whose commit failed.
    ///
    /// # Errors
    /// [`StoreError::Reopen`]: the store stays closed; call it again.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let mut commits = self.shared.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guard = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        *commits += 1;
        // The file's lock must be free before it is taken again.
        guard::close(guard.take());
        *guard = Some((self.opener)(false)?);
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        guard::close(self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// How the cache of pages is doing, since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Bytes in the cache.
    pub bytes: u64,
    /// Pages found in it.
    pub hits: u64,
    /// Pages that had to be read.
    pub misses: u64,
    /// Pages that had to make room.
    pub evictions: u64,
}

/// Reads the store from any thread, beside the writer.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Shared>);

impl Reader {
    /// How the cache of pages is doing; `None` while the store is closed.
    #[must_use]
    pub fn cache(&self) -> Option<CacheUse> {
        let stats = self.0.with(|database| Ok(database.cache_stats())).ok()?;
        Some(CacheUse {
            bytes: stats.used_bytes() as u64,
            hits: stats.read_hits() + stats.write_hits(),
            misses: stats.read_misses() + stats.write_misses(),
            evictions: stats.evictions(),
        })
    }

    /// The last committed state. Short-lived: see [`Reading`].
    ///
    /// # Errors
    /// [`StoreError::Latched`], [`StoreError::Closed`], [`StoreError::Io`]: until the writer has reopened the store.
    pub fn reading(&self) -> Result<Reading, StoreError> {
        self.0.reading()
    }
}
