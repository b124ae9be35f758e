//! Opening the file: what it must be, and what is said when it is not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, StorageBackend, StorageError, TableError,
    TableHandle,
};

use super::codec::{Fields, with_sum, without_sum};
use super::error::StoreError;
use super::guard::{self, guarded};
use super::layout::{FORMAT_VERSION, Table, state};

/// What every redb file starts with.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// Default of [`StoreOptions::cache_bytes`].
pub const CACHE_BYTES: usize = 24 << 20;

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The file. With a backend: what messages call it.
    pub path: PathBuf,
    /// Whether to create it where there is none. A file that is there is never written over.
    pub create: bool,
    /// Most memory for cached pages, in bytes; default 24 MiB. More makes cold reads rarer; redb keeps up to half of
    /// it for pages that a commit has not written yet.
    pub cache_bytes: usize,
    /// Whether the index of entries is made anew where it is damaged (default); else it is left alone.
    pub mend: bool,
    /// Bytes kept free on the volume; `None` (default): 1 % of it, at least 16 MiB, at most 64 MiB.
    pub reserve_bytes: Option<u64>,
}

impl StoreOptions {
    /// Defaults for the file at `path`, which must exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), create: false, cache_bytes: CACHE_BYTES, mend: true, reserve_bytes: None }
    }
}

/// Why a store cannot be opened. The file is left as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file, and none was to be created. The operator's business.
    #[error("there is no store at {path}")]
    Missing {
        /// Where.
        path: String,
    },
    /// Another process has it open, or this one a second time.
    #[error("the store {path} is in use by another process")]
    InUse {
        /// Where.
        path: String,
    },
    /// Not a store: another kind of file, an empty one, or one whose beginning is lost.
    #[error("{path} is not a store: {detail}")]
    Foreign {
        /// Where.
        path: String,
        /// What it is.
        detail: String,
    },
    /// A store that is cut off or damaged where redb needs it: restore it, or join the spaces again.
    #[error("the store {path} is damaged: {detail}")]
    Damaged {
        /// Where.
        path: String,
        /// What redb says.
        detail: String,
    },
    /// Its process was killed, and it cannot be repaired where nothing can be written. The operator's business: a copy
    /// can.
    #[error("the store {path} was not closed in order, and nothing can be written to it: open a copy of it instead")]
    Unclean {
        /// Where.
        path: String,
    },
    /// Written by an earlier or a later version of this program. The operator's business: the program that wrote it can
    /// export its spaces, this one can import them.
    #[error(
        "the store {path} has format {found}; this program reads format {supported} alone: export its spaces with the program that wrote it, and import them here"
    )]
    Format {
        /// Where.
        path: String,
        /// Its format.
        found: u32,
        /// The one known here.
        supported: u32,
    },
    /// The operating system refused.
    #[error("the store {path} cannot be opened: {detail}")]
    Io {
        /// Where.
        path: String,
        /// Kind of the error.
        kind: ErrorKind,
        /// Words of the operating system.
        detail: String,
    },
}

/// Turns errors into those of the file they concern.
#[derive(Debug)]
pub(super) struct At<'a>(pub(super) &'a Path);

impl At<'_> {
    pub(super) fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn io(&self, error: &io::Error) -> OpenError {
        OpenError::Io { path: self.path(), kind: error.kind(), detail: error.to_string() }
    }

    fn foreign(&self, detail: &str) -> OpenError {
        OpenError::Foreign { path: self.path(), detail: detail.to_owned() }
    }

    fn damaged(&self, detail: String) -> OpenError {
        OpenError::Damaged { path: self.path(), detail }
    }

    pub(super) fn store(&self, error: StoreError) -> OpenError {
        match error {
            StoreError::Io { kind, detail } => OpenError::Io { path: self.path(), kind, detail },
            StoreError::Full { detail, .. } => {
                OpenError::Io { path: self.path(), kind: ErrorKind::StorageFull, detail }
            }
            other => self.damaged(other.to_string()),
        }
    }

    fn database(&self, error: DatabaseError) -> OpenError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: self.path() },
            DatabaseError::UpgradeRequired(version) => {
                self.foreign(&format!("a redb file of the old format {version}"))
            }
            // Reads beyond the end: the file is cut off.
            DatabaseError::Storage(StorageError::Io(error))
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                self.damaged(error.to_string())
            }
            DatabaseError::Storage(error) => self.store(error.into()),
            other => self.damaged(other.to_string()),
        }
    }

    /// Runs redb's opening. What it has no error for, it panics at.
    fn guard<D>(&self, open: impl FnOnce() -> Result<D, DatabaseError>) -> Result<D, OpenError> {
        match guard::attempt(open) {
            Ok(opened) => opened.map_err(|error| self.database(error)),
            Err(_) => Err(self.damaged("redb panicked while opening it".to_owned())),
        }
    }
}

fn builder(options: &StoreOptions) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_bytes);
    builder
}

