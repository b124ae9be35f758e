//! NDJSON in, of any length, and what became of it out, at the same time.
//!
//! Lines are read, parsed and checked here and go to the engine in batches; a few batches are on their way at once, so
//! that the disk is never waited for twice. Memory holds these batches and one line.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::Write;
use tombolo_crdt::entry::Trace;
use tombolo_crdt::json::Json;

use super::SharedApp;
use super::describe::{HttpMethod, Operation, Parameter, Shape, TEXT};
use super::export::ndjson;
use super::lines::{IdTemplate, LINE_BYTES_MAX, Line, LineSplitter};
use super::problem::{Kind, Problem};
use super::request::{self, Params, PathParts};
use super::spaces::unexpected;
use super::turns::StreamPlace;
use crate::engine::{Command, EntityWrite, Expect, PLANNED_HERE_BYTES, Refusal, Reply, WriteCommand, Written};
use crate::handle::{Pending, Stopped};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: HttpMethod::Post,
        path: "/v1/spaces/{space}/{collection}/import",
        summary: "Lines of values in, outcomes out, as a stream",
        query: &[
            Parameter("id", "The field that is the id", Shape::Text(1, 4_096)),
            Parameter("id_template", "Text with `{field}` that is the id", Shape::Text(1, 4_096)),
            SKIP_BAD,
        ],
        headers: &[Parameter("traceparent", "W3C trace context", TEXT)],
        bodies: &TYPES,
        problems: &[Kind::TooManyStreams],
        ..Operation::PLAIN
    },
    Operation {
        method: HttpMethod::Post,
        path: "/v1/spaces/{space}/import",
        summary: "Lines of an export in, outcomes out, as a stream",
        query: &[SKIP_BAD],
        headers: &[Parameter("traceparent", "W3C trace context", TEXT)],
        bodies: &TYPES,
        problems: &[Kind::TooManyStreams],
        ..Operation::PLAIN
    },
];
const SKIP_BAD: Parameter = Parameter("skip_bad", "Whether bad lines are left out", Shape::Flag);

/// Writes in a batch.
const BATCH_WRITES: usize = 512;
/// Bytes of lines in a batch.
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way to the disk: one being committed, one waiting, one being filled.
const BATCHES: usize = 3;
/// A batch that is not full goes when nothing has come for this long: a slow producer must see its lines land.
const IDLE: Duration = Duration::from_millis(50);
/// How often the counters are told.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long what still comes is thrown away after an import that stopped early.
const DRAIN: Duration = Duration::from_secs(2);
/// How long an import may rest: whoever pipes into it may take a while between lines, and holds a place meanwhile.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// Pieces of the answer that the client has not taken; the import waits beyond that.
const ANSWERS: usize = 64;

const TYPES: [&str; 4] = ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    id: Option<String>,
    id_template: Option<String>,
    #[serde(default)]
    skip_bad: bool,
}

/// `POST /v1/spaces/{space}/{collection}/import` takes values, `POST /v1/spaces/{space}/import` an export. Has a task
/// take the lines, and answers with what it says.
pub(super) async fn import(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = form(&path, &query)?;
    request::need_content_type(&headers, &TYPES)?;
    let space = app.space(path.space())?.id;
    let place = app.turns.stream()?;
    let (answers, receiver) = mpsc::channel(ANSWERS);
    let told = app.clock.mono();
    let job = Import {
        app,
        space,
        form,
        skip_bad: query.skip_bad,
        trace: request::trace(&headers),
        answers,
        counters: Counters::default(),
        seen: 0,
        ended: None,
        is_broken: false,
        batch: Batch::default(),
        under_way: VecDeque::new(),
        told,
        _place: place,
    };
    tokio::spawn(job.run(body.into_data_stream()));
    Ok(ndjson(Body::from_stream(ReceiverStream::new(receiver))))
}

