//! Where an entry is.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tombolo_crdt::{NodeId, Receipt};

use super::describe::{DURATION, Operation, Parameter, Shape};
use super::problem::{Kind, Problem};
use super::request::{Params, PathParts, clip, duration};
use super::spaces::unexpected;
use super::write::Json;
use super::{App, SharedApp};
use crate::engine::{Command, ReceiptState, Reply};

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    path: "/v1/receipts/{receipt}",
    summary: "Who has an entry",
    query: &[
        Parameter(
            "wait",
            "`all`, a number of members, or a node: its id, how its id begins, its name",
            Shape::Text(1, 256),
        ),
        Parameter("timeout", "How long to wait, at most 300s", DURATION),
    ],
    answers: &[("200", "As it is, or as waited for"), ("202", "Not yet")],
    problems: &[Kind::NotFound, Kind::Damaged],
    ..Operation::PLAIN
}];

/// How long a request waits that says what for and not how long.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    wait: Option<String>,
    timeout: Option<String>,
}

/// Digits of the shortest piece of a node's id that stands for it.
const SHORT_ID_DIGITS: usize = 4;

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Until {
    /// All members have it.
    All,
    /// This many have it, this node included.
    Members(usize),
    /// A node has it.
    Node(NodeId),
    /// A member of this name, or whose id begins so, has it.
    Named(String),
}

/// `GET /v1/receipts/{receipt}`
pub(super) async fn receipt(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
) -> Result<(StatusCode, Json), Problem> {
    let text = path.get("receipt");
    let receipt: Receipt = text.parse().map_err(|error| Problem::argument(format!("{error}")))?;
    let until = query.wait.as_deref().map(until).transpose()?;
    let wait = query.timeout.as_deref().map_or(Ok(WAIT), duration)?;
    let deadline = Instant::now() + wait;
    let mut acks = app.engine.acks();
    loop {
        acks.mark_unchanged();
        let state = app.ask_receipt(receipt).await?;
        let holds = until.as_ref().map_or(Ok(true), |until| until.holds(&state, app.addresses.node))?;
        if holds {
            return Ok((StatusCode::OK, Json(show(receipt, &state))));
        }
        tokio::select! {
            moved = acks.changed() => moved.map_err(|_| crate::handle::Stopped)?,
            () = tokio::time::sleep_until(deadline) => return Ok((StatusCode::ACCEPTED, Json(show(receipt, &state)))),
            () = app.closed() => return Ok((StatusCode::ACCEPTED, Json(show(receipt, &state)))),
        }
    }
}

fn until(text: &str) -> Result<Until, Problem> {
    // What may be a piece of an id is one, unless it is too short for that.
    let is_short = text.len() < SHORT_ID_DIGITS;
    match (text, text.parse(), text.parse()) {
        ("all", ..) => Ok(Until::All),
        (_, Ok(node), _) => Ok(Until::Node(node)),
        (_, _, Ok(members)) if is_short => Ok(Until::Members(members)),
        ("", ..) => Err(Problem::argument("wait is empty; it must be `all`, a number of members or a node")),
        _ => Ok(Until::Named(text.to_owned())),
    }
}

impl Until {
    fn holds(&self, state: &ReceiptState, here: NodeId) -> Result<bool, Problem> {
        Ok(match self {
            Self::All => state.verdict.is_some() && state.peers.iter().all(|peer| peer.acknowledged),
            Self::Members(wanted) => holders(state) >= *wanted,
            Self::Node(node) if *node == here => state.verdict.is_some(),
            Self::Node(node) => state.peers.iter().any(|peer| peer.node == *node && peer.acknowledged),
            Self::Named(name) => return Self::Node(named(name, state, here)?).holds(state, here),
        })
    }
}

