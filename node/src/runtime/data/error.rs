//! Why a data directory cannot be used, with the way out.

use std::io;
use std::path::PathBuf;

use tombolo_crdt::NodeId;
use tombolo_crdt::rules::NAME_BYTES_MAX;
use tombolo_transport::IdentityError;

use crate::store::OpenError;

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
    /// There is a key and no store. The operator's business: the store was deleted, or the directory was copied in
    /// part.
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