/// What the lines look like, by where they are sent and what is said of their ids.
fn form(path: &PathParts, query: &Query) -> Result<Form, Problem> {
    let ids = match (path.is_of_collection(), &query.id, &query.id_template) {
        (true, Some(field), None) => IdTemplate::field(field),
        (true, None, Some(template)) => {
            IdTemplate::parse(template).map_err(|reason| Problem::argument(format!("id_template: {reason}")))?
        }
        (true, ..) => {
            return Err(Problem::argument("say where ids come from: either id=FIELD or id_template=TEMPLATE"));
        }
        (false, None, None) => return Ok(Form::Exported),
        (false, ..) => {
            return Err(Problem::argument("the lines of an export have their ids: leave `id` and `id_template` out"));
        }
    };
    Ok(Form::Values { collection: path.collection()?.to_owned(), ids })
}

#[derive(Debug, Default)]
struct Counters {
    /// Lines that are settled with all before them: written durably, or told as errors. Whoever resumes goes on behind
    /// them.
    lines: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    errors: u64,
}

impl Counters {
    fn to_json(&self) -> Value {
        json!({
            "lines": self.lines, "created": self.created, "updated": self.updated,
            "unchanged": self.unchanged, "errors": self.errors,
        })
    }
}

/// Lines that go to the engine together.
#[derive(Debug, Default)]
struct Batch {
    writes: Vec<EntityWrite>,
    lines: Vec<u64>,
    bytes: usize,
}

/// What lines look like.
#[derive(Debug)]
enum Form {
    /// A line is an entity's value.
    Values { collection: String, ids: IdTemplate },
    /// A line is `{"collection","id","value"}`, as an export writes it.
    Exported,
}

/// A batch on its way.
#[derive(Debug)]
struct UnderWay {
    /// Numbers and ids of its lines.
    lines: Vec<(u64, String)>,
    /// Lines up to its end, empty ones not counted.
    through: u64,
    reply: Pending,
}

/// An import under way.
struct Import {
    app: SharedApp,
    space: SpaceId,
    form: Form,
    skip_bad: bool,
    trace: Option<Trace>,
    answers: mpsc::Sender<std::io::Result<Bytes>>,
    counters: Counters,
    /// Lines taken so far, empty ones not counted.
    seen: u64,
    /// Why nothing more is taken: the slug of the problem, or `bad-line`.
    ended: Option<&'static str>,
    /// Something that concerns no single line was met.
    is_broken: bool,
    batch: Batch,
    /// Batches on their way, oldest first.
    under_way: VecDeque<UnderWay>,
    /// When the counters were told last.
    told: Duration,
    _place: StreamPlace,
}

/// Why an import ends before its input.
enum End {
    /// A bad line, or the engine takes no more; it has been told.
    Stopped,
    /// Nobody listens.
    ClientGone,
}

impl Import {
    async fn run(mut self, mut body: BodyDataStream) {
        let read = self.read(&mut body).await;
        let flushed = match read {
            Ok(()) | Err(End::Stopped) => self.finish().await,
            Err(End::ClientGone) => return,
        };
        let stopped = matches!(read, Err(End::Stopped)) || matches!(flushed, Err(End::Stopped));
        let mut counters = self.counters.to_json();
        if stopped {
            counters["stopped"] = true.into();
            counters["reason"] = self.ended.into();
        }
        // The client may have gone by now.
        let _ = self.say(&json!({ "done": counters })).await;
        // Closing on a client that is still sending could keep it from reading the answer.
        let _ = tokio::time::timeout(DRAIN, async { while body.next().await.is_some() {} }).await;
    }

    async fn read(&mut self, body: &mut BodyDataStream) -> Result<(), End> {
        let mut splitter = LineSplitter::default();
        loop {
            let chunk = if self.batch.writes.is_empty() {
                match request::next_within(BODY_WAIT, body.next()).await {
                    Ok(chunk) => chunk,
                    Err(problem) => return self.fail(&problem).await,
                }
            } else {
                match tokio::time::timeout(IDLE, body.next()).await {
                    Ok(chunk) => chunk,
                    Err(_) => {
                        self.dispatch().await?;
                        while !self.under_way.is_empty() {
                            self.collect().await?;
                        }
                        continue;
                    }
                }
            };
            if *self.app.closing.borrow() {
                let problem = Problem::new(Kind::Stopping, "the node is stopping; import the rest again later");
                return self.fail(&problem).await;
            }
            let mut lines = Vec::new();
            match chunk {
                Some(Ok(chunk)) => splitter.push(&chunk, |line| lines.push(line)),
                Some(Err(error)) => {
                    let problem = Problem::argument(format!("the body broke off: {error}"));
                    return self.fail(&problem).await;
                }
                None => {
                    if let Some(line) = splitter.finish() {
                        self.line(line).await?;
                    }
                    return Ok(());
                }
            }
            for line in lines {
                self.line(line).await?;
            }
        }
    }

