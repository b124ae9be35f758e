//! What comes: lines out of the body, and writes out of lines.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use tombolo_crdt::entity::Write;
use tombolo_crdt::json::Json;

use crate::api::lines::{IdTemplate, LINE_BYTES_MAX, Line, LineSplitter};
use crate::api::problem::{Kind, Problem};
use crate::api::{App, request};
use crate::engine::{EntityWrite, Expect};

/// A batch that is not full goes when nothing has come for this long: a slow producer must see its lines land.
const IDLE: Duration = Duration::from_millis(50);
/// How long an import may rest: whoever pipes into it may take a while between lines, and holds a place meanwhile.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// How long what still comes is thrown away after an import that stopped early.
const DRAIN: Duration = Duration::from_secs(2);

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
    pub(super) async fn next(&mut self, app: &App, is_ready: bool) -> Result<Came, Problem> {
        let chunk = if is_ready {
            match tokio::time::timeout(IDLE, self.body.next()).await {
                Ok(chunk) => chunk,
                Err(_) => return Ok(Came::Nothing),
            }
        } else {
            request::next_within(BODY_WAIT, self.body.next()).await?
        };
        if *app.closing.borrow() {
            return Err(Problem::new(Kind::Stopping, "the node is stopping; import the rest again later"));
        }
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
    pub(super) async fn drain(mut self) {
        let _ = tokio::time::timeout(DRAIN, async { while self.body.next().await.is_some() {} }).await;
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

impl Form {
    /// The write that a line asks for; else the line's id, if it has one, and what is wrong.
    pub(super) fn read(&self, line: Line) -> Result<EntityWrite, (Option<String>, Problem)> {
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
