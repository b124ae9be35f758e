//! Prometheus text: what the engine counts, what the runtime counts, what HTTP counts, what the system says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
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
use tombolo_crdt::NodeId;

use super::problem::{Kind, Problem};
use super::turns::Lane;
use super::{App, SharedApp, status};
use crate::engine::{MemberStatus, STEP_KINDS, SpaceStatus, Status};
use crate::runtime::{Clock, StepTimes};
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
    let store = app.store.clone();
    // The file system may be slow to answer.
    let system = app.turns.run(Lane::Values, move || System::read(&store)).await?;
    let mut process = Registry::default();
    gauge(&mut process, "process_start_time_seconds", "When the process started, seconds since 1970", app.started());
    if let Some(bytes) = system.resident {
        gauge(&mut process, "process_resident_memory_bytes", "Memory of the process", bytes);
    }
    let mut registry = Registry::with_prefix("tombolo");
    build(&mut registry);
    node(&mut registry, &status);
    room(&mut registry, &system);
    settled(&mut registry, &status);
    steps(&mut registry, &status, &app.steps);
    spaces(&mut registry, &status);
    members(&mut registry, &status, &app);
    traffic(&mut registry, &status, &app);
    cache(&mut registry, app.reader.cache().unwrap_or_default());
    registry.register("http_requests", "HTTP requests answered", app.http.requests.clone());
    registry.register("http_request_seconds", "Time to the head of the answer", app.http.durations.clone());
    let mut out = String::new();
    let encoded = text::encode_registry(&mut out, &process)
        .and_then(|()| text::encode_registry(&mut out, &registry))
        .and_then(|()| text::encode_eof(&mut out));
    encoded.map_err(|error| Problem::new(Kind::Store, error.to_string()))?;
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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

fn build(registry: &mut Registry) {
    let family = Family::<Build, Gauge>::default();
    family.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "Which program this is; always 1", family);
}

/// What the system says of the process and its disk; `None`: nothing.
#[derive(Clone, Copy, Debug, Default)]
struct System {
    resident: Option<u64>,
    store: Option<u64>,
    free: Option<u64>,
}

impl System {
    fn read(store: &Path) -> Self {
        let volume = rustix::fs::statvfs(store).ok();
        Self {
            resident: std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident),
            store: std::fs::metadata(store).ok().map(|file| file.len()),
            free: volume.map(|volume| volume.f_bavail.saturating_mul(volume.f_frsize)),
        }
    }
}

/// Bytes of memory, of the text of `/proc/self/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