/// The member of a name, or of an id that begins so.
fn named(name: &str, state: &ReceiptState, here: NodeId) -> Result<NodeId, Problem> {
    let of_name = state.peers.iter().filter(|peer| peer.name == name).map(|peer| peer.node);
    let mut found: Vec<NodeId> = of_name.collect();
    if found.is_empty() && name.len() >= SHORT_ID_DIGITS {
        let all = state.peers.iter().map(|peer| peer.node).chain([here]);
        found = all.filter(|node| node.to_string().starts_with(name)).collect();
    }
    match found.as_slice() {
        [node] => Ok(*node),
        [] => {
            let detail = format!("no other member of the space is called `{}`, and no id begins so", clip(name));
            Err(Problem::argument(detail)
                .hint("wait takes `all`, a number of members, a node's name or the begin of its id"))
        }
        several => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(Problem::argument(format!("{} members are meant by `{}`", ids.len(), clip(name))).with("nodes", ids))
        }
    }
}

/// Members that have it, this node included.
fn holders(state: &ReceiptState) -> usize {
    usize::from(state.verdict.is_some()) + state.peers.iter().filter(|peer| peer.acknowledged).count()
}

fn show(receipt: Receipt, state: &ReceiptState) -> Value {
    let members = state.peers.len() + 1;
    let acknowledged = holders(state);
    let peers = state.peers.iter().map(|peer| {
        json!({
            "node": peer.node.to_string(), "name": peer.name,
            "acknowledged": peer.acknowledged, "connected": peer.connected,
        })
    });
    json!({
        "receipt": receipt.to_string(),
        "space": state.space.to_string(),
        "verdict": state.verdict,
        "here": state.verdict.is_some(),
        "members": members,
        "acknowledged": acknowledged,
        "everywhere": acknowledged == members,
        "peers": peers.collect::<Vec<_>>(),
    })
}

impl App {
    async fn ask_receipt(&self, receipt: Receipt) -> Result<ReceiptState, Problem> {
        match self.engine.call(Command::Receipt(receipt)).await? {
            Reply::Receipt(Some(state)) => Ok(state),
            Reply::Receipt(None) => {
                Err(Problem::new(Kind::NotFound, format!("this node knows no feed of the receipt {receipt}")))
            }
            Reply::Failed(refusal) => Err(refusal.into()),
            other => Err(unexpected(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{FeedId, SpaceId};

    use super::*;
    use crate::engine::PeerAck;

    #[test]
    fn conditions_count_this_node() {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let peer =
            |byte, acknowledged| PeerAck { node: node(byte), name: format!("n{byte}"), acknowledged, connected: true };
        let space = SpaceId::from_bytes([0; 32]);
        let state = ReceiptState { space, verdict: Some("applied"), peers: vec![peer(1, true), peer(2, false)] };
        let here = node(9);
        let table = [
            (Until::All, false),
            (Until::Members(2), true),
            (Until::Members(3), false),
            (Until::Node(node(1)), true),
            (Until::Node(node(2)), false),
            (Until::Node(here), true),
            (Until::Named("n1".to_owned()), true),
            (Until::Named("n2".to_owned()), false),
            (Until::Named("0101".to_owned()), true),
            (Until::Named("0909".to_owned()), true),
        ];
        for (until, holds) in table {
            assert_eq!(until.holds(&state, here), Ok(holds), "{until:?}");
        }
        let shown = show(Receipt { feed: FeedId::from_bytes([0; 16]), seq: 1 }, &state);
        assert_eq!((shown["members"].as_u64(), shown["acknowledged"].as_u64()), (Some(3), Some(2)));
        assert!(Until::Named("n3".to_owned()).holds(&state, here).is_err());
        let twins = ReceiptState { peers: vec![peer(1, true), PeerAck { node: node(2), ..peer(1, true) }], ..state };
        assert!(Until::Named("n1".to_owned()).holds(&twins, here).is_err(), "two members are called so");
        assert_eq!(until("some"), Ok(Until::Named("some".to_owned())));
        assert!(until("").is_err());
        assert_eq!(until("2"), Ok(Until::Members(2)));
    }
}
