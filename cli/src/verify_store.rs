//! The one place that calls the node's offline check.

use std::path::Path;

use serde::Serialize;
use tombolo_node::verify;

use crate::error::CliError;

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verified {
    pub(crate) spaces: u64,
    pub(crate) entries: u64,
    pub(crate) entities: u64,
    pub(crate) differences: Vec<String>,
}

/// Recomputes every chain, seal and hash and folds every row again. `progress` hears (done, of).
pub(crate) fn run(data: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, CliError> {
    let store = data.join("store.redb");
    let report = verify::run(&store, &mut |_, done, of| progress(done, of))
        .map_err(|error| CliError::failed(format!("{} cannot be verified: {error}", store.display())))?;
    let mut differences: Vec<String> =
        report.findings.iter().map(|finding| format!("{}: {}", finding.place, finding.detail)).collect();
    let unlisted = report.differences - differences.len() as u64;
    if unlisted > 0 {
        differences.push(format!("and {unlisted} more"));
    }
    Ok(Verified { spaces: report.spaces, entries: report.entries, entities: report.rows, differences })
}
