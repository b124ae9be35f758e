//! The rows a bench works on: a file's, or generated ones that look like cities and are the same every time.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Load;
use crate::error::{CliError, Kind};
use crate::import::Source;

/// Ids that are kept, at most, and spread evenly: when there are so many, every other one goes.
const IDS_KEPT: usize = 40_000;

/// Rows in a file of the bench's own.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) path: PathBuf,
    pub(super) count: u64,
    /// Some of their ids.
    pub(super) ids: Vec<String>,
    /// Their JSON, all together.
    pub(super) bytes: u64,
}

impl Rows {
    /// Writes at most `limit` rows to `dir`.
    pub(super) fn prepare(dir: &Path, load: &Load, limit: u64) -> Result<Self, CliError> {
        let path = dir.join(format!("rows-{limit}.ndjson"));
        let failed = |error| CliError::file("writing", &path, &error);
        let mut out = BufWriter::new(File::create(&path).map_err(failed)?);
        let mut rows = Self { path: path.clone(), count: 0, ids: Vec::new(), bytes: 0 };
        let mut next = source(load)?;
        let mut every = 1;
        while rows.count < limit {
            let Some(row) = next()? else { break };
            out.write_all(&row).and_then(|()| out.write_all(b"\n")).map_err(failed)?;
            if rows.count.is_multiple_of(every) {
                rows.ids.push(id_of(&row, &load.id, rows.count)?);
            }
            if rows.ids.len() == IDS_KEPT {
                let mut keep = false;
                rows.ids.retain(|_| {
                    keep = !keep;
                    keep
                });
                every *= 2;
            }
            rows.count += 1;
            rows.bytes += row.len() as u64;
        }
        out.flush().map_err(failed)?;
        Ok(rows)
    }
}

type Next = Box<dyn FnMut() -> Result<Option<Vec<u8>>, CliError>>;

fn source(load: &Load) -> Result<Next, CliError> {
    let Some(path) = load.file.clone() else {
        let (mut number, field) = (0, load.id.clone());
        return Ok(Box::new(move || {
            number += 1;
            Ok(Some(generated(number - 1, &field)))
        }));
    };
    let failed = move |error| CliError::new(Kind::Io, format!("{} is not readable", path.display())).cause(error);
    let mut source = Source::file(load.file.as_deref().unwrap_or(Path::new("-"))).map_err(&failed)?;
    Ok(Box::new(move || {
        let mut row = Vec::new();
        Ok(source.next(&mut row).map_err(&failed)?.map(|_| row))
    }))
}

fn id_of(row: &[u8], field: &str, number: u64) -> Result<String, CliError> {
    let value: Value = serde_json::from_slice(row)
        .map_err(|error| CliError::failed(format!("row {} is no JSON", number + 1)).cause(error))?;
    match &value[field] {
        Value::String(id) => Ok(id.clone()),
        Value::Number(id) => Ok(id.to_string()),
        _ => {
            Err(CliError::failed(format!("row {} has no field `{field}`", number + 1))
                .hint("name the id with --id FIELD"))
        }
    }
}

/// A row like those of GeoNames.
pub(super) fn generated(number: u64, id_field: &str) -> Vec<u8> {
    let random = mix(number);
    let part = |shift: u32, range: u64| (random >> shift) % range;
    let syllables =
        ["ber", "lin", "os", "lo", "ham", "burg", "vil", "la", "san", "to", "mar", "kov", "ny", "stad", "ford", "ia"];
    let name: String = (0..3 + part(0, 3)).map(|i| syllables[part(4 * i as u32, 16) as usize]).collect();
    let country = [b'A' + part(8, 26) as u8, b'A' + part(13, 26) as u8];
    let row = json!({
        id_field: format!("c{number:06}"),
        "name": name,
        "country": String::from_utf8_lossy(&country),
        "admin1": format!("{:02}", part(20, 60)),
        "admin2": if part(26, 3) == 0 { String::new() } else { part(28, 9_999).to_string() },
        "lat": part(33, 18_000_000) as f64 / 1e5 - 90.0,
        "lng": part(29, 36_000_000) as f64 / 1e5 - 180.0,
    });
    row.to_string().into_bytes()
}

/// SplitMix64: well mixed, and the same for ever.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_rows_are_the_same_and_have_their_id() {
        let dir = tempfile::tempdir().expect("tempdir");
        let load = Load { entities: None, clients: 1, file: None, id: "no".to_owned() };
        let rows = Rows::prepare(dir.path(), &load, 100).expect("prepares");
        assert_eq!((rows.count, rows.ids.len(), rows.ids[99].as_str()), (100, 100, "c000099"));
        assert_eq!(generated(7, "id"), generated(7, "id"));
        let many = Rows::prepare(dir.path(), &load, 2 * IDS_KEPT as u64 + 1).expect("prepares");
        assert!((IDS_KEPT / 2..IDS_KEPT).contains(&many.ids.len()), "{}", many.ids.len());
        let numbers: Vec<u64> = many.ids.iter().filter_map(|id| id.strip_prefix('c')?.parse().ok()).collect();
        assert_eq!(numbers.len(), many.ids.len());
        assert!(numbers.iter().zip(0..).all(|(number, place)| *number == place * numbers[1]), "evenly");
        let load = Load { file: Some(rows.path.clone()), ..load };
        let again = Rows::prepare(dir.path(), &load, 10).expect("prepares");
        assert_eq!((again.count, again.ids[9].as_str()), (10, "c000009"));
    }
}
