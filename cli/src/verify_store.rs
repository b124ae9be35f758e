//! The one place that calls the node's offline check.

use std::path::Path;

use serde::Serialize;
use tombolo_node::store::OpenError;
use tombolo_node::verify::{self, VerifyError};

use crate::error::CliError;
use crate::target::{CollectionRef, EntityRef};

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verified {
    pub(crate) spaces: u64,
    pub(crate) entries: u64,
    pub(crate) entities: u64,
    pub(crate) differences: Vec<String>,
}

/// What came of one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct VerifiedEntity {
    pub(crate) entity: String,
    /// Changes that were folded.
    pub(crate) changes: u64,
    /// The revision they lead to.
    pub(crate) revision: Option<String>,
    pub(crate) present: bool,
    pub(crate) differences: Vec<String>,
}

/// Folds one entity again from its chain. `progress` hears (done, of).
pub(crate) fn entity(
    data: &Path,
    target: &EntityRef,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifiedEntity, CliError> {
    let store = data.join("store.redb");
    let CollectionRef { space, collection } = &target.collection;
    let name = verify::EntityName { space, collection, id: &target.id };
    let report = verify::entity(&store, name, &mut |_, done, of| progress(done, of)).map_err(|error| {
        CliError::failed(format!("{target} cannot be verified")).cause(cause(&store, &error)).hint(hint(&error))
    })?;
    Ok(VerifiedEntity {
        entity: target.to_string(),
        changes: report.changes,
        revision: report.revision.map(|revision| revision.to_string()),
        present: report.present,
        differences: report.findings.iter().map(|finding| format!("{}: {}", finding.place, finding.detail)).collect(),
    })
}

/// Names the store once: some errors do it themselves.
fn cause(store: &Path, error: &VerifyError) -> String {
    let (text, store) = (error.to_string(), store.display().to_string());
    if text.contains(&store) { text } else { format!("{store}: {text}") }
}

fn hint(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::NoSpace(_) | VerifyError::AmbiguousSpace(_) => "see the spaces with `tombolo space ls`",
        VerifyError::NoEntity(_) => "see what there is with `tombolo ls SPACE/COLLECTION`",
        VerifyError::Open(OpenError::Unclean { .. }) => {
            "copy the data directory to where it can be written, and verify the copy"
        }
        VerifyError::Open(OpenError::InUse { .. }) => "stop the node first: a store is verified at rest",
        _ => "",
    }
}

/// Recomputes every chain, seal and hash and folds every row again. `progress` hears (done, of).
pub(crate) fn run(data: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, CliError> {
    let store = data.join("store.redb");
    let report = verify::run(&store, &mut |_, done, of| progress(done, of)).map_err(|error| {
        CliError::failed("the store cannot be verified").cause(cause(&store, &error)).hint(hint(&error))
    })?;
    let mut differences: Vec<String> =
        report.findings.iter().map(|finding| format!("{}: {}", finding.place, finding.detail)).collect();
    let unlisted = report.differences - differences.len() as u64;
    if unlisted > 0 {
        differences.push(format!("and {unlisted} more"));
    }
    Ok(Verified { spaces: report.spaces, entries: report.entries, entities: report.rows, differences })
}
