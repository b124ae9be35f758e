//! Where an entry is.

use std::time::Duration;

use axum::Json as AxumJson;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tombolo_crdt::{NodeId, Receipt};

use super::problem::{Kind, Problem};
use super::request::{Params, PathParts, clip, duration};
use super::spaces::unexpected;
use super::{App, SharedApp};
use crate::engine::{Command, ReceiptState, Reply};
use crate::handle::Topic;

/// How long a request waits that says what for and not how long.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    wait: Option<String>,
    timeout: Option<String>,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// All members have it.
    All,
    /// This many have it, this node included.
    Members(usize),
    /// A node has it.
    Node(NodeId),
}

/// `GET /v1/receipts/{receipt}`
pub(super) async fn receipt(
    State(app): State<SharedApp>,
    path: PathParts,
    Params(query): Params<Query>,
) -> Result<(StatusCode, AxumJson<Value>), Problem> {
    let text = path.get("receipt");
    let receipt: Receipt = text.parse().map_err(|error| Problem::argument(format!("{error}")))?;
    let until = query.wait.as_deref().map(until).transpose()?;
    let wait = query.timeout.as_deref().map_or(Ok(WAIT), duration)?;
    let deadline = Instant::now() + wait;
    let first = app.ask_receipt(receipt).await?;
    let holds = |state: &ReceiptState| until.is_none_or(|until| until.holds(state, app.addresses.node));
    if holds(&first) {
        return Ok((StatusCode::OK, AxumJson(show(receipt, &first))));
    }
    // Entered before the next look: what comes between is not missed.
    let acks = app.engine.acks(&[Topic::Feed(receipt.feed), Topic::Space(first.space)]);
    loop {
        let state = app.ask_receipt(receipt).await?;
        if holds(&state) {
            return Ok((StatusCode::OK, AxumJson(show(receipt, &state))));
        }
        tokio::select! {
            () = acks.woken() => {}
            () = tokio::time::sleep_until(deadline) => return Ok((StatusCode::ACCEPTED, AxumJson(show(receipt, &state)))),
            () = app.closed() => return Ok((StatusCode::ACCEPTED, AxumJson(show(receipt, &state)))),
        }
    }
}

fn until(text: &str) -> Result<Until, Problem> {
    if text == "all" {
        return Ok(Until::All);
    }
    if let Ok(node) = text.parse() {
        return Ok(Until::Node(node));
    }
    text.parse().map(Until::Members).map_err(|_| {
        Problem::argument(format!("wait is `{}`; it must be `all`, a number of members or a node's id", clip(text)))
    })
}

impl Until {
    fn holds(self, state: &ReceiptState, here: NodeId) -> bool {
        match self {
            Self::All => state.verdict.is_some() && state.peers.iter().all(|peer| peer.acknowledged),
            Self::Members(wanted) => holders(state) >= wanted,
            Self::Node(node) if node == here => state.verdict.is_some(),
            Self::Node(node) => state.peers.iter().any(|peer| peer.node == node && peer.acknowledged),
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
            |byte, acknowledged| PeerAck { node: node(byte), name: String::new(), acknowledged, connected: true };
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
        ];
        for (until, holds) in table {
            assert_eq!(until.holds(&state, here), holds, "{until:?}");
        }
        let shown = show(Receipt { feed: FeedId::from_bytes([0; 16]), seq: 1 }, &state);
        assert_eq!((shown["members"].as_u64(), shown["acknowledged"].as_u64()), (Some(3), Some(2)));
        assert!(until("some").is_err());
        assert_eq!(until("2"), Ok(Until::Members(2)));
    }
}
