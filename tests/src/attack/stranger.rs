//! Strangers: a key of their own and nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entry::{Body, ENTRY_VERSION, Entry};
use tombolo_crdt::feed::{FeedKind, Opening, Range, Signature, chain, seal_message};
use tombolo_crdt::{Hlc, NodeId};
use tombolo_transport::frame::{Frame, Ranges};
use tombolo_transport::{Identity, Settings, config, limits};

use super::Finding;
use super::meter::{Witness, resident_mib};
use crate::{Node, NodeDir, PATIENCE, converge};

/// How long a stranger tries one thing before it goes on.
const TRY: Duration = Duration::from_secs(3);
/// How long after the attack its memory must be gone.
const AFTER: Duration = Duration::from_secs(30);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn bare() -> quinn::Endpoint {
    quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket")
}

async fn shake(endpoint: &quinn::Endpoint, seed: u64, to: SocketAddr) -> Option<quinn::Connection> {
    let mut key = [7; 32];
    key.split_at_mut(8).0.copy_from_slice(&seed.to_le_bytes());
    let settings = Settings::default();
    let config = config::client(&Identity::from_seed(&key), &settings, None, Arc::new(OnceLock::new())).ok()?;
    timeout(TRY, endpoint.connect_with(config, to, "tombolo").ok()?).await.ok()?.ok()
}

async fn control(connection: &quinn::Connection) -> Option<(quinn::SendStream, quinn::RecvStream)> {
    let mut streams = timeout(TRY, connection.open_bi()).await.ok()?.ok()?;
    streams.0.write_all(&limits::CONTROL_PREAMBLE).await.ok()?;
    Some(streams)
}

fn address(node: &Node) -> SocketAddr {
    let listen: SocketAddr = node.listen.parse().expect("an address");
    SocketAddr::from(([127, 0, 0, 1], listen.port()))
}

/// Opens as many streams as it is let and leaves a frame of 5 MiB unfinished on each, on the control stream a short
/// one.
async fn leave_unfinished(endpoint: quinn::Endpoint, seed: u64, to: SocketAddr) -> Option<(usize, quinn::Connection)> {
    let connection = shake(&endpoint, seed, to).await?;
    let mut streams = control(&connection).await?;
    let length = 16_000_u32.to_le_bytes();
    let _ = timeout(TRY, streams.0.write_all(&[&length[..], &[1; 15_999]].concat())).await;
    let mut sent = 16_000;
    for number in 0..8_u32 {
        let Ok(Ok(mut stream)) = timeout(TRY, connection.open_uni()).await else { break };
        let length = limits::TRANSFER_FRAME_BYTES_MAX as u32;
        let head = [number.to_le_bytes(), length.to_le_bytes()].concat();
        let body = vec![1; limits::TRANSFER_FRAME_BYTES_MAX - 1];
        if timeout(TRY, async { stream.write_all(&head).await.is_ok() && stream.write_all(&body).await.is_ok() })
            .await
            .is_ok_and(|whole| whole)
        {
            sent += body.len();
        }
        std::mem::forget(stream);
    }
    std::mem::forget(streams);
    Some((sent, connection))
}

