//! Requests that cost more than they look.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Finding;
use super::meter::{Seen, Witness, resident_mib};
use crate::{Api, Node};

/// Streams that nobody reads: under the bound of a node, so that each of them is to stand.
const UNREAD_STREAMS: usize = 500;

/// A node with a space and so many rows.
fn filled(rows: usize) -> (Node, String) {
    let node = Node::new("a");
    let space = node.create_space("shop");
    for part in 0..rows.div_ceil(50_000) {
        let some = (rows - part * 50_000).min(50_000);
        let lines: String = (0..some)
            .map(|n| format!("{{\"id\":\"r{part}-{n}\",\"n\":{n},\"text\":\"some words of text\"}}\n"))
            .collect();
        let path = format!("/v1/spaces/{space}/rows/import?id=id");
        node.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(lines)).expect(200);
    }
    (node, space)
}

/// A request whose answer nobody reads.
fn unread(node: &Node, path: &str, authorized: bool) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(node.api.address()).ok()?;
    let token = if authorized { format!("Authorization: Bearer {}\r\n", node.api.token()) } else { String::new() };
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{token}\r\n", node.api.address());
    socket.write_all(head.as_bytes()).ok()?;
    Some(socket)
}

fn others(seen: &Seen, before: f64) -> Vec<Finding> {
    vec![
        Finding::at_most("/healthz p99", seen.health.percentile(99), 100.0, "ms"),
        Finding::at_most("a PUT p99", seen.writes.percentile(99), 100.0, "ms"),
        Finding::figure(
            "slowest",
            format!("/healthz {:.0} ms, PUT {:.0} ms", seen.health.worst(), seen.writes.worst()),
        ),
        Finding::figure("memory", format!("{:.0} MiB more", seen.peak_mib - before)),
        Finding::holds("every write was taken", format!("{} refused", seen.refused), seen.refused == 0),
    ]
}

/// See [`super::ROWS`].
#[must_use]
pub fn doubling() -> Vec<Finding> {
    let node = Node::new("a");
    let space = node.create_space("shop");
    let path = format!("/v1/spaces/{space}/x/1");
    node.api.put(&path, &json!({ "n": 1 })).expect(201);
    let patch: Vec<_> = (0..24).map(|n| json!({ "op": "copy", "from": "", "path": format!("/k{n}") })).collect();
    let before = resident_mib(node.pid());
    let witness = Witness::watch(&node, &space);
    let began = Instant::now();
    let body = Some(json!(patch).to_string());
    let answer = node.api.send("PATCH", &path, &[("content-type", "application/json-patch+json")], body);
    let took = began.elapsed().as_secs_f64() * 1_000.0;
    let seen = witness.end();
    vec![
        Finding::holds("status", answer.status, answer.status == 413),
        Finding::at_most("answered after", took, 50.0, "ms"),
        Finding::at_most("memory", seen.peak_mib.max(resident_mib(node.pid())) - before, 32.0, "MiB more"),
    ]
}

/// See [`super::ROWS`].
#[must_use]
pub fn changes_of_none() -> Vec<Finding> {
    let (node, space) = filled(300_000);
    let before = resident_mib(node.pid());
    let witness = Witness::watch(&node, &space);
    let began = Instant::now();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let api = Api::new(node.api.address(), node.api.token());
            let path = format!("/v1/spaces/{space}/changes?collection=none");
            std::thread::spawn(move || api.get(&path).status)
        })
        .collect();
    let statuses: Vec<u16> = readers.into_iter().map(|reader| reader.join().expect("answered")).collect();
    let took = began.elapsed().as_secs_f64();
    std::thread::park_timeout(Duration::from_secs(2));
    let seen = witness.end();
    let mut out = others(&seen, before);
    out.push(Finding::figure("the readers were answered", format!("{statuses:?} after {took:.1} s")));
    out
}

/// How many of these streams stand: an answer has begun on them, and the node has not closed them.
fn standing(streams: &[TcpStream]) -> usize {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system's connections");
    let established = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let port = u16::from_str_radix(local.split(':').next_back()?, 16).ok()?;
        (state == ESTABLISHED).then_some(port)
    });
    let established: BTreeSet<u16> = established.collect();
    let stands = |stream: &&TcpStream| {
        let mut begin = [0; 12];
        let has_begun = stream.set_read_timeout(Some(Duration::from_millis(10))).is_ok()
            && stream.peek(&mut begin).is_ok_and(|count| count == begin.len())
            && &begin == b"HTTP/1.1 200";
        has_begun && stream.local_addr().is_ok_and(|address| established.contains(&address.port()))
    };
    streams.iter().filter(stands).count()
}

/// See [`super::ROWS`].
#[must_use]
pub fn unread_streams() -> Vec<Finding> {
    let (node, space) = filled(100_000);
    let before = resident_mib(node.pid());
    let witness = Witness::watch(&node, &space);
    let path = format!("/v1/spaces/{space}/changes?live=sse");
    let open: Vec<_> = (0..UNREAD_STREAMS).filter_map(|_| unread(&node, &path, true)).collect();
    std::thread::park_timeout(Duration::from_secs(20));
    let stand = standing(&open);
    let seen = witness.end();
    let mut out = others(&seen, before);
    out.push(Finding::at_least("streams that stand", stand as f64, UNREAD_STREAMS as f64, "streams"));
    out
}

/// See [`super::ROWS`].
#[must_use]
pub fn exports() -> Vec<Finding> {
    let (node, space) = filled(100_000);
    let before = resident_mib(node.pid());
    let witness = Witness::watch(&node, &space);
    let path = format!("/v1/spaces/{space}/export");
    let readers: Vec<_> = (0..100)
        .filter_map(|n| {
            let mut socket = unread(&node, &path, true)?;
            Some(std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                socket.set_read_timeout(Some(Duration::from_secs(15))).expect("a time");
                // Every other one is read, the rest are left alone.
                while n % 2 == 0 && socket.read(&mut buffer).is_ok_and(|count| count > 0) {}
                std::thread::park_timeout(Duration::from_secs(5));
            }))
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().expect("read"));
    let seen = witness.end();
    others(&seen, before)
}

/// See [`super::ROWS`].
#[must_use]
pub fn half_requests() -> Vec<Finding> {
    let (node, space) = filled(1_000);
    let before = resident_mib(node.pid());
    let mut open = Vec::new();
    for _ in 0..10_000 {
        let Ok(mut socket) = TcpStream::connect(node.api.address()) else { continue };
        if socket.write_all(b"GET /v1/status HTTP/1.1\r\nHost: local").is_ok() {
            open.push(socket);
        }
    }
    let peak = resident_mib(node.pid());
    let witness = Witness::watch(&node, &space);
    std::thread::park_timeout(Duration::from_secs(15));
    let seen = witness.end();
    let stand = open
        .iter()
        .filter(|socket| {
            let mut socket: &TcpStream = socket;
            let _ = socket.set_read_timeout(Some(Duration::from_millis(1)));
            let mut one = [0; 256];
            // Closed: nothing or an answer comes. Standing: the time runs out.
            socket.read(&mut one).is_err_and(|error| {
                matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            })
        })
        .count();
    let mut out = others(&seen, before);
    out.push(Finding::figure("memory when all had come", format!("{:.0} MiB more", peak - before)));
    out.push(Finding::at_most("half requests that still stand after 15 s", stand as f64, 0.0, "of 10,000"));
    out
}
