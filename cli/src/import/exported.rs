//! An export brought back: every line says itself where it belongs.
//!
//! Rows go to the node in transactions, so that what they become is durable batch by batch. A batch with a bad row is
//! refused whole; its rows then go one by one, and the bad one is named.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tombolo_crdt::entity::VIEW_BYTES_MAX;
use tombolo_crdt::entry::{ENTRY_BYTES_MAX, ENTRY_CHANGES_MAX};

use super::upload::{bad_row, is_of_a_row, stopped};
use super::{Counts, Event, Source, SourceError};
use crate::client::Api;
use crate::error::{CliError, Kind};
use crate::human;
use crate::target::{ScopeRef, space_path};

/// Rows in a batch: a transaction takes up to 4,096.
const BATCH_ROWS: usize = 512;
/// Bytes of rows after which a batch goes: with one more row of 1 MiB it is below the 4 MiB of a transaction.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

const _: () = assert!(BATCH_ROWS <= ENTRY_CHANGES_MAX, "a batch is a transaction");
const _: () = assert!(BATCH_BYTES + VIEW_BYTES_MAX < ENTRY_BYTES_MAX, "a batch with one more row is a transaction");

/// One line of an export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    collection: String,
    id: String,
    value: Box<RawValue>,
}

#[derive(Serialize)]
struct Transaction<'a> {
    writes: Vec<Put<'a>>,
}

#[derive(Serialize)]
struct Put<'a> {
    collection: &'a str,
    id: &'a str,
    put: &'a RawValue,
}

#[derive(Deserialize)]
struct Answer {
    writes: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    created: bool,
    changed: bool,
}

impl Row {
    fn put(&self) -> Put<'_> {
        Put { collection: &self.collection, id: &self.id, put: &self.value }
    }
}

/// Whether a row is a line of an export.
pub(crate) fn is_exported(row: &[u8]) -> bool {
    serde_json::from_slice::<Row>(row).is_ok()
}

/// Where to, and what to do with bad rows.
#[derive(Clone, Debug)]
pub(crate) struct Restore {
    /// The space; with a collection, rows of others are bad.
    pub(crate) into: ScopeRef,
    pub(crate) skip_bad: bool,
}

/// Brings back everything that the source has left.
pub(crate) async fn restore(
    api: &Api,
    job: &Restore,
    mut source: Source,
    on: &mut dyn FnMut(Event) -> Result<(), CliError>,
) -> Result<Counts, CliError> {
    let mut counts = Counts::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        let number = source.next(&mut line).map_err(|error| unreadable(&error, &counts))?;
        if let Some(number) = number {
            match read(&line, job) {
                Ok(row) => {
                    bytes += line.len();
                    batch.push((number, row));
                }
                Err(why) => bad(job, &mut counts, not_exported(source.unit(), number, &why, job.skip_bad), on)?,
            }
        }
        if number.is_none() || batch.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
            send(api, job, &batch, source.unit(), &mut counts, on).await?;
            on(Event::Durable(counts, Some(source.place())))?;
            (batch, bytes) = (Vec::new(), 0);
        }
        if number.is_none() {
            return Ok(counts);
        }
    }
}

fn read(line: &[u8], job: &Restore) -> Result<Row, String> {
    let row: Row = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    match &job.into.collection {
        Some(only) if *only != row.collection => Err(format!(
            "it belongs to the collection `{}`: import into {} for all of them",
            row.collection, job.into.space
        )),
        _ => Ok(row),
    }
}

/// Sends a batch; where it is refused for one of its rows, row by row.
async fn send(
    api: &Api,
    job: &Restore,
    batch: &[(u64, Row)],
    unit: &str,
    counts: &mut Counts,
    on: &mut dyn FnMut(Event) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if batch.is_empty() {
        return Ok(());
    }
    assert!(batch.len() <= BATCH_ROWS, "a batch is sent once it is full");
    match transact(api, job, batch, counts).await {
        Ok(()) => return Ok(()),
        Err(error) if !may_be_a_rows(&error) => return Err(stopped(&error, counts.durable())),
        Err(_) => {}
    }
    for one in batch {
        match transact(api, job, std::slice::from_ref(one), counts).await {
            Ok(()) => {}
            Err(error) if may_be_a_rows(&error) => {
                bad(job, counts, bad_row(error, unit, one.0, job.skip_bad), on)?;
            }
            Err(error) => return Err(stopped(&error, counts.durable())),
        }
    }
    Ok(())
}

async fn transact(api: &Api, job: &Restore, batch: &[(u64, Row)], counts: &mut Counts) -> Result<(), CliError> {
    debug_assert!(batch.is_sorted_by_key(|(number, _)| *number), "rows go in the order of their file");
    let body = Transaction { writes: batch.iter().map(|(_, row)| row.put()).collect() };
    let request = api.request(Method::POST, &format!("{}/transactions", space_path(&job.into.space)));
    let answer: Answer = api.answer(request.json(&body)).await?.json()?;
    counts.lines += batch.len() as u64;
    for written in answer.writes {
        match (written.created, written.changed) {
            (true, _) => counts.created += 1,
            (_, true) => counts.updated += 1,
            _ => counts.unchanged += 1,
        }
    }
    Ok(())
}

fn may_be_a_rows(error: &CliError) -> bool {
    matches!(&error.kind, Kind::Refused(slug, _) if is_of_a_row(slug))
}

fn bad(
    job: &Restore,
    counts: &mut Counts,
    error: CliError,
    on: &mut dyn FnMut(Event) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if !job.skip_bad {
        return Err(error);
    }
    counts.errors += 1;
    on(Event::Bad(error))
}

fn not_exported(unit: &str, number: u64, why: &str, skipped: bool) -> CliError {
    bad_row(CliError::new(Kind::Io, "it is no line of an export").cause(why), unit, number, skipped)
}

fn unreadable(error: &SourceError, counts: &Counts) -> CliError {
    CliError::new(Kind::Io, "the import has stopped early: its input is not readable to the end")
        .cause(format!("{error}; {} before it are imported", human::some(counts.durable(), "row")))
        .hint("repair the file and run the same command again: rows that are there already do no harm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_export_are_told_from_rows() {
        assert!(is_exported(br#"{"collection":"c","id":"i","value":{"a":1}}"#));
        for row in [&b"{\"id\":\"i\"}"[..], b"{\"collection\":\"c\",\"id\":\"i\",\"value\":{},\"more\":1}", b"[1]", b""]
        {
            assert!(!is_exported(row), "{}", row.escape_ascii());
        }
        let into = "shop/c".parse().expect("a target");
        let job = Restore { into, skip_bad: false };
        assert!(read(br#"{"collection":"d","id":"i","value":{}}"#, &job).expect_err("another").contains("`d`"));
    }
}
