//! Everything `tombolo status` shows.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Map, Value, json};
use tombolo_crdt::rules::Role;

use super::describe::Operation;
use super::problem::Problem;
use super::spaces::unexpected;
use super::write::Json;
use super::{App, SharedApp};
use crate::engine::{Command, ConnectionStatus, HeldStatus, MemberStatus, Reply, SpaceStatus, Status};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { path: "/v1/status", summary: "Everything about this node", ..Operation::PLAIN },
    Operation { path: "/metrics", summary: "Figures for Prometheus", ..Operation::PLAIN },
];

/// Asks the engine.
pub(super) async fn ask(app: &SharedApp) -> Result<Arc<Status>, Problem> {
    match app.engine.call(Command::Status).await? {
        Reply::Status(status) => Ok(status),
        Reply::Failed(refusal) => Err(refusal.into()),
        other => Err(unexpected(&other)),
    }
}

/// `GET /v1/status`
pub(super) async fn status(State(app): State<SharedApp>) -> Result<Json, Problem> {
    let status = ask(&app).await?;
    let joins = status.joins.iter().map(|(space, name)| json!({ "space": space.to_string(), "name": name }));
    let joins: Vec<Value> = joins.collect();
    Ok(Json(json!({
        "node": status.node.to_string(),
        "name": status.name,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": app.clock.mono().as_secs(),
        "addrs": status.addrs,
        "listen": app.addresses.listen.to_string(),
        "http": app.addresses.http.to_string(),
        "full": status.full,
        "clock_off_ms": status.clock_off,
        "spaces": status.spaces.iter().map(space).collect::<Vec<_>>(),
        "connections": status.connections.iter().map(connection).collect::<Vec<_>>(),
        "peers_added": status.peers_added,
        "twins": status.twins.iter().map(|twin| {
            let own = twin.node == status.node;
            json!({ "node": twin.node.to_string(), "own": own, "address": twin.address, "at": twin.at })
        }).collect::<Vec<_>>(),
        "dials": dials(&app),
        "joins": joins,
        "counters": counters(&app, &status),
    })))
}

/// A space.
pub(super) fn space(space: &SpaceStatus) -> Value {
    json!({
        "space": space.space.to_string(),
        "name": space.name,
        "role": space.role.map(Role::name),
        "entities": space.entities,
        "journal": space.journal,
        "feeds": space.feeds,
        "frontier": space.frontier.to_string(),
        "state": space.state.to_string(),
        "held": space.held.iter().map(held).collect::<Vec<_>>(),
        "held_feeds": space.held_feeds,
        "held_entries": space.held_entries,
        "held_bytes": space.held_bytes,
        "refused": space.refused,
        "frozen_entities": space.frozen_entities,
        "frozen": space.frozen.iter().map(|(collection, id, reason)| {
            json!({ "collection": collection, "id": id, "reason": reason })
        }).collect::<Vec<_>>(),
        "disputed": space.disputed.iter().map(|(collection, id, with)| {
            json!({ "collection": collection, "id": id, "with": with.to_string() })
        }).collect::<Vec<_>>(),
        "largest": space.sizes.largest.iter().map(|row| {
            json!({
                "collection": row.collection, "id": row.id, "row_bytes": row.row_bytes,
                "removed_objects": row.removed.objects, "removed_elements": row.removed.elements,
            })
        }).collect::<Vec<_>>(),
        "running_out_entities": space.sizes.running_out_entities,
        "running_out": space.sizes.running_out.iter().map(|entity| {
            json!({ "collection": entity.collection, "id": entity.id, "numbers_left": entity.numbers_left })
        }).collect::<Vec<_>>(),
        "repaired": space.care.repaired,
        "scrubs": space.care.scrubs,
        "sums_corrected": space.care.sums_corrected,
        "clock_ahead": space.clock_ahead,
        "members": space.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn held(held: &HeldStatus) -> Value {
    json!({
        "node": held.node.to_string(), "feed": held.feed, "seq": held.seq,
        "entries": held.entries, "reason": held.reason,
    })
}

fn member(member: &MemberStatus) -> Value {
    json!({
        "node": member.node.to_string(),
        "name": member.name,
        "role": member.role.name(),
        "addrs": member.addrs,
        "connected": member.connected,
        "behind": member.behind,
        "behind_since": member.behind_since,
        "clock_skew_ms": member.clock_skew,
        "in_step": member.in_step,
        "diverged": member.diverged,
        "refused_there": member.refused_there,
        "reason": member.reason,
    })
}

/// A connection.
pub(super) fn connection(connection: &ConnectionStatus) -> Value {
    json!({
        "node": connection.node.to_string(),
        "name": connection.name,
        "address": connection.address,
        "dialled": connection.dialled,
        "spaces": connection.spaces.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "since": connection.since,
        "clock_skew_ms": connection.clock_skew,
    })
}

/// Whom this node could not reach when it last tried.
pub(super) fn dials(app: &App) -> Vec<Value> {
    let reports = app.dials.read();
    let shown = reports.iter().map(|report| {
        json!({
            "node": report.node.map(|node| node.to_string()), "addrs": report.addrs,
            "error": report.error, "failures": report.failures, "at": report.at,
        })
    });
    shown.collect()
}

fn counters(app: &App, status: &Status) -> Value {
    let counters = &status.counters;
    let mut traffic: Map<String, Value> = Map::new();
    for figure in app.traffic.read() {
        let peer = traffic.entry(figure.peer.to_string()).or_insert_with(|| json!({}));
        peer[figure.kind] = json!({ "sent": figure.sent, "received": figure.received });
    }
    json!({
        "writes": counters.writes,
        "commits": counters.commits,
        "entries": counters.entries,
        "failures": counters.failures,
        "settled": counters.settled,
        "held": counters.held,
        "dropped": counters.dropped,
        "traffic": traffic,
    })
}
