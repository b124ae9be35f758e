//! A disk in memory: it survives its node, can be copied, and can be full.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;
use tombolo_node::store::{SpaceProbe, Volume};

/// Size of every disk: 1 GiB.
const DISK_BYTES: u64 = 1 << 30;

/// A disk; clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    free: AtomicU64,
    failing: AtomicBool,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self::holding(Vec::new())
    }

    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner {
            bytes: Mutex::new(bytes),
            free: AtomicU64::new(DISK_BYTES),
            failing: AtomicBool::new(false),
        }))
    }

    /// Another disk with the same content: what a node finds that is started after a kill, or on an old image.
    pub(crate) fn image(&self) -> Self {
        Self::holding(self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Says how much is free from now on.
    pub(crate) fn set_free(&self, bytes: Option<u64>) {
        self.0.free.store(bytes.unwrap_or(DISK_BYTES), Ordering::SeqCst);
    }

    /// Lets every write and sync fail from now on, or work again.
    pub(crate) fn set_failing(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::SeqCst);
    }

    pub(crate) fn cut_power_after(&self, _operations: u64) {}
    pub(crate) fn has_tripped(&self) -> bool {
        false
    }
    pub(crate) fn power(&self) {}
    pub(crate) fn crash(&self, _unsynced: crate::plan::Unsynced, _seed: u64) {}
    pub(crate) fn fail_once_after(&self, _operations: u64) {}
    pub(crate) fn flip_bits(&self, _count: u32, _seed: u64) {}

    fn check(&self) -> io::Result<()> {
        match self.0.failing.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the disk fails")),
            false => Ok(()),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&mut Vec<u8>) -> io::Result<T>) -> io::Result<T> {
        run(&mut self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn beyond() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the file")
}

fn span(offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(|_| beyond())?;
    Ok(start..start.checked_add(length).ok_or_else(beyond)?)
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| Ok(bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let span = span(offset, out.len())?;
        self.with(|bytes| bytes.get(span).map(|from| out.copy_from_slice(from)).ok_or_else(beyond))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| beyond())?;
        self.with(|bytes| {
            bytes.resize(len, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let span = span(offset, data.len())?;
        self.with(|bytes| bytes.get_mut(span).map(|to| to.copy_from_slice(data)).ok_or_else(beyond))
    }
}

impl SpaceProbe for Disk {
    fn volume(&self) -> io::Result<Volume> {
        Ok(Volume { free: self.0.free.load(Ordering::SeqCst), total: DISK_BYTES })
    }
}
