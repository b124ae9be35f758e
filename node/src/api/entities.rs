//! One entity: read, replace, change, delete, create.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tombolo_crdt::entity::Write;
use tombolo_crdt::entry::{Body as EntryBody, Entry};
use tombolo_crdt::json::Json;
use tombolo_crdt::{Receipt, Revision};
use uuid::Uuid;

use super::describe::{HttpMethod, JSON, Operation, Parameter, REVISION, Shape, TEXT};
use super::problem::{Kind, Problem};
use super::request::{self, Params, PathParts, clip};
use super::rows::Shown;
use super::turns::Lane;
use super::write::{self, JSON_PATCH, MERGE_PATCH, OPERATIONS_TYPE, Outcome};
use super::{SharedApp, history, rows};
use crate::engine::{EntityWrite, Expect, WriteCommand};
use crate::store::Reading;

const ENTITY: &str = "/v1/spaces/{space}/{collection}/{id}";
const IF_MATCH: Parameter = Parameter("If-Match", "Entity tags, or `*`: the entity must be so", TEXT);
const IDEMPOTENCY: Parameter =
    Parameter("Idempotency-Key", "A repeated request is answered as the first was", Shape::Text(1, 256));
const TRACE: Parameter = Parameter("traceparent", "W3C trace context", TEXT);
/// What a patch may be.
const PATCHES: &[&str] = &[MERGE_PATCH, JSON_PATCH, OPERATIONS_TYPE];
const PATCH_PROBLEMS: &[Kind] = &[Kind::Role, Kind::NotFound, Kind::RevisionMismatch, Kind::IdempotencyConflict];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        path: ENTITY,
        summary: "The entity's canonical JSON, now or as it was",
        query: &[
            Parameter("at", "A revision, a receipt or a moment (RFC 3339)", Shape::Text(1, 128)),
            Parameter("meta", "Whether headers say what the entity takes; not with `at`", Shape::Flag),
        ],
        headers: &[Parameter("If-None-Match", "Entity tags: 304 if the entity is so", TEXT)],
        answers: &[
            (
                "200",
                "The entity. With `meta=true` the headers Tombolo-Row-Bytes, Tombolo-Removed-Objects, \
                 Tombolo-Removed-Elements and Tombolo-Numbers-Left",
            ),
            ("304", "Not changed"),
        ],
        problems: &[Kind::NotFound, Kind::RevisionUnknown, Kind::TooLarge],
        ..Operation::PLAIN
    },
    Operation {
        method: HttpMethod::Put,
        path: ENTITY,
        summary: "Replaces or creates the entity",
        headers: &[
            IF_MATCH,
            Parameter("If-None-Match", "The entity must be absent", Shape::OneOf(&["*"])),
            Parameter("Tombolo-Base", "The revision that was read: what others changed since is kept", REVISION),
            IDEMPOTENCY,
            TRACE,
        ],
        bodies: JSON,
        answers: &[("200", "Replaced"), ("201", "Created")],
        problems: &[Kind::Role, Kind::RevisionMismatch, Kind::BaseUnknown, Kind::IdempotencyConflict],
        ..Operation::PLAIN
    },
    Operation {
        method: HttpMethod::Patch,
        path: ENTITY,
        summary: "Changes the entity",
        headers: &[IF_MATCH, IDEMPOTENCY, TRACE],
        bodies: PATCHES,
        problems: PATCH_PROBLEMS,
        ..Operation::PLAIN
    },
    Operation {
        method: HttpMethod::Delete,
        path: ENTITY,
        summary: "Deletes the entity",
        headers: &[IF_MATCH, IDEMPOTENCY, TRACE],
        problems: PATCH_PROBLEMS,
        ..Operation::PLAIN
    },
    Operation {
        method: HttpMethod::Post,
        path: "/v1/spaces/{space}/{collection}",
        summary: "Creates an entity with a generated id",
        headers: &[IDEMPOTENCY, TRACE],
        bodies: JSON,
        answers: &[("201", "Created")],
        problems: &[Kind::Role, Kind::IdempotencyConflict],
        ..Operation::PLAIN
    },
];

/// Which state of an entity is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// A revision, a receipt or a moment; none: the present.
    at: Option<String>,
    /// Headers say what it takes.
    #[serde(default)]
    meta: bool,
}

/// `GET /v1/spaces/{space}/{collection}/{id}`
pub(super) async fn read(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<At>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (collection, id) = (path.collection()?, path.id()?);
    let known = request::text(&headers, "if-none-match")?;
    let until = query.at.as_deref().map(history::until).transpose()?;
    if query.meta && until.is_some() {
        return Err(Problem::argument(
            "`meta` tells of the row, and only the present has one: leave out `at` or `meta`",
        ));
    }
    let space = app.space(path.space())?;
    let entity = (space.space_no, collection, id);
    let shown = match until {
        None => rows::cared(&app, space.id, rows::shown(&app, entity, query.meta).await).await?,
        Some(until) => match rows::cared(&app, space.id, rows::read(&app, entity).await).await? {
            Some(present) => {
                let state = history::state_at(&app, entity, present, until).await?;
                app.turns.run(Lane::Values, move || Shown::of(&state)).await?
            }
            None => None,
        },
    };
    let absent = || match &query.at {
        Some(at) => Problem::new(Kind::NotFound, format!("{collection}/{id} was not there at {}", clip(at))),
        None => rows::absent(collection, id),
    };
    let Shown { revision, view, size } = shown.ok_or_else(absent)?;
    let mut response = match known.is_some_and(|known| matches_tag(known, revision)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => write::json_response(view),
    };
    response.headers_mut().insert(header::ETAG, rows::etag(revision));
    size.iter().for_each(|size| size.headers(response.headers_mut()));
    Ok(response)
}

