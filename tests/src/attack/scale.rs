//! A node with much on it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Finding;
use super::member::Member;
use super::meter::{Witness, resident_mib, steps_ms};
use crate::{Node, converge, eventually};

/// How long nothing may move while a node takes over what there is.
const STILL: Duration = Duration::from_secs(60);

/// Median time of a write over a second or two, in milliseconds.
fn write_ms(node: &Node, space: &str) -> f64 {
    let witness = Witness::watch(node, space);
    std::thread::park_timeout(Duration::from_secs(3));
    witness.end().writes.percentile(50)
}

/// What it takes until a node that was away has one change: time in steps of the node that stayed, and of the wall
/// since the other was ready, in milliseconds.
fn reconnect(node: &Node, space: &str) -> (f64, f64) {
    let other = Node::new("b");
    other.join(&node.invite(space, "writer"));
    converge_slowly(space, &[node, &other]);
    let dir = other.stop();
    node.api.put(&format!("/v1/spaces/{space}/x/while-away"), &json!({ "n": 1 })).expect(201);
    let steps = steps_ms(node);
    let other = dir.start();
    let began = Instant::now();
    eventually("the change is there", || other.entity(&format!("{space}/x/while-away")));
    (steps_ms(node) - steps, began.elapsed().as_secs_f64() * 1_000.0)
}

/// As [`converge`], with the patience that a million entities take.
fn converge_slowly(space: &str, nodes: &[&Node]) {
    let frontier = |node: &Node| node.space(space).map(|space| space["frontier"].clone());
    let (mut last, mut at) = (None, Instant::now());
    while frontier(nodes[0]) != frontier(nodes[1]) {
        let now = frontier(nodes[1]);
        if now != last {
            (last, at) = (now, Instant::now());
        }
        assert!(at.elapsed() < STILL, "nothing has moved for {STILL:?}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
    converge(space, nodes);
}

/// See [`super::ROWS`].
#[must_use]
pub fn many() -> Vec<Finding> {
    let small = Node::new("small");
    let one = small.create_space("one");
    let calm = write_ms(&small, &one);
    let (_, small_reconnect) = reconnect(&small, &one);
    drop(small);

    let node = Node::new("a");
    let space = node.create_space("shop");
    let mut member = Member::of(&node, &space, "writer");
    let feeds = (0..6_000).map(|n| member.pen(100 + n).append(&member.entry(1, Vec::new(), Vec::new()))).collect();
    member.send(feeds, 500);
    drop(member);
    for part in 0..20 {
        let lines: String = (0..50_000).map(|n| format!("{{\"id\":\"r{part}-{n}\",\"n\":{n}}}\n")).collect();
        let path = format!("/v1/spaces/{space}/rows/import?id=id");
        node.api.send("POST", &path, &[("content-type", "application/x-ndjson")], Some(lines)).expect(200);
    }
    for n in 0..1_999 {
        let space = node.create_space(&format!("space-{n}"));
        node.api.put(&format!("/v1/spaces/{space}/x/1"), &json!({ "n": n })).expect(201);
    }
    let rough = write_ms(&node, &space);
    let dir = node.stop();
    let began = Instant::now();
    let node = dir.start();
    let ready = began.elapsed().as_secs_f64();
    let again = write_ms(&node, &space);
    let memory = resident_mib(node.pid());
    let (steps, wall) = reconnect(&node, &space);
    vec![
        Finding::at_most("ready after a restart", ready, 1.0, "s"),
        Finding::figure("a write of a small node, median", format!("{calm:.2} ms")),
        Finding::at_most("a write, of that", rough / calm, 1.2, "x"),
        Finding::at_most("a write after the restart, of that", again / calm, 1.2, "x"),
        Finding::figure("memory", format!("{memory:.0} MiB")),
        Finding::at_most("a reconnect with one change, in steps of who stayed", steps, 5.0, "ms"),
        Finding::figure(
            "until the change is there, since the other was ready",
            format!("{wall:.1} ms; of small nodes {small_reconnect:.1} ms"),
        ),
    ]
}
