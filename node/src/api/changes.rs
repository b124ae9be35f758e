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
use tombolo_crdt::SpaceId;

use super::describe::{COLLECTION, DURATION, Operation, Parameter, Shape};
use super::problem::{Kind, Problem};
use super::request::{self, Params, PathParts, check_collection_name, clip, duration};
use super::turns::{Lane, StreamPlace};
use super::{App, SharedApp, rows};
use crate::handle::{Journals, Stopped};
use crate::stream::{Cursor, Event, Feed, Mark, Turn};

const CURSOR_SHAPE: Shape = Shape::Fits("^(now|[0-9a-fA-F]{32}([.][0-9]+|~[A-Za-z0-9_-]*)?)$");

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    path: "/v1/spaces/{space}/changes",
    summary: "Changes from a cursor on, as CloudEvents",
    query: &[
        Parameter("since", "The `id` of an event, or `now`", CURSOR_SHAPE),
        Parameter("live", "How long the answer goes on", Shape::OneOf(&["none", "long", "sse", "ndjson"])),
        Parameter("limit", "Events that are told", Shape::Whole(1, u32::MAX as u64, None)),
        Parameter("collection", "Only changes of this collection", COLLECTION),
        Parameter("timeout", "How long a long poll waits, at most 300s", DURATION),
    ],
    headers: &[Parameter("Last-Event-ID", "Counts as `since`", CURSOR_SHAPE)],
    problems: &[Kind::InvalidName, Kind::TooManyStreams],
    ..Operation::PLAIN
}];

/// How long a long poll waits unless the request says otherwise.
const LONG_WAIT: Duration = Duration::from_secs(30);
/// How often a silent stream of server-sent events says that it is there: proxies cut silent ones off, and a client
/// that hears nothing for twice as long knows that its connection is dead.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// An event of a name of its own, so that `EventSource` shows it; without an id, so that no cursor moves.
const HEARTBEAT: &[u8] = b"event: heartbeat\ndata: {}\n\n";
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
    let place = app.turns.stream()?;
    let journal = app.engine.journal();
    let space = app.space(path.space())?;
    let cursor = cursor(&app, space.id, since.as_deref())?;
    let begin = HeaderValue::from_str(&cursor.to_string()).map_err(|_| Problem::argument("the cursor is damaged"))?;
    let live = query.live;
    let stream = Stream {
        app,
        space: space.id,
        feed: Some(Feed::new(space.id, space.space_no, query.collection, cursor)),
        live,
        left: query.limit,
        deadline: Instant::now() + wait,
        journal,
        sent: false,
        over: false,
        _place: place,
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

/// Where a reader begins that says this.
fn cursor(app: &App, space: SpaceId, since: Option<&str>) -> Result<Cursor, Problem> {
    let beginning = Cursor::At(Mark::default(), 0);
    match since {
        None | Some("") => Ok(beginning),
        Some("now") => {
            let row = app.reading()?.space(space)?;
            Ok(row.map_or(beginning, |row| Cursor::At(Mark::new(row.journal, &row.running), 0)))
        }
        Some(text) => text.parse().map_err(|_| {
            Problem::argument(format!("`{}` is not a cursor; it is an event's `id`, or `now`", clip(text)))
        }),
    }
}

/// An answer under way.
struct Stream {
    app: SharedApp,
    space: SpaceId,
    /// Away while a turn is made.
    feed: Option<Feed>,
    live: Live,
    /// Events that may still be sent.
    left: Option<usize>,
    /// When a long poll ends without an event.
    deadline: Instant,
    journal: watch::Receiver<Journals>,
    /// Something was sent: a long poll ends at the present then.
    sent: bool,
    over: bool,
    _place: StreamPlace,
}

/// What a turn gave.
enum Made {
    /// Events as they are sent, and how many.
    Events(Vec<u8>, usize),
    /// Nothing; there is more to look at.
    Nothing,
    /// Nothing more; the journal ends here.
    Present(u64),
}

impl Stream {
    /// The next piece of the answer; `None`: it is complete.
    async fn piece(&mut self) -> Option<std::io::Result<Bytes>> {
        while !self.over && self.left != Some(0) {
            // Before reading: what comes while reading is noticed.
            self.journal.mark_unchanged();
            let end = match self.turn().await {
                Ok(Made::Events(bytes, count)) => {
                    self.sent = true;
                    self.left = self.left.map(|left| left.saturating_sub(count));
                    return Some(Ok(bytes.into()));
                }
                Ok(Made::Nothing) => continue,
                Ok(Made::Present(end)) => end,
                Err(problem) => {
                    // What cannot be said in the status any more cuts the answer off, which clients notice.
                    self.over = true;
                    let problem = rows::report(&self.app, self.space, problem).await;
                    return Some(Err(std::io::Error::other(problem.to_json().to_string())));
                }
            };
            match self.wait(end).await {
                Woken::Journal => {}
                Woken::Heartbeat => return Some(Ok(Bytes::from_static(HEARTBEAT))),
                Woken::End => return None,
            }
        }
        None
    }

    /// Reads on, in a turn of its own.
    async fn turn(&mut self) -> Result<Made, Problem> {
        let Some(mut feed) = self.feed.take() else { return Err(Stopped.into()) };
        let (reader, live, left) = (self.app.reader.clone(), self.live, self.left);
        let work = move || {
            let made = feed.turn(&reader).map(|turn| match turn {
                Turn::Events(mut events) => {
                    events.truncate(left.unwrap_or(usize::MAX));
                    Made::Events(encode(&events, feed.space, live), events.len())
                }
                Turn::Nothing => Made::Nothing,
                Turn::Present => Made::Present(feed.end),
            });
            (feed, made)
        };
        let (feed, made) = self.app.turns.run(Lane::Pages, work).await?;
        self.feed = Some(feed);
        Ok(made?)
    }

    /// Waits at the present, if the reader wants to.
    async fn wait(&mut self, end: u64) -> Woken {
        let space = self.space;
        let until = match self.live {
            Live::None => return Woken::End,
            Live::Long if self.sent => return Woken::End,
            Live::Long => self.deadline,
            Live::Sse | Live::Ndjson => Instant::now() + HEARTBEAT_EVERY,
        };
        let grown = self.journal.wait_for(|journals| journals.get(&space).is_some_and(|position| *position > end));
        tokio::select! {
            grown = grown => if grown.is_ok() { Woken::Journal } else { Woken::End },
            () = tokio::time::sleep_until(until) => match self.live {
                Live::Sse => Woken::Heartbeat,
                Live::Ndjson => Woken::Journal,
                Live::Long | Live::None => Woken::End,
            },
            () = self.app.closed() => Woken::End,
        }
    }
}

/// Events as they are sent.
fn encode(events: &[Event], space: SpaceId, live: Live) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        if live == Live::Sse {
            out.extend_from_slice(&event.to_sse(space));
        } else {
            out.extend_from_slice(&event.to_json(space));
            out.push(b'\n');
        }
    }
    out
}

/// Why waiting ended.
enum Woken {
    Journal,
    Heartbeat,
    End,
}
