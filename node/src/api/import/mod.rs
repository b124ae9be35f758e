//! NDJSON in, of any length, and what became of it out, at the same time.
//!
//! Lines are read, parsed and checked here ([`reading`]) and go to the engine in batches ([`job`]). A few batches are
//! on their way at once, so that the disk is never waited for twice. [`outcomes`] tells what became of them. Memory
//! holds these batches and one line.

mod job;
mod outcomes;
mod reading;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::job::{Batch, Import};
use self::outcomes::{ANSWERS, Outcomes};
use self::reading::Form;
use super::SharedApp;
use super::describe::{HttpMethod, Operation, Parameter, Shape, TEXT};
use super::export::ndjson;
use super::lines::IdTemplate;
use super::problem::{Kind, Problem};
use super::request::{self, Params, PathParts};

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
    let form = Arc::new(form(&path, &query)?);
    request::need_content_type(&headers, &TYPES)?;
    let space = app.space(path.space())?.id;
    let place = app.turns.stream()?;
    let (answers, receiver) = mpsc::channel(ANSWERS);
    let outcomes = Outcomes::new(app.clock, answers, query.skip_bad);
    let job = Import {
        app,
        space,
        form,
        trace: request::trace(&headers),
        outcomes,
        seen: 0,
        batch: Batch::default(),
        under_way: VecDeque::new(),
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
