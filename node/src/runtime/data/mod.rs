//! The data directory: key, token, store, name, and the note that says where the running node is.

mod error;
mod files;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tombolo_crdt::NodeId;
use tombolo_crdt::rules::NAME_BYTES_MAX;
use tombolo_transport::{Identity, IdentityError};

pub use error::DataError;
use files::{MODE_OPEN, MODE_SECRET, create_private_dir, overwrite_file, replace_file};

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

    /// Creates key, token, name and store. What an interrupted call has left is gone on with. Where the key is there
    /// and the store is gone a new, empty one is made for the key: a start draws new feeds, so nothing is written twice
    /// at one position, and members bring the spaces back once they are joined again.
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
        let spaces = store.reader().reading().and_then(|at| at.spaces()).map_or(1, |spaces| spaces.len());
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

    /// Notes where the running node is. On a volume without a free byte the note of an earlier run is written over in
    /// its place; one that is made anew then is refused by the system ([`DataError::says_full`]).
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

#[cfg(all(test, unix))]
mod tests;