/// Whether an `If-None-Match` names the revision.
fn matches_tag(known: &str, revision: Revision) -> bool {
    let tag = format!("\"{revision}\"");
    known.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// `PUT /v1/spaces/{space}/{collection}/{id}`
pub(super) async fn put(
    State(app): State<SharedApp>,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (bytes, value) = request::read_write(&app, &headers, body, JSON).await?;
    let base = request::text(&headers, "tombolo-base")?.map(request::revision).transpose()?;
    let request = EntityRequest { app: &app, path: &path, method: Method::PUT, uri: &uri, headers: &headers, bytes };
    request.run(base, |base| Write::Put { value, base }).await
}

/// `PATCH /v1/spaces/{space}/{collection}/{id}`
pub(super) async fn patch(
    State(app): State<SharedApp>,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (bytes, value) = request::read_write(&app, &headers, body, PATCHES).await?;
    let write = match request::content_type(&headers).as_str() {
        MERGE_PATCH => Write::MergePatch(value),
        JSON_PATCH => super::transactions::json_patch(&value)?,
        _ => super::transactions::operations(&value)?,
    };
    let request = EntityRequest { app: &app, path: &path, method: Method::PATCH, uri: &uri, headers: &headers, bytes };
    request.run(None, |_| write).await
}

/// `DELETE /v1/spaces/{space}/{collection}/{id}`
pub(super) async fn remove(
    State(app): State<SharedApp>,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bytes = Bytes::new();
    let request = EntityRequest { app: &app, path: &path, method: Method::DELETE, uri: &uri, headers: &headers, bytes };
    request.run(None, |_| Write::Delete).await
}

/// A write to one entity whose id is in the path.
struct EntityRequest<'r> {
    app: &'r SharedApp,
    path: &'r PathParts,
    method: Method,
    uri: &'r Uri,
    headers: &'r HeaderMap,
    bytes: Bytes,
}

impl EntityRequest<'_> {
    async fn run(self, base: Option<Revision>, write: impl FnOnce(Option<Json>) -> Write) -> Result<Response, Problem> {
        let Self { app, path, method, uri, headers, bytes } = self;
        let (collection, id) = (path.collection()?, path.id()?);
        let expect = request::expectation(headers)?;
        let route = format!("{method} {}", uri.path());
        let idempotency = write::idempotency(app, headers, &route, &bytes)?;
        let space = app.space(path.space())?;
        let base = match base {
            Some(revision) => {
                let base = write::base(app, (space.space_no, collection, id), revision).await;
                Some(rows::cared(app, space.id, base).await?)
            }
            None => None,
        };
        let one = EntityWrite { collection: collection.to_owned(), id: id.to_owned(), expect, write: write(base) };
        let trace = request::trace(headers);
        let command = WriteCommand { space: space.id, writes: vec![one], atomic: true, idempotency, trace };
        let outcome = write::make(app, command, bytes.len()).await?;
        // Deleting what is not there changes nothing, and is no error where many writes go together.
        if method == Method::DELETE && !outcome.writes.iter().any(|written| written.changed) {
            return Err(rows::absent(collection, id));
        }
        answer(id, &outcome)
    }
}

/// `POST /v1/spaces/{space}/{collection}`
pub(super) async fn create(
    State(app): State<SharedApp>,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let collection = path.collection()?;
    let (bytes, value) = request::read_write(&app, &headers, body, JSON).await?;
    let idempotency = write::idempotency(&app, &headers, &format!("POST {}", uri.path()), &bytes)?;
    let space = app.space(path.space())?;
    let id = Uuid::now_v7().to_string();
    let write = Write::Put { value, base: None };
    let one = EntityWrite { collection: collection.to_owned(), id: id.clone(), expect: Expect::Absent, write };
    let trace = request::trace(&headers);
    let command = WriteCommand { space: space.id, writes: vec![one], atomic: true, idempotency, trace };
    let outcome = write::make(&app, command, bytes.len()).await?;
    // A repeated request was answered before, with the id of that time.
    let first = match outcome.receipt().filter(|_| outcome.replayed) {
        Some(receipt) => id_in_entry(&app.reading()?, collection, receipt)?,
        None => None,
    };
    let id = first.unwrap_or(id);
    let mut response = answer(&id, &outcome)?;
    let encoded = format!("{}/{id}", uri.path().trim_end_matches('/'));
    if let Ok(location) = HeaderValue::from_str(&encoded) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The entity of a collection that an entry changed.
fn id_in_entry(reading: &Reading, collection: &str, receipt: Receipt) -> Result<Option<String>, Problem> {
    let Some(row) = reading.entry(receipt.feed, receipt.seq)? else { return Ok(None) };
    let Ok(Entry { body: EntryBody::Data(changes), .. }) = Entry::decode(&row.bytes) else { return Ok(None) };
    Ok(changes.into_iter().find(|change| change.collection == collection).map(|change| change.id))
}

/// The answer to a write of one entity.
fn answer(id: &str, outcome: &Outcome) -> Result<Response, Problem> {
    let Some(written) = outcome.writes.first() else {
        return Err(Problem::new(Kind::Store, "the node did not say what became of the write"));
    };
    let mut response = write::json_response(write::written(id, written).to_string());
    *response.status_mut() = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    outcome.headers(response.headers_mut());
    if written.present {
        response.headers_mut().insert(header::ETAG, rows::etag(written.revision));
    }
    Ok(response)
}