fn room(registry: &mut Registry, system: &System) {
    if let Some(bytes) = system.store {
        gauge(registry, "store_bytes", "Bytes of the file of the store", bytes);
    }
    if let Some(bytes) = system.free {
        gauge(registry, "disk_free_bytes", "Bytes that are free on the volume of the store", bytes);
    }
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
struct StepKind {
    kind: &'static str,
}

/// Every kind has its series from the start, so that an alert can be made before there is reason for one.
fn steps(registry: &mut Registry, status: &Status, times: &StepTimes) {
    let longest = Family::<StepKind, Gauge>::default();
    for kind in STEP_KINDS {
        let work = status.counters.longest.get(kind).copied().unwrap_or_default();
        longest.get_or_create(&StepKind { kind }).set((work / 1_000).cast_signed());
    }
    let help = "Most work of a step since the start, counted and not measured, by what most of it was";
    registry.register("step_longest_work_microseconds", help, longest);
    let help = "The longest step since the start, with its commit, by what most of its work was";
    registry.register("step_longest_seconds", help, times.longest());
    registry.register("step_seconds", "Steps of the engine, with their commits", times.all());
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Space {
    space: String,
    name: String,
}

/// A figure of a space: name, help, value.
type SpaceFigure = (&'static str, &'static str, fn(&SpaceStatus) -> u64);

const SPACE_FIGURES: [SpaceFigure; 13] = [
    ("space_entities", "Present entities", |space| space.entities),
    ("space_journal", "Last journal position", |space| space.journal),
    ("space_feeds", "Feeds in the frontier", |space| space.feeds as u64),
    ("space_held_entries", "Entries waiting for a dependency", |space| space.held_entries),
    ("space_held_bytes", "Bytes of entries waiting for a dependency", |space| space.held_bytes),
    ("space_refused_entries", "Refused entries", |space| space.refused),
    ("space_frozen_entities", "Entities that are frozen: damaged, and not to be built anew", |space| {
        space.frozen_entities
    }),
    ("space_disputed_entities", "Entities that differ from a member's without a reason: a defect", |space| {
        space.disputed.len() as u64
    }),
    ("space_running_out_entities", "Entities that have used up half of the operations they may ever take", |space| {
        space.sizes.running_out_entities
    }),
    ("space_largest_row_bytes", "Bytes of the largest row, if that has 64 KiB", |space| {
        space.sizes.largest.first().map_or(0, |row| row.row_bytes)
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

/// What is known of a member beside its status.
#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    /// The peer's clock less this node's, in milliseconds, as it said when it connected.
    clock_skew: Option<i64>,
    /// Dials that failed since the last success.
    dial_failures: u64,
    /// When the last connection ended, milliseconds since 1970.
    parted: Option<u64>,
}

/// A figure of a member: name, help, value if it is known.
type MemberFigure = (&'static str, &'static str, fn(&MemberStatus, Contact) -> Option<i64>);

const MEMBER_FIGURES: [MemberFigure; 8] = [
    ("member_connected", "Whether the member is connected", |member, _| Some(i64::from(member.connected))),
    ("member_in_step", "Whether the member holds what this node holds", |member, _| Some(i64::from(member.in_step))),
    ("member_diverged", "Whether states differ at equal frontiers: a defect", |member, _| {
        Some(i64::from(member.diverged))
    }),
    ("member_behind_entries", "Entries of this node that the member has not acknowledged", |member, _| {
        member.behind.map(u64::cast_signed)
    }),
    ("member_behind_seconds", "Seconds for which the member has lacked some entry of this node", |member, _| {
        let since = member.behind_since.map(|since| Clock::wall_millis().saturating_sub(since) / 1_000);
        since.or_else(|| (member.behind == Some(0)).then_some(0)).map(u64::cast_signed)
    }),
    ("member_clock_skew_milliseconds", "The clock of the connected member less that of this node", |_, contact| {
        contact.clock_skew
    }),
    (
        "member_last_contact_timestamp_seconds",
        "When the member was last connected, seconds since 1970",
        |member, contact| {
            let last = if member.connected { Some(Clock::wall_millis()) } else { contact.parted };
            last.map(|millis| (millis / 1_000).cast_signed())
        },
    ),
    ("member_dial_failures", "Dials of the member that failed since the last success", |_, contact| {
        Some(contact.dial_failures.cast_signed())
    }),
];

fn members(registry: &mut Registry, status: &Status, app: &App) {
    let mut contacts: BTreeMap<NodeId, Contact> = BTreeMap::new();
    for connection in &status.connections {
        contacts.entry(connection.node).or_default().clock_skew = Some(connection.clock_skew);
    }
    for report in app.dials.read() {
        if let Some(node) = report.node {
            contacts.entry(node).or_default().dial_failures = report.failures;
        }
    }
    for (name, help, figure) in MEMBER_FIGURES {
        let family = Family::<Member, Gauge>::default();
        for (space, member) in status.spaces.iter().flat_map(|space| space.members.iter().map(move |m| (space, m))) {
            let labels =
                Member { space: space.space.to_string(), node: member.node.to_string(), name: member.name.clone() };
            let contact = contacts.get(&member.node).copied().unwrap_or_default();
            let contact = Contact { parted: app.traffic.parted(member.node), ..contact };
            if let Some(value) = figure(member, contact) {
                family.get_or_create(&labels).set(value);
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

/// Members are told apart; all others are one series, whoever ever connected.
fn traffic(registry: &mut Registry, status: &Status, app: &App) {
    let members: BTreeSet<NodeId> =
        status.spaces.iter().flat_map(|space| &space.members).map(|member| member.node).collect();
    let (sent, received) = (Family::<Frames, Counter>::default(), Family::<Frames, Counter>::default());
    for figure in app.traffic.read() {
        let node = if members.contains(&figure.peer) { figure.peer.to_string() } else { "others".to_owned() };
        let labels = Frames { node, kind: figure.kind };
        sent.get_or_create(&labels).inc_by(figure.sent);
        received.get_or_create(&labels).inc_by(figure.received);
    }
    registry.register("sent_bytes", "Bytes of frames sent, by member and kind", sent);
    registry.register("received_bytes", "Bytes of frames received, by member and kind", received);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_system_says() {
        assert_eq!(resident("Name:\ttombolo\nVmRSS:\t   34560 kB\nThreads:\t4\n"), Some(34_560 << 10));
        assert_eq!(resident("Name:\ttombolo\n"), None);
    }
}
