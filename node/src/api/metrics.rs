//! Prometheus text: what the engine counts, what the runtime counts, what HTTP counts.

use std::fmt::Debug;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::problem::{Kind, Problem};
use super::{App, SharedApp, status};
use crate::engine::{MemberStatus, SpaceStatus, Status};
use crate::runtime::Clock;
use crate::store::CacheUse;

/// What Prometheus wants to be told.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

type Durations = Family<Route, Histogram, fn() -> Histogram>;

/// HTTP requests. Labels are bounded: routes are patterns, methods the known ones.
#[derive(Clone, Debug)]
pub(super) struct HttpMetrics {
    requests: Family<Request, Counter>,
    durations: Durations,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        // 0.1 ms to 3.3 s in steps of two.
        let durations = || Histogram::new(exponential_buckets(0.000_1, 2.0, 16));
        Self { requests: Family::default(), durations: Family::new_with_constructor(durations) }
    }
}

impl HttpMetrics {
    pub(super) fn count(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        let known =
            [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS];
        let method = if known.contains(method) { method.as_str().to_owned() } else { "other".to_owned() };
        let route = route.to_owned();
        let request = Request { method: method.clone(), route: route.clone(), status: status.as_u16() };
        self.requests.get_or_create(&request).inc();
        self.durations.get_or_create(&Route { method, route }).observe(elapsed.as_secs_f64());
    }
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<SharedApp>) -> Result<Response, Problem> {
    let status = status::ask(&app).await?;
    let mut registry = Registry::with_prefix("tombolo");
    node(&mut registry, &status);
    settled(&mut registry, &status);
    spaces(&mut registry, &status);
    members(&mut registry, &status);
    traffic(&mut registry, &app);
    cache(&mut registry, app.reader.cache().unwrap_or_default());
    registry.register("http_requests", "HTTP requests answered", app.http.requests.clone());
    registry.register("http_request_seconds", "Time to the head of the answer", app.http.durations.clone());
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|error| Problem::new(Kind::Store, error.to_string()))?;
    let mut response = out.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    signed(registry, name, help, value.cast_signed());
}

fn signed(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn node(registry: &mut Registry, status: &Status) {
    let counters = &status.counters;
    counter(registry, "writes", "Local writes made", counters.writes);
    counter(registry, "commits", "Durable commits", counters.commits);
    counter(registry, "commit_failures", "Commits that failed", counters.failures);
    counter(registry, "committed_entries", "Entries in durable commits; by commits: the batch size", counters.entries);
    counter(registry, "held_entries", "Entries that had to wait for a dependency", counters.held);
    counter(registry, "dropped_entries", "Held entries dropped because the buffer was full", counters.dropped);
    gauge(registry, "connections", "Connections to other nodes", status.connections.len() as u64);
    let clock_off = status.clock_off.unwrap_or_default() / 1_000;
    signed(registry, "clock_off_seconds", "Seconds by which this node's clock is ahead, as most peers say", clock_off);
    gauge(registry, "full", "Whether writes are refused because the disk is full", u64::from(status.full.is_some()));
}

fn cache(registry: &mut Registry, used: CacheUse) {
    gauge(registry, "cache_bytes", "Bytes of the store's pages in memory", used.bytes);
    counter(registry, "cache_hits", "Pages of the store found in memory", used.hits);
    counter(registry, "cache_misses", "Pages of the store that had to be read", used.misses);
    counter(registry, "cache_evictions", "Pages of the store that had to make room", used.evictions);
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Verdict {
    verdict: &'static str,
}

fn settled(registry: &mut Registry, status: &Status) {
    let settled = Family::<Verdict, Counter>::default();
    for (verdict, count) in &status.counters.settled {
        settled.get_or_create(&Verdict { verdict }).inc_by(*count);
    }
    registry.register("settled_entries", "Entries settled, by verdict", settled);
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Space {
    space: String,
    name: String,
}

/// A figure of a space: name, help, value.
type SpaceFigure = (&'static str, &'static str, fn(&SpaceStatus) -> u64);

const SPACE_FIGURES: [SpaceFigure; 11] = [
    ("space_entities", "Present entities", |space| space.entities),
    ("space_journal", "Last journal position", |space| space.journal),
    ("space_feeds", "Feeds in the frontier", |space| space.feeds as u64),
    ("space_held_entries", "Entries waiting for a dependency", |space| {
        space.held.iter().map(|held| held.entries).sum()
    }),
    ("space_held_bytes", "Bytes of entries waiting for a dependency", |space| space.held_bytes),
    ("space_refused_entries", "Refused entries", |space| space.refused),
    ("space_poisoned_entities", "Frozen entities", |space| space.poisoned),
    ("space_disputed_entities", "Entities that differ from a member's without a reason: a defect", |space| {
        space.disputed.len() as u64
    }),
    ("space_repaired_rows", "Rows built anew since the start", |space| space.care.repaired),
    ("space_scrubs", "Passes over all rows since the start", |space| space.care.scrubs),
    ("space_sums_corrected", "State digests found wrong and corrected since the start: a defect", |space| {
        space.care.sums_corrected
    }),
];

fn spaces(registry: &mut Registry, status: &Status) {
    for (name, help, figure) in SPACE_FIGURES {
        let family = Family::<Space, Gauge>::default();
        for space in &status.spaces {
            let labels = Space { space: space.space.to_string(), name: space.name.clone() };
            family.get_or_create(&labels).set(figure(space).cast_signed());
        }
        registry.register(name, help, family);
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Member {
    space: String,
    node: String,
    name: String,
}

/// A figure of a member: name, help, value if it is known.
type MemberFigure = (&'static str, &'static str, fn(&MemberStatus) -> Option<u64>);

const MEMBER_FIGURES: [MemberFigure; 5] = [
    ("member_connected", "Whether the member is connected", |member| Some(u64::from(member.connected))),
    ("member_in_step", "Whether the member holds what this node holds", |member| Some(u64::from(member.in_step))),
    ("member_diverged", "Whether states differ at equal frontiers: a defect", |member| {
        Some(u64::from(member.diverged))
    }),
    ("member_behind_entries", "Entries the member has not acknowledged", |member| member.behind),
    ("member_behind_seconds", "Since when it has not acknowledged something", |member| {
        let since = member.behind_since.map(|since| Clock::wall_millis().saturating_sub(since) / 1_000);
        since.or_else(|| (member.behind == Some(0)).then_some(0))
    }),
];

fn members(registry: &mut Registry, status: &Status) {
    for (name, help, figure) in MEMBER_FIGURES {
        let family = Family::<Member, Gauge>::default();
        for (space, member) in status.spaces.iter().flat_map(|space| space.members.iter().map(move |m| (space, m))) {
            let labels =
                Member { space: space.space.to_string(), node: member.node.to_string(), name: member.name.clone() };
            if let Some(value) = figure(member) {
                family.get_or_create(&labels).set(value.cast_signed());
            }
        }
        registry.register(name, help, family);
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Frames {
    node: String,
    kind: &'static str,
}

fn traffic(registry: &mut Registry, app: &App) {
    let (sent, received) = (Family::<Frames, Counter>::default(), Family::<Frames, Counter>::default());
    for figure in app.traffic.read() {
        let labels = Frames { node: figure.peer.to_string(), kind: figure.kind };
        sent.get_or_create(&labels).inc_by(figure.sent);
        received.get_or_create(&labels).inc_by(figure.received);
    }
    registry.register("sent_bytes", "Bytes of frames sent, by peer and kind", sent);
    registry.register("received_bytes", "Bytes of frames received, by peer and kind", received);
}
