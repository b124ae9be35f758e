//! The data directory: key, token, store, name, and the note that says where the running node is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tombolo_crdt::NodeId;
use tombolo_crdt::rules::NAME_BYTES_MAX;
use tombolo_transport::{Identity, IdentityError};

use crate::store::{OpenError, Store, StoreOptions};

/// Random bytes of the API token; the file holds them in hexadecimal.
const TOKEN_BYTES: usize = 32;
/// Most bytes of a token file that are read: the digits and a line feed, with room for an editor's additions.
const TOKEN_FILE_BYTES_MAX: u64 = 256;

/// Where the parts of a data directory are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// What `node.json` says while a node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningNode {
    /// Its process.
    pub pid: u32,
    /// Where it listens for nodes (UDP).
    pub listen: SocketAddr,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Its key.
    pub node: String,
}

/// Why a data directory cannot be used. Existing files are left as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is no node in it.
    #[error("there is no node in {}; create one with `tombolo init --data {}`", path.display(), path.display())]
    NotInitialised {
        /// The directory.
        path: PathBuf,
    },
    /// `init` where there is a node.
    #[error("{} holds the node {node} already; use it, or choose another directory", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
        /// Its node.
        node: NodeId,
    },
    /// There is a key and no store. The operator's business: the store was deleted, or the directory was copied in part.
    #[error(
        "the store {} is gone; the key of node {node} is there. Put the store back from a copy; or make a new, empty one for this key with `tombolo --data {} init` and join the node's spaces again with new tickets: members have them, what nobody else had is lost", path.display(), root.display()
    )]
    StoreGone {
        /// The store's place.
        path: PathBuf,
        /// The directory.
        root: PathBuf,
        /// The node whose key is there.
        node: NodeId,
    },
    /// There is a store with spaces and no key.
    #[error(
        "the key {} is gone, and the store beside it holds spaces: put the key back from a copy. Without one, move the directory away, make a new node with `tombolo init` and join the spaces again with new tickets", path.display()
    )]
    KeyGone {
        /// The key's place.
        path: PathBuf,
    },
    /// Another process has the directory.
    #[error("a node runs on {0} already{pid}; `tombolo --data {0} status` shows it", path.display())]
    Running {
        /// The directory.
        path: PathBuf,
        /// The other node's process, in words; empty: not known.
        pid: String,
    },
    /// The name does not fit into a roster.
    #[error("a node's name has 1 to {NAME_BYTES_MAX} bytes and no control characters; `{name}` does not")]
    Name {
        /// The name.
        name: String,
    },
    /// The key cannot be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store cannot be opened or made. If another process has it: stop that one first.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The token file is not one.
    #[error("{} is not an API token ({reason}); delete it and a new one is made at the next start", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// Others can read the token. Whoever has had it can read and write all of the node.
    #[error(
        "{0} has mode {mode:04o}: others can reach the API token. Delete it, and a new one is made at the next start; or if nobody else had access: chmod 600 {0}", path.display()
    )]
    TokenOpen {
        /// The file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The system has no randomness to give.
    #[error("the system's random source failed: {0}")]
    Random(String),
}

impl DataError {
    /// Whether the volume has no room.
    #[must_use]
    pub fn says_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }
}

