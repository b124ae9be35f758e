//! What was measured, and on what.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use crate::system::{Name, Programs};

/// The crates in this very program.
const LOCK: &str = include_str!("../Cargo.lock");

/// Versions by system, and the machine.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Versions {
    systems: BTreeMap<Name, String>,
    pub(crate) machine: String,
}

impl Versions {
    pub(crate) fn find(programs: &Programs, systems: &[Name]) -> Result<Self> {
        let mut versions = Self { systems: BTreeMap::new(), machine: machine() };
        for name in systems {
            let version = match name {
                Name::Tombolo => said(&programs.tombolo, "--version")?,
                Name::Samod => format!("samod {}", locked("samod")),
                Name::IrohDocs => format!("iroh-docs {} (iroh {})", locked("iroh-docs"), locked("iroh")),
                Name::Pouchdb => {
                    let (pouchdb, express) =
                        (installed(&programs.pouchdb, "pouchdb")?, installed(&programs.pouchdb, "express-pouchdb")?);
                    let node = said(&programs.node, "--version")?;
                    format!("PouchDB {pouchdb} (express-pouchdb {express}, Node.js {node})")
                }
            };
            versions.systems.insert(*name, version);
        }
        Ok(versions)
    }

    pub(crate) fn of(&self, name: Name) -> String {
        self.systems.get(&name).cloned().unwrap_or_else(|| format!("{name:?}"))
    }
}

/// The one-minute load average.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

fn said(program: &Path, what: &str) -> Result<String> {
    let output = Command::new(program).arg(what).output();
    let output = output.with_context(|| format!("{} does not run", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn locked(name: &str) -> &'static str {
    let mut lines = LOCK.lines();
    let wanted = format!("name = \"{name}\"");
    let found = lines.find(|line| *line == wanted).and_then(|_| lines.next());
    found.and_then(|line| line.strip_prefix("version = \"")).map_or("?", |version| version.trim_end_matches('"'))
}

fn installed(pouchdb: &Path, name: &str) -> Result<String> {
    let path = pouchdb.join("node_modules").join(name).join("package.json");
    let text = std::fs::read(&path).with_context(|| {
        format!("PouchDB is not installed: run `npm ci` in {}, or leave it out with --only", pouchdb.display())
    })?;
    let package: Value = serde_json::from_slice(&text)?;
    Ok(package["version"].as_str().unwrap_or("?").to_owned())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse().ok());
    let gigabytes = kib.map_or(0.0, |kib: f64| kib / 1024.0 / 1024.0);
    format!("{cores} cores, {gigabytes:.0} GiB, {} {}.", std::env::consts::OS, std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert_eq!((locked("samod"), locked("iroh-docs"), locked("no-such-crate")), ("0.16.0", "0.101.0", "?"));
    }
}
