//! How far an import of a file has come: kept in the data directory until it has ended.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::source::Place;
use crate::data_dir::DataDir;
use crate::error::CliError;

/// The saved place of one import. The file's name says which: a hash over the file's path, size and time, and what it
/// is imported into and how. A file that has changed is another import.
#[derive(Debug)]
pub(crate) struct Resume {
    path: PathBuf,
}

impl Resume {
    /// For importing `file` as `what` (target and key).
    pub(crate) fn of(data: &DataDir, file: &Path, what: &str) -> Result<Self, CliError> {
        let failed = |error| CliError::file("reading", file, &error);
        let full = fs::canonicalize(file).map_err(failed)?;
        let about = fs::metadata(&full).map_err(failed)?;
        let modified = about.modified().map_err(failed)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let key = serde_json::json!([full.to_string_lossy(), about.len(), modified.as_nanos().to_string(), what]);
        let name = blake3::hash(key.to_string().as_bytes()).to_hex();
        Ok(Self { path: data.file("imports").join(format!("{name}.json")) })
    }

    /// Where to go on. A file that cannot be read is as good as none: importing again changes nothing.
    pub(crate) fn load(&self) -> Option<Place> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Remembers a place before which everything is durable on the node.
    pub(crate) fn save(&self, place: Place) -> Result<(), CliError> {
        let save = || {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer(&mut file, &place)?;
            file.flush()?;
            file.persist(&self.path)?;
            Ok(())
        };
        save().map_err(|error| CliError::file("writing", &self.path, &error))
    }

    /// The import has ended, or is to begin again.
    pub(crate) fn forget(&self) {
        // What stays behind only makes the next import of the same file skip what it has imported.
        fs::remove_file(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_and_belongs_to_one_file_and_target() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (data, file) = (DataDir::at(dir.path().join("data")), dir.path().join("rows.ndjson"));
        fs::write(&file, "{}\n").expect("write");
        let resume = Resume::of(&data, &file, "shop/items id").expect("hashes");
        assert_eq!(resume.load(), None);
        let place = Place { line: 7, offset: 123 };
        resume.save(place).expect("saves");
        assert_eq!(Resume::of(&data, &file, "shop/items id").expect("hashes").load(), Some(place));
        assert_eq!(Resume::of(&data, &file, "shop/items name").expect("hashes").load(), None);
        fs::write(&file, "{}\n{}\n").expect("write");
        assert_eq!(Resume::of(&data, &file, "shop/items id").expect("hashes").load(), None);
        resume.forget();
        assert_eq!(resume.load(), None);
        fs::write(&resume.path, "nonsense").expect("write");
        assert_eq!(resume.load(), None);
    }
}
