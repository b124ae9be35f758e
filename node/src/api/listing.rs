//! Pages of a collection, ordered by id.

use std::ops::ControlFlow;

use axum::extract::State;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::problem::Problem;
use super::request::{Params, PathParts};
use super::{SharedApp, rows, spaces, write};

/// Entities in a page, unless the request says otherwise.
const LIMIT: usize = 100;
/// Most entities in a page.
const LIMIT_MAX: usize = 1_000;
/// Rows that are looked at for a page, absent ones included: bounds how long a snapshot is held.
const SCAN_MAX: usize = 10_000;
/// Bytes after which a page ends early (8 MiB).
const PAGE_BYTES: usize = 8 << 20;

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
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::argument(format!("limit is {limit}; it must be 1 to {LIMIT_MAX}")));
    }
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let snapshot = app.snapshot()?;
    let space = spaces::resolve(&snapshot, path.space())?;
    let mut page =
        Page { out: b"{\"items\":[".to_vec(), items: 0, scanned: 0, limit, last: None, more: false, fault: None };
    let behind = after.as_deref().map(|id| (collection, id));
    snapshot.visit_rows(space.no, Some(collection), &query.prefix, behind, |collection, id, row| {
        page.visit(collection, id, row)
    })?;
    drop(snapshot);
    rows::cared(&app, space.space, page.finish()).await
}

struct Page {
    out: Vec<u8>,
    items: usize,
    scanned: usize,
    limit: usize,
    last: Option<String>,
    more: bool,
    fault: Option<Problem>,
}

impl Page {
    fn visit(&mut self, collection: &str, id: &str, row: &[u8]) -> ControlFlow<()> {
        if self.items >= self.limit || self.scanned >= SCAN_MAX || self.out.len() >= PAGE_BYTES {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.scanned += 1;
        match rows::decode(collection, id, row) {
            Ok(state) if state.is_present() => {
                if self.items > 0 {
                    self.out.push(b',');
                }
                self.items += 1;
                let head = format!("{{\"id\":{},\"revision\":\"{}\",\"value\":", rows::quote(id), state.revision());
                self.out.extend_from_slice(head.as_bytes());
                self.out.extend_from_slice(&rows::view(&state));
                self.out.push(b'}');
            }
            Ok(_) => {}
            Err(problem) => {
                self.fault = Some(problem);
                return ControlFlow::Break(());
            }
        }
        self.last = Some(id.to_owned());
        ControlFlow::Continue(())
    }

    fn finish(mut self) -> Result<Response, Problem> {
        if let Some(problem) = self.fault {
            return Err(problem);
        }
        self.out.push(b']');
        if let Some(last) = self.last.filter(|_| self.more) {
            let cursor = format!(",\"cursor\":\"{}\"", BASE64URL_NOPAD.encode(last.as_bytes()));
            self.out.extend_from_slice(cursor.as_bytes());
        }
        self.out.push(b'}');
        Ok(write::json_response(self.out))
    }
}

fn read_cursor(text: &str) -> Result<String, Problem> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let id = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    id.ok_or_else(|| Problem::argument("the cursor is not one that a listing gave"))
}
