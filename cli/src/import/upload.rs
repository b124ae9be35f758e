//! One import request: lines go up while outcomes come down.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Body, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Ledger, Place, Source, SourceError};
use crate::client::{Api, Lines};
use crate::error::{CliError, Kind};
use crate::human;
use crate::target::{CollectionRef, encode, space_path};

/// A piece of the body.
const CHUNK: usize = 64 * 1024;
/// Pieces that wait for the node.
const CHUNKS: usize = 8;
const _: () = assert!(CHUNK > 0 && CHUNKS > 0 && CHUNK * CHUNKS <= 4 << 20, "what waits for the node is bounded");

const AGAIN: &str = "run the same command again: it goes on where this one stopped";

/// What to import, and how rows get their ids.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) target: CollectionRef,
    pub(crate) key: Key,
    pub(crate) skip_bad: bool,
}

/// Where an id comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A field.
    Field(String),
    /// Text with `{field}` placeholders.
    Template(String),
}

/// What the node says it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) unchanged: u64,
    pub(crate) errors: u64,
}

impl Counts {
    /// Rows that are on the node's disk. Lines that were merely read are not among them, and no row is written before
    /// all that stand before it: so many rows of the request, or more, need not be sent again.
    pub(crate) fn durable(&self) -> u64 {
        self.created + self.updated + self.unchanged
    }
}

/// Something the caller may want to show or save.
#[derive(Debug)]
pub(crate) enum Event {
    /// So much is durable; before this place, everything is.
    Durable(Counts, Option<Place>),
    /// A row of the source that was skipped.
    Bad(CliError),
}

#[derive(Default)]
struct Shared {
    ledger: Ledger,
    failed: Option<SourceError>,
}

type SharedCell = Arc<Mutex<Shared>>;

/// Imports everything the source has left.
pub(crate) async fn upload(
    api: &Api,
    job: &Job,
    source: Source,
    on: &mut dyn FnMut(Event) -> Result<(), CliError>,
) -> Result<Counts, CliError> {
    // Before anything is streamed, whatever can be said about space and token is said.
    api.answer(api.request(Method::GET, &space_path(&job.target.space))).await?;
    let (shared, unit) = (SharedCell::default(), source.unit());
    let (chunks, received) = mpsc::channel::<Vec<u8>>(CHUNKS);
    let reader = shared.clone();
    // Not joined: it ends when nobody takes its chunks, or with the process if it waits on stdin.
    std::thread::Builder::new()
        .name("import-source".to_owned())
        .spawn(move || read(source, &reader, &chunks))
        .map_err(|error| CliError::failed("a thread could not be started").cause(error))?;
    let stream = futures_util::stream::unfold(received, |mut received| async {
        received.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), received))
    });
    let request = api.stream(Method::POST, &route(job)).header("Content-Type", "application/x-ndjson");
    let mut lines = api.lines(request.body(Body::wrap_stream(stream))).await?;
    let counts = outcomes(&mut lines, &shared, job, unit, on).await?;
    if let Some(error) = lock(&shared).failed.take() {
        return Err(CliError::new(Kind::Io, "the import has stopped early: its input is not readable to the end")
            .cause(format!("{error}; {} before it are imported", human::some(counts.durable(), unit)))
            .hint("repair the file and run the same command again: rows that are there already do no harm"));
    }
    Ok(counts)
}

fn route(job: &Job) -> String {
    let key = match &job.key {
        Key::Field(field) => format!("id={}", encode(field)),
        Key::Template(template) => format!("id_template={}", encode(template)),
    };
    let skip = if job.skip_bad { "&skip_bad=true" } else { "" };
    format!("{}/import?{key}{skip}", job.target.path())
}

