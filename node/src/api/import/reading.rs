//! What comes: lines out of the body, and writes out of lines.

use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use tombolo_crdt::entity::Write;
use tombolo_crdt::json::Json;

use crate::api::lines::{IdTemplate, LINE_BYTES_MAX, Line, LineSplitter};
use crate::api::problem::{Kind, Problem};
use crate::api::turns::Turns;
use crate::api::{App, request};
use crate::engine::{EntityWrite, Expect};

/// A batch that is not full goes when nothing has come for this long: a slow producer must see its lines land.
const IDLE: Duration = Duration::from_millis(50);
/// How long an import may rest: whoever pipes into it may take a while between lines, and holds a place meanwhile.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// How long what still comes is thrown away after an import that stopped early.
const DRAIN: Duration = Duration::from_secs(2);
/// How long of it when the node stops: less than a request under way may take then.
const DRAIN_STOPPING: Duration = Duration::from_millis(200);

/// The lines of a body.
#[derive(Debug)]
pub(super) struct Lines {
    body: BodyDataStream,
    splitter: LineSplitter,
}

/// What has come of a body.
#[derive(Debug)]
pub(super) enum Came {
    /// So many whole lines, or none.
    Lines(Vec<Line>),
    /// Nothing for a while.
    Nothing,
    /// The end, with a last line that no line feed ends.
    End(Option<Line>),
}

impl Lines {
    pub(super) fn of(body: BodyDataStream) -> Self {
        Self { body, splitter: LineSplitter::default() }
    }

    /// Waits for more: for long, or for a while if something is ready to go on its way.
    ///
    /// # Errors
    /// Nothing more is taken: the node stops, or the body broke off or rested for too long.
    pub(super) async fn next(&mut self, app: &App, is_ready: bool) -> Result<Came, Problem> {
        let next = self.body.next();
        let came = async {
            if is_ready {
                tokio::time::timeout(IDLE, next).await.map_err(|_| None)
            } else {
                request::next_within(BODY_WAIT, next).await.map_err(Some)
            }
        };
        let stopping = || Problem::new(Kind::Stopping, "the node is stopping; import the rest again later");
        let chunk = tokio::select! {
            biased;
            () = app.closed() => return Err(stopping()),
            came = came => match came {
                Ok(chunk) => chunk,
                Err(None) => return Ok(Came::Nothing),
                Err(Some(problem)) => return Err(problem),
            },
        };
        match chunk {
            Some(Ok(chunk)) => {
                let mut lines = Vec::new();
                self.splitter.push(&chunk, |line| lines.push(line));
                Ok(Came::Lines(lines))
            }
            Some(Err(error)) => Err(Problem::argument(format!("the body broke off: {error}"))),
            None => Ok(Came::End(self.splitter.finish())),
        }
    }

    /// Throws away what still comes: closing on a client that is still sending could keep it from reading the answer.
    pub(super) async fn drain(mut self, app: &App) {
        let rest = async { while self.body.next().await.is_some() {} };
        let enough = async {
            let _ = tokio::time::timeout(DRAIN - DRAIN_STOPPING, app.closed()).await;
            tokio::time::sleep(DRAIN_STOPPING).await;
        };
        tokio::select! { () = rest => {}, () = enough => {} }
    }
}

/// What lines look like.
#[derive(Debug)]
pub(super) enum Form {
    /// A line is an entity's value.
    Values { collection: String, ids: IdTemplate },
    /// A line is `{"collection","id","value"}`, as an export writes it.
    Exported,
}

/// What some editors put before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with a line: its id, if it has one, and the problem.
type BadLine = (Option<String>, Problem);

impl Form {
    /// The write that a line asks for. A long line is read in a turn.
    ///
    /// # Errors
    /// As [`Turns::run`].
    pub(super) async fn read(
        self: &Arc<Self>,
        turns: &Turns,
        line: Line,
    ) -> Result<Result<EntityWrite, BadLine>, Problem> {
        let form = Arc::clone(self);
        turns.value(line.bytes.as_ref().map_or(0, Vec::len), move || form.parse(line)).await
    }

    fn parse(&self, line: Line) -> Result<EntityWrite, BadLine> {
        let too_large = || {
            Problem::new(Kind::TooLarge, format!("the line is over the limit of {LINE_BYTES_MAX} bytes"))
                .with("limit", LINE_BYTES_MAX as u64)
        };
        let bytes = line.bytes.ok_or_else(|| (None, too_large()))?;
        // Files of some editors and spreadsheets begin so; the CLI takes them, too.
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| line.number == 1).unwrap_or(&bytes);
        let value = Json::parse(bytes).map_err(|error| {
            let problem = Problem::new(Kind::InvalidJson, format!("column {}: {}", error.column, error.reason));
            (None, problem.with("line", line.number).with("column", error.column as u64))
        })?;
        let (collection, id, value) = match self {
            Self::Values { collection, ids } => {
                let id = ids.id(&value).map_err(|reason| (None, Problem::new(Kind::InvalidValue, reason)))?;
                (collection.clone(), id, value)
            }
            Self::Exported => exported(value).map_err(|problem| (None, problem))?,
        };
        let checked = request::check_entity_id(&id).and_then(|()| request::check_collection_name(&collection));
        if let Err(problem) = checked {
            return Err((Some(id), problem));
        }
        let write = Write::Put { value, base: None };
        Ok(EntityWrite { collection, id, expect: Expect::Any, write })
    }
}

/// Collection, id and value of a line of an export.
fn exported(line: Json) -> Result<(String, String, Json), Problem> {
    let wrong = || {
        let detail = "the line is not `{\"collection\",\"id\",\"value\"}`, as an export writes it";
        Problem::new(Kind::InvalidValue, detail).hint("values alone are imported into a collection")
    };
    let Json::Object(mut fields) = line else { return Err(wrong()) };
    let taken = (fields.remove("collection"), fields.remove("id"), fields.remove("value"));
    match taken {
        (Some(Json::String(collection)), Some(Json::String(id)), Some(value)) if fields.is_empty() => {
            Ok((collection, id, value))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// 4 MiB of small values took some 50 ms to parse, on a thread that serves others.
    #[tokio::test]
    async fn a_long_line_is_read_in_a_turn_and_a_short_one_at_once() {
        let form = Arc::new(Form::Values { collection: "x".to_owned(), ids: IdTemplate::field("id") });
        let turns = Turns::new();
        let line = |number, text: String| Line { number, bytes: Some(text.into_bytes()) };
        let short = form.read(&turns, line(1, r#"{"id":"a","n":1}"#.to_owned())).now_or_never();
        assert!(matches!(&short, Some(Ok(Ok(write))) if write.id == "a"), "{short:?}");
        let long = format!(r#"{{"id":"b","n":[1{}]}}"#, ",1".repeat(LINE_BYTES_MAX / 2 - 32));
        let mut reading = Box::pin(form.read(&turns, line(2, long)));
        assert!(reading.as_mut().now_or_never().is_none(), "it was read on the thread that serves others");
        let read = reading.await;
        assert!(matches!(&read, Ok(Ok(write)) if write.id == "b"));
        // What is wrong with a long line is told as of a short one.
        let wrong = form.read(&turns, line(3, format!("{{\"id\":{}}}", "[".repeat(50_000)))).await;
        assert!(matches!(&wrong, Ok(Err((None, problem))) if problem.kind == Kind::InvalidJson), "{wrong:?}");
    }
}
