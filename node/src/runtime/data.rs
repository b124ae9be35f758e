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

    /// The store.
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

    /// Creates key, token, name and store.
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::Exists`] if there is a node already.
    pub fn init(&self, name: &str) -> Result<NodeId, DataError> {
        check_name(name)?;
        if self.identity().exists() {
            let node = Identity::load(&self.identity())?.node_id();
            return Err(DataError::Exists { path: self.root.clone(), node });
        }
        create_private_dir(&self.root)?;
        write_file(&self.name(), format!("{name}\n").as_bytes(), false)?;
        self.make_token()?;
        drop(Store::open(StoreOptions { create: true, ..StoreOptions::new(self.store()) })?);
        // Last: a directory with a key is a whole one.
        Ok(Identity::create(&self.identity())?.node_id())
    }

    pub(crate) fn load_identity(&self) -> Result<Identity, DataError> {
        match Identity::load(&self.identity()) {
            Err(IdentityError::Missing { .. }) => Err(DataError::NotInitialised { path: self.root.clone() }),
            other => Ok(other?),
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
        write_file(&self.token(), format!("{token}\n").as_bytes(), true)?;
        Ok(token)
    }

    /// What the running node says; `None`: none runs, as far as the directory tells.
    #[must_use]
    pub fn read_running(&self) -> Option<RunningNode> {
        serde_json::from_slice(&fs::read(self.running()).ok()?).ok()
    }

    pub(crate) fn write_running(&self, running: &RunningNode) -> Result<(), DataError> {
        let path = self.running();
        let text = serde_json::to_vec(running).expect("plain fields always encode");
        let fresh = path.with_extension("json.new");
        write_file(&fresh, &text, false)?;
        fs::rename(&fresh, &path).map_err(|source| DataError::Io { doing: "rename onto", path, source })
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

/// Writes a file and makes it durable. A secret one belongs to its owner alone and is never written over.
fn write_file(path: &Path, bytes: &[u8], secret: bool) -> Result<(), DataError> {
    let mut options = OpenOptions::new();
    options.write(true);
    if secret {
        options.create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
    } else {
        options.create(true).truncate(true);
    }
    let io = |doing| move |source| DataError::Io { doing, path: path.to_path_buf(), source };
    let mut file = options.open(path).map_err(io("create"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write"))
}
