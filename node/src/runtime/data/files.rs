//! Writing files so that there is never half of one at its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::DataError;

pub(super) fn create_private_dir(path: &Path) -> Result<(), DataError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    let io = |source| DataError::Io { doing: "create", path: path.to_path_buf(), source };
    builder.create(path).map_err(io)
}

/// Permission bits of a file that its owner alone may read.
pub(super) const MODE_SECRET: u32 = 0o600;
/// Permission bits of a file that others may read.
pub(super) const MODE_OPEN: u32 = 0o644;

/// Options that never follow a symbolic link at the path's end.
fn no_links() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

/// Writes a file beside its place, durably, and moves it there: at its place there is never half of it, and a link
/// there is replaced, not followed. Its permissions are `mode` whatever the process masks.
pub(super) fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DataError> {
    let io = |doing| move |source| DataError::Io { doing, path: path.to_path_buf(), source };
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("write")(error)),
        _ => {}
    }
    let mut options = no_links();
    options.create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(&fresh).and_then(|mut file| {
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    if written.is_err() {
        // What is left of it would be removed by the next call, too.
        drop(fs::remove_file(&fresh));
    }
    written.map_err(io("write"))?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("make durable"))?;
    }
    #[cfg(not(unix))]
    let _ = mode;
    Ok(())
}

/// Writes over what is in a file, which takes no room where it is not longer.
pub(super) fn overwrite_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let written = no_links().open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    });
    written.map_err(|source| DataError::Io { doing: "write", path: path.to_path_buf(), source })
}
