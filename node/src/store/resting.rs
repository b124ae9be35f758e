//! A store that nobody writes to, for those who only look: also on a volume that cannot be written.

use std::fmt;
use std::io::ErrorKind;

use redb::{ReadOnlyDatabase, ReadableDatabase};

use super::guard::guarded;
use super::open::{self, OpenError, StoreOptions};
use super::{Reading, Store, StoreError};

/// A store at rest. Nothing is written to it but what redb writes when it opens and closes a file that it may write.
pub struct Resting(Inner);

enum Inner {
    Writable(Store),
    ReadOnly(ReadOnlyDatabase),
}

impl fmt::Debug for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_writable = matches!(self.0, Inner::Writable(_));
        f.debug_struct("Resting").field("is_writable", &is_writable).finish_non_exhaustive()
    }
}

impl Resting {
    /// Opens a store as it is. Where it cannot be written, it is opened for reading alone; it must have been closed in
    /// order then.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: StoreOptions) -> Result<Self, OpenError> {
        let options = StoreOptions { mend: false, create: false, ..options };
        match Store::open(options.clone()) {
            Ok(store) => Ok(Self(Inner::Writable(store))),
            Err(OpenError::Io { kind: ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, .. }) => {
                Self::read_only(&options)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn read_only(options: &StoreOptions) -> Result<Self, OpenError> {
        Ok(Self(Inner::ReadOnly(open::read_only(options)?)))
    }

    /// Its state.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be read.
    pub fn reading(&self) -> Result<Reading, StoreError> {
        match &self.0 {
            Inner::Writable(store) => store.reader().reading(),
            Inner::ReadOnly(database) => guarded(|| Ok::<_, StoreError>(Reading::new(database.begin_read()?))),
        }
    }
}
