//! Reading and writing of key files; the format is described one level up.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::IdentityError;

pub(super) fn encode(key: &SigningKey) -> Zeroizing<String> {
    let seed = Zeroizing::new(key.to_bytes());
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES));
    let secret = Zeroizing::new(HEXLOWER.encode(seed.as_ref()));
    text.push_str(HEADER);
    for (label, value) in [(SECRET, secret.as_str()), (PUBLIC, &HEXLOWER.encode(key.verifying_key().as_bytes()))] {
        text.push_str(label);
        text.push_str(value);
        text.push('\n');
    }
    debug_assert_eq!(text.len(), FILE_BYTES);
    text
}

pub(super) fn decode(path: &Path, text: &[u8]) -> Result<SigningKey, IdentityError> {
    let damaged = |what| IdentityError::Damaged { path: path.to_path_buf(), what };
    check_version(path, text)?;
    if text.len() != FILE_BYTES {
        let (bytes, expected) = (text.len() as u64, FILE_BYTES as u64);
        return Err(IdentityError::Length { path: path.to_path_buf(), bytes, expected });
    }
    let rest = text.strip_prefix(HEADER.as_bytes()).ok_or(damaged("the first line is not a key file's"))?;
    let (secret, rest) = line(rest, SECRET).ok_or(damaged("the `secret` line is not one"))?;
    let (public, rest) = line(rest, PUBLIC).ok_or(damaged("the `public` line is not one"))?;
    if !rest.is_empty() {
        return Err(damaged("it has more lines than a key file"));
    }
    let key = SigningKey::from_bytes(&secret);
    if key.verifying_key().as_bytes() != &*public {
        return Err(damaged("secret and public key do not belong together"));
    }
    Ok(key)
}

/// A newer version is told apart from damage, whatever its length.
fn check_version(path: &Path, text: &[u8]) -> Result<(), IdentityError> {
    let first = text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(version) = first.strip_prefix(MAGIC.as_bytes()).and_then(|rest| rest.strip_suffix(b"\n")) else {
        return Ok(());
    };
    if first != HEADER.as_bytes() && !version.is_empty() && version.iter().all(u8::is_ascii_digit) {
        let found = String::from_utf8_lossy(version).into_owned();
        return Err(IdentityError::Version { path: path.to_path_buf(), found });
    }
    Ok(())
}

/// The 32 bytes of one labelled line, and what follows it.
fn line<'a>(text: &'a [u8], label: &str) -> Option<(Zeroizing<[u8; 32]>, &'a [u8])> {
    let (digits, rest) = text.strip_prefix(label.as_bytes())?.split_at_checked(64)?;
    let rest = rest.strip_prefix(b"\n")?;
    let mut bytes = Zeroizing::new([0; 32]);
    HEXLOWER.decode_mut(digits, bytes.as_mut()).ok()?;
    Some((bytes, rest))
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let io = |doing| move |source| IdentityError::Io { doing, path: path.to_path_buf(), source };
    let shown = path.metadata().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing { path: path.to_path_buf() },
        _ => io("read")(source),
    })?;
    // Opening a pipe or a device could block or do things: looked at before, and what was opened is looked at again.
    if !shown.is_file() {
        return Err(IdentityError::NotAFile { path: path.to_path_buf() });
    }
    let file = File::open(path).map_err(io("open"))?;
    let opened = file.metadata().map_err(io("read"))?;
    if !opened.is_file() {
        return Err(IdentityError::NotAFile { path: path.to_path_buf() });
    }
    if let Some(mode) = reachable_by_others(&opened) {
        return Err(IdentityError::Permissions { path: path.to_path_buf(), mode });
    }
    if opened.len() > READ_BYTES_MAX {
        let (bytes, expected) = (opened.len(), FILE_BYTES as u64);
        return Err(IdentityError::Length { path: path.to_path_buf(), bytes, expected });
    }
    // Capacity up front: a growing vector would leave copies of the secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(READ_BYTES_MAX as usize + 1));
    file.take(READ_BYTES_MAX).read_to_end(&mut text).map_err(io("read"))?;
    Ok(text)
}

pub(super) fn save(path: &Path, text: &str) -> Result<(), IdentityError> {
    let io = |doing| move |source| IdentityError::Io { doing, path: path.to_path_buf(), source };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    owner_only(&mut options);
    let mut file = options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path.to_path_buf() },
        _ => io("create")(source),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.map_err(io("write")).and_then(|()| sync_directory(path)) {
        // Half a key must not stay: `load` would refuse it for ever.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), IdentityError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let synced = File::open(&parent).and_then(|directory| directory.sync_all());
    synced.map_err(|source| IdentityError::Io { doing: "sync the directory", path: parent, source })
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}

/// The permission bits, if they let anybody in but the owner.
#[cfg(unix)]
fn reachable_by_others(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn reachable_by_others(_: &std::fs::Metadata) -> Option<u32> {
    None
}

const MAGIC: &str = "tombolo-key ";
const HEADER: &str = "tombolo-key 1\n";
const SECRET: &str = "secret ";
const PUBLIC: &str = "public ";
const FILE_BYTES: usize = HEADER.len() + SECRET.len() + PUBLIC.len() + 2 * (64 + 1);

/// Enough to see the version of a longer, newer file.
const READ_BYTES_MAX: u64 = 4_096;
