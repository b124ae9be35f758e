//! Tombolo: the real program, its HTTP API, its QUIC through a relay that counts.
//!
//! After every restart b finds only dead addresses of a, and a of b, until it is told a new one: that is when it
//! connects.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use tokio::process::Command;

use self::node::{Events, Node};
use super::{Goal, Wire};
use crate::process;
use crate::relay::{self, Traffic, UdpRelay};
use crate::work::{CHANGING, Items, Shown, Sum};

mod node;

const SPACE: &str = "work";
const COLLECTION: &str = "rows";
/// The field that the import takes the id from. It stays in the entity: a ninth field.
const ID: &str = "id";
/// Above so many changes b is asked for its digest instead of for each of them: the driver runs on the same cores.
const EVENTS_MAX: usize = 100;
/// How often a node is asked.
const POLL: Duration = Duration::from_millis(2);

/// Two nodes.
#[derive(Debug)]
pub(crate) struct Tombolo {
    program: PathBuf,
    dir: PathBuf,
    a: Node,
    b: Option<Node>,
    /// The changes on b, from its start on.
    events: Option<Events>,
    /// Addresses that are told to others; only the last one for a leads anywhere.
    relay_a: UdpRelay,
    relay_b: UdpRelay,
    dead: Vec<UdpRelay>,
    traffic: Traffic,
    before: u64,
    peak_b: u64,
}

/// What b says of the space.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    entities: u64,
    state: String,
    in_step: bool,
}

