//! What every write has in common: bases, idempotency, the engine's answer.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tombolo_crdt::hash::Tagged;
use tombolo_crdt::json::Json as Exact;
use tombolo_crdt::{Receipt, Revision};

use super::problem::{Kind, Problem};
use super::rows::EntityAt;
use super::spaces::unexpected;
use super::{SharedApp, history, request, rows};
use crate::chain::{BASE_STEPS_MAX, PastError, Until};
use crate::engine::{Command, Idempotency, Reply, WriteCommand, WriteOutcome, Written};

/// What kinds of partial writes there are, by content type.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
/// RFC 6902.
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
/// Typed operations.
pub(super) const OPERATIONS_TYPE: &str = "application/tombolo-ops+json";

/// `Tombolo-Receipt`
const RECEIPT: HeaderName = HeaderName::from_static("tombolo-receipt");
/// `Tombolo-Replayed`
const REPLAYED: HeaderName = HeaderName::from_static("tombolo-replayed");

/// The view of an entity at a base revision.
pub(super) async fn base(
    app: &SharedApp,
    (space_no, collection, id): EntityAt<'_>,
    revision: Revision,
) -> Result<Exact, Problem> {
    let present = rows::read(app, (space_no, collection, id)).await?;
    let current = present.as_ref().filter(|state| state.is_present()).map(|state| state.revision().to_string());
    let unknown = || {
        let detail = format!("{collection}/{id} was not at revision {revision} here among its last 4,096 changes");
        Problem::new(Kind::BaseUnknown, detail).with("current", current)
    };
    let Some(present) = present else { return Err(unknown()) };
    if present.revision() == revision {
        return Ok(present.view());
    }
    let newest = present.journal();
    drop(present);
    let until = Until::Revision { revision, among: BASE_STEPS_MAX };
    match history::fold(app, (space_no, collection, id), newest, until).await? {
        Ok(state) => Ok(state.view()),
        Err(PastError::Store(error)) => Err(error.into()),
        Err(_) => Err(unknown()),
    }
}

/// Binds `Idempotency-Key` to token, route and everything that the request asks for.
pub(super) fn idempotency(
    app: &SharedApp,
    headers: &HeaderMap,
    route: &str,
    body: &[u8],
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = request::idempotency_key(headers)? else { return Ok(None) };
    let bound = Tagged::new("tombolo/1 http key").bytes(&app.token).sized(route.as_bytes()).sized(key.as_bytes());
    let mut asked = Tagged::new("tombolo/1 http body").sized(request::content_type(headers).as_bytes());
    for name in ["if-match", "if-none-match", "tombolo-base"] {
        asked = asked.sized(request::text(headers, name)?.unwrap_or_default().as_bytes());
    }
    Ok(Some(Idempotency { key: bound.finish(), body: asked.sized(body).finish() }))
}

/// Has writes made that are one entry.
pub(super) async fn make(app: &SharedApp, command: WriteCommand, bytes: usize) -> Result<Outcome, Problem> {
    debug_assert!(command.atomic, "outcomes of single writes are taken apart by imports");
    match app.engine.submit(Command::Write(command), bytes).await?.await? {
        Reply::Written(Ok(WriteOutcome { writes, replayed })) => {
            let writes = writes.into_iter().collect::<Result<Vec<Written>, _>>()?;
            Ok(Outcome { writes, replayed })
        }
        Reply::Written(Err(refusal)) | Reply::Failed(refusal) => Err(refusal.into()),
        other => Err(unexpected(&other)),
    }
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) writes: Vec<Written>,
    pub(super) replayed: bool,
}

impl Outcome {
    /// The entry of all writes, or of the first if nothing changed.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        let changed = self.writes.iter().find(|written| written.changed);
        changed.or_else(|| self.writes.first()).and_then(|written| written.receipt)
    }

    pub(super) fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(receipt) = self.receipt() {
            let value = HeaderValue::from_str(&receipt.to_string()).expect("digits and a dash are a header value");
            headers.insert(RECEIPT, value);
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
    }
}

/// What is said of one write.
pub(super) fn written(id: &str, written: &Written) -> Value {
    json!({
        "id": id,
        "revision": written.revision.to_string(),
        "receipt": written.receipt.map(|receipt| receipt.to_string()),
        "changed": written.changed,
        "created": written.created,
        "present": written.present,
    })
}

/// A response of JSON, with a line feed behind it: terminals show it as a line.
pub(super) fn json_response(json: impl Into<Vec<u8>>) -> Response {
    let mut bytes: Vec<u8> = json.into();
    bytes.push(b'\n');
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON value as an answer.
#[derive(Debug)]
pub(super) struct Json(pub(super) Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        json_response(self.0.to_string())
    }
}
