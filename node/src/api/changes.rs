//! The change stream over HTTP: [`crate::stream`] as lines or server-sent events.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::problem::Problem;
use super::request::{self, Params, PathParts, check_collection_name, clip, duration};
use super::spaces::resolve;
use super::{SharedApp, rows};
use crate::handle::Journals;
use crate::stream::{Cursor, Feed, Mark, StreamError};

/// How long a long poll waits unless the request says otherwise.
const LONG_WAIT: Duration = Duration::from_secs(30);
/// How often a silent stream of server-sent events says that it is there: proxies cut silent ones off.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes of events that are sent as one piece.
const PIECE_BYTES: usize = 64 << 10;
/// The cursor at which an answer begins.
const CURSOR: HeaderName = HeaderName::from_static("tombolo-cursor");

/// How long a reader stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Live {
    /// Up to the present.
    #[default]
    None,
    /// Until there is something.
    Long,
    /// For ever, as server-sent events.
    Sse,
    /// For ever, as lines.
    Ndjson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    since: Option<String>,
    #[serde(default)]
    live: Live,
    limit: Option<usize>,
    collection: Option<String>,
    timeout: Option<String>,
}

/// `GET /v1/spaces/{space}/changes`
pub(super) async fn changes(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query.collection.as_deref().map_or(Ok(()), check_collection_name)?;
    if query.limit == Some(0) {
        return Err(Problem::argument("limit is 0; it must be at least 1"));
    }
    let wait = query.timeout.as_deref().map_or(Ok(LONG_WAIT), duration)?;
    // A reader that comes back says where it was in a header, and repeats the address it first used.
    let since = request::text(&headers, "last-event-id")?.map(str::to_owned).or(query.since);
    let journal = app.engine.journal();
    let snapshot = app.snapshot()?;
    let space = resolve(&snapshot, path.space())?;
    drop(snapshot);
    let cursor = match since.as_deref() {
        None | Some("") => Cursor::At(Mark::default(), 0),
        Some("now") => Cursor::At(Mark::new(space.journal, &space.running), 0),
        Some(text) => text.parse().map_err(|_| {
            Problem::argument(format!("`{}` is not a cursor; it is an event's `id`, or `now`", clip(text)))
        })?,
    };
    let begin = HeaderValue::from_str(&cursor.to_string()).map_err(|_| Problem::argument("the cursor is damaged"))?;
    let feed = Feed::new(space.space, space.no, query.collection, cursor);
    let live = query.live;
    let stream = Stream {
        app,
        feed,
        live,
        left: query.limit,
        deadline: Instant::now() + wait,
        journal,
        sent: false,
        over: false,
    };
    let body = Body::from_stream(stream::unfold(stream, |mut stream| async move {
        let piece = stream.piece().await?;
        Some((piece, stream))
    }));
    let mut response = Response::new(body);
    let kind = if live == Live::Sse { "text/event-stream" } else { "application/x-ndjson" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(CURSOR, begin);
    Ok(response)
}

/// An answer under way.
struct Stream {
    app: SharedApp,
    feed: Feed,
    live: Live,
    /// Events that may still be sent.
    left: Option<usize>,
    /// When a long poll ends without an event.
    deadline: Instant,
    journal: watch::Receiver<Journals>,
    /// Something was sent: a long poll ends at the present then.
    sent: bool,
    over: bool,
}

impl Stream {
    /// The next piece of the answer; `None`: it is complete.
    async fn piece(&mut self) -> Option<std::io::Result<Bytes>> {
        loop {
            if self.over {
                return None;
            }
            // Before reading: what comes while reading is noticed.
            self.journal.mark_unchanged();
            match self.gather() {
                Err(error) => {
                    // What cannot be said in the status any more cuts the answer off, which clients notice.
                    self.over = true;
                    let problem = rows::report(&self.app, self.feed.space, error.into()).await;
                    return Some(Err(std::io::Error::other(problem.to_json().to_string())));
                }
                Ok(bytes) if !bytes.is_empty() => {
                    self.sent = true;
                    return Some(Ok(bytes.into()));
                }
                Ok(_) => {}
            }
            match self.wait().await {
                Woken::Journal => {}
                Woken::KeepAlive => return Some(Ok(Bytes::from_static(b": still here\n\n"))),
                Woken::End => return None,
            }
        }
    }

    /// What there is, up to a piece.
    fn gather(&mut self) -> Result<Vec<u8>, StreamError> {
        let mut out = Vec::new();
        while out.len() < PIECE_BYTES && self.left != Some(0) {
            let event = match self.feed.next(&self.app.reader) {
                Ok(Some(event)) => event,
                Err(error) if out.is_empty() => return Err(error),
                // What comes before it is sent first; then it is met again.
                Ok(None) | Err(_) => break,
            };
            if self.live == Live::Sse {
                out.extend_from_slice(&event.to_sse(self.feed.space));
            } else {
                out.extend_from_slice(&event.to_json(self.feed.space));
                out.push(b'\n');
            }
            self.left = self.left.map(|left| left - 1);
        }
        self.over = self.left == Some(0);
        Ok(out)
    }

    /// Waits at the present, if the reader wants to.
    async fn wait(&mut self) -> Woken {
        let (space, end) = (self.feed.space, self.feed.end);
        let until = match self.live {
            Live::None => return Woken::End,
            Live::Long if self.sent => return Woken::End,
            Live::Long => self.deadline,
            Live::Sse | Live::Ndjson => Instant::now() + KEEP_ALIVE,
        };
        let grown = self.journal.wait_for(|journals| journals.get(&space).is_some_and(|position| *position > end));
        tokio::select! {
            grown = grown => if grown.is_ok() { Woken::Journal } else { Woken::End },
            () = tokio::time::sleep_until(until) => match self.live {
                Live::Sse => Woken::KeepAlive,
                Live::Ndjson => Woken::Journal,
                Live::Long | Live::None => Woken::End,
            },
            () = self.app.closed() => Woken::End,
        }
    }
}

/// Why waiting ended.
enum Woken {
    Journal,
    KeepAlive,
    End,
}