impl Tombolo {
    pub(super) async fn start(program: &Path, dir: &Path) -> Result<Self> {
        let traffic = Traffic::default();
        let (relay_a, relay_b) = (UdpRelay::open(&traffic)?, UdpRelay::open(&traffic)?);
        for name in ["a", "b"] {
            let output = Command::new(program)
                .arg("--data")
                .arg(dir.join(name))
                .args(["init", "--name", name])
                .output()
                .await
                .with_context(|| format!("{} does not run", program.display()))?;
            if !output.status.success() {
                bail!("tombolo init: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
        }
        let a = Node::start(program, &dir.join("a"), relay_a.address()).await?;
        relay_a.lead_to(a.listen());
        let b = Node::start(program, &dir.join("b"), relay_b.address()).await?;
        relay_b.lead_to(b.listen());
        a.post("/v1/spaces", &json!({ "name": SPACE })).await?;
        let (program, dir, b) = (program.to_owned(), dir.to_owned(), Some(b));
        let (events, dead, before, peak_b) = (None, Vec::new(), 0, 0);
        Ok(Self { program, dir, a, b, events, relay_a, relay_b, dead, traffic, before, peak_b })
    }

    pub(super) async fn put(&mut self, items: &Items) -> Result<()> {
        let mut body = Vec::new();
        for (id, fields) in items {
            let mut row = fields.clone();
            row.insert(ID.to_owned(), json!(id));
            serde_json::to_writer(&mut body, &row)?;
            body.push(b'\n');
        }
        let done = self.a.import(&format!("/v1/spaces/{SPACE}/{COLLECTION}/import?id={ID}"), body).await?;
        let written = done["created"].as_u64().unwrap_or_default() + done["updated"].as_u64().unwrap_or_default();
        if written != items.len() as u64 {
            bail!("of {} entities the import wrote {written}: {done}", items.len());
        }
        Ok(())
    }

    pub(super) async fn first_sync(&mut self, entities: u64) -> Result<Duration> {
        let goal = self.at_a().await?;
        let invite = json!({ "role": "writer", "expires_in_s": 3_600 });
        let invited = self.a.post(&format!("/v1/spaces/{SPACE}/invites"), &invite).await?;
        self.before = self.traffic.bytes();
        let b = self.b()?;
        let begin = Instant::now();
        b.post("/v1/join?timeout=60s", &json!({ "ticket": invited["ticket"] })).await?;
        until(async || {
            let seen = seen(b).await?;
            Ok(seen.entities == entities && seen.state == goal)
        })
        .await?;
        Ok(begin.elapsed())
    }

    pub(super) async fn stop_b(&mut self) -> Result<()> {
        let b = self.b.take().context("b is not running")?;
        self.events = None;
        self.peak_b = self.peak_b.max(b.process().peak()?);
        b.stop().await?;
        self.relay_a.cut();
        self.relay_b.cut();
        Ok(())
    }

    pub(super) async fn start_b(&mut self) -> Result<()> {
        let b = Node::start(&self.program, &self.dir.join("b"), self.relay_b.address()).await?;
        self.events = Some(b.events(&format!("/v1/spaces/{SPACE}/changes?live=ndjson&since=now")).await?);
        self.b = Some(b);
        let relay = UdpRelay::open(&self.traffic)?;
        relay.lead_to(self.a.listen());
        self.dead.push(std::mem::replace(&mut self.relay_a, relay));
        Ok(())
    }

    pub(super) async fn reconnect(&mut self, goal: &Goal) -> Result<Duration> {
        let state = self.at_a().await?;
        self.before = self.traffic.bytes();
        let addr = self.relay_a.address().to_string();
        let mut events = self.events.take().context("b is not running")?;
        let b = self.b()?;
        let begin = Instant::now();
        b.post("/v1/peers", &json!({ "addr": addr })).await?;
        match goal {
            Goal::Settled => until(async || Ok(seen(b).await?.in_step)).await?,
            Goal::Shown(items) if items.len() <= EVENTS_MAX => shows(&mut events, items).await?,
            Goal::Shown(_) => until(async || Ok(seen(b).await?.state == state)).await?,
        }
        let taken = begin.elapsed();
        self.events = Some(events);
        Ok(taken)
    }

    pub(super) async fn live(&mut self, items: &Items) -> Result<Duration> {
        let mut events = self.events.take().context("b is not running")?;
        let (id, fields) = items.first_key_value().context("nothing to write")?;
        let (path, patch) = (format!("/v1/spaces/{SPACE}/{COLLECTION}/{id}"), json!({ CHANGING: fields[CHANGING] }));
        let begin = Instant::now();
        let shown = async {
            shows(&mut events, items).await?;
            Ok(begin.elapsed())
        };
        let (shown, ()) = tokio::try_join!(shown, self.a.patch(&path, &patch))?;
        self.events = Some(events);
        Ok(shown)
    }

    pub(super) async fn wire(&mut self) -> Result<Wire> {
        let all = relay::settled(async || Ok(self.traffic.bytes())).await? - self.before;
        // The counters began with the process, which has been connected once.
        Ok(Wire { all, bare: Some(frames(&self.b()?.get("/v1/status").await?)) })
    }

    pub(super) async fn shown(&mut self) -> Result<Shown> {
        let mut sum = Sum::default();
        let mut lines = self.b()?.events(&format!("/v1/spaces/{SPACE}/export?collection={COLLECTION}")).await?;
        while let Some(line) = lines.next().await? {
            let mut row: Value = serde_json::from_slice(&line)?;
            let id = row["id"].as_str().context("a row without id")?.to_owned();
            let mut fields: Map<String, Value> = serde_json::from_value(row["value"].take())?;
            fields.remove(ID);
            sum.add(&id, &fields);
        }
        Ok(sum.shown())
    }

    pub(super) fn peaks(&mut self) -> Result<(u64, u64)> {
        let b = self.b.as_ref().map_or(Ok(0), |b| b.process().peak())?;
        Ok((self.a.process().peak()?, self.peak_b.max(b)))
    }

    pub(super) fn disk_b(&self) -> Result<u64> {
        process::disk(&self.dir.join("b"))
    }

    fn b(&self) -> Result<&Node> {
        self.b.as_ref().context("b is not running")
    }

    /// The digest of a's state.
    async fn at_a(&self) -> Result<String> {
        let seen = seen(&self.a).await?;
        if seen.state.is_empty() { bail!("a has no state") } else { Ok(seen.state) }
    }
}

async fn until(mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !ask().await? {
        poll.tick().await;
    }
    Ok(())
}

async fn seen(node: &Node) -> Result<Seen> {
    let status = node.get("/v1/status").await?;
    let Some(space) = status["spaces"].get(0) else { return Ok(Seen::default()) };
    let members = space["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let member_in_step = |member: &Value| member["connected"] == true && member["in_step"] == true;
    Ok(Seen {
        entities: space["entities"].as_u64().unwrap_or_default(),
        state: space["state"].as_str().unwrap_or_default().to_owned(),
        in_step: !members.is_empty() && members.iter().all(member_in_step),
    })
}

/// Reads events until these values have been told.
async fn shows(events: &mut Events, items: &Items) -> Result<()> {
    let mut missing = items.clone();
    while !missing.is_empty() {
        let line = events.next().await?.context("the stream of changes ended")?;
        let event: Value = serde_json::from_slice(&line)?;
        let data = &event["data"];
        let Some(id) = data["id"].as_str() else { continue };
        if missing.get(id).is_some_and(|fields| fields[CHANGING] == data["value"][CHANGING]) {
            missing.remove(id);
        }
    }
    Ok(())
}

/// Bytes of frames, both ways, all peers.
fn frames(status: &Value) -> u64 {
    let kinds = status["counters"]["traffic"].as_object().into_iter().flat_map(Map::values);
    let counts = kinds.filter_map(Value::as_object).flat_map(Map::values);
    counts.map(|kind| kind["sent"].as_u64().unwrap_or_default() + kind["received"].as_u64().unwrap_or_default()).sum()
}

/// The address that a node listens on.
fn address(file: &Value, name: &str) -> Result<SocketAddr> {
    file[name].as_str().with_context(|| format!("node.json has no {name}"))?.parse().map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_summed_over_peers_and_kinds() {
        let status = json!({"counters": {"writes": 5, "traffic":
            {"ab": {"hello": {"sent": 1, "received": 2}, "have": {"sent": 3, "received": 4}}, "cd": {"hello": {"sent": 10}}}}});
        assert_eq!((frames(&status), frames(&json!({}))), (20, 0));
    }
}
