//! Everything present, as NDJSON, in order of collection and id: equal states give equal bytes.

use std::ops::ControlFlow;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use tombolo_crdt::SpaceId;

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
    space: SpaceId,
    space_no: u32,
    collection: Option<String>,
    after: Option<(String, String)>,
    /// What was met behind the last row that was told.
    fault: Option<Problem>,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Page,
    /// The answer is broken off: what it ended with has been said.
    Break,
    Nothing,
}

/// `GET /v1/spaces/{space}/export`
pub(super) async fn export(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    query.collection.as_deref().map_or(Ok(()), check_collection_name)?;
    let row = spaces::resolve(&app.snapshot()?, path.space())?;
    let (space, space_no, collection) = (row.space, row.no, query.collection);
    let mut export = Export { app, space, space_no, collection, after: None, fault: None, next: Next::Page };
    // What is met before anything is told can be said in the status.
    let first = match export.page() {
        Ok(first) => first,
        Err(problem) => return Err(rows::report(&export.app, space, problem).await),
    };
    let rest = stream::unfold(export, |mut export| async move { Some((export.piece().await?, export)) });
    Ok(ndjson(Body::from_stream(stream::once(std::future::ready(Ok(first))).chain(rest))))
}

impl Export {
    /// The next piece of the answer; `None`: it has come to its end.
    async fn piece(&mut self) -> Option<std::io::Result<Bytes>> {
        match self.next {
            Next::Page if *self.app.closing.borrow() => {
                self.next = Next::Nothing;
                Some(Err(std::io::Error::other("the node is stopping")))
            }
            Next::Page => match self.page() {
                Ok(page) => Some(Ok(page)),
                Err(problem) => {
                    // A last line says why; then the answer is cut off, so that nobody takes it for complete.
                    self.next = Next::Break;
                    let problem = rows::report(&self.app, self.space, problem).await;
                    Some(Ok(format!("{{\"error\":{}}}\n", problem.to_json()).into()))
                }
            },
            Next::Break => {
                self.next = Next::Nothing;
                // What has been said goes out first.
                tokio::task::yield_now().await;
                Some(Err(std::io::Error::other("the export met an error")))
            }
            Next::Nothing => None,
        }
    }

    /// The next rows. An error comes alone: what lies before it is told first.
    fn page(&mut self) -> Result<Bytes, Problem> {
        if let Some(problem) = self.fault.take() {
            return Err(problem);
        }
        let snapshot = self.app.snapshot()?;
        let mut out = Vec::new();
        let (mut scanned, mut more) = (0, false);
        let mut last = None;
        let mut fault = None;
        let after = self.after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        let visited =
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
            });
        self.fault = fault.or(visited.err().map(Problem::from));
        if let Some(problem) = self.fault.take_if(|_| out.is_empty()) {
            return Err(problem);
        }
        self.after = last.or_else(|| self.after.take());
        if !more && self.fault.is_none() {
            self.next = Next::Nothing;
        }
        Ok(out.into())
    }
}

/// A response of lines of JSON.
pub(super) fn ndjson(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}