/// Reads what the node says until it is done.
async fn outcomes(
    lines: &mut Lines,
    shared: &SharedCell,
    job: &Job,
    unit: &str,
    on: &mut dyn FnMut(Event) -> Result<(), CliError>,
) -> Result<Counts, CliError> {
    // Rows behind a bad one may be on the disk with it missing: it is gone on before that.
    let (mut first_bad, mut durable, mut before_bad) = (None, 0, u64::MAX);
    loop {
        let line = match lines.next().await {
            Ok(line) => line,
            // The node may hang up on the rest of the body after it has said what is wrong.
            Err(error) => return Err(first_bad.unwrap_or_else(|| error.hint(AGAIN))),
        };
        let Some(line) = line else {
            return Err(first_bad
                .unwrap_or_else(|| CliError::new(Kind::Protocol, "the node ended the import early").hint(AGAIN)));
        };
        let value: Value =
            serde_json::from_slice(&line).map_err(|error| CliError::unexpected("an outcome is no JSON", error))?;
        let done = value.get("done");
        if let Some(told) = value.get("progress").or(done) {
            let counts = parse(told)?;
            durable = counts.durable();
            let place = lock(shared).ledger.durable(durable.min(before_bad));
            on(Event::Durable(counts, place))?;
            if let Some(done) = done {
                return ended(counts, done["stopped"] == true, first_bad);
            }
        } else if matches!(value.get("status").and_then(Value::as_str), Some("error" | "stopped")) {
            match value.get("line").and_then(Value::as_u64).filter(|_| is_of_a_row(slug(&value["error"]))) {
                // No row is at fault, so none can be left out: it is over.
                None => return Err(first_bad.unwrap_or_else(|| stopped(&CliError::problem(&value["error"]), durable))),
                Some(sent) => {
                    before_bad = before_bad.min(if job.skip_bad { u64::MAX } else { sent.saturating_sub(1) });
                    let row = lock(shared).ledger.source_line(sent);
                    let error = bad_row(CliError::problem(&value["error"]), unit, row, job.skip_bad);
                    if job.skip_bad {
                        on(Event::Bad(error))?;
                    } else {
                        first_bad.get_or_insert(error);
                    }
                }
            }
        }
    }
}

/// What the last line of the answer means.
fn ended(counts: Counts, stopped: bool, first_bad: Option<CliError>) -> Result<Counts, CliError> {
    match first_bad {
        Some(error) => Err(error),
        None if stopped => Err(CliError::new(Kind::Protocol, "the node stopped the import and did not say why")
            .cause(on_disk(counts.durable()))
            .hint(AGAIN)),
        None => Ok(counts),
    }
}

/// Whether a problem can be that of a row: not what ails the node or its role.
pub(super) fn is_of_a_row(slug: &str) -> bool {
    !matches!(slug, "full" | "store" | "role" | "unknown-space" | "ambiguous-space" | "unauthorized")
}

fn slug(problem: &Value) -> &str {
    problem["type"].as_str().and_then(|kind| kind.rsplit('/').next()).unwrap_or_default()
}

/// The node takes no more rows: its disk is full, it is stopping, its role was taken. `durable`: rows known to be on
/// its disk.
pub(super) fn stopped(error: &CliError, durable: u64) -> CliError {
    let why = error.cause.as_ref().map_or_else(|| error.message.clone(), |cause| format!("{}: {cause}", error.message));
    let hint = match &error.hint {
        Some(hint) if !matches!(&error.kind, Kind::Refused(slug, _) if slug == "store") => {
            format!("{hint}; then {AGAIN}")
        }
        _ => AGAIN.to_owned(),
    };
    CliError::new(error.kind.clone(), "the import has stopped before its end")
        .cause(format!("{why}; {}", on_disk(durable)))
        .hint(hint)
}

fn on_disk(rows: u64) -> String {
    match rows {
        0 => "no row is known to be on the node's disk".to_owned(),
        rows => format!("{} or more are on the node's disk", human::some(rows, "row")),
    }
}

/// The node's line numbers are of the request; people need those of their file.
pub(super) fn bad_row(inner: CliError, unit: &str, row: u64, skipped: bool) -> CliError {
    let cause = inner.cause.map_or_else(|| inner.message.clone(), |cause| format!("{}: {cause}", inner.message));
    let hint = "repair it and run the same command again, or leave such rows out with --skip-bad";
    let what = if skipped { "was skipped" } else { "cannot be imported; what stands before it has been" };
    CliError::new(inner.kind, format!("{unit} {row} {what}")).cause(cause).hint(hint)
}