/// Opens the file of `options`, creating it if asked to and there is none.
pub(super) fn file(options: &StoreOptions) -> Result<Database, OpenError> {
    let at = At(&options.path);
    match check_magic(&at) {
        Err(OpenError::Missing { .. }) if options.create => create(options)?,
        other => other?,
    }
    let database = at.guard(|| builder(options).open(&options.path))?;
    checked(&at, database)
}

/// Opens what `backend` holds, filling it first if asked to and it is empty.
pub(super) fn backend(backend: impl StorageBackend, options: &StoreOptions) -> Result<Database, OpenError> {
    let at = At(&options.path);
    let empty = backend.len().map_err(|error| at.io(&error))? == 0;
    if empty && !options.create {
        return Err(OpenError::Missing { path: at.path() });
    }
    let database = at.guard(|| builder(options).create_with_backend(backend))?;
    if options.create && guarded(|| is_blank(&database)).map_err(|error| at.store(error))? {
        guarded(|| initialise(&database)).map_err(|error| at.store(error))?;
    }
    checked(&at, database)
}

/// Opens the file of `options` without writing to it.
pub(super) fn read_only(options: &StoreOptions) -> Result<ReadOnlyDatabase, OpenError> {
    let at = At(&options.path);
    check_magic(&at)?;
    let database = match at.guard(|| Ok(builder(options).open_read_only(&options.path)))? {
        Ok(database) => database,
        Err(DatabaseError::RepairAborted) => {
            return Err(OpenError::Unclean { path: at.path() });
        }
        Err(error) => return Err(at.database(error)),
    };
    check_format(&at, &database)?;
    Ok(database)
}

/// A database whose format is known here.
fn checked(at: &At<'_>, database: Database) -> Result<Database, OpenError> {
    match check_format(at, &database) {
        Ok(()) => Ok(database),
        Err(error) => {
            // What is damaged may not close in order.
            guard::close(Some(database));
            Err(error)
        }
    }
}

fn check_magic(at: &At<'_>) -> Result<(), OpenError> {
    let mut file = match File::open(at.0) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(OpenError::Missing { path: at.path() }),
        Err(error) => return Err(at.io(&error)),
    };
    let mut magic = [0; MAGIC.len()];
    match file.read_exact(&mut magic) {
        Ok(()) if magic == *MAGIC => Ok(()),
        Ok(()) => Err(at.foreign("it does not begin like one")),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(at.foreign("it is empty or nearly so")),
        Err(error) => Err(at.io(&error)),
    }
}

/// Makes a store beside its place and moves it there: at its place there is never half a store.
fn create(options: &StoreOptions) -> Result<(), OpenError> {
    let at = At(&options.path);
    let mut name = options.path.clone().into_os_string();
    name.push(".new");
    let fresh = PathBuf::from(name);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at.io(&error)),
        _ => {}
    }
    let mut open = OpenOptions::new();
    open.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let file = open.open(&fresh).map_err(|error| at.io(&error))?;
    let database = at.guard(|| builder(options).create_file(file))?;
    initialise(&database).map_err(|error| at.store(error))?;
    drop(database);
    fs::rename(&fresh, &options.path).map_err(|error| at.io(&error))?;
    #[cfg(unix)]
    {
        let folder = options.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at.io(&error))?;
    }
    Ok(())
}

fn is_blank(database: &Database) -> Result<bool, StoreError> {
    Ok(database.begin_read()?.list_tables()?.next().is_none())
}

/// Makes the tables and states the format.
fn initialise(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    for table in Table::ALL {
        transaction.open_table(table.definition())?;
    }
    let key = [state::FORMAT];
    let value = with_sum(&key, FORMAT_VERSION.to_le_bytes().to_vec());
    transaction.open_table(Table::State.definition())?.insert(key.as_slice(), value.as_slice())?;
    Ok(transaction.commit()?)
}

fn check_format(at: &At<'_>, database: &impl ReadableDatabase) -> Result<(), OpenError> {
    match guarded(|| format(database)) {
        Ok(Some(FORMAT_VERSION)) => Ok(()),
        Ok(Some(found)) => Err(OpenError::Format { path: at.path(), found, supported: FORMAT_VERSION }),
        Ok(None) => Err(at.foreign("a redb file of another program")),
        Err(error) => Err(at.store(error)),
    }
}

/// The format that a store says it has; `None`: it is none.
fn format(database: &impl ReadableDatabase) -> Result<Option<u32>, StoreError> {
    let read = database.begin_read()?;
    let table = match read.open_table(Table::State.definition()) {
        Ok(table) => table,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let key = [state::FORMAT];
    let Some(value) = table.get(key.as_slice())? else { return Ok(None) };
    let body = without_sum(Table::State, &key, value.value())?;
    let found = Fields::new(Table::State, &key, body).u32()?;
    let held = read.list_tables()?.map(|table| table.name().to_owned()).collect::<Vec<_>>();
    let lacks = Table::ALL.into_iter().find(|table| !held.iter().any(|name| name == table.name()));
    match lacks.filter(|_| found == FORMAT_VERSION) {
        Some(table) => Err(StoreError::corrupt(table.name(), "the table is not there")),
        None => Ok(Some(found)),
    }
}
