//! The data directory of a node, as far as the command line reads it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{CliError, Kind};

/// Where a node keeps what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// What a running node writes about itself (`node.json`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeFile {
    pub(crate) pid: u32,
    pub(crate) listen: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl DataDir {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The given directory, else the platform's.
    pub(crate) fn locate(given: Option<&Path>) -> Result<Self, CliError> {
        if let Some(path) = given {
            return Ok(Self::at(path));
        }
        let dirs = directories::ProjectDirs::from("dev", "tombolo", "tombolo").ok_or_else(|| {
            CliError::new(Kind::Io, "there is no home directory to keep data in")
                .hint("name a directory with --data DIR")
        })?;
        Ok(Self::at(dirs.data_dir()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        debug_assert!(Path::new(name).components().count() == 1, "a file of the directory lies in it: {name}");
        self.path.join(name)
    }

    /// Whether `init` has been here.
    pub(crate) fn is_initialised(&self) -> bool {
        self.file("identity").exists()
    }

    /// Whether there is a store. A directory with a key and without one is made whole by `init`.
    pub(crate) fn has_store(&self) -> bool {
        self.file("store.redb").exists()
    }

    /// The file of the running node. A node that was killed leaves it behind: asking the address shows it.
    pub(crate) fn node_file(&self) -> Result<NodeFile, CliError> {
        let path = self.file("node.json");
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !self.is_initialised() => {
                CliError::not_running(&self.path, "there is no node in this directory yet")
            }
            io::ErrorKind::NotFound => CliError::not_running(&self.path, "the node in this directory is stopped"),
            _ => CliError::file("reading", &path, &error),
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| CliError::not_running(&self.path, format!("{} is not readable: {error}", path.display())))
    }

    /// The bearer token of the node's HTTP API.
    pub(crate) fn token(&self) -> Result<String, CliError> {
        let path = self.file("token");
        let text = fs::read_to_string(&path).map_err(|error| CliError::file("reading the token", &path, &error))?;
        Ok(text.trim().to_owned())
    }
}

impl NodeFile {
    /// Where to reach the API from this machine, also when the node listens on every address.
    pub(crate) fn http_here(&self) -> SocketAddr {
        here(self.http)
    }

    /// As [`NodeFile::http_here`], for QUIC.
    pub(crate) fn listen_here(&self) -> SocketAddr {
        here(self.listen)
    }
}

fn here(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_node_the_hint_names_the_directory() {
        let dir = tempfile::tempdir().expect("tempdir");
        let data = DataDir::at(dir.path());
        let error = data.node_file().expect_err("nothing there");
        assert_eq!(error.kind, Kind::NotRunning);
        assert!(error.hint.expect("hint").contains(&format!("--data {} run", dir.path().display())));
    }

    #[test]
    fn a_node_on_every_address_is_reached_on_loopback() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::write(dir.path().join("node.json"), r#"{"pid":1,"listen":"[::]:7700","http":"0.0.0.0:7701","node":"ab"}"#)
            .expect("write");
        let file = DataDir::at(dir.path()).node_file().expect("reads");
        assert_eq!(file.http_here().to_string(), "127.0.0.1:7701");
        assert_eq!(file.listen_here().to_string(), "[::1]:7700");
    }
}
