//! Who belongs to a space, how others come to belong to it, and whom this node dials.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tombolo_crdt::rules::{ADDRS_MAX, Found, Role};
use tombolo_crdt::{Hlc, NodeId, SpaceId};
use tombolo_transport::dial::Address;
use tombolo_transport::frame::JoinRefusal;

use super::describe::{DURATION, HttpMethod, JSON, Operation, Parameter};
use super::problem::{Kind, Problem};
use super::refusals::of_join;
use super::request::{Params, PathParts, clip, duration, read_small};
use super::spaces::{random_key, unexpected};
use super::write::Json;
use super::{App, SharedApp, status};
use crate::engine::{Command, JoinState, Refusal, Reply};
use crate::handle::Topic;
use crate::moment::rfc3339;
use crate::runtime::Clock;
use crate::ticket::Ticket;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: HttpMethod::Post,
        path: "/v1/spaces/{space}/invites",
        summary: "Opens a place and gives its ticket",
        bodies: JSON,
        answers: &[("201", "Opened")],
        problems: &[Kind::Role],
        ..Operation::PLAIN
    },
    Operation { path: "/v1/spaces/{space}/members", summary: "The members of a space", ..Operation::PLAIN },
    Operation {
        method: HttpMethod::Post,
        path: "/v1/join",
        summary: "Takes the place that a ticket opens",
        query: &[Parameter("timeout", "How long to wait for a member, at most 300s", DURATION)],
        bodies: JSON,
        answers: &[("200", "Joined"), ("202", "Waiting for a member")],
        problems: &[Kind::InvalidTicket, Kind::TicketExpired, Kind::TicketUsed, Kind::TicketRefused],
        ..Operation::PLAIN
    },
    Operation { path: "/v1/peers", summary: "Connections, and addresses added by hand", ..Operation::PLAIN },
    Operation {
        method: HttpMethod::Post,
        path: "/v1/peers",
        summary: "Dials an address from now on",
        bodies: JSON,
        answers: &[("201", "Added")],
        ..Operation::PLAIN
    },
    Operation {
        method: HttpMethod::Delete,
        path: "/v1/peers/{peer}",
        summary: "Dials the address no longer",
        answers: &[("204", "Removed")],
        problems: &[Kind::NotFound],
        ..Operation::PLAIN
    },
];

/// How long a ticket lasts unless the request says otherwise, in seconds: a day, as with `tombolo space invite`.
const EXPIRES_S: u64 = 24 * 60 * 60;
/// The longest a ticket may last: a year.
const EXPIRES_S_MAX: u64 = 366 * 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInvite {
    role: String,
    expires_in_s: Option<u64>,
}

/// `POST /v1/spaces/{space}/invites`
pub(super) async fn invite(
    State(app): State<SharedApp>,
    path: PathParts,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json), Problem> {
    let NewInvite { role, expires_in_s } = read_small(&app, &headers, body).await?;
    let role: Role = role.parse().map_err(|error| Problem::argument(format!("{error}")))?;
    let lasts = expires_in_s.unwrap_or(EXPIRES_S);
    if !(1..=EXPIRES_S_MAX).contains(&lasts) {
        return Err(Problem::argument(format!("expires_in_s is {lasts}; it must be 1 to {EXPIRES_S_MAX}")));
    }
    let row = app.space_row(path.space())?;
    let found = Found::decode(&row.founding)
        .ok_or_else(|| Problem::new(Kind::Damaged, "the space's founding record does not decode"))?;
    let secret = random_key()?;
    let expires = Clock::wall_millis() + lasts * 1_000;
    let key = secret.verifying_key().to_bytes();
    app.done(Command::Invite { space: row.space, role, key, expires }).await?;
    let addrs = addresses(&app, row.space).await?;
    let ticket = Ticket::new(&found, &secret, expires, app.addresses.node, addrs);
    Ok((StatusCode::CREATED, Json(json!({ "ticket": ticket.to_string(), "expires": expires }))))
}