    async fn line(&mut self, line: Line) -> Result<(), End> {
        let number = line.number;
        let bytes = line.bytes.as_ref().map_or(0, Vec::len);
        if line.bytes.as_ref().is_some_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace)) {
            return Ok(());
        }
        self.seen += 1;
        let write = match self.parse(line) {
            Ok(write) => write,
            Err((id, problem)) => return self.bad(number, id.as_deref(), &problem).await,
        };
        let is_large = bytes > PLANNED_HERE_BYTES;
        if is_large {
            self.dispatch().await?;
        }
        self.batch.writes.push(write);
        self.batch.lines.push(number);
        self.batch.bytes += bytes;
        if is_large {
            return self.alone().await;
        }
        if self.batch.writes.len() >= BATCH_WRITES || self.batch.bytes >= BATCH_BYTES {
            self.dispatch().await?;
        }
        Ok(())
    }

    fn parse(&self, line: Line) -> Result<EntityWrite, (Option<String>, Problem)> {
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
        let (collection, id, value) = match &self.form {
            Form::Values { collection, ids } => {
                let id = ids.id(&value).map_err(|reason| (None, Problem::new(Kind::InvalidValue, reason)))?;
                (collection.clone(), id, value)
            }
            Form::Exported => exported(value).map_err(|problem| (None, problem))?,
        };
        let checked = request::check_entity_id(&id).and_then(|()| request::check_collection_name(&collection));
        if let Err(problem) = checked {
            return Err((Some(id), problem));
        }
        let write = Write::Put { value, base: None };
        Ok(EntityWrite { collection, id, expect: Expect::Any, write })
    }

    /// Sends the batch on its way; waits for the oldest if too many are.
    async fn dispatch(&mut self) -> Result<(), End> {
        let Batch { writes, lines, bytes } = std::mem::take(&mut self.batch);
        if writes.is_empty() {
            return Ok(());
        }
        while self.under_way.len() >= BATCHES {
            self.collect().await?;
        }
        let lines = lines.into_iter().zip(writes.iter().map(|write| write.id.clone())).collect();
        let through = self.seen;
        let command = WriteCommand { space: self.space, writes, atomic: false, idempotency: None, trace: self.trace };
        match self.app.engine.submit(Command::Write(command), bytes).await {
            Ok(reply) => self.under_way.push_back(UnderWay { lines, through, reply }),
            Err(stopped) => return self.fail(&stopped.into()).await,
        }
        Ok(())
    }

    /// Has a batch of one large line planned beside the engine, after all that is under way and before all that
    /// follows.
    async fn alone(&mut self) -> Result<(), End> {
        while !self.under_way.is_empty() {
            self.collect().await?;
        }
        let Batch { writes, lines, bytes } = std::mem::take(&mut self.batch);
        let lines = lines.into_iter().zip(writes.iter().map(|write| write.id.clone())).collect();
        let command = WriteCommand { space: self.space, writes, atomic: true, idempotency: None, trace: self.trace };
        let reply = self.app.engine.write(command, bytes).await;
        let outcomes = match reply {
            // The line's fault, not that of all.
            Ok(Reply::Written(Err(refusal))) if !concerns_all(&refusal) => Ok(vec![Err(refusal)]),
            reply => self.outcomes(reply).await,
        };
        self.settle(lines, self.seen, outcomes?).await
    }

    /// Takes the oldest reply.
    async fn collect(&mut self) -> Result<(), End> {
        let Some(UnderWay { lines, through, reply }) = self.under_way.pop_front() else { return Ok(()) };
        let outcomes = self.outcomes(reply.await).await?;
        self.settle(lines, through, outcomes).await
    }

    async fn outcomes(&mut self, reply: Result<Reply, Stopped>) -> Result<Vec<Result<Written, Refusal>>, End> {
        let problem = match reply {
            Ok(Reply::Written(Ok(outcome))) => return Ok(outcome.writes),
            Ok(Reply::Written(Err(refusal)) | Reply::Failed(refusal)) => refusal.into(),
            Ok(other) => unexpected(&other),
            Err(stopped) => stopped.into(),
        };
        self.fail(&problem).await.map(|()| Vec::new())
    }

    /// Tells what became of lines, and counts them.
    async fn settle(
        &mut self,
        lines: Vec<(u64, String)>,
        through: u64,
        outcomes: Vec<Result<Written, Refusal>>,
    ) -> Result<(), End> {
        let mut ended = Ok(());
        for ((number, id), outcome) in lines.into_iter().zip(outcomes) {
            if let Err(end) = self.outcome(number, &id, outcome).await {
                ended = Err(end);
            }
        }
        // What follows a batch that was not written does not count, written or not: it has to come once more.
        if !self.is_broken {
            debug_assert!(through >= self.counters.lines, "batches are settled in order");
            self.counters.lines = through;
        }
        if self.app.clock.mono().saturating_sub(self.told) >= PROGRESS {
            self.told = self.app.clock.mono();
            let progress = json!({ "progress": self.counters.to_json() });
            self.say(&progress).await?;
        }
        ended
    }

    async fn outcome(&mut self, line: u64, id: &str, outcome: Result<Written, Refusal>) -> Result<(), End> {
        match outcome {
            Ok(Written { created: true, .. }) => self.counters.created += 1,
            Ok(Written { changed: true, .. }) => self.counters.updated += 1,
            Ok(_) => self.counters.unchanged += 1,
            Err(refusal) if concerns_all(&refusal) => return self.fail(&refusal.into()).await,
            Err(refusal) => return self.bad(line, Some(id), &refusal.into()).await,
        }
        Ok(())
    }

    /// Sends what is left and takes all replies.
    async fn finish(&mut self) -> Result<(), End> {
        let mut ended = self.dispatch().await;
        while !self.under_way.is_empty() {
            match self.collect().await {
                Err(End::ClientGone) => return Err(End::ClientGone),
                Err(End::Stopped) => ended = Err(End::Stopped),
                Ok(()) => {}
            }
        }
        // Bad lines behind the last batch have been told.
        if !self.is_broken {
            self.counters.lines = self.seen;
        }
        ended
    }

    /// A line that cannot be taken.
    async fn bad(&mut self, line: u64, id: Option<&str>, problem: &Problem) -> Result<(), End> {
        self.counters.errors += 1;
        self.say(&json!({ "line": line, "id": id, "status": "error", "error": problem.to_json() })).await?;
        if self.skip_bad {
            return Ok(());
        }
        self.ended.get_or_insert("bad-line");
        Err(End::Stopped)
    }

    /// Something that concerns no single line: nothing more is taken. It is told once; batches behind it meet it as
    /// well.
    async fn fail(&mut self, problem: &Problem) -> Result<(), End> {
        let reason = problem.kind.facts().0;
        self.is_broken = true;
        if self.ended.replace(reason) != Some(reason) {
            self.say(&json!({ "status": "stopped", "reason": reason, "error": problem.to_json() })).await?;
        }
        Err(End::Stopped)
    }

    async fn say(&self, value: &Value) -> Result<(), End> {
        let line = format!("{value}\n");
        self.answers.send(Ok(line.into())).await.map_err(|_| End::ClientGone)
    }
}

/// What some editors put before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether every other line would meet it as well.
fn concerns_all(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Full(_) | Refusal::Role(_) | Refusal::Store(_) | Refusal::UnknownSpace(_))
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
