//! Everything present, as NDJSON, in order of collection and id: equal states give equal bytes.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use tombolo_crdt::SpaceId;

use super::describe::{COLLECTION, Operation, Parameter};
use super::problem::{Kind, Problem};
use super::request::{Params, PathParts, check_collection_name};
use super::turns::{Lane, StreamPlace};
use super::{SharedApp, rows};
use crate::handle::Stopped;
use crate::store::Reader;
use crate::stream::{StreamError, Walk};

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    path: "/v1/spaces/{space}/export",
    summary: "Everything present, as lines",
    query: &[Parameter("collection", "Only this collection", COLLECTION)],
    problems: &[Kind::InvalidName, Kind::Damaged, Kind::TooManyStreams],
    ..Operation::PLAIN
}];

/// Bytes after which a piece of the answer ends: what waits in memory for a client that does not read.
const PIECE_BYTES: usize = 16 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    collection: Option<String>,
}

/// An export under way.
struct Export {
    app: SharedApp,
    space: SpaceId,
    /// Away while a turn is made.
    walk: Option<Walk>,
    next: Next,
    _place: StreamPlace,
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
    let place = app.turns.stream()?;
    let at = app.space(path.space())?;
    let (space, walk) = (at.id, Some(Walk::new(at.space_no, query.collection, None)));
    let mut export = Export { app, space, walk, next: Next::Page, _place: place };
    // What is met before anything is told can be said in the status.
    let first = match export.page().await {
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
            Next::Page => match self.page().await {
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

    /// The next rows, read in turns. An error comes alone: what lies before it is told first.
    async fn page(&mut self) -> Result<Bytes, Problem> {
        loop {
            let Some(mut walk) = self.walk.take() else { return Err(Stopped.into()) };
            let reader = self.app.reader.clone();
            let work = move || {
                let read = read(&mut walk, &reader);
                (walk, read)
            };
            let (walk, read) = self.app.turns.run(Lane::Pages, work).await?;
            self.walk = Some(walk);
            let (lines, more) = read?;
            if !more {
                self.next = Next::Nothing;
            }
            if !more || !lines.is_empty() {
                return Ok(lines.into());
            }
        }
    }
}

/// A turn: lines, and whether more follow.
fn read(walk: &mut Walk, reader: &Reader) -> Result<(Vec<u8>, bool), StreamError> {
    let mut out = Vec::new();
    let more = walk.turn(&reader.reading()?, |collection, id, state, _| {
        if state.is_present() {
            let names = (rows::quote(collection), rows::quote(id));
            let head = format!("{{\"collection\":{},\"id\":{},\"value\":", names.0, names.1);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&rows::view(&state));
            out.extend_from_slice(b"}\n");
        }
        out.len() < PIECE_BYTES
    })?;
    Ok((out, more))
}

/// A response of lines of JSON.
pub(super) fn ndjson(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}
