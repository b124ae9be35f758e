//! Strangers at the door of a real node: they take little, keep nobody out, and hear why they are let go.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tombolo_tests::{Node, converge};
use tombolo_transport::{Identity, Settings, config, limits};

/// Strangers that come at once, each with a key of its own.
const STRANGERS: u8 = 200;
/// Bytes that a node may take more for all of them.
const MEMORY_MAX: u64 = 64 << 20;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Bare QUIC with a key: a handshake and the control stream, no more.
async fn dial(bare: &quinn::Endpoint, seed: u8, address: SocketAddr) -> Option<(quinn::Connection, quinn::SendStream)> {
    let identity = Identity::from_seed(&[seed; 32]);
    let config = config::client(&identity, &Settings::default(), None, Arc::new(OnceLock::new())).expect("usable");
    let connection = bare.connect_with(config, address, "tombolo").expect("started").await.ok()?;
    let (mut control, answers) = connection.open_bi().await.ok()?;
    // Dropped, it would tell the node to stop sending: against the protocol.
    std::mem::forget(answers);
    control.write_all(&limits::CONTROL_PREAMBLE).await.ok()?;
    Some((connection, control))
}

fn bare() -> quinn::Endpoint {
    quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound")
}

/// Bytes of memory that a process has resident.
fn resident(node: &Node) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", node.pid())).expect("it runs");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4_096
}

#[test]
fn strangers_take_little_memory_and_keep_no_member_out() {
    let (a, b) = (Node::new("a"), Node::new("b"));
    let space = a.create_space("shop");
    b.join(&a.invite(&space, "writer"));
    converge(&space, &[&a, &b]);
    let b = b.stop();
    let address: SocketAddr = a.listen.parse().expect("an address");
    let before = resident(&a);

    let runtime = runtime();
    // Each announces the longest frame there is and sends all of it but the end, as far as it is let.
    let strangers = runtime.block_on(async {
        let bare = bare();
        let mut strangers = Vec::new();
        for seed in 0..STRANGERS {
            let Some((connection, mut control)) = dial(&bare, seed, address).await else { continue };
            let length = limits::STRANGER_FRAME_BYTES_MAX as u32;
            let bytes = [&length.to_le_bytes()[..], &vec![7; limits::STRANGER_FRAME_BYTES_MAX - 1]].concat();
            drop(tokio::time::timeout(Duration::from_secs(1), control.write_all(&bytes)).await);
            let streams = tokio::time::timeout(Duration::from_millis(1), connection.open_uni()).await;
            assert!(streams.is_err() || streams.is_ok_and(|opened| opened.is_err()), "no transfers for strangers");
            strangers.push((connection, control));
        }
        (bare, strangers)
    });
    let more = resident(&a).saturating_sub(before);
    assert!(more < MEMORY_MAX, "{more} bytes more");

    // They are still there when a member comes.
    let begun = Instant::now();
    let b = b.start();
    b.api.post("/v1/peers", &serde_json::json!({"addr": a.listen})).expect(201);
    converge(&space, &[&a, &b]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(strangers);
}

#[test]
fn a_stranger_hears_why_it_is_let_go() {
    let a = Node::new("a");
    let address: SocketAddr = a.listen.parse().expect("an address");
    let (garbage, silent) = runtime().block_on(async {
        let bare = bare();
        let (garbage, mut control) = dial(&bare, 1, address).await.expect("connected");
        control.write_all(&[2, 0, 0, 0, 2, 0]).await.expect("sent");
        let (silent, _control) = dial(&bare, 2, address).await.expect("connected");
        let told = |closed| match closed {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("{other}"),
        };
        (told(garbage.closed().await), told(silent.closed().await))
    });
    assert!(garbage.0 == 3 && garbage.1.contains("malformed frame of kind 2"), "{garbage:?}");
    assert_eq!(silent, (7, "no hello in time".to_owned()));
}
