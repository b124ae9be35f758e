//! Pages of a collection, ordered by id.

use axum::extract::State;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::describe::{Operation, Parameter, Shape};
use super::history::limited;
use super::problem::Problem;
use super::request::{Params, PathParts};
use super::turns::Lane;
use super::{SharedApp, rows, write};
use crate::store::Reader;
use crate::stream::{StreamError, Walk};

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    path: "/v1/spaces/{space}/{collection}",
    summary: "A page of a collection, by id",
    query: &[
        Parameter("prefix", "Only ids that begin so", Shape::Text(0, 256)),
        Parameter("limit", "Entities on the page", Shape::Whole(1, LIMIT_MAX as u64, Some(LIMIT as u64))),
        Parameter("cursor", "What the page before said", Shape::Fits("^[A-Za-z0-9_-]+$")),
    ],
    ..Operation::PLAIN
}];

/// Entities in a page, unless the request says otherwise.
const LIMIT: usize = 100;
/// Most entities in a page.
const LIMIT_MAX: usize = 1_000;
/// Rows that are looked at for a page, absent ones included. A page is one turn over one reading, so that no
/// transaction is seen in part; these bounds keep it at some 20 ms.
const SCAN_ROWS: usize = 4_096;
/// Bytes of rows that are read for a page (4 MiB).
const SCAN_BYTES: usize = 4 << 20;
/// Bytes after which a page ends early (1 MiB): it waits in memory for a client that does not read.
const PAGE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/spaces/{space}/{collection}`
pub(super) async fn list(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let collection = path.collection()?;
    let limit = limited(query.limit, LIMIT, LIMIT_MAX)?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let space = app.space(path.space())?;
    let after = after.map(|id| (collection.to_owned(), id));
    let walk = Walk::new(space.space_no, Some(collection.to_owned()), after).with_prefix(query.prefix);
    let (walk, reader) = (walk.with_turn(SCAN_ROWS, SCAN_BYTES), app.reader.clone());
    let page = app.turns.run(Lane::Pages, move || read(walk, limit, &reader)).await?;
    rows::cared(&app, space.id, page.map(write::json_response).map_err(Problem::from)).await
}

/// A page as JSON.
fn read(mut walk: Walk, limit: usize, reader: &Reader) -> Result<Vec<u8>, StreamError> {
    let mut out = b"{\"items\":[".to_vec();
    let mut items = 0;
    let more = walk.turn(&reader.reading()?, |_, id, state, _| {
        if state.is_present() {
            if items > 0 {
                out.push(b',');
            }
            items += 1;
            let head = format!("{{\"id\":{},\"revision\":\"{}\",\"value\":", rows::quote(id), state.revision());
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&rows::view(&state));
            out.push(b'}');
        }
        items < limit && out.len() < PAGE_BYTES
    })?;
    out.push(b']');
    if let Some(last) = walk.last_id().filter(|_| more) {
        let cursor = format!(",\"cursor\":\"{}\"", BASE64URL_NOPAD.encode(last.as_bytes()));
        out.extend_from_slice(cursor.as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

fn read_cursor(text: &str) -> Result<String, Problem> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let id = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    id.ok_or_else(|| Problem::argument("the cursor is not one that a listing gave"))
}