fn parse(value: &Value) -> Result<Counts, CliError> {
    Counts::deserialize(value).map_err(|error| CliError::unexpected("the import's counters differ", error))
}

fn lock(shared: &SharedCell) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs on a thread of its own: files and pipes block.
fn read(mut source: Source, shared: &SharedCell, chunks: &mpsc::Sender<Vec<u8>>) {
    let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 4);
    loop {
        let next = source.next(&mut chunk);
        let end = !matches!(next, Ok(Some(_)));
        match next {
            Ok(Some(row)) => {
                chunk.push(b'\n');
                lock(shared).ledger.sending(row);
            }
            Ok(None) => (),
            Err(error) => {
                // What is left of a row that could not be read to its end is not sent.
                let whole = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                chunk.truncate(whole);
                lock(shared).failed = Some(error);
            }
        }
        if end || chunk.len() >= CHUNK || source.is_drained() {
            debug_assert!(chunk.is_empty() || chunk.ends_with(b"\n"), "only whole rows are handed over");
            lock(shared).ledger.reached(source.place());
            if !chunk.is_empty() && chunks.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
        }
        if end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_carry_key_and_mode() {
        let target = CollectionRef::new("shop", "items");
        let mut job = Job { target, key: Key::Field("no &".to_owned()), skip_bad: false };
        assert_eq!(route(&job), "/v1/spaces/shop/items/import?id=no%20%26");
        job.key = Key::Template("{a}/{b}".to_owned());
        job.skip_bad = true;
        assert_eq!(route(&job), "/v1/spaces/shop/items/import?id_template=%7Ba%7D%2F%7Bb%7D&skip_bad=true");
    }

    #[test]
    fn a_bad_row_has_the_number_of_the_file() {
        let problem = serde_json::json!({"type":"https://tombolo.dev/problems/invalid-json","title":"no JSON","status":422,
            "detail":"expected value","column":3});
        let error = bad_row(CliError::problem(&problem), "line", 17, false);
        assert!(error.message.starts_with("line 17 "), "{error}");
        assert_eq!(error.cause.as_deref(), Some("no JSON: expected value; column 3"));
        assert_eq!(error.kind, Kind::Refused("invalid-json".to_owned(), 422));
    }

    #[test]
    fn what_stops_an_import_blames_no_row() {
        let full = serde_json::json!({"type":"https://tombolo.dev/problems/full","title":"The disk is full","status":507,
            "detail":"16 KiB are free","hint":"make room on the disk"});
        let error = stopped(&CliError::problem(&full), 1_024);
        assert!(!error.to_text().contains("line ") && !error.to_text().contains("--skip-bad"), "{}", error.to_text());
        assert!(error.to_text().contains("16 KiB are free; 1,024 rows or more are on the node's disk"));
        assert_eq!(error.hint, Some(format!("make room on the disk; then {AGAIN}")));
        assert!(!is_of_a_row(slug(&full)) && is_of_a_row("invalid-json"));
        assert_eq!(ended(Counts::default(), true, None).expect_err("stopped").hint.as_deref(), Some(AGAIN));
    }

    #[test]
    fn only_rows_on_the_disk_count_as_durable() {
        let counts = Counts { lines: 2_048, created: 512, updated: 3, unchanged: 2, errors: 9 };
        assert_eq!(counts.durable(), 517);
    }

    #[test]
    fn the_reader_hands_over_whole_rows_only() {
        let source = Source::new(std::io::Cursor::new(b"[{\"a\":1},{\"a\":2},{\"a".to_vec())).expect("opens");
        let (shared, (sender, mut receiver)) = (SharedCell::default(), mpsc::channel(8));
        read(source, &shared, &sender);
        drop(sender);
        let mut sent = Vec::new();
        while let Some(chunk) = receiver.blocking_recv() {
            sent.extend(chunk);
        }
        assert_eq!(sent, b"{\"a\":1}\n{\"a\":2}\n");
        assert!(matches!(lock(&shared).failed, Some(SourceError::Array { after: 2, .. })));
    }
}