/// See [`super::ROWS`].
#[must_use]
pub fn unfinished_frames() -> Vec<Finding> {
    let node = Node::new("a");
    let space = node.create_space("shop");
    node.api.put(&format!("/v1/spaces/{space}/x/1"), &json!({ "n": 1 })).expect(201);
    let before = resident_mib(node.pid());
    let witness = Witness::watch(&node, &space);
    let to = address(&node);
    let (sent, stood) = runtime().block_on(async {
        let mut tasks = JoinSet::new();
        // 20 keys, so that no single key's limit is what holds.
        let endpoints: Vec<quinn::Endpoint> = (0..20).map(|_| bare()).collect();
        for n in 0..400_u64 {
            let endpoint = endpoints[n as usize % endpoints.len()].clone();
            tasks.spawn(leave_unfinished(endpoint, n % 20, to));
        }
        let (mut sent, mut kept) = (0, Vec::new());
        while let Some(done) = tasks.join_next().await {
            if let Ok(Some((bytes, connection))) = done {
                sent += bytes;
                kept.push(connection);
            }
        }
        let stood = kept.iter().filter(|connection| connection.close_reason().is_none()).count();
        // They stay for as long as they are let.
        timeout(Duration::from_secs(15), std::future::pending::<()>()).await.ok();
        (sent, stood)
    });
    let seen = witness.end();
    let settled = Instant::now();
    while settled.elapsed() < AFTER && resident_mib(node.pid()) > before + 64.0 {
        std::thread::park_timeout(Duration::from_millis(200));
    }
    vec![
        Finding::figure("bytes that the node took", format!("{} MiB of {stood} connections", sent >> 20)),
        Finding::at_most("memory meanwhile", seen.peak_mib - before, 64.0, "MiB more"),
        Finding::at_most("memory 30 s after", resident_mib(node.pid()) - before, 64.0, "MiB more"),
        Finding::at_most("slowest honest write", seen.writes.worst(), 1_000.0, "ms"),
    ]
}

/// A member that is away, the node it has to dial, and their space.
fn member_away() -> (Node, NodeDir, String) {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    a.api.put(&format!("/v1/spaces/{space}/x/1"), &json!({ "n": 1 })).expect(201);
    converge(&space, &[&a, &b]);
    // Started again it has another port: only it can dial.
    (a, b.stop(), space)
}

