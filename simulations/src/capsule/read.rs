//! Reading a capsule: everything that is wrong with it is said with its file and line.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::files::{
    CAPSULE_JSON, EVENTS_JSONL, FILE_BYTES_MAX, ORIGINAL_PLAN_JSON, PLAN_JSON, SCENARIO_TOML, VERDICT_JSON,
};
use super::{Capsule, FORMAT, Header};
use crate::outcome::Verdict;
use crate::plan::Plan;
use crate::trace::Event;

/// Why a directory is no capsule that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleError {
    /// The file or directory.
    pub file: PathBuf,
    /// The line at fault, from 1, if it is one line.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
    /// What would be right.
    pub allowed: &'static str,
}

impl fmt::Display for CapsuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}; allowed: {}", self.reason, self.allowed)
    }
}

impl std::error::Error for CapsuleError {}

/// The only field that is the same in all versions.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Capsule {
    /// Reads a capsule's directory. Cost: that of its files, at most 1 GiB each.
    ///
    /// # Errors
    /// The capsule is of another version, a part is missing or damaged, or its plan cannot be carried out.
    pub fn read(dir: &Path) -> Result<Self, CapsuleError> {
        if !dir.is_dir() {
            let reason = if dir.exists() { "this is a file" } else { "there is no such directory" };
            return Err(wrong(dir, None, reason, "the directory of a capsule, as `tombolo sim run` writes it"));
        }
        let path = dir.join(CAPSULE_JSON);
        let text = load(&path)?;
        let Format { format } = parse(&path, &text, "`\"format\": 1` and the other fields of a capsule")?;
        if format != FORMAT {
            let reason = format!("this capsule has format {format}");
            return Err(wrong(&path, line_of(&text, "\"format\""), reason, ONE_FORMAT));
        }
        let header: Header = parse(&path, &text, "format, tombolo, scenario, seed, lane, source, minimal")?;
        let scenario_toml = match dir.join(SCENARIO_TOML) {
            path if path.exists() => Some(load(&path)?),
            _ => None,
        };
        Ok(Self {
            header,
            scenario_toml,
            original: plan(&dir.join(ORIGINAL_PLAN_JSON))?,
            plan: plan(&dir.join(PLAN_JSON))?,
            events: events(&dir.join(EVENTS_JSONL))?,
            violation: violation(&dir.join(VERDICT_JSON))?,
        })
    }
}

const ONE_FORMAT: &str =
    "format 1; replay it with the version of tombolo that wrote it, or run its scenario and seed again";
const A_PLAN: &str = "a plan as this version writes it";

fn plan(path: &Path) -> Result<Plan, CapsuleError> {
    let plan: Plan = parse(path, &load(path)?, A_PLAN)?;
    plan.check().map_err(|invalid| wrong(path, None, invalid.to_string(), A_PLAN))?;
    Ok(plan)
}

fn events(path: &Path) -> Result<Vec<Event>, CapsuleError> {
    let text = load(path)?;
    let event = |(line, text): (usize, &str)| {
        let problem = |error: serde_json::Error| wrong(path, Some(line), brief(&error), "one event a line, as JSON");
        serde_json::from_str(text).map_err(problem)
    };
    (1..).zip(text.lines()).map(event).collect()
}

fn violation(path: &Path) -> Result<crate::outcome::Violation, CapsuleError> {
    const A_VIOLATION: &str = "`{\"violated\": …}` with oracle, place, node, at, detail";
    match parse(path, &load(path)?, A_VIOLATION)? {
        Verdict::Violated(violation) => Ok(violation),
        Verdict::Held | Verdict::Inconclusive(_) => Err(wrong(path, None, "no violation", A_VIOLATION)),
    }
}

fn load(path: &Path) -> Result<String, CapsuleError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong(path, None, "this part of the capsule is missing", "a whole capsule"),
        std::io::ErrorKind::InvalidData => wrong(path, None, "not UTF-8", "UTF-8 text"),
        _ => wrong(path, None, error.to_string(), "a file that can be read"),
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(wrong(path, None, format!("it has {length} bytes"), "files up to 1 GiB"));
    }
    fs::read_to_string(path).map_err(failed)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str, allowed: &'static str) -> Result<T, CapsuleError> {
    serde_json::from_str(text).map_err(|error| wrong(path, Some(error.line()), brief(&error), allowed))
}

/// What serde says, without the line, which stands before it.
fn brief(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("{}, column {}", text.get(..end).unwrap_or_default(), error.column())
}

fn line_of(text: &str, part: &str) -> Option<usize> {
    (1..).zip(text.lines()).find(|(_, line)| line.contains(part)).map(|(number, _)| number)
}

fn wrong(file: &Path, line: Option<usize>, reason: impl Into<String>, allowed: &'static str) -> CapsuleError {
    CapsuleError { file: file.to_path_buf(), line, reason: reason.into(), allowed }
}
