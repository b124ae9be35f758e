//! The one place that calls the node's offline check.

use std::path::Path;

use serde::Serialize;

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
    let _ = (data, progress);
    Err(CliError::failed("this build has no offline check"))
}