/// How long a member takes to come in and be in step, in seconds; `PATIENCE` if it does not.
fn comes_in(a: &Node, b: NodeDir, space: &str) -> (f64, Node) {
    a.api.put(&format!("/v1/spaces/{space}/x/2"), &json!({ "n": 2 })).expect(201);
    let b = b.start();
    let began = Instant::now();
    while b.entity(&format!("{space}/x/2")).is_none() && began.elapsed() < PATIENCE {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    (began.elapsed().as_secs_f64(), b)
}

/// See [`super::ROWS`].
#[must_use]
pub fn silent() -> Vec<Finding> {
    let (a, b, space) = member_away();
    let before = resident_mib(a.pid());
    let to = address(&a);
    let runtime = runtime();
    let kept = runtime.block_on(async {
        let endpoint = bare();
        let mut kept = Vec::new();
        for _ in 0..11 {
            let mut tasks = JoinSet::new();
            for _ in 0..100 {
                let endpoint = endpoint.clone();
                tasks.spawn(async move {
                    let connection = shake(&endpoint, 1, to).await?;
                    let streams = control(&connection).await?;
                    Some((connection, streams))
                });
            }
            while let Some(done) = tasks.join_next().await {
                kept.extend(done.ok().flatten());
            }
        }
        kept
    });
    let stood = kept.iter().filter(|(connection, _)| connection.close_reason().is_none()).count();
    let (seconds, _b) = comes_in(&a, b, &space);
    let more = resident_mib(a.pid()) - before;
    vec![
        Finding::figure("strangers that stood when the last had come", stood),
        Finding::at_most("a member that dials in is in step after", seconds, 2.0, "s"),
        Finding::at_most("memory", more, 64.0, "MiB more"),
    ]
}

/// See [`super::ROWS`].
#[must_use]
pub fn handshakes_without_control() -> Vec<Finding> {
    let (a, b, space) = member_away();
    let to = address(&a);
    let runtime = runtime();
    runtime.spawn(async move {
        let mut rounds = Vec::new();
        for round in 0..6_u64 {
            let endpoint = bare();
            let mut tasks = JoinSet::new();
            for n in 0..140 {
                let endpoint = endpoint.clone();
                tasks.spawn(async move { shake(&endpoint, round * 1_000 + n, to).await });
            }
            let mut kept = Vec::new();
            while let Some(done) = tasks.join_next().await {
                kept.extend(done.ok().flatten());
            }
            rounds.push((endpoint, kept));
            timeout(Duration::from_secs(10), std::future::pending::<()>()).await.ok();
        }
    });
    std::thread::park_timeout(Duration::from_secs(2));
    let (seconds, _b) = comes_in(&a, b, &space);
    runtime.shutdown_background();
    vec![Finding::at_most("a member that dials in is in step after", seconds, 2.0, "s")]
}

/// A frame with as many sealed ranges of an unknown space as go in, packed.
fn frame_of_ranges() -> Vec<u8> {
    let key = SigningKey::from_bytes(&[9; 32]);
    let node = NodeId::from_bytes(key.verifying_key().to_bytes());
    let space = SpaceId::from_bytes([5; 32]);
    let opening = Opening::new(node, space, 1, FeedKind::Data, Vec::new());
    let entry = Entry {
        version: ENTRY_VERSION,
        seq: 1,
        hlc: Hlc::from_millis(1_800_000_000_000),
        rules: None,
        deps: Vec::new(),
        trace: None,
        idempotency: None,
        body: Body::Data(Vec::new()),
        ext: Vec::new(),
    };
    let (feed, bytes) = (opening.feed(), entry.encode());
    let last = chain(feed, 1, opening.chain(), &bytes);
    let seal = Signature::sign(&key, &seal_message(feed, 1, last));
    let entries = vec![ByteBuf::from(bytes)];
    let range = Range { opening: opening.encode(), from: 1, previous: opening.chain(), entries, seal };
    let ranges = vec![range; 20_000];
    Frame::Ranges(Ranges { space, number: 1, ranges }).encode_packed()
}

async fn send_ranges(endpoint: quinn::Endpoint, seed: u64, to: SocketAddr, frame: Arc<Vec<u8>>) {
    let Some(connection) = shake(&endpoint, seed, to).await else { return };
    let Some(_streams) = control(&connection).await else { return };
    let Ok(Ok(mut stream)) = timeout(TRY, connection.open_uni()).await else { return };
    let mut bytes = 0_u32.to_le_bytes().to_vec();
    for _ in 0..16 {
        bytes.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&frame);
        if timeout(Duration::from_secs(30), stream.write_all(&bytes)).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

/// Rows of an import whose time is compared with that under attack: some seconds, so that twice of it says something.
const IN_STEP_ROWS: usize = 50_000;
/// Seconds by which a comparison may be off: nodes are asked whether they are in step every few milliseconds.
const IN_STEP_POLL: f64 = 0.02;

/// How long an import at `a` takes to show at `b`, in seconds.
fn in_step(a: &Node, b: &Node, space: &str, round: u32) -> f64 {
    let rows: String = (0..IN_STEP_ROWS).map(|n| format!("{{\"id\":\"r{round}-{n}\",\"n\":{n}}}\n")).collect();
    let began = Instant::now();
    a.api
        .send(
            "POST",
            &format!("/v1/spaces/{space}/rows/import?id=id"),
            &[("content-type", "application/x-ndjson")],
            Some(rows),
        )
        .expect(200);
    converge(space, &[a, b]);
    began.elapsed().as_secs_f64()
}

/// See [`super::ROWS`].
#[must_use]
pub fn packed_ranges() -> Vec<Finding> {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    let calm = in_step(&a, &b, &space, 0);
    let frame = Arc::new(frame_of_ranges());
    let before = resident_mib(a.pid());
    let witness = Witness::watch(&a, &space);
    let runtime = runtime();
    for to in [address(&a), address(&b)] {
        for n in 0..100 {
            let frame = Arc::clone(&frame);
            runtime.spawn(async move { send_ranges(bare(), n, to, frame).await });
        }
    }
    std::thread::park_timeout(Duration::from_secs(3));
    let rough = in_step(&a, &b, &space, 1);
    let most = ((2.0 * calm + IN_STEP_POLL) * 100.0).round() / 100.0;
    let seen = witness.end();
    runtime.shutdown_background();
    vec![
        Finding::figure("in step without the attack after", format!("{calm:.2} s")),
        Finding::at_most("in step under it after", rough, most, "s"),
        Finding::at_most("memory", seen.peak_mib - before, 64.0, "MiB more"),
        Finding::figure("slowest honest write", format!("{:.0} ms", seen.writes.worst())),
    ]
}
