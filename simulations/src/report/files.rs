//! What lies where in the directory that a campaign writes.
//!
//! ```text
//! out/report.json  report.html  report.txt  junit.xml
//! out/capsules/SCENARIO-SEED/diagram.html  shiviz.log  ...
//! ```

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::summary::{JunitError, Summary, junit, page, text};

/// The report as JSON.
pub const REPORT_JSON: &str = "report.json";
/// The report as a page with charts.
pub const REPORT_HTML: &str = "report.html";
/// The report as it was on the terminal.
pub const REPORT_TEXT: &str = "report.txt";
/// The report as CI reads it.
pub const JUNIT_XML: &str = "junit.xml";
/// The directory of the capsules.
pub const CAPSULES: &str = "capsules";
/// In a capsule: the space-time diagram.
pub const DIAGRAM_HTML: &str = "diagram.html";
/// In a capsule: the log for ShiViz.
pub const SHIVIZ_LOG: &str = "shiviz.log";

/// Most characters of a scenario in a path.
const NAME_CHARS_MAX: usize = 80;

/// Name of a capsule's directory: the scenario with everything but letters, digits, `.`, `_` and `-` replaced, and the
/// seed.
#[must_use]
pub fn capsule_name(scenario: &str, seed: u64) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = scenario.trim_start_matches('.').chars().take(NAME_CHARS_MAX).map(plain).collect();
    format!("{name}-{seed}")
}

/// A capsule's directory within the directory `out`.
#[must_use]
pub fn capsule_dir(out: &Path, scenario: &str, seed: u64) -> PathBuf {
    out.join(CAPSULES).join(capsule_name(scenario, seed))
}

/// Why a report was not written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The numbers cannot be JSON.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The results cannot be XML.
    #[error("cannot write the report as XML: {0}")]
    Junit(#[from] JunitError),
}

/// Writes a report in all its forms into the directory `out`, which is made if it is not there.
///
/// # Errors
/// A file cannot be written. Those before it are there then.
pub fn write_report(out: &Path, summary: &Summary) -> Result<(), ReportError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ReportError::Io { path, source }
    };
    std::fs::create_dir_all(out).map_err(failed(out))?;
    let json = serde_json::to_string_pretty(summary)? + "\n";
    let forms =
        [(REPORT_JSON, json), (REPORT_HTML, page(summary)), (REPORT_TEXT, text(summary)), (JUNIT_XML, junit(summary)?)];
    for (name, content) in forms {
        let path = out.join(name);
        std::fs::write(&path, content).map_err(failed(&path))?;
    }
    Ok(())
}

/// A word as a POSIX shell takes it for one word.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
