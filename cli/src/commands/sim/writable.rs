//! Whether results can be written: asked before a campaign that may take hours, not after it.

use std::fs::{self, OpenOptions};
use std::path::Path;

use tombolo_sim::report::files::REPORT_JSON;

use crate::error::CliError;

/// Makes the directory of a report and opens a file in it.
pub(super) fn report(out: &Path) -> Result<(), CliError> {
    fs::create_dir_all(out).map_err(|error| CliError::file("making", out, &error))?;
    file(&out.join(REPORT_JSON))
}

/// Opens a file and leaves it, or its absence, as it was.
pub(super) fn file(path: &Path) -> Result<(), CliError> {
    let failed = |error| CliError::file("writing", path, &error);
    let was_there = path.exists();
    OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
    if was_there { Ok(()) } else { fs::remove_file(path).map_err(failed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_before_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("a/b");
        assert!(report(&out).is_ok());
        assert_eq!(fs::read_dir(&out).expect("it is there").count(), 0);
        let old = out.join("old.xml");
        fs::write(&old, "old").expect("written");
        assert!(file(&old).is_ok());
        assert_eq!(fs::read_to_string(&old).expect("it is there"), "old");
        assert!(file(&dir.path().join("no/such/place.xml")).is_err());
        assert!(report(&old).is_err(), "a file is no directory");
    }
}