impl DataDir {
    /// The directory at `root`; nothing is touched.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The node's key.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The API token.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.root.join("token")
    }

    /// The file of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// The node's name, one line.
    #[must_use]
    pub fn name(&self) -> PathBuf {
        self.root.join("name")
    }

    /// What the running node says about itself.
    #[must_use]
    pub fn running(&self) -> PathBuf {
        self.root.join("node.json")
    }

    /// Creates key, token, name and store. What an interrupted call has left is gone on with. Where the key is there and
    /// the store is gone a new, empty one is made for the key: a start draws new feeds, so nothing is written twice at one
    /// position, and members bring the spaces back once they are joined again.
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::Exists`] if there is a whole node already.
    pub fn init(&self, name: &str) -> Result<NodeId, DataError> {
        check_name(name)?;
        create_private_dir(&self.root)?;
        let identity = match Identity::load(&self.identity()) {
            Ok(identity) if self.store().exists() => {
                return Err(DataError::Exists { path: self.root.clone(), node: identity.node_id() });
            }
            Ok(identity) => Some(identity),
            Err(IdentityError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if identity.is_none() {
            self.check_blank()?;
        }
        replace_file(&self.name(), format!("{name}\n").as_bytes(), MODE_OPEN)?;
        match self.load_token() {
            // Nobody can have used the token of a node that was never whole.
            Err(DataError::Token { .. }) if identity.is_none() => drop(self.make_token()?),
            token => drop(token?),
        }
        drop(Store::open(StoreOptions { create: true, ..StoreOptions::new(self.store()) })?);
        match identity {
            Some(identity) => Ok(identity.node_id()),
            // Last: a directory with a key and a store is a whole one.
            None => Ok(Identity::create(&self.identity())?.node_id()),
        }
    }

    /// Refuses to make a key beside a store that another key has filled.
    fn check_blank(&self) -> Result<(), DataError> {
        if !self.store().exists() {
            return Ok(());
        }
        let store = Store::open(StoreOptions::new(self.store()))?;
        let spaces = store.reader().snapshot().and_then(|at| at.spaces()).map_or(1, |spaces| spaces.len());
        if spaces > 0 { Err(DataError::KeyGone { path: self.identity() }) } else { Ok(()) }
    }

    pub(crate) fn load_identity(&self) -> Result<Identity, DataError> {
        match Identity::load(&self.identity()) {
            Err(IdentityError::Missing { .. }) => {
                self.check_blank()?;
                Err(DataError::NotInitialised { path: self.root.clone() })
            }
            other => Ok(other?),
        }
    }

    /// Opens the store for the node that has this directory.
    pub(crate) fn open_store(&self, cache_bytes: usize, node: NodeId) -> Result<Store, DataError> {
        let options = StoreOptions { create: false, cache_bytes, ..StoreOptions::new(self.store()) };
        Store::open(options).map_err(|error| match error {
            OpenError::Missing { .. } => DataError::StoreGone { path: self.store(), root: self.root.clone(), node },
            OpenError::InUse { .. } => {
                let pid = self.read_running().map_or_else(String::new, |running| format!(", process {}", running.pid));
                DataError::Running { path: self.root.clone(), pid }
            }
            other => other.into(),
        })
    }

    /// Warns if others can put files of theirs into the directory.
    pub(crate) fn warn_if_open(&self) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&self.root).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
            if mode & 0o022 != 0 {
                let path = self.root.display();
                tracing::warn!(
                    "others can write in {path} (mode {mode:04o}) and replace the node's files: chmod 700 {path}"
                );
            }
        }
    }

    pub(crate) fn load_name(&self) -> Result<String, DataError> {
        let path = self.name();
        let name = match fs::read_to_string(&path) {
            Ok(name) => name.trim_end_matches('\n').to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "node".to_owned(),
            Err(source) => return Err(DataError::Io { doing: "read", path, source }),
        };
        check_name(&name)?;
        Ok(name)
    }

    /// The API token, made if there is none.
    ///
    /// # Errors
    /// [`DataError::Token`], [`DataError::Io`], [`DataError::Random`].
    pub fn load_token(&self) -> Result<String, DataError> {
        let path = self.token();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.make_token(),
            Err(source) => return Err(DataError::Io { doing: "open", path, source }),
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let metadata =
                file.metadata().map_err(|source| DataError::Io { doing: "look at", path: path.clone(), source })?;
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(DataError::TokenOpen { path, mode });
            }
        }
        let mut text = String::new();
        let read = file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|source| DataError::Io { doing: "read", path: path.clone(), source })?;
        let token = text.trim();
        if token.len() < TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "it must have at least 32 printable characters";
            return Err(DataError::Token { path, reason });
        }
        Ok(token.to_owned())
    }

    fn make_token(&self) -> Result<String, DataError> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| DataError::Random(error.to_string()))?;
        let token = blake3::Hash::from_bytes(bytes).to_hex().to_string();
        replace_file(&self.token(), format!("{token}\n").as_bytes(), MODE_SECRET)?;
        Ok(token)
    }

    /// What the running node says; `None`: none runs, as far as the directory tells.
    #[must_use]
    pub fn read_running(&self) -> Option<RunningNode> {
        serde_json::from_slice(&fs::read(self.running()).ok()?).ok()
    }

    /// Notes where the running node is. On a volume without a free byte the note of an earlier run is written over in its
    /// place; one that is made anew then is refused by the system ([`DataError::says_full`]).
    pub(crate) fn write_running(&self, running: &RunningNode) -> Result<(), DataError> {
        let path = self.running();
        let text = serde_json::to_vec(running).expect("plain fields always encode");
        match replace_file(&path, &text, MODE_OPEN) {
            Err(error) if error.says_full() && path.exists() => overwrite_file(&path, &text),
            done => done,
        }
    }

    pub(crate) fn remove_running(&self) {
        if let Err(error) = fs::remove_file(self.running()) {
            tracing::warn!(%error, "node.json could not be removed");
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), DataError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(DataError::Name { name: name.chars().take(NAME_BYTES_MAX).collect() });
    }
    Ok(())
}

fn create_private_dir(path: &Path) -> Result<(), DataError> {
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
const MODE_SECRET: u32 = 0o600;
/// Permission bits of a file that others may read.
const MODE_OPEN: u32 = 0o644;

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

/// Writes a file beside its place, durably, and moves it there: at its place there is never half of it, and a link there is
/// replaced, not followed. Its permissions are `mode` whatever the process masks.
fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DataError> {
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
fn overwrite_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let written = no_links().open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    });
    written.map_err(|source| DataError::Io { doing: "write", path: path.to_path_buf(), source })
}

#[cfg(all(test, unix))]
mod tests;
