//! How much room is left, so that writes are refused before redb meets a full disk and latches.

use std::fmt;
use std::io;

/// Most that is kept free (64 MiB): what a few of the largest steps may take before the next check.
pub const RESERVE_BYTES_MAX: u64 = 64 << 20;
/// Least that is kept free (16 MiB): one largest step with redb's copies of the pages it touches.
pub const RESERVE_BYTES_MIN: u64 = 16 << 20;
/// Between these two the reserve is the volume's size divided by this (1 %).
pub const RESERVE_DIVISOR: u64 = 100;

const _: () = assert!(RESERVE_BYTES_MIN <= RESERVE_BYTES_MAX && RESERVE_DIVISOR > 0, "the reserve has a range");

/// Room on the volume that holds the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Bytes this process may still write.
    pub free: u64,
    /// Its size in bytes.
    pub total: u64,
}

impl Volume {
    /// What is to be kept free on it.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        (self.total / RESERVE_DIVISOR).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
    }
}

/// Says how much room there is. Asked once or twice per step.
pub trait SpaceProbe: fmt::Debug + Send + Sync {
    /// Room at this moment.
    ///
    /// # Errors
    /// The operating system does not say.
    fn volume(&self) -> io::Result<Volume>;
}

/// A volume that never fills: for tests and simulations without a full disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Endless;

impl SpaceProbe for Endless {
    fn volume(&self) -> io::Result<Volume> {
        Ok(Volume { free: u64::MAX, total: u64::MAX })
    }
}

/// The volume that holds a file.
#[derive(Clone, Debug)]
pub(super) struct FileVolume(pub(super) std::path::PathBuf);

impl SpaceProbe for FileVolume {
    #[cfg(unix)]
    fn volume(&self) -> io::Result<Volume> {
        let stat = rustix::fs::statvfs(&self.0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Volume { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }

    #[cfg(not(unix))]
    fn volume(&self) -> io::Result<Volume> {
        Endless.volume()
    }
}
