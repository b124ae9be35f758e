//! Writing a capsule: whole or not at all, and never over another one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::{
    CAPSULE_JSON, EVENTS_JSONL, ORIGINAL_PLAN_JSON, PLAN_JSON, README_TXT, REPRO_RS, SCENARIO_TOML, VERDICT_JSON,
};
use super::{Capsule, repro};
use crate::outcome::Verdict;

/// Numbers that are tried for the directory's name when there are capsules of the same seed from before.
const SAME_NAME_MAX: u32 = 1_000;

/// Why a capsule was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file or directory could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are too many capsules of this name.
    #[error("{} is there already, and so are 1,000 more of this name; remove some", .0.display())]
    Exists(PathBuf),
    /// The content of the capsule cannot be JSON.
    #[error("cannot write the capsule as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Capsule {
    /// Writes it, with `more` files (name, content) beside its own, into the directory `wanted`, or into `wanted-2`,
    /// `wanted-3`, … if it is there already. Says where it is now. Missing directories above are made.
    ///
    /// # Errors
    /// A file cannot be written. Then nothing is there, no part of the capsule either.
    pub fn write(&self, wanted: &Path, more: &[(&str, String)]) -> Result<PathBuf, WriteError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| WriteError::Io { path, source }
        };
        let above = wanted.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(above).map_err(failed(above))?;
        let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unfinished = above.join(format!(".{name}.{}.part", std::process::id()));
        let written = self.fill(&unfinished, more).and_then(|()| settle(&unfinished, above, &name));
        if written.is_err() {
            // What is left of it is named as unfinished; that it cannot be removed is no other error.
            fs::remove_dir_all(&unfinished).ok();
        }
        written
    }

    fn fill(&self, dir: &Path, more: &[(&str, String)]) -> Result<(), WriteError> {
        if dir.exists() {
            // Of a process of the same number that was killed.
            fs::remove_dir_all(dir).map_err(|source| WriteError::Io { path: dir.to_path_buf(), source })?;
        }
        fs::create_dir(dir).map_err(|source| WriteError::Io { path: dir.to_path_buf(), source })?;
        let mut events = String::new();
        for event in &self.events {
            events.push_str(&serde_json::to_string(event)?);
            events.push('\n');
        }
        let verdict = Verdict::Violated(self.violation.clone());
        let files = [
            (CAPSULE_JSON, pretty(&self.header)?),
            (ORIGINAL_PLAN_JSON, pretty(&self.original)?),
            (PLAN_JSON, pretty(&self.plan)?),
            (EVENTS_JSONL, events),
            (VERDICT_JSON, pretty(&verdict)?),
            (REPRO_RS, repro::test(self)?),
            (README_TXT, repro::readme(self)),
        ];
        let scenario = self.scenario_toml.clone().map(|text| (SCENARIO_TOML, text));
        let more = more.iter().map(|(name, content)| (*name, content.clone()));
        for (name, content) in files.into_iter().chain(scenario).chain(more) {
            let path = dir.join(name);
            fs::write(&path, content).map_err(|source| WriteError::Io { path, source })?;
        }
        Ok(())
    }
}

/// Gives a finished directory the first free name. A name is taken by making the directory, which of two that try only
/// one can; renaming replaces an empty directory.
fn settle(unfinished: &Path, above: &Path, name: &str) -> Result<PathBuf, WriteError> {
    for number in 1..=SAME_NAME_MAX {
        let path = if number == 1 { above.join(name) } else { above.join(format!("{name}-{number}")) };
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(source) => return Err(WriteError::Io { path, source }),
        }
        // Windows does not rename onto a directory.
        if cfg!(windows) {
            fs::remove_dir(&path).map_err(|source| WriteError::Io { path: path.clone(), source })?;
        }
        return match fs::rename(unfinished, &path) {
            Ok(()) => Ok(path),
            Err(source) => Err(WriteError::Io { path, source }),
        };
    }
    Err(WriteError::Exists(above.join(name)))
}

fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
