//! Everything present, as NDJSON, in order of collection and id: equal states give equal bytes.

use std::ops::ControlFlow;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;

use super::problem::Problem;
use super::request::{Params, PathParts, check_collection_name};
use super::{SharedApp, rows, spaces};

/// Rows per snapshot: long listings must not hold one.
const PAGE_ROWS: usize = 256;
/// Bytes after which a page ends early.
const PAGE_BYTES: usize = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    collection: Option<String>,
}

/// An export under way.
struct Export {
    app: SharedApp,
    space_no: u32,
    collection: Option<String>,
    after: Option<(String, String)>,
    done: bool,
}

/// `GET /v1/spaces/{space}/export`
pub(super) async fn export(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    query.collection.as_deref().map_or(Ok(()), check_collection_name)?;
    let space_no = spaces::resolve(&app.snapshot()?, path.space())?.no;
    let export = Export { app, space_no, collection: query.collection, after: None, done: false };
    Ok(ndjson(Body::from_stream(stream::unfold(export, |mut export| async move {
        if export.done || *export.app.closing.borrow() {
            return None;
        }
        // What cannot be said in the status any more cuts the answer off, which clients notice.
        let page = export.page().map_err(|problem| std::io::Error::other(problem.to_json().to_string()));
        export.done |= page.is_err();
        Some((page, export))
    }))))
}

impl Export {
    fn page(&mut self) -> Result<Bytes, Problem> {
        let snapshot = self.app.snapshot()?;
        let mut out = Vec::new();
        let (mut scanned, mut more) = (0, false);
        let mut last = None;
        let mut fault = None;
        let after = self.after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        snapshot.visit_rows(self.space_no, self.collection.as_deref(), "", after, |collection, id, row| {
            if scanned >= PAGE_ROWS || out.len() >= PAGE_BYTES {
                more = true;
                return ControlFlow::Break(());
            }
            scanned += 1;
            match rows::decode(collection, id, row) {
                Ok(state) if state.is_present() => {
                    let names = (rows::quote(collection), rows::quote(id));
                    out.extend_from_slice(
                        format!("{{\"collection\":{},\"id\":{},\"value\":", names.0, names.1).as_bytes(),
                    );
                    out.extend_from_slice(&rows::view(&state));
                    out.extend_from_slice(b"}\n");
                }
                Ok(_) => {}
                Err(problem) => {
                    fault = Some(problem);
                    return ControlFlow::Break(());
                }
            }
            last = Some((collection.to_owned(), id.to_owned()));
            ControlFlow::Continue(())
        })?;
        if let Some(problem) = fault {
            return Err(problem);
        }
        self.after = last.or_else(|| self.after.take());
        self.done = !more;
        Ok(out.into())
    }
}

/// A response of lines of JSON.
pub(super) fn ndjson(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}
