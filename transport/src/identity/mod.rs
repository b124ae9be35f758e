//! The key of a node, or of a founder, and the file it lives in.
//!
//! The file is text, three lines, each ended by a line feed, 158 bytes in all:
//!
//! ```text
//! tombolo-key 1
//! secret <64 lowercase hexadecimal digits: the Ed25519 seed>
//! public <64 lowercase hexadecimal digits: the node id>
//! ```
//!
//! The first line names the format and its version. The public line is redundant: it lets people read the node id and
//! shows damage. The file belongs to one user alone (mode 0600 or narrower); it is never rewritten.

mod file;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use tombolo_crdt::NodeId;
use zeroize::Zeroizing;

/// An Ed25519 key pair. Cloning shares it; the secret is wiped from memory with the last clone and is never shown.
#[derive(Clone)]
pub struct Identity {
    key: Arc<SigningKey>,
}

impl Identity {
    /// Draws a new key from the operating system.
    ///
    /// # Errors
    /// [`IdentityError::Random`] if the system has no randomness to give.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| IdentityError::Random { reason: error.to_string() })?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a given Ed25519 seed: for tests and simulations.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: Arc::new(SigningKey::from_bytes(seed)) }
    }

    /// Generates a key and writes it to a new file at `path`, readable by its owner alone. When this returns, the file
    /// and its directory entry are on disk.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] if there is a file; it is left alone. [`IdentityError::Io`] otherwise; nothing stays.
    pub fn create(path: &Path) -> Result<Self, IdentityError> {
        let identity = Self::generate()?;
        identity.save(path)?;
        Ok(identity)
    }

    /// Writes this key to a new file, as [`Identity::create`] does: for a founder key that is kept apart.
    ///
    /// # Errors
    /// As [`Identity::create`].
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        file::save(path, &file::encode(&self.key))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`IdentityError`]; each says what to do. Nothing was changed.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = file::read(path)?;
        let key = file::decode(path, &text)?;
        Ok(Self { key: Arc::new(key) })
    }

    /// The public key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(self.key.verifying_key().to_bytes())
    }

    /// Signs a message (Ed25519, RFC 8032: deterministic). The caller's message begins with its domain's tag.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The key itself, for code that signs by other means. It shares the care for the secret.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// A key that only this node can derive and that survives restarts, for uses other than signing.
    pub(crate) fn derived(&self, context: &str) -> [u8; 32] {
        let seed = Zeroizing::new(self.key.to_bytes());
        blake3::derive_key(context, seed.as_ref())
    }
}

/// Shows the public half only.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("node_id", &self.node_id()).finish_non_exhaustive()
    }
}

/// Why there is no key. The text says what to do; nothing was changed, existing files least of all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The operating system has no randomness (never seen on a healthy machine).
    #[error("the system's random source failed: {reason}; repair the machine before making keys on it")]
    Random {
        /// What the system said.
        reason: String,
    },
    /// `create` or `save` onto an existing file. Operator's to decide: keys are not overwritten.
    #[error(
        "{} exists already and a key is never overwritten; use it, or move it away first", path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// `load` without a file.
    #[error("there is no key file at {}; create one, or restore it from where you keep it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may use the file.
    #[error(
        "{} has mode {mode:04o}: others can reach the secret key. If nobody else had access: chmod 600 {}; \
         otherwise make a new node in another directory, join its spaces with new tickets, and run this one no more", path.display(), path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// Not a regular file.
    #[error("{} is not a regular file; give the path of a key file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A key file must have exactly one length.
    #[error(
        "{} has {bytes} bytes, a key file has {expected}: it is cut off or something else; restore it from a copy \
         (a node that has never run may delete it and create another)", path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The length of a key file.
        expected: u64,
    },
    /// Written by a newer Tombolo.
    #[error("{} is a key file of a version this program does not know ({found}); use a newer one", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: String,
    },
    /// Right length, wrong content.
    #[error("{} is damaged ({what}); restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// The file system said no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