/// Where a newcomer may find a member: this node first, then the others.
async fn addresses(app: &SharedApp, space: SpaceId) -> Result<Vec<String>, Problem> {
    let status = status::ask(app).await?;
    let mut addrs = status.addrs.clone();
    let members = status.spaces.iter().filter(|known| known.space == space).flat_map(|known| &known.members);
    for addr in members.flat_map(|member| &member.addrs) {
        if !addrs.contains(addr) {
            addrs.push(addr.clone());
        }
    }
    addrs.truncate(ADDRS_MAX);
    Ok(addrs)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewJoin {
    ticket: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinQuery {
    timeout: Option<String>,
}

/// `POST /v1/join`
pub(super) async fn join(
    State(app): State<SharedApp>,
    Params(query): Params<JoinQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json), Problem> {
    let wait = query.timeout.as_deref().map_or(Ok(Duration::ZERO), duration)?;
    let NewJoin { ticket } = read_small(&app, &headers, body).await?;
    let ticket: Ticket = ticket.parse()?;
    let space = ticket.space;
    let deadline = Instant::now() + wait;
    let acks = app.engine.acks(&[Topic::Space(space)]);
    let mut journal = app.engine.journal();
    // Whether its time is over is for a member to say, by its clock: this machine's own may be years off.
    let already = app.join_state(space).await? == JoinState::Joined;
    if !already {
        app.done(Command::Join(ticket.request(app.addresses.node))).await?;
    }
    loop {
        journal.mark_unchanged();
        let (status, state) = match app.join_state(space).await? {
            JoinState::Joined => (StatusCode::OK, "joined"),
            JoinState::Refused(refusal) => return Err(refused(refusal, &ticket)),
            JoinState::Waiting | JoinState::Unknown => (StatusCode::ACCEPTED, "waiting"),
        };
        let answer = || {
            Json(json!({
                "space": space.to_string(), "name": ticket.name, "state": state, "already": already,
                "expires": ticket.expires,
            }))
        };
        if status == StatusCode::OK {
            return Ok((status, answer()));
        }
        tokio::select! {
            () = acks.woken() => {}
            moved = journal.changed() => moved.map_err(|_| crate::handle::Stopped)?,
            () = tokio::time::sleep_until(deadline) => return Ok((status, answer())),
            () = app.closed() => return Ok((status, answer())),
        }
    }
}

/// A time of this or another clock for people.
fn moment(millis: u64) -> String {
    rfc3339(Hlc::from_millis(millis))
}

/// Why a member refused this ticket. Of one whose time is over both clocks are named: either may be wrong.
fn refused(refusal: JoinRefusal, ticket: &Ticket) -> Problem {
    if refusal != JoinRefusal::Expired {
        return of_join(refusal);
    }
    let (until, here) = (moment(ticket.expires), moment(Clock::wall_millis()));
    Problem::new(
        Kind::TicketExpired,
        format!(
            "it was good until {until}, and the member that answered says that this is over; the clock here says {here}"
        ),
    )
}

/// `GET /v1/spaces/{space}/members`
pub(super) async fn members(State(app): State<SharedApp>, path: PathParts) -> Result<Json, Problem> {
    let id = app.space(path.space())?.id;
    let status = status::ask(&app).await?;
    let Some(space) = status.spaces.iter().find(|space| space.space == id) else {
        return Err(Problem::new(Kind::UnknownSpace, format!("this node holds no space {id}")));
    };
    let mut members = vec![json!({
        "node": status.node.to_string(), "name": status.name, "role": space.role.map(Role::name),
        "addrs": status.addrs, "connected": true, "self": true,
    })];
    members.extend(space.members.iter().map(|member| {
        json!({
            "node": member.node.to_string(), "name": member.name, "role": member.role.name(),
            "addrs": member.addrs, "connected": member.connected, "self": false,
        })
    }));
    Ok(Json(json!({ "members": members })))
}

/// `GET /v1/peers`
pub(super) async fn peers(State(app): State<SharedApp>) -> Result<Json, Problem> {
    let status = status::ask(&app).await?;
    Ok(Json(json!({
        "connections": status.connections.iter().map(status::connection).collect::<Vec<_>>(),
        "added": status.peers_added,
        "dials": status::dials(&app),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPeer {
    addr: String,
}

/// `POST /v1/peers`
pub(super) async fn add_peer(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json), Problem> {
    let NewPeer { addr } = read_small(&app, &headers, body).await?;
    let address: Address = addr.trim().parse().map_err(|error| Problem::argument(format!("{error}")))?;
    app.done(Command::AddPeer(address.to_string())).await?;
    Ok((StatusCode::CREATED, Json(json!({ "addr": address.to_string() }))))
}

/// `DELETE /v1/peers/{addr or node}`
pub(super) async fn remove_peer(State(app): State<SharedApp>, path: PathParts) -> Result<StatusCode, Problem> {
    let what = path.get("peer");
    let canonical = what.parse::<Address>().map_or_else(|_| what.to_owned(), |address| address.to_string());
    match app.engine.call(Command::RemovePeer(canonical)).await? {
        Reply::Done(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Reply::Done(Err(Refusal::Argument(_))) => {
            let is_node = what.parse::<NodeId>().is_ok();
            let hint = if is_node {
                "members are dialled as long as they are members"
            } else {
                "`tombolo peer ls` lists them"
            };
            Err(Problem::new(Kind::NotFound, format!("`{}` was not added as a peer", clip(what))).hint(hint))
        }
        Reply::Done(Err(refusal)) | Reply::Failed(refusal) => Err(refusal.into()),
        other => Err(unexpected(&other)),
    }
}

impl App {
    /// A command that only succeeds or fails.
    async fn done(&self, command: Command) -> Result<(), Problem> {
        match self.engine.call(command).await? {
            Reply::Done(Ok(())) => Ok(()),
            Reply::Done(Err(refusal)) | Reply::Failed(refusal) => Err(refusal.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn join_state(&self, space: SpaceId) -> Result<JoinState, Problem> {
        match self.engine.call(Command::JoinState(space)).await? {
            Reply::JoinState(state) => Ok(state),
            Reply::Failed(refusal) => Err(refusal.into()),
            other => Err(unexpected(&other)),
        }
    }
}
